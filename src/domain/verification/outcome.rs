//! What came of trying a login.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{
    error_code::ErrorCode,
    server::{Server, ServerKind},
};
use crate::domain::{
    SecretBytes, condition::ConditionStatus, reason::Reason, schedule::REGISTRY_LIMITED_PAUSE,
};

/// What came of trying a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub reason: Reason,
    /// What was found, in a sentence. Nothing in it is foreign text.
    pub message: String,
    pub http_status: Option<i64>,
    pub code: Option<ErrorCode>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Where the registry sent the login to for a token, where that is another server.
    pub realm: Option<String>,
    /// The namespace of a registry that has an API for them.
    pub namespace: Option<FoundNamespace>,
}

/// A namespace as the API of its registry tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundNamespace {
    pub id: String,
    pub endpoint: String,
}

impl Outcome {
    /// The message is the rest of a sentence that begins with the server, until [`Outcome::at`].
    pub fn new(reason: Reason, message: &str) -> Self {
        let message = message.to_owned();
        Self {
            reason,
            message,
            http_status: None,
            code: None,
            retry_after: None,
            realm: None,
            namespace: None,
        }
    }

    /// Of an answer.
    pub fn answered(reason: Reason, message: &str, answer: &Answer) -> Self {
        let code = ErrorCode::read(answer.body.expose());
        Self { http_status: Some(answer.status.into()), code, ..Self::new(reason, message) }
    }

    /// What condition `Verified` says: `False` is a refusal by the server, and nothing else is.
    pub fn status(&self) -> ConditionStatus {
        match self.reason {
            Reason::Authenticated => ConditionStatus::True,
            Reason::AuthenticationFailed
            | Reason::AccessDenied
            | Reason::RepositoryNotFound
            | Reason::NamespaceNotFound
            | Reason::InvalidAccessKey
            | Reason::SignatureMismatch
            | Reason::BucketNotFound
            | Reason::WrongRegion => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        }
    }

    /// Whether the server has said something of it, or has shown that it never will.
    pub fn is_opinion(&self) -> bool {
        self.status() != ConditionStatus::Unknown || self.reason == Reason::NotDistinguishable
    }

    /// Whether the server has definitely refused it.
    pub fn is_refusal(&self) -> bool {
        self.status() == ConditionStatus::False
    }

    /// Whether the server has said that user name or password, or the access key, are wrong, whatever they are for.
    pub fn is_wrong(&self) -> bool {
        matches!(
            self.reason,
            Reason::AuthenticationFailed | Reason::InvalidAccessKey | Reason::SignatureMismatch
        )
    }

    /// Whether both say the same. How long the server wants to be left alone is told nobody.
    pub fn says(&self, other: &Self) -> bool {
        let told = |outcome: &Self| Self { retry_after: None, ..outcome.clone() };
        told(self) == told(other)
    }

    /// With its message as a whole sentence: about which server it is, and the HTTP status and error code behind it.
    pub fn at(self, kind: ServerKind, server: &Server) -> Self {
        self.about(&kind.subject(server))
    }

    /// The same, about anything.
    pub fn about(self, subject: &str) -> Self {
        let status = self.http_status.map(|status| format!("HTTP {status}"));
        let code = self.code.map(|code| code.as_str().to_owned());
        let behind: Vec<String> = status.into_iter().chain(code).collect();
        let behind = if behind.is_empty() { String::new() } else { format!(" ({})", behind.join(" ")) };
        Self { message: format!("{subject} {}{behind}", self.message), ..self }
    }
}

/// An answer to one request, as far as it counts.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: u16,
    /// The values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
    /// The value of `Retry-After`.
    pub retry_after: Option<String>,
    /// When it was given, by the clock of the server.
    pub date: Option<Timestamp>,
    /// The value of `X-Amz-Bucket-Region`.
    pub region: Option<String>,
    /// May hold a token.
    pub body: SecretBytes,
}

impl Answer {
    pub fn new(status: u16, body: SecretBytes) -> Self {
        Self { status, challenges: Vec::new(), retry_after: None, date: None, region: None, body }
    }

    /// Whether it is a page for people. The type of the content says nothing: Quay calls its `true` a page.
    pub fn is_page(&self) -> bool {
        self.body.expose().trim_ascii_start().first() == Some(&b'<')
    }

