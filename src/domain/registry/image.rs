//! The name of an image, as kubelet reads it: `ParseNormalizedNamed` of `github.com/distribution/reference` v0.6.

use std::sync::LazyLock;

use regex::Regex;

/// The longest repository, without its registry.
const MAX_REPOSITORY: usize = 255;

/// The host of images that name none, and of those that name Docker Hub's old one.
const HUB: (&str, &str) = ("docker.io", "index.docker.io");

static REFERENCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
    let host = format!(r"(?:{label}(?:\.{label})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
    let part = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let tag = r"(?::[0-9A-Za-z_][0-9A-Za-z_.-]{0,127})?";
    let digest = "(?:@(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?";
    Regex::new(&format!("^({host})/({part}(?:/{part})*){tag}{digest}$")).ok()
});

/// Registry and repository of an image, as in `docker.io/library/nginx`: without tag and digest. `None` for what kubelet
/// calls `InvalidImageName`.
pub(crate) fn repository(image: &str) -> Option<String> {
    let is_id = image.len() == 64 && image.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_id {
        return None;
    }
    let (host, rest) = match image.split_once('/') {
        Some((host, rest)) if host == HUB.1 => (HUB.0, rest),
        Some((host, rest)) if is_host(host) => (host, rest),
        _ => (HUB.0, image),
    };
    let library = if host == HUB.0 && !rest.contains('/') { "library/" } else { "" };
    let name = format!("{host}/{library}{rest}");
    let parts = REFERENCE.as_ref()?.captures(&name)?;
    let (host, repository) = (parts.get(1)?.as_str(), parts.get(2)?.as_str());
    (repository.len() <= MAX_REPOSITORY).then(|| format!("{host}/{repository}"))
}

fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.to_lowercase() != text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_whole() {
        let digest = format!("quay.io/a/b:1@sha256:{}", "0".repeat(64));
        let long = format!("quay.io/{}", "a".repeat(256));
        for (image, wanted) in [
            ("nginx", Some("docker.io/library/nginx")),
            ("nginx:1.29", Some("docker.io/library/nginx")),
            ("me/app", Some("docker.io/me/app")),
            ("docker.io/nginx", Some("docker.io/library/nginx")),
            ("index.docker.io/me/app", Some("docker.io/me/app")),
            ("localhost/x", Some("localhost/x")),
            ("REG/x", Some("REG/x")),
            ("reg.io:5000/team/app:v1", Some("reg.io:5000/team/app")),
            ("[fd00::1]:5000/x", Some("[fd00::1]:5000/x")),
            (&digest, Some("quay.io/a/b")),
            ("quay.io/a/b@sha256:00", None),
            ("quay.io/Upper/case", None),
            ("quay.io/", None),
            ("", None),
            ("quay.io/a b", None),
            ("https://quay.io/a", None),
            (&long, None),
            (&"a".repeat(64), None),
        ] {
            assert_eq!(repository(image).as_deref(), wanted, "{image}");
        }
    }
}
