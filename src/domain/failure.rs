//! Why one namespace cannot have its copy.

use super::reason::Reason;

/// Why a namespace cannot have its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A Secret of that name is not ours; the phrase says whose.
    SecretNameConflict(String),
    /// The write was refused.
    Write { reason: Reason, message: String },
    /// Somebody made the copy immutable.
    SecretImmutable,
    /// The copy is of another type, and still in use.
    SecretTypeMismatch,
    /// No policy allows it.
    NotPermitted,
    /// A policy allows the copy, but not a label or an annotation of this key.
    MetadataNotPermitted(String),
}

impl Failure {
    pub fn reason(&self) -> Reason {
        match self {
            Self::SecretNameConflict(_) => Reason::SecretNameConflict,
            Self::Write { reason, .. } => *reason,
            Self::SecretImmutable => Reason::SecretImmutable,
            Self::SecretTypeMismatch => Reason::SecretTypeMismatch,
            Self::NotPermitted => Reason::NotPermitted,
            Self::MetadataNotPermitted(_) => Reason::MetadataNotPermitted,
        }
    }

    /// What it is about, and the remedy.
    pub fn message(&self, namespace: &str, secret: &str) -> String {
        match self {
            Self::SecretNameConflict(owner) => format!(
                "Secret '{secret}' in namespace '{namespace}' belongs to {owner} and is left alone; delete it, or choose another `spec.target.secretName`"
            ),
            Self::Write { message, .. } => format!("Secret '{secret}' in namespace '{namespace}': {message}"),
            Self::SecretImmutable => format!(
                "Secret '{secret}' in namespace '{namespace}' was made immutable; delete it, and Claviger creates it again with the right content"
            ),
            Self::SecretTypeMismatch => format!(
                "Secret '{secret}' in namespace '{namespace}' has another type, which cannot be changed, and is in use; it is replaced when nothing uses it any more; to get a copy now, choose another `spec.target.secretName`"
            ),
            Self::MetadataNotPermitted(key) => format!(
                "no DistributionPolicy allows the label or annotation '{key}' on Secrets in namespace '{namespace}'; ask a cluster administrator to add it to `spec.to.allowedMetadata`, or remove it from `spec.target`"
            ),
            Self::NotPermitted => format!(
                "no DistributionPolicy allows this credential in namespace '{namespace}'; ask a cluster administrator for one, or remove the namespace from `spec.target.namespaces`"
            ),
        }
    }

    /// Whether only a person can fix it.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }
}
