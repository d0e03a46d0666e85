//! Which key of `auths` kubelet uses for an image.
//!
//! Follows `k8s.io/kubernetes/pkg/credentialprovider/keyring.go` of v1.36: a scheme is dropped, a
//! path prefix `/v1/` or `/v2/` is dropped only with its trailing slash, hosts are compared label
//! by label as shell globs, ports as text, paths as a raw prefix.

/// The host of Docker Hub's key, used when no other key matched a Hub image.
const DOCKER_HUB_FALLBACK: &str = "index.docker.io";

/// Whether kubelet would try the entry `key` for `image`, given in normalised form
/// (`docker.io/library/nginx`, without tag or digest).
pub fn matches(key: &str, image: &str) -> bool {
    let Some((key_host, key_path)) = parse_key(key) else { return false };
    let (image_host, image_path) = split(image);
    // The fallback that the keyring has for Docker Hub, and for hosts of one word, such as localhost.
    if key_host == DOCKER_HUB_FALLBACK && key_path.is_empty() {
        return image_host == "docker.io" || !image_host.contains(['.', ':']);
    }
    hosts_match(key_host, image_host) && image_path.starts_with(key_path)
}

/// Of several keys, the one that kubelet tries first for `image`: keys in reverse order, so that
/// the longer path comes first, and Docker Hub's only when nothing else matched.
pub fn first_match<'a>(keys: impl IntoIterator<Item = &'a str>, image: &str) -> Option<&'a str> {
    keys.into_iter().filter(|key| matches(key, image)).max_by_key(|key| {
        let (host, path) = parse_key(key).unwrap_or_default();
        (host != DOCKER_HUB_FALLBACK, format!("{host}{path}"), *key)
    })
}

/// Host and path of a key.
fn parse_key(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    if rest.is_empty() || rest.contains("://") || rest.contains(char::is_whitespace) {
        return None;
    }
    // As in any URL: what stands before an '@' is no host, and what follows '?' or '#' no path.
    let (host, path) = split(rest.split(['?', '#']).next().unwrap_or_default());
    let host = host.rsplit('@').next().unwrap_or_default();
    let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { path.split_at(3).1 } else { path };
    // A bare slash adds nothing to a host.
    Some((host, if path == "/" { "" } else { path }))
}

fn split(text: &str) -> (&str, &str) {
    text.find('/').map_or((text, ""), |at| text.split_at(at))
}

fn hosts_match(pattern: &str, host: &str) -> bool {
    let (pattern, pattern_port) = split_port(pattern);
    let (host, port) = split_port(host);
    if pattern_port != port {
        return false;
    }
    let (mut patterns, mut labels) = (pattern.split('.'), host.split('.'));
    labels
        .by_ref()
        .all(|label| patterns.next().is_some_and(|pattern| glob(pattern.as_bytes(), label.as_bytes())))
        && patterns.next().is_none()
}

fn split_port(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        // Colons inside of brackets belong to an IPv6 address; they go only where a port follows.
        _ if host.ends_with(']') => (host, ""),
        Some((name, port)) => {
            (name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name), port)
        }
        None => (host, ""),
    }
}

/// `*` of Go's `filepath.Match`; a URL has no `?` in its host. Goes back to the last star only, so
/// that a pattern full of stars, which a user can write, costs no more. Brackets are a class of
/// characters there, also around an IPv6 address without a port, which so matches nothing.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    if pattern.contains(&b'[') {
        return false;
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
