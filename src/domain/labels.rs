//! What Kubernetes takes for names and labels.

/// The longest name of one part, and the longest value of a label.
const MAX_PART: usize = 63;

/// The longest prefix of a label.
const MAX_PREFIX: usize = 253;

/// Whether a text is a DNS label: the name of a namespace or of a cluster.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= MAX_PART && is_dns_part(text)
}

/// Whether a text is a DNS subdomain: the name of most objects.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= MAX_PREFIX && text.split('.').all(is_dns_part)
}

/// Whether a text may be the key of a label: `name` or `prefix/name`.
pub fn is_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    !name.is_empty() && is_value(name) && prefix.is_none_or(is_dns_subdomain)
}

/// Whether a text may be the value of a label; the empty one may.
pub fn is_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= MAX_PART
        && text.bytes().all(inner)
        && ends(text)
            .is_none_or(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
}

fn is_dns_part(text: &str) -> bool {
    let outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| outer(byte) || byte == b'-')
        && ends(text).is_some_and(|(first, last)| outer(first) && outer(last))
}

fn ends(text: &str) -> Option<(u8, u8)> {
    text.bytes().next().zip(text.bytes().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_the_api_server_takes() {
        for key in ["env", "example.com/env", "a.b-c/D_e.f", "1", &"x".repeat(63)] {
            assert!(is_key(key), "{key}");
        }
        for key in ["", "/env", "Example.com/env", "a/b/c", "example.com/", "-env", "a..b/c", &"x".repeat(64)]
        {
            assert!(!is_key(key), "{key}");
        }
    }

    #[test]
    fn values_are_those_that_the_api_server_takes() {
        for value in ["", "prod", "v1.2_3-X", "0"] {
            assert!(is_value(value), "{value}");
        }
        for value in ["a b", "-a", "a.", "\u{e9}", &"x".repeat(64)] {
            assert!(!is_value(value), "{value}");
        }
    }

    #[test]
    fn dns_labels_have_no_dots_and_no_capitals() {
        assert!(is_dns_label("east-1") && is_dns_label(&"x".repeat(63)));
        for text in ["", "East", "a.b", "-a", "a-", "*", &"x".repeat(64)] {
            assert!(!is_dns_label(text), "{text}");
        }
    }
}
