//! What the API server's refusals mean to us.

use std::{error::Error, iter::successors};

use kube::core::Status;

use super::{answer::AnswerError, splitter::ListError};
use crate::domain::{
    cluster_condition::{ClusterCondition, ConnectionError, Denied},
    content::Data,
    failure::Failure,
    foreign_text::foreign_text,
    quotation::{hidden, without_values},
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
    /// Reads an error of kube's from a list that was made for one object. How much there is to list is up to those who
    /// can make objects, so an answer beyond its bounds says nothing of the cluster.
    pub fn of_list(error: &kube::Error) -> Self {
        if is_beyond_bounds(error) {
            let message = format!("the objects that it depends on cannot be listed: {}", describe(error));
            return Self::Refused(Failure::Write { reason: Reason::WriteFailed, message });
        }
        Self::of(error)
    }

    /// Reads an error of kube's from a patch: one whose test failed is about an object that is not as it was seen. An API
    /// server says so in the same words as that a field is not valid, but for the cause.
    pub fn of_patch(error: &kube::Error) -> Self {
        let is_test = |status: &Status| {
            let mut causes = status.details.iter().flat_map(|details| &details.causes);
            status.code == 422 && causes.any(|cause| cause.reason == "UnexpectedServerResponse")
        };
        match error {
            kube::Error::Api(status) if is_test(status) => Self::Changed,
            error => Self::of(error),
        }
    }

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

    /// The same, without values that an API server or a webhook may quote. `known` is what was written, now and before;
    /// `all_known` tells that no other values can be quoted.
    pub fn without_values(self, known: &[&Data], all_known: bool) -> Self {
        let without = |text| without_values(text, known);
        match self {
            Self::Refused(Failure::Write { reason, message }) => {
                let by_admission = matches!(reason, Reason::AdmissionDenied | Reason::WebhookFailed);
                let is_hidden = !all_known && (by_admission || known.is_empty());
                let message = if is_hidden { hidden(&message) } else { without(message) };
                Self::Refused(Failure::Write { reason, message })
            }
            Self::Cluster(condition) => Self::Cluster(condition.map_text(without)),
            other => other,
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

/// Whether an answer came, and did not end in time.
pub(super) fn is_slow(error: &kube::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(AnswerError::TooSlow(_))))
}

/// Whether an answer came, and was more than is read of any.
fn is_beyond_bounds(error: &kube::Error) -> bool {
    let is_bound = |cause: &(dyn Error + 'static)| cause.is::<AnswerError>() || cause.is::<ListError>();
    causes(error).any(is_bound)
}

/// What led to an error, from the outside in.
pub(super) fn causes(error: &kube::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |&error| error.source())
}

/// As it is told: a server may say anything.
fn short(message: &str) -> String {
    foreign_text(message, MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SecretBytes;

    fn refused(code: u16, message: &str) -> WriteError {
        let status = Status::failure(message, "X").with_code(code);
        WriteError::of(&kube::Error::Api(status.boxed()))
    }

    fn shown(error: WriteError) -> String {
        match error {
            WriteError::Refused(Failure::Write { message, .. }) => message,
            WriteError::Cluster(condition) => condition.message("east"),
            other => panic!("{other:?}"),
        }
    }

    const DENIED: &str = r#"admission webhook "w.example.com" denied the request"#;

    #[test]
    fn a_refusal_that_quotes_a_value_says_who_and_not_what() {
        let data = Data::from([("password".to_owned(), SecretBytes::from("correct-horse"))]);
        for (code, quoted) in [
            (403, "correct-horse"),
            (422, "Y29ycmVjdC1ob3JzZQ=="),
            (500, "a correct-h"),
            (429, "orse correct-horse"),
        ] {
            let error = refused(code, &format!("got {quoted}"));
            let told = shown(error.without_values(&[&data], true));
            assert!(told.contains("is not shown") && !told.contains(quoted), "{told}");
        }
        let told = shown(refused(403, &format!("{DENIED}: team is missing")).without_values(&[&data], true));
        assert_eq!(told, format!("{DENIED}: team is missing"));
    }

    #[test]
    fn what_admission_says_is_not_shown_where_it_may_quote_a_value_that_is_not_known() {
        let data = Data::from([("password".to_owned(), SecretBytes::from("correct-horse"))]);
        for data in [&[&data][..], &[]] {
            let told = shown(refused(403, &format!("{DENIED}: had old-value")).without_values(data, false));
            assert!(told.contains("\"w.example.com\"") && !told.contains("old-value"), "{told}");
        }
        let told = shown(refused(403, "secrets is forbidden").without_values(&[&data], false));
        assert_eq!(told, "secrets is forbidden");
        let told = shown(refused(403, "secrets is forbidden: had old-value").without_values(&[], false));
        assert!(!told.contains("old-value"), "{told}");
    }

    #[test]
    fn whatever_a_server_says_is_one_short_line() {
        let text = format!("a\u{1b}[31m\r\nfake line \u{202e}{}", "x".repeat(1 << 20));
        for code in [401, 403, 422, 429, 500] {
            let told = shown(refused(code, &text));
            assert!(
                told.chars().count() < MAX_MESSAGE + 100 && !told.contains(['\u{1b}', '\n', '\u{202e}']),
                "{told}"
            );
        }
    }
}
