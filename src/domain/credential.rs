//! What the engine needs to know of a kind of credential.

use std::fmt;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    content::{Content, Inputs, SourceError},
    ownership::OwnerId,
    validity::Validity,
};
use crate::api::{CredentialKind, CredentialStatus, DeletionPolicy, Target};

/// A kind of credential. Implementing this, and registering the type with the operator, is all
/// that a new kind takes: targets, consent, ownership, deletion and status are the engine's.
pub trait Credential:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The kind.
    const KIND: CredentialKind;

    /// Whether the content is made with an eye on what stands in the cluster, so that what still
    /// holds, such as a salted hash, is kept rather than made anew. Rendering is then taken for slow.
    const KEEPS: bool = false;

    /// Where the Secret goes.
    fn target(&self) -> &Target;

    /// What happens to the Secrets on deletion.
    fn deletion_policy(&self) -> DeletionPolicy;

    /// The last status.
    fn status(&self) -> Option<&CredentialStatus>;

    /// Names of the source Secrets, all in the namespace of the credential.
    fn sources(&self) -> Vec<String>;

    /// Makes the produced content from the sources.
    ///
    /// # Errors
    /// Says what is wrong with which source Secret, without ever quoting a value of it.
    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError>;

    /// Fields of the status that only this kind has; `content` is what was rendered last, if it
    /// could be.
    fn details(&self, content: Option<&Content>) -> Map<String, Value>;

    /// When the content that was distributed last is valid, as the last status tells, where it is
    /// for a time only. It counts while the source gives nothing better.
    fn standing(&self) -> Option<Validity> {
        None
    }

    /// Who it is a credential for, as one word with few values; a metric's label.
    fn provider(&self) -> &'static str;
}

/// Kind, namespace and name of a credential: what identifies it for people, and across a backup.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId {
    /// The kind, such as `RegistryCredential`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl CredentialId {
    /// The id of an object.
    pub fn of<K: Credential>(object: &K) -> Self {
        Self::of_kind::<K>(object.meta())
    }

    /// The id of an object of kind `K`, of which not more may be known than its metadata.
    pub fn of_kind<K: Credential>(meta: &ObjectMeta) -> Self {
        Self {
            kind: K::kind(&()).into_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// Reads `<kind>/<namespace>/<name>`, as it stands on produced Secrets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let id = Self { kind: parts.next()?, namespace: parts.next()?, name: parts.next()? };
        (!id.kind.is_empty() && !id.namespace.is_empty() && !id.name.is_empty()).then_some(id)
    }

    /// The value of the owner label.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        OwnerId::of(self)
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_annotation() {
        let id = CredentialId {
            kind: "RegistryCredential".into(),
            namespace: "platform".into(),
            name: "quay.main".into(),
        };
        assert_eq!(CredentialId::parse(&id.to_string()), Some(id));
        for broken in ["", "a", "a/b", "//", "a//c"] {
            assert_eq!(CredentialId::parse(broken), None, "{broken}");
        }
    }
}
