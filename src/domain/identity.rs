//! What identifies a credential, for people and on the Secrets that it produces.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::labels;
use crate::api::CredentialKind;

/// Namespace and name of an object of a known kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NamespacedName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl NamespacedName {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Kind, namespace and name of a credential: what identifies it for people, and across a backup.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CredentialId {
    pub kind: CredentialKind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl CredentialId {
    /// Reads `<kind>/<namespace>/<name>`, as produced Secrets carry it; `None` for a kind that this version does not
    /// serve, and for what cannot be a name.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let kind = CredentialKind::parse(parts.next()?)?;
        let (namespace, name) = (parts.next()?, parts.next()?);
        (labels::is_dns_label(namespace) && labels::is_dns_subdomain(name)).then(|| Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The value of the owner label.
    pub fn owner(&self) -> OwnerId {
        OwnerId(digest(&self.to_string()))
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// The short stable id of a credential, as the owner label has it.
///
/// It comes from kind, namespace and name, so that a hub that was restored from a backup, with
/// new uids, finds its Secrets again. 96 bits of SHA-256: nobody finds a name with another's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct OwnerId([u8; DIGEST]);

impl OwnerId {
    /// Reads the value of a label; `None` when it is not such an id.
    pub fn from_label(value: &str) -> Option<Self> {
        let number = u128::from_str_radix(value, 16).ok()?;
        let [_, _, _, _, id @ ..] = number.to_be_bytes();
        Some(Self(id)).filter(|id| id.to_string() == value)
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes of the digest that is an id.
const DIGEST: usize = 12;

/// The first bytes of the SHA-256 of a text.
pub(super) fn digest<const N: usize>(text: &str) -> [u8; N] {
    first(&Sha256::digest(text.as_bytes()))
}

/// The first bytes of a longer digest.
pub(super) fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> CredentialId {
        CredentialId {
            kind: CredentialKind::RegistryCredential,
            namespace: "platform".into(),
            name: name.into(),
        }
    }

    #[test]
    fn ids_survive_the_annotation() {
        let id = id("quay.main");
        assert_eq!(CredentialId::parse(&id.to_string()), Some(id));
        for broken in ["", "a", "a/b", "//", "a//c", "LaterCredential/a/b", "RegistryCredential//b"] {
            assert_eq!(CredentialId::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn owner_ids_are_short_stable_and_apart() {
        assert_eq!(id("quay").owner(), id("quay").owner());
        assert_ne!(id("quay").owner(), id("quay2").owner());
        assert_eq!(id("quay").owner().to_string().len(), 24);
    }
}
