//! Which key of `auths` kubelet uses for an image.
//!
//! Follows `k8s.io/kubernetes/pkg/credentialprovider/keyring.go` of v1.36: a scheme is dropped, a
//! path prefix `/v1/` or `/v2/` is dropped only with its trailing slash, hosts are compared label
//! by label as shell globs, ports as text, paths as a raw prefix.

use std::cmp::Reverse;

use super::key::{Location, index, parse};

/// The host of Docker Hub's key, used when no other key matched a Hub image.
const DOCKER_HUB_FALLBACK: &[u8] = b"index.docker.io";

/// Hosts by which people mean Docker Hub, and kubelet nothing.
const NOT_DOCKER_HUB: [&[u8]; 3] = [b"registry-1.docker.io", b"hub.docker.com", b"registry.hub.docker.com"];

/// What a key is for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Matches,
    /// It is Docker Hub's, which is used for this image when no other key matches.
    Fallback,
    /// It is one of Docker Hub with a path that no image has.
    HubPath,
    /// It is a host that is Docker Hub to people, for an image from there.
    HubAlias,
    OtherPort,
    /// The host would match if it were written in lower case.
    UpperCase,
    OtherPath,
    OtherHost,
    /// Kubelet leaves the key out.
    Invalid,
}

/// A key as it is compared with images.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// What keys are sorted by; `None` for one that kubelet leaves out.
    pub index: Option<Vec<u8>>,
    /// `None` for one that matches nothing.
    location: Option<Location>,
}

impl Key {
    pub fn new(key: &str) -> Self {
        let index = index(key);
        // Read once more, as upstream does: what an escape stood for may end the path now.
        let location = index.as_deref().and_then(parse);
        Self { index, location }
    }

    /// What the key is for an image, given in normalised form (`docker.io/library/nginx`, without tag or digest).
    pub fn judge(&self, image: &str) -> Match {
        let Some(index) = &self.index else { return Match::Invalid };
        let (image_host, _) = image.split_once('/').unwrap_or((image, ""));
        let is_hub = image_host == "docker.io";
        if index == DOCKER_HUB_FALLBACK && (is_hub || !image_host.contains(['.', ':'])) {
            return Match::Fallback;
        }
        let (Some(key), Some(image)) = (&self.location, parse(image.as_bytes())) else {
            return Match::Invalid;
        };
        if is_hub && NOT_DOCKER_HUB.contains(&&*key.host) {
            return Match::HubAlias;
        }
        if is_hub && key.host == DOCKER_HUB_FALLBACK {
            return Match::HubPath;
        }
        let ((name, port), (image_name, image_port)) = (split_port(&key.host), split_port(&image.host));
        let same_port = port == image_port;
        if names_match(name, image_name) {
            return match (same_port, image.path.starts_with(&key.path)) {
                (false, _) => Match::OtherPort,
                (true, false) => Match::OtherPath,
                (true, true) => Match::Matches,
            };
        }
        let lower = name.to_ascii_lowercase();
        if same_port && names_match(&lower, image_name) { Match::UpperCase } else { Match::OtherHost }
    }

    /// Whether kubelet would try the entry of this key for an image, given in normalised form.
    pub fn is_used_for(&self, image: &str) -> bool {
        matches!(self.judge(image), Match::Matches | Match::Fallback)
    }
}

/// Whether kubelet would try the entry `key` for `image`, given in normalised form.
pub fn matches(key: &str, image: &str) -> bool {
    Key::new(key).is_used_for(image)
}

/// Of several keys, the one that kubelet tries first for `image`: keys in reverse order, so that
/// the longer path comes first, and Docker Hub's only when nothing else matched.
pub fn first_match<'a>(keys: impl IntoIterator<Item = &'a str>, image: &str) -> Option<&'a str> {
    let judged = keys.into_iter().map(|text| (text, Key::new(text)));
    let matching = judged.filter_map(|(text, key)| {
        let found = key.judge(image);
        let is_used = matches!(found, Match::Matches | Match::Fallback);
        is_used.then_some((found == Match::Fallback, Reverse(key.index), Reverse(text)))
    });
    matching.min().map(|(_, _, Reverse(text))| text)
}

/// Host and port, as Go's `net.SplitHostPort`; all of it where that finds no port.
fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    let Some((name, port)) =
        host.iter().rposition(|byte| *byte == b':').and_then(|at| host.split_at_checked(at))
    else {
        return (host, b"");
    };
    let port = port.get(1..).unwrap_or_default();
    match name.strip_prefix(b"[") {
        Some(inside) => match inside.strip_suffix(b"]") {
            Some(inside) => (inside, port),
            // The colon is one of the address.
            None => (host, b""),
        },
        None => (name, port),
    }
}

