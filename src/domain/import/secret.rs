//! A Secret as it was listed, and why one is left as it is.

use k8s_openapi::jiff::Timestamp;

use super::marks::{Marks, Obstacle, Tool};
use crate::{
    api::CredentialKind,
    domain::{
        content::ReadSecret,
        fingerprint::{Fingerprint, FingerprintKey},
        identity::NamespacedName,
        labels::{is_dns_label, is_dns_subdomain},
    },
};

/// Which kind of credential makes Secrets of a type; the others are not looked at. In one of type Opaque can be anything,
/// so no kind takes those over.
pub(crate) const IMPORTED: [(CredentialKind, &str); 3] = [
    (CredentialKind::RegistryCredential, "kubernetes.io/dockerconfigjson"),
    (CredentialKind::BasicAuthCredential, "kubernetes.io/basic-auth"),
    (CredentialKind::TlsCredential, "kubernetes.io/tls"),
];

/// The type of the Secrets of a kind; of one that takes none over, a type that no Secret has.
pub(super) fn kind_of_type(kind: CredentialKind) -> &'static str {
    IMPORTED.iter().find(|(of, _)| *of == kind).map_or("", |(_, type_)| type_)
}

/// A Secret as it was listed, without its values.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub place: NamespacedName,
    pub kind: CredentialKind,
    pub uid: String,
    pub version: String,
    pub created: Option<Timestamp>,
    pub content: Fingerprint,
    pub immutable: bool,
    pub marks: Marks,
}

impl Listed {
    /// `None` for one that cannot be handed over by its name, or is of another type.
    pub fn new(kind: CredentialKind, mut secret: ReadSecret, key: &FingerprintKey) -> Option<Self> {
        if secret.type_() != kind_of_type(kind) {
            return None;
        }
        let content = key.of(kind_of_type(kind), &secret.take_data());
        let applied = secret.take_last_applied();
        let meta = &secret.0.metadata;
        let (namespace, name) = (meta.namespace.as_deref()?, meta.name.as_deref()?);
        if !is_dns_label(namespace) || !is_dns_subdomain(name) {
            return None;
        }
        Some(Self {
            place: NamespacedName::new(namespace, name),
            kind,
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            content,
            immutable: secret.0.immutable == Some(true),
            marks: Marks::read(meta, applied.as_ref()),
        })
    }

    /// Who made it, in words.
    pub fn made_by(&self) -> &'static str {
        self.marks.made_by.map_or("hand", Tool::name)
    }
}

/// Why a Secret is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing says which of the equal Secrets is the source.
    NoSource,
    /// The Secret that it names as its source has another content, or cannot be seen.
    NotInLine(NamespacedName),
    /// Something else writes it, or will delete it.
    Obstacle(Obstacle),
    /// Its namespace refuses copies, or is being deleted.
    Namespace(&'static str),
    /// What the source has cannot be a credential; the end of a sentence.
    Refused(String),
    /// It could not be changed.
    Immutable,
}

impl Left {
    /// The stable reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoSource => "NoSource",
            Self::NotInLine(_) => "NotInLine",
            Self::Obstacle(Obstacle::Terminating) => "Terminating",
            Self::Obstacle(_) => "ManagedByAnother",
            Self::Namespace(_) => "NamespaceRefuses",
            Self::Refused(_) => "NotACredential",
            Self::Immutable => "SecretImmutable",
        }
    }

    /// What it is, and what to do.
    pub fn message(&self) -> String {
        match self {
            // No namespace is suggested: whoever made the oldest one may want to be the source.
            Self::NoSource => {
                "it is not known which of them is the source; name its namespace with --source-namespace"
                    .to_owned()
            }
            Self::NotInLine(source) => {
                format!(
                    "its source, Secret {source}, has different content, does not exist, or may not be listed"
                )
            }
            Self::Obstacle(obstacle) => obstacle.message().to_owned(),
            Self::Namespace(why) => format!("the namespace {why}"),
            Self::Refused(why) => why.clone(),
            Self::Immutable => "it is immutable, but its content would have to change".to_owned(),
        }
    }
}

/// Secrets of one name that are left for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub kind: CredentialKind,
    pub name: String,
    pub namespaces: Vec<String>,
    pub why: Left,
}
