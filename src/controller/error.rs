//! What can go wrong in a reconcile. That a deletion waits, a source is missing or a name is taken is
//! no error but a status.

use thiserror::Error;

use crate::{
    cluster::{WriteError, describe},
    domain::reason::Reason,
};

/// A request that the API server did not fulfil, so that the reconcile failed.
#[derive(Debug, Error)]
#[error("{what}: {}", describe(.source))]
pub(crate) struct Error {
    /// What was being done.
    what: &'static str,
    source: Box<kube::Error>,
}

impl Error {
    /// Wraps an error of kube's.
    pub fn api(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self { what, source: Box::new(source) }
    }

    /// Wraps an error of serde's: a value of ours that does not serialize, which is not expected.
    pub fn json(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |error| Self::api(what)(kube::Error::SerdeError(error))
    }

    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match WriteError::of(&self.source) {
            WriteError::AlreadyExists | WriteError::Changed => Reason::Conflict,
            WriteError::Gone => Reason::NotFound,
            WriteError::Refused(failure) => failure.reason(),
            WriteError::Cluster(condition) => condition.reason(),
        }
    }

    /// Whether the API server will never take what was sent: it is against the definition, or too large for it or for etcd.
    pub fn is_refused(&self) -> bool {
        let kube::Error::Api(status) = &*self.source else { return false };
        // That etcd refuses a large object is an internal error to the API server.
        matches!(status.code, 400 | 413 | 422) || status.message.contains("too large")
    }

    /// Whether trying again is of use without a change.
    pub fn is_retryable(&self) -> bool {
        WriteError::of(&self.source) != WriteError::Gone
    }
}