fn names_match(pattern: &[u8], name: &[u8]) -> bool {
    let labels = |text: &'_ [u8]| text.split(|byte| *byte == b'.').count();
    let pairs = pattern.split(|byte| *byte == b'.').zip(name.split(|byte| *byte == b'.'));
    labels(pattern) == labels(name) && pairs.into_iter().all(|(pattern, label)| glob(pattern, label))
}

/// `*` of Go's `filepath.Match`; a URL has no `?` in its host. Goes back to the last star only, so
/// that a pattern full of stars, which a user can write, costs no more. Brackets are a class of
/// characters there, also around an IPv6 address without a port, which so matches one character.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    if let Some(class) = pattern.strip_prefix(b"[") {
        let class = class.strip_suffix(b"]");
        return matches!(text, [byte] if class.is_some_and(|class| class.contains(byte)));
    }
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if wanted == byte => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_upstream() {
        for (key, image, want) in [
            ("https://index.docker.io/v1/", "docker.io/library/nginx", true),
            ("index.docker.io", "docker.io/me/app", true),
            ("http://index.docker.io/v2/", "docker.io/me/app", true),
            ("docker.io", "docker.io/me/app", true),
            ("docker.io/me", "docker.io/me/app", true),
            ("registry-1.docker.io", "docker.io/me/app", false),
            ("hub.docker.com", "docker.io/me/app", false),
            ("*.kubernetes.io", "prefix.kubernetes.io/x", true),
            ("*.kubernetes.io", "kubernetes.io/x", false),
            ("*.kubernetes.io", "a.b.kubernetes.io/x", false),
            ("*-good.kubernetes.io", "prefix-good.kubernetes.io/x", true),
            ("prefix.*.io/foo", "prefix.kubernetes.io/foo/bar", true),
            ("*kubernetes.io", "kubernetes.io/x", true),
            ("*kubernetes.io", "a.kubernetes.io/x", false),
            ("reg.io:5000", "reg.io/x", false),
            ("reg.io:5000", "reg.io:443/x", false),
            ("reg.io:5000/team", "reg.io:5000/team-b/x", true),
            ("quay.io", "quay.io/org/x", true),
            ("quay.io/org", "quay.io/org/x", true),
            ("quay.io/org/", "quay.io/org", false),
            ("rg.fr-par.scw.cloud/ns", "rg.nl-ams.scw.cloud/ns/x", false),
            ("index.docker.io", "localhost/x", true),
            ("localhost", "localhost/x", true),
            ("index.docker.io/me", "docker.io/me/app", false),
            ("*.io", "docker.io/me/app", true),
            ("*.kubernetes.io:8080", "prefix.kubernetes.io:8080/x", true),
            ("*.kubernetes.io:8080", "prefix.kubernetes.io:9090/x", false),
            ("reg.io/v2/team", "reg.io/team/x", true),
            ("reg.io/v2/team", "reg.io/v2/team/x", false),
            ("reg.io/v2", "reg.io/v2/x", true),
            ("https://me:secret@reg.io/?a#b", "reg.io/x", true),
            ("r?g.io", "reg.io/x", false),
            ("Reg.io", "reg.io/x", false),
            ("[fd00::1]:5000", "[fd00::1]:5000/x", true),
            ("[fd00::1]", "[fd00::1]/x", false),
            ("[fd00::1]", "[fd00::1]:5000/x", false),
        ] {
            assert_eq!(matches(key, image), want, "{key} for {image}");
        }
    }

    #[test]
    fn the_hub_key_without_its_slash_never_matches_a_path() {
        // The path `/v1` stays and no Hub image begins with it; only the fallback of the host
        // could save it, which upstream grants to the host alone.
        assert!(!matches("https://index.docker.io/v1", "docker.io/library/nginx"));
    }

    #[test]
    fn a_pattern_full_of_stars_is_answered_at_once() {
        let pattern = "*a".repeat(2_000);
        assert!(!matches(&pattern, &format!("{}b/x", "a".repeat(60))));
        assert!(glob(b"*a*b", b"xaxxb") && glob(b"*", b"") && !glob(b"a*bc", b"ab"));
    }

    #[test]
    fn the_longer_path_comes_first() {
        let keys = ["quay.io", "quay.io/org", "https://index.docker.io/v1/"];
        assert_eq!(first_match(keys, "quay.io/org/x"), Some("quay.io/org"));
        assert_eq!(first_match(keys, "quay.io/other/x"), Some("quay.io"));
        assert_eq!(first_match(keys, "docker.io/library/x"), Some("https://index.docker.io/v1/"));
        assert_eq!(first_match(keys, "ghcr.io/x"), None);
    }
}
