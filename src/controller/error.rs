//! What can go wrong in a reconcile. That a deletion waits, a source is missing or a name is taken is
//! no error but a status.

use thiserror::Error;

use crate::{
    cluster::{WriteError, describe},
    domain::reason::Reason,
};

/// A reconcile that failed.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The API server did not do what was asked of it.
    #[error("{what}: {}", describe(.source))]
    Api {
        /// What was being done.
        what: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    /// A value did not serialize.
    #[error("{what} cannot be written as JSON")]
    Json { what: &'static str },
}

impl Error {
    /// Wraps an error of kube's.
    pub fn api(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { what, source: Box::new(source) }
    }

    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Api { source, .. } => match WriteError::of(source) {
                WriteError::AlreadyExists | WriteError::Changed => Reason::Conflict,
                WriteError::Gone => Reason::NotFound,
                WriteError::Refused { reason, .. } => reason,
                WriteError::Throttled(_) => Reason::Throttled,
                WriteError::Failing(_) => Reason::ServerError,
                WriteError::Unreachable(_) => Reason::Unreachable,
            },
            Self::Json { .. } => Reason::Internal,
        }
    }

    /// Whether trying again is of use without a change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Api { source, .. } => WriteError::of(source) != WriteError::Gone,
            Self::Json { .. } => false,
        }
    }
}