    /// Whether the registry itself says that the login is not good for what was asked. A status alone does not: what
    /// stands before a registry answers 403, too, such as to an address that has failed too often.
    pub fn is_denied(&self) -> bool {
        let code = ErrorCode::read(self.body.expose());
        (400..500).contains(&self.status) && matches!(code, Some(ErrorCode::DENIED | ErrorCode::UNAUTHORIZED))
    }

    /// How long the server is to be left alone, where it asks for that.
    pub fn pause(&self) -> Option<Duration> {
        let (is_throttled, retry_after) = (self.is_throttled(), self.retry_after());
        let is_unavailable = is_throttled || self.is_fault();
        retry_after.filter(|_| is_unavailable).or(is_throttled.then_some(REGISTRY_LIMITED_PAUSE))
    }

    /// Whether the server wants fewer requests.
    fn is_throttled(&self) -> bool {
        use ErrorCode::{
            RequestLimitExceeded, SlowDown, TOO_MANY_REQUEST, TOOMANYREQUESTS, ThrottlingException,
        };
        let code = ErrorCode::read(self.body.expose());
        let is_named = matches!(
            code,
            Some(TOOMANYREQUESTS | TOO_MANY_REQUEST | SlowDown | ThrottlingException | RequestLimitExceeded)
        );
        (400..600).contains(&self.status) && (self.status == 429 || is_named)
    }

    fn is_fault(&self) -> bool {
        (500..600).contains(&self.status)
    }

    /// The outcome of an answer that says nothing of the login: the server has too much to do, or a fault.
    pub fn unavailable(&self, kind: ServerKind) -> Option<Outcome> {
        let (reason, detail) = if self.is_throttled() {
            (Reason::RateLimited, "accepts no more requests for now")
        } else if self.is_fault() {
            (kind.unreachable(), "has an internal error")
        } else {
            return None;
        };
        Some(Outcome { retry_after: self.retry_after(), ..Outcome::answered(reason, detail, self) })
    }

    /// The seconds of `Retry-After`. It may also be a date, which depends on the clocks of two machines; then the usual
    /// wait is used.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.as_deref()?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    NameNotFound,
    NotConnected,
    TimedOut,
    /// The certificate of the server is not trusted.
    UnknownAuthority,
    CertificateExpired,
    CertificateName,
    Tls,
    /// All addresses of the server are of a kind that may not be asked.
    AddressNotAllowed,
    /// The server has asked to be left alone, and for how long still.
    Throttled(Duration),
    /// It is longer than any answer that is of use.
    TooLong,
    Broken,
}

