//! What the API server's refusals mean to us.

use std::error::Error as _;

use kube::core::Status;

use crate::domain::trouble::{Cause, Refusal};

/// The longest message that is passed on, in characters.
const MAX_MESSAGE: usize = 400;

/// What became of a write that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The name is taken.
    AlreadyExists,
    /// The object is not as it was seen.
    Changed,
    /// The object, or its namespace, is gone or going.
    Gone,
    /// The write was refused for a reason that lies with this namespace.
    Refused {
        /// A stable PascalCase reason.
        reason: &'static str,
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

impl Trouble {
    /// Reads an error of kube's.
    #[must_use]
    pub fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Unreachable(describe(error)) };
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Self::AlreadyExists,
            (409, _) => Self::Changed,
            (404, _) => Self::Gone,
            (403, _) if is_terminating(status) => Self::Gone,
            (403, _) if status.message.contains("exceeded quota") => refused("QuotaExceeded", status),
            (403, _)
                if status.message.contains("denied the request")
                    || status.message.contains("denied request") =>
            {
                refused("AdmissionDenied", status)
            }
            (403, _) => refused("Forbidden", status),
            (401, _) => Self::Unreachable(describe(error)),
            (413 | 422 | 400, _) => refused("Invalid", status),
            (429, _) => Self::Throttled(describe(error)),
            // Webhooks may be of a few namespaces only.
            (500, _) if status.message.contains("failed calling webhook") => refused("WebhookFailed", status),
            (500.., _) => Self::Failing(describe(error)),
            _ => refused("WriteFailed", status),
        }
    }
}

fn refused(reason: &'static str, status: &Status) -> Trouble {
    Trouble::Refused { reason, message: short(&status.message) }
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
#[must_use]
pub fn cause(error: &kube::Error) -> Cause {
    let refusal = match error {
        kube::Error::Api(status) if status.code == 401 => Some(Refusal::Unauthorized),
        kube::Error::Api(status) if status.code == 403 => Some(Refusal::Forbidden),
        _ => None,
    };
    Cause { refusal, text: describe(error) }
}

/// One line for people. Says nothing of what was read: a decoding error could quote it.
#[must_use]
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
