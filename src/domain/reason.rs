//! Reasons of conditions, failures, errors and Events: stable PascalCase words, never compared as text.

macro_rules! reasons {
    ($($reason:ident),+ $(,)?) => {
        /// A stable word that says why.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Reason {
            $($reason),+
        }

        impl Reason {
            /// As it is in a condition or an Event.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason)),+
                }
            }

            /// Reads the reason of a condition.
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($reason) => Some(Self::$reason),)+
                    _ => None,
                }
            }
        }
    };
}

// Of failures, the worst first: a status lists them in this order.
reasons! {
    SecretNameConflict,
    Forbidden,
    AdmissionDenied,
    QuotaExceeded,
    WebhookFailed,
    Invalid,
    WriteFailed,
    SecretImmutable,
    NotPermitted,
    NamespaceNotFound,
    // Of a cluster.
    Unreachable,
    Connecting,
    ClusterNotFound,
    Paused,
    Throttled,
    ServerError,
    // Of a credential.
    AllTargetsSynced,
    PartiallySynced,
    ClusterUnreachable,
    NoTargets,
    Progressing,
    Retrying,
    Done,
    Stalled,
    UnsupportedSpec,
    // Of a source.
    Resolved,
    NotRead,
    SecretNotFound,
    KeyMissing,
    UnsupportedSecretType,
    InvalidFormat,
    UsernameMissing,
    InvalidUsername,
    SecretUnreadable,
    // Of a certificate.
    Valid,
    ExpiringSoon,
    Expired,
    NotYetValid,
    UnsupportedFormat,
    PrivateKeyInCertificate,
    EncryptedKey,
    UnsupportedKey,
    KeyMismatch,
    ChainOutOfOrder,
    ChainBroken,
    // Of a deletion.
    InUse,
    NotInUse,
    NamespaceTerminating,
    Orphaning,
    DeletionBlocked,
    DeletionUnblocked,
    Deleting,
    Deleted,
    Orphaned,
    LeftBehind,
    // Of a member.
    Connected,
    Unauthorized,
    Failing,
    DuplicateCluster,
    KubeconfigMissing,
    KubeconfigRefused,
    KubeconfigUnreadable,
    AdoptionNotAllowed,
    NameTaken,
    Removed,
    // Of Events only.
    Synced,
    Rotated,
    SourceResolved,
    WeakPassword,
    WeakHash,
    NoAlternativeName,
    SweepHeld,
    // Of failed reconciles.
    Conflict,
    NotFound,
    Internal,
}
