//! Why a ServiceAccount cannot name the Secret of a default.

use super::{failure::Failure, identity::CredentialId, reason::Reason};

/// Why a ServiceAccount cannot name the Secret of a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccountFailure {
    /// Another default for the same registry has the same priority.
    Conflict(CredentialId),
    /// No policy allows a default.
    NotPermitted,
    /// Somebody else takes it off again and again.
    Reverted,
    /// It names so many that no more are added.
    TooMany,
    /// The write was refused.
    Refused(Failure),
}

impl AccountFailure {
    pub fn reason(&self) -> Reason {
        match self {
            Self::Conflict(_) => Reason::DefaultConflict,
            Self::NotPermitted => Reason::DefaultNotPermitted,
            Self::Reverted => Reason::Reverted,
            Self::TooMany => Reason::TooManyPullSecrets,
            Self::Refused(failure) => failure.reason(),
        }
    }

    /// What it is about, and the remedy.
    pub fn message(&self, namespace: &str, account: &str, secret: &str) -> String {
        let account = format!("ServiceAccount '{account}' in namespace '{namespace}'");
        match self {
            Self::Conflict(CredentialId { namespace, name, .. }) => format!(
                "{account}: RegistryCredential '{name}' in namespace '{namespace}' is a default for the same registry with the same priority; raise `spec.default.priority` of the one that should win"
            ),
            Self::NotPermitted => format!(
                "{account}: no DistributionPolicy allows this credential as a default there; ask a cluster administrator for `spec.allowDefault: true`, or set `spec.default.enabled` to false"
            ),
            Self::Reverted => format!(
                "{account}: something else keeps removing Secret '{secret}' from `imagePullSecrets`, so it is added again less and less often; configure that tool to ignore `imagePullSecrets`, or add the Secret to the list that it applies"
            ),
            Self::TooMany => format!(
                "{account}: `imagePullSecrets` has too many entries to add one; remove those that are not needed"
            ),
            Self::Refused(Failure::Write { message, .. }) => format!("{account}: {message}"),
            Self::Refused(other) => format!("{account}: {}", other.reason().as_str()),
        }
    }
}
