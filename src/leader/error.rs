//! What can go wrong with a lease.

use std::time::Duration;

/// Why there is no leadership to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server cannot be reached or refuses.
    #[error("lease {lease}: {source}")]
    Api {
        /// `<namespace>/<name>`
        lease: String,
        /// The server's answer.
        source: kube::Error,
    },
    /// The API server did not answer in time.
    #[error("lease {lease}: no answer within {within:?}")]
    Timeout {
        /// `<namespace>/<name>`
        lease: String,
        /// The deadline of one call.
        within: Duration,
    },
}

impl Error {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api { source: kube::Error::Api(status), .. } => Some(status),
            _ => None,
        }
    }

    /// Somebody else wrote first, or the lease came or went between look and write.
    pub(super) fn is_race(&self) -> bool {
        self.status().is_some_and(|s| s.is_conflict() || s.is_already_exists() || s.is_not_found())
    }

    /// On a create: the namespace is not there.
    pub(super) fn is_missing(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// No retry fixes it.
    pub(super) fn is_final(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_invalid)
    }
}
