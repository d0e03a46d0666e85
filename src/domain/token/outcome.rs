//! What came of minting a token.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::domain::{
    SecretBytes,
    reason::Reason,
    verification::{Answer, NoAnswer, Server, ServerKind},
};

/// A token, as it is put into a docker config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// May be as secret as the password.
    pub username: SecretBytes,
    pub password: SecretBytes,
    /// Until when it is good.
    pub expires: Timestamp,
    /// How long it was good when it was minted, by the clock of who minted it.
    pub life: Duration,
}

impl Token {
    /// How long it is still good.
    pub fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.expires.duration_since(now)).unwrap_or_default()
    }
}

/// Why no token was minted. Nothing in the message is foreign text but a code of letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct MintError {
    pub reason: Reason,
    pub message: String,
    /// How long the cloud asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl MintError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }

    /// The cloud, or this machine, has no such identity.
    pub fn identity_missing(message: impl Into<String>) -> Self {
        Self::new(Reason::IdentityMissing, message)
    }

    /// No policy lets the credential use the operator's identity.
    pub fn not_permitted() -> Self {
        Self::new(
            Reason::IdentityNotPermitted,
            "no DistributionPolicy allows this credential to use the identity of Claviger; ask a cluster administrator for one with `allowOperatorIdentity`, or use `serviceAccountRef` or `secretRef`",
        )
    }

    /// Nothing is minted any more for a credential that is being deleted.
    pub fn deleting() -> Self {
        Self::new(Reason::Deleting, "the credential is being deleted, so no more tokens are minted for it")
    }

    /// Whether the cloud has refused the identity: who asks on and on is barred.
    pub fn is_refusal(&self) -> bool {
        self.reason == Reason::TokenRefused
    }

    /// No answer came.
    pub fn unanswered(server: &Server, why: NoAnswer) -> Self {
        let outcome = why.outcome(ServerKind::Cloud).at(ServerKind::Cloud, server);
        Self { retry_after: outcome.retry_after, ..Self::new(outcome.reason, outcome.message) }
    }

    /// An answer that gives no token.
    pub fn answered(server: &Server, answer: &Answer) -> Self {
        let code = code(answer.body.expose());
        let words = ["throttl", "toomanyrequests", "too_many_requests", "requestlimitexceeded", "slow_down"];
        let lower = code.as_ref().map(|code| code.to_ascii_lowercase()).unwrap_or_default();
        let is_throttled = answer.status == 429 || words.iter().any(|word| lower.contains(word));
        let (reason, what) = match answer.status {
            400..=599 if is_throttled => (Reason::RateLimited, "accepts no more requests for now"),
            500..=599 => (Reason::CloudUnreachable, "has an internal error"),
            400..=499 => (Reason::TokenRefused, "refuses to mint a token for this identity"),
            _ => (Reason::UnexpectedAnswer, "gives an answer without a token"),
        };
        let code = code.map_or_else(String::new, |code| format!(" {code}"));
        let message = format!("{server} {what} (HTTP {}{code})", answer.status);
        Self { retry_after: answer.retry_after(), ..Self::new(reason, message) }
    }
}

/// The longest error code that is passed on, in bytes.
const MAX_CODE: usize = 64;

/// The error code of an answer, where one stands where clouds write them.
fn code(body: &[u8]) -> Option<String> {
    let found = match serde_json::from_slice::<Value>(body) {
        Ok(read) => {
            let error = read.get("error");
            let inside = error.and_then(|error| error.get("status"));
            let code = read.get("__type").or(inside).or(error).or_else(|| read.get("id"))?;
            code.as_str()?.rsplit('#').next()?.to_owned()
        }
        Err(_) => {
            let (_, rest) = str::from_utf8(body).ok()?.split_once("<Code>")?;
            rest.split_once("</Code>")?.0.to_owned()
        }
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (found.len() <= MAX_CODE && found.bytes().all(is_plain)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(status, body.into())
    }

    #[test]
    fn codes_are_found_where_clouds_write_them_and_nothing_else_is_passed_on() {
        for (body, wanted) in [
            (
                r#"{"__type":"com.amazon#UnrecognizedClientException","message":"m"}"#,
                Some("UnrecognizedClientException"),
            ),
            (r#"{"error":"invalid_client","error_description":"AADSTS7000215: m"}"#, Some("invalid_client")),
            (r#"{"error":{"code":403,"status":"PERMISSION_DENIED"}}"#, Some("PERMISSION_DENIED")),
            (r#"{"id":"unauthorized","message":"m"}"#, Some("unauthorized")),
            ("<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", Some("AccessDenied")),
            (r#"{"error":"see https://evil.example.com"}"#, None),
            (r#"{"error":["x"]}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(code(body.as_bytes()).as_deref(), wanted, "{body}");
        }
        assert_eq!(code(format!("{{\"error\":\"{}\"}}", "x".repeat(MAX_CODE + 1)).as_bytes()), None);
    }

    #[test]
    fn a_cloud_that_has_too_much_to_do_refuses_nobody() {
        let server = Server::parse("sts.amazonaws.com").unwrap();
        let of = |status, body| MintError::answered(&server, &answer(status, body)).reason;
        assert_eq!(of(400, r#"{"__type":"ThrottlingException"}"#), Reason::RateLimited);
        assert_eq!(of(429, ""), Reason::RateLimited);
        assert_eq!(of(503, ""), Reason::CloudUnreachable);
        assert_eq!(of(403, ""), Reason::TokenRefused);
        assert_eq!(of(200, "{}"), Reason::UnexpectedAnswer);
        let error = MintError::answered(&server, &answer(400, r#"{"error":"invalid_grant"}"#));
        assert_eq!(
            error.message,
            "sts.amazonaws.com refuses to mint a token for this identity (HTTP 400 invalid_grant)"
        );
        let error = MintError::unanswered(&server, NoAnswer::TimedOut);
        assert_eq!(
            (error.reason, error.message.as_str()),
            (Reason::CloudUnreachable, "sts.amazonaws.com did not answer in time")
        );
    }
}
