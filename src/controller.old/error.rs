//! What can go wrong in a pass. That a deletion waits, a source is missing or a name is taken is
//! no error but a status.

use thiserror::Error;

use crate::cluster::{Trouble, describe};

/// When a failed pass is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After a while that grows.
    Backoff,
    /// When something changes.
    Never,
}

/// A pass that failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server did not do what was asked of it.
    #[error("{what}: {}", describe(.source))]
    Api {
        /// What was being done.
        what: &'static str,
        /// What kube says.
        #[source]
        source: Box<kube::Error>,
    },
    /// A value did not serialize.
    #[error("{what} cannot be written as JSON")]
    Json {
        /// What.
        what: &'static str,
    },
    /// The caches of `local` are not there yet.
    #[error("the operator has not started yet")]
    NotStarted,
}

impl Error {
    /// Wraps an error of kube's.
    pub fn api(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { what, source: Box::new(source) }
    }

    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { source, .. } => match Trouble::of(source) {
                Trouble::AlreadyExists | Trouble::Changed => "Conflict",
                Trouble::Gone => "NotFound",
                Trouble::Refused { reason, .. } => reason,
                Trouble::Throttled(_) => "Throttled",
                Trouble::Failing(_) => "ServerError",
                Trouble::Unreachable(_) => "Unreachable",
            },
            Self::Json { .. } => "Internal",
            Self::NotStarted => "NotStarted",
        }
    }

    /// Whether and when to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Api { source, .. } if Trouble::of(source) == Trouble::Gone => Retry::Never,
            Self::Api { .. } | Self::NotStarted => Retry::Backoff,
            Self::Json { .. } => Retry::Never,
        }
    }
}
