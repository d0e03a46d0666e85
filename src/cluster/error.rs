//! What the API server's refusals mean to us.

use std::error::Error as _;

use kube::core::Status;

use crate::domain::{
    cluster_condition::{ClusterCondition, ConnectionError, Denied},
    reason::Reason,
    schedule::MAX_MESSAGE,
};

/// Why a write did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The name is taken.
    AlreadyExists,
    /// The object is not as it was seen.
    Changed,
    /// The object, or its namespace, is gone or going.
    Gone,
    /// The write was refused for a reason that lies with this namespace.
    Refused {
        /// A stable PascalCase reason.
        reason: Reason,
        /// What the API server said.
        message: String,
    },
    /// The API server does not want more just now.
    Throttled(String),
    /// The API server answers, but cannot: its store is full, or gone.
    Failing(String),
    /// The API server did not answer.
    Unreachable(String),
}

impl WriteError {
    /// Reads an error of kube's.
    pub fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Unreachable(describe(error)) };
        // Whatever code a webhook denies or fails with, it is about this write, and no state of the cluster.
        if is_denied_by_webhook(status) {
            return refused(Reason::AdmissionDenied, status);
        }
        if status.message.contains("failed calling webhook") {
            return refused(Reason::WebhookFailed, status);
        }
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Self::AlreadyExists,
            (409, _) => Self::Changed,
            (404, _) => Self::Gone,
            (403, _) if is_terminating(status) => Self::Gone,
            (403, _) if status.message.contains("exceeded quota") => refused(Reason::QuotaExceeded, status),
            (403, _) => refused(Reason::Forbidden, status),
            (401, _) => Self::Unreachable(describe(error)),
            (413 | 422 | 400, _) => refused(Reason::Invalid, status),
            (429, _) => Self::Throttled(describe(error)),
            (500.., _) => Self::Failing(describe(error)),
            _ => refused(Reason::WriteFailed, status),
        }
    }

    /// What it says of the cluster as a whole, when it does.
    pub fn condition(&self) -> Option<ClusterCondition> {
        match self {
            Self::Throttled(why) => Some(ClusterCondition::Throttled(why.clone())),
            Self::Failing(why) => Some(ClusterCondition::Failing(why.clone())),
            Self::Unreachable(why) => Some(ClusterCondition::Unreachable(why.clone())),
            Self::AlreadyExists | Self::Changed | Self::Gone | Self::Refused { .. } => None,
        }
    }
}

/// `admission webhook "x" denied the request`, and the like of a ValidatingAdmissionPolicy.
fn is_denied_by_webhook(status: &Status) -> bool {
    status.message.contains("denied the request") || status.message.contains("denied request")
}

fn refused(reason: Reason, status: &Status) -> WriteError {
    WriteError::Refused { reason, message: short(&status.message) }
}

/// A namespace that is being deleted takes nothing new; its status says so in the details.
fn is_terminating(status: &Status) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
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
    match error {
        kube::Error::Api(status) => short(&format!("{} ({} {})", status.message, status.code, status.reason)),
        kube::Error::SerdeError(_) => "the answer could not be read".to_owned(),
        other => {
            // Of the layers that an error has come through, those that say something.
            let mut text = match other {
                kube::Error::Service(error) => error.to_string(),
                other => other.to_string(),
            };
            let mut cause = other.source();
            while let Some(error) = cause {
                let more = error.to_string();
                if !text.contains(&more) {
                    text.push_str(": ");
                    text.push_str(&more);
                }
                cause = error.source();
            }
            short(&text)
        }
    }
}

fn short(message: &str) -> String {
    let mut text: String = message.chars().take(MAX_MESSAGE).collect();
    if text.len() < message.len() {
        text.push('…');
    }
    text
}
