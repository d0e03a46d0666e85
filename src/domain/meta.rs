//! The uid and the resourceVersion of an object, in little memory: there is one of each for every copy.

use std::fmt;

use super::{
    identity::NamespacedName,
    labels::{is_dns_label, is_dns_subdomain},
};

/// The longest uid or resourceVersion, in bytes; those of API servers are far shorter.
const MAX_TEXT: usize = 128;

/// Whether an API server can have made an object of this name, uid and resourceVersion.
pub(crate) fn is_plausible(name: &NamespacedName, texts: [&str; 2]) -> bool {
    (name.namespace.is_empty() || is_dns_label(&name.namespace))
        && is_dns_subdomain(&name.name)
        && texts.iter().all(|text| text.len() <= MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// `metadata.uid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Uid {
    /// What API servers make: <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids>.
    Uuid([u8; 16]),
    /// Anything else.
    Text(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        let digits: String = text.split('-').collect();
        let uuid = u128::from_str_radix(&digits, 16).map(|number| Self::Uuid(number.to_be_bytes()));
        uuid.ok().filter(|uuid| uuid.to_string() == text).unwrap_or_else(|| Self::Text(text.into()))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bytes) => {
                let digits = format!("{:032x}", u128::from_be_bytes(*bytes));
                let (first, rest) = digits.split_at(8);
                write!(f, "{first}-{}-{}-{}-{}", &rest[..4], &rest[4..8], &rest[8..12], &rest[12..])
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// `metadata.resourceVersion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResourceVersion {
    /// What API servers make, since 1.35 by contract, so that two of them can be compared:
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.
    Number(u64),
    /// Anything else.
    Text(Box<str>),
}

impl ResourceVersion {
    /// Whether both are numbers, and this one is the smaller. Says nothing across two lists: what etcd was restored from
    /// may be older.
    pub fn is_older_than(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Number(this), Self::Number(other)) if this < other)
    }
}

impl From<&str> for ResourceVersion {
    fn from(text: &str) -> Self {
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        number.map_or_else(|| Self::Text(text.into()), Self::Number)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_text_is_it_comes_back() {
        let uuid = "6cc8c0dc-0b8a-4f5c-9c60-00000000000a";
        assert!(matches!(Uid::from(uuid), Uid::Uuid(_)));
        for text in [uuid, "", "u", "6CC8C0DC-0b8a-4f5c-9c60-00000000000a", "12", "012", "+12", "-12", "1e5"]
        {
            assert_eq!(Uid::from(text).to_string(), text);
            assert_eq!(ResourceVersion::from(text).to_string(), text);
        }
        assert_eq!(Uid::from(uuid), Uid::from(uuid));
        assert_ne!(Uid::from(uuid), Uid::from("6cc8c0dc-0b8a-4f5c-9c60-00000000000b"));
    }

    #[test]
    fn what_no_api_server_makes_is_told_apart() {
        let is_plausible = |namespace: &str, name: &str, uid: &str| {
            super::is_plausible(&NamespacedName::new(namespace, name), [uid, "7"])
        };
        assert!(is_plausible("", "kube-system", "") && is_plausible("web", "a.b-c", "x-1"));
        let long = "x".repeat(254);
        for (namespace, name) in
            [("web", ""), ("web", "A"), ("web", "a\u{202e}b"), ("a.b", "c"), ("web", &long)]
        {
            assert!(!is_plausible(namespace, name, "u"), "{namespace}/{name}");
        }
        assert!(!is_plausible("web", "a", &long) && !is_plausible("web", "a", "a b"));
    }

    #[test]
    fn only_numbers_are_compared() {
        let older = |this: &str, other: &str| {
            ResourceVersion::from(this).is_older_than(&ResourceVersion::from(other))
        };
        assert!(older("9", "10") && !older("10", "9") && !older("10", "10"));
        assert!(!older("9", "ten") && !older("", "10"));
    }
}
