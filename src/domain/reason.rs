//! Reasons of conditions, failures, errors and Events: stable PascalCase words, never compared as text.

/// An enum whose values are known to users by the very names of its variants.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $word:ident),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $name {
            $($(#[$doc])* $word),+
        }

        impl $name {
            /// As it is in a condition or an Event.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word)),+
                }
            }

            /// Reads it from a condition.
            #[allow(dead_code, reason = "not all of them are read back")]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($word) => Some(Self::$word),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use words;

words! {
    /// A stable word that says why. Of failures the worst comes first: a status lists them in this order.
    Reason {
        SecretNameConflict,
        Forbidden,
        AdmissionDenied,
        QuotaExceeded,
        WebhookFailed,
        Invalid,
        WriteFailed,
        SecretImmutable,
        SecretTypeMismatch,
        NotPermitted,
        MetadataNotPermitted,
        NamespaceNotFound,
        // Of a default.
        DefaultConflict,
        DefaultNotPermitted,
        Reverted,
        TooManyPullSecrets,
        ServiceAccountsForbidden,
        DefaultsDisabled,
        Outranked,
        DisruptionBudget,
        PodsStuck,
        Attached,
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
        // Of a verification.
        Authenticated,
        AuthenticationFailed,
        AccessDenied,
        RepositoryNotFound,
        RateLimited,
        RegistryUnreachable,
        RegistryNotAllowed,
        TLSError,
        NotARegistry,
        UnsupportedChallenge,
        UnexpectedAnswer,
        RealmRejected,
        NotDistinguishable,
        InvalidAccessKey,
        SignatureMismatch,
        BucketNotFound,
        WrongRegion,
        ClockSkew,
        EndpointUnreachable,
        EndpointNotAllowed,
        Skipped,
        // Of a minted token.
        Refreshed,
        TokenRefused,
        IdentityMissing,
        IdentityNotPermitted,
        CloudUnreachable,
        // Of a deletion.
        InUse,
        UsersUnknown,
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
        StatusRefused,
        // Of failed reconciles.
        Conflict,
        NotFound,
        Internal,
    }
}