impl NoAnswer {
    pub fn outcome(self, kind: ServerKind) -> Outcome {
        let (reason, detail) = match self {
            Self::NameNotFound => (kind.unreachable(), "has a name that does not resolve"),
            Self::NotConnected => (kind.unreachable(), "does not accept connections, or cannot be reached"),
            Self::TimedOut => (kind.unreachable(), "did not answer in time"),
            Self::Broken => (kind.unreachable(), "ended its answer too early"),
            Self::UnknownAuthority => {
                let field = kind.authorities_field();
                let detail = format!(
                    "has a certificate of an unknown authority; set `{field}`, or --registry-ca of Claviger"
                );
                return Outcome::new(Reason::TLSError, &detail);
            }
            Self::CertificateExpired => {
                (Reason::TLSError, "has a certificate that has expired or is not valid yet")
            }
            Self::CertificateName => (Reason::TLSError, "has a certificate for another name"),
            Self::Tls => (Reason::TLSError, "does not speak TLS correctly"),
            Self::AddressNotAllowed => (
                kind.not_allowed(),
                "has a private, loopback or reserved address; an administrator can list one that is not reserved in --private-registries of Claviger",
            ),
            Self::Throttled(left) => {
                let outcome = Outcome::new(Reason::RateLimited, "has asked Claviger to wait");
                return Outcome { retry_after: Some(left), ..outcome };
            }
            Self::TooLong => {
                let detail = format!("gives a longer answer than {} does", kind.any());
                return Outcome::new(kind.not_one(), &detail);
            }
        };
        Outcome::new(reason, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(status, body.into())
    }

    #[test]
    fn a_message_has_the_status_and_the_code_and_nothing_of_the_body() {
        let body = r#"{"errors":[{"code":"DENIED","message":"ask evil.example.com"}]}"#;
        let ghcr = Server::parse("ghcr.io").unwrap();
        let outcome = |body| {
            Outcome::answered(Reason::AccessDenied, "refuses", &answer(403, body))
                .at(ServerKind::Registry, &ghcr)
                .message
        };
        assert_eq!(outcome(body), "registry ghcr.io refuses (HTTP 403 DENIED)");
        assert_eq!(outcome(r#"{"errors":[{"code":"EVIL"}]}"#), "registry ghcr.io refuses (HTTP 403)");
        assert_eq!(
            Outcome::new(Reason::Authenticated, "accepts it").at(ServerKind::Registry, &ghcr).message,
            "registry ghcr.io accepts it"
        );
    }

    #[test]
    fn a_server_with_too_much_to_do_says_nothing_of_the_login() {
        let unavailable = |answer: &Answer| answer.unavailable(ServerKind::Registry);
        let throttled = Answer { retry_after: Some(" 30".to_owned()), ..answer(429, "") };
        let outcome = unavailable(&throttled).unwrap();
        assert_eq!(
            (outcome.reason, outcome.retry_after),
            (Reason::RateLimited, Some(Duration::from_secs(30)))
        );
        let code = answer(403, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#);
        assert_eq!(unavailable(&code).unwrap().reason, Reason::RateLimited);
        assert_eq!(unavailable(&answer(502, "<html>")).unwrap().reason, Reason::RegistryUnreachable);
        assert_eq!(unavailable(&answer(401, "")), None);
        for outcome in [unavailable(&throttled), unavailable(&answer(500, ""))] {
            assert_eq!(outcome.unwrap().status(), ConditionStatus::Unknown);
        }
        let pause = |answer: Answer| answer.pause();
        assert_eq!(pause(throttled), Some(Duration::from_secs(30)));
        assert_eq!(pause(answer(429, "")), Some(REGISTRY_LIMITED_PAUSE), "it does not say how long");
        let dated = Some("Sat, 22 Nov 2026 07:28:00 GMT".to_owned());
        let dated = Answer { retry_after: dated, ..code };
        assert_eq!((dated.retry_after(), pause(dated)), (None, Some(REGISTRY_LIMITED_PAUSE)));
        let busy = Answer { retry_after: Some("7".to_owned()), ..answer(503, "") };
        assert_eq!(pause(busy), Some(Duration::from_secs(7)));
        assert_eq!((pause(answer(503, "")), pause(answer(401, ""))), (None, None));
        let busy = answer(503, "<Error><Code>SlowDown</Code></Error>");
        assert_eq!(busy.unavailable(ServerKind::ObjectStorage).unwrap().reason, Reason::RateLimited);
        assert_eq!(pause(busy), Some(REGISTRY_LIMITED_PAUSE));
    }

    #[test]
    fn a_fault_is_called_as_what_is_asked_is() {
        use ServerKind::{Cloud, ObjectStorage, Registry};
        let server = Server::parse("a.example.com").unwrap();
        for (kind, subject, down, not_allowed, other) in [
            (
                Registry,
                "registry a.example.com",
                Reason::RegistryUnreachable,
                Reason::RegistryNotAllowed,
                Reason::NotARegistry,
            ),
            (
                Cloud,
                "a.example.com",
                Reason::CloudUnreachable,
                Reason::RegistryNotAllowed,
                Reason::CloudUnreachable,
            ),
            (
                ObjectStorage,
                "endpoint a.example.com",
                Reason::EndpointUnreachable,
                Reason::EndpointNotAllowed,
                Reason::UnexpectedAnswer,
            ),
        ] {
            let of = |why: NoAnswer| why.outcome(kind).at(kind, &server);
            assert_eq!(of(NoAnswer::TimedOut).message, format!("{subject} did not answer in time"));
            assert_eq!(of(NoAnswer::TimedOut).reason, down);
            assert_eq!(of(NoAnswer::AddressNotAllowed).reason, not_allowed);
            assert_eq!(of(NoAnswer::TooLong).reason, other);
            assert_eq!(answer(500, "").unavailable(kind).unwrap().reason, down);
        }
        let untrusted = NoAnswer::UnknownAuthority.outcome(ObjectStorage);
        assert!(untrusted.message.contains("set `spec.caSecretRef`,"), "{}", untrusted.message);
    }
}
