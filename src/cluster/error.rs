//! What the API server's refusals mean to us.

use std::{error::Error, iter::successors};

use kube::core::Status;

use crate::domain::{
    cluster_condition::{ClusterCondition, ConnectionError, Denied},
    failure::Failure,
    reason::Reason,
    schedule::MAX_MESSAGE,
};

/// Why a write did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The name is taken.
    AlreadyExists,
    /// The object is not as it was seen.
    Changed,
    /// The object, or its namespace, is gone or going.
    Gone,
    /// The write was refused for a reason that lies with this namespace.
    Refused(Failure),
    /// The cluster takes no write at the moment.
    Cluster(ClusterCondition),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        Self::of(&error)
    }
}

impl WriteError {
    /// Reads an error of kube's.
    pub fn of(error: &kube::Error) -> Self {
        let cluster = |condition: fn(String) -> ClusterCondition| Self::Cluster(condition(describe(error)));
        let kube::Error::Api(status) = error else { return cluster(ClusterCondition::Unreachable) };
        let refused = |reason| Self::Refused(Failure::Write { reason, message: short(&status.message) });
        let says = |text| status.message.contains(text);
        // Whatever code a webhook denies or fails with, it is about this write, and no state of the cluster. The second
        // text is that of a ValidatingAdmissionPolicy.
        if says("denied the request") || says("denied request") {
            return refused(Reason::AdmissionDenied);
        }
        if says("failed calling webhook") {
            return refused(Reason::WebhookFailed);
        }
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Self::AlreadyExists,
            (409, _) => Self::Changed,
            (404, _) => Self::Gone,
            (403, _) if is_terminating(status) => Self::Gone,
            (403, _) if says("exceeded quota") => refused(Reason::QuotaExceeded),
            (403, _) => refused(Reason::Forbidden),
            (401, _) => cluster(ClusterCondition::Unreachable),
            (413 | 422 | 400, _) => refused(Reason::Invalid),
            (429, _) => cluster(ClusterCondition::Throttled),
            (500.., _) => cluster(ClusterCondition::Failing),
            _ => refused(Reason::WriteFailed),
        }
    }
}

/// A namespace that is being deleted takes nothing new; its status says so in the details.
fn is_terminating(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
        || status.message.contains("because it is being terminated")
}

/// Why a request did not succeed, as far as the cluster is concerned.
pub(crate) fn connection_error(error: &kube::Error) -> ConnectionError {
    let denied = match error {
        kube::Error::Api(status) if status.code == 401 => Some(Denied::Unauthorized),
        kube::Error::Api(status) if status.code == 403 => Some(Denied::Forbidden),
        _ => None,
    };
    ConnectionError { denied, message: describe(error) }
}

/// One line for people. Says nothing of what was read: a decoding error could quote it.
pub fn describe(error: &kube::Error) -> String {
    let mut text = match error {
        kube::Error::Api(status) => {
            return short(&format!("{} ({} {})", status.message, status.code, status.reason));
        }
        kube::Error::SerdeError(_) => return "the answer could not be read".to_owned(),
        kube::Error::Service(error) => error.to_string(),
        other => other.to_string(),
    };
    // Of the layers that an error has come through, those that say something.
    for cause in causes(error).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    short(&text)
}

/// What led to an error, from the outside in.
pub(super) fn causes(error: &kube::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |&error| error.source())
}

/// A message that is not longer than what is passed on.
pub(super) fn short(message: &str) -> String {
    let mut text: String = message.chars().take(MAX_MESSAGE).collect();
    if text.len() < message.len() {
        text.push('…');
    }
    text
}
