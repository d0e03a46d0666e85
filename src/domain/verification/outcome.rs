//! What came of trying a login.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::server::Server;
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
    /// How long the registry asks to be left alone.
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
    /// The message is the rest of a sentence that begins with the registry, until [`Outcome::at`].
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

    /// What condition `Verified` says: `False` is a refusal by the registry, and nothing else is.
    pub fn status(&self) -> ConditionStatus {
        match self.reason {
            Reason::Authenticated => ConditionStatus::True,
            Reason::AuthenticationFailed
            | Reason::AccessDenied
            | Reason::RepositoryNotFound
            | Reason::NamespaceNotFound => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        }
    }

    /// Whether the registry has said something of it, or has shown that it never will.
    pub fn is_opinion(&self) -> bool {
        self.status() != ConditionStatus::Unknown || self.reason == Reason::NotDistinguishable
    }

    /// Whether the registry has definitely refused it.
    pub fn is_refusal(&self) -> bool {
        self.status() == ConditionStatus::False
    }

    /// Whether the registry has said that user name or password are wrong.
    pub fn is_wrong(&self) -> bool {
        self.reason == Reason::AuthenticationFailed
    }

    /// Whether both say the same. How long the registry wants to be left alone is told nobody.
    pub fn says(&self, other: &Self) -> bool {
        let told = |outcome: &Self| Self { retry_after: None, ..outcome.clone() };
        told(self) == told(other)
    }

    /// With its message as a whole sentence: about which registry it is, and the HTTP status and error code behind it.
    pub fn at(self, registry: &Server) -> Self {
        self.about(&format!("registry {registry}"))
    }

    /// The same, about any server.
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
    /// May hold a token.
    pub body: SecretBytes,
}

impl Answer {
    pub fn new(status: u16, body: SecretBytes) -> Self {
        Self { status, challenges: Vec::new(), retry_after: None, date: None, body }
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
        let Outcome { reason, retry_after, .. } = self.unavailable()?;
        retry_after.or((reason == Reason::RateLimited).then_some(REGISTRY_LIMITED_PAUSE))
    }

    /// The outcome of an answer that says nothing of the login: the server has too much to do, or a fault.
    pub fn unavailable(&self) -> Option<Outcome> {
        let code = ErrorCode::read(self.body.expose());
        let is_throttled = self.status == 429
            || matches!(code, Some(ErrorCode::TOOMANYREQUESTS | ErrorCode::TOO_MANY_REQUEST));
        let (reason, detail) = match self.status {
            400..=599 if is_throttled => (Reason::RateLimited, "accepts no more requests for now"),
            500..=599 => (Reason::RegistryUnreachable, "has an internal error"),
            _ => return None,
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
    pub fn outcome(self) -> Outcome {
        let (reason, detail) = match self {
            Self::NameNotFound => (Reason::RegistryUnreachable, "has a name that does not resolve"),
            Self::NotConnected => (Reason::RegistryUnreachable, "cannot be connected to"),
            Self::TimedOut => (Reason::RegistryUnreachable, "did not answer in time"),
            Self::Broken => (Reason::RegistryUnreachable, "ended its answer too early"),
            Self::UnknownAuthority => (
                Reason::TLSError,
                "has a certificate of an unknown authority; set `spec.verification.caSecretRef`, or --registry-ca of Claviger",
            ),
            Self::CertificateExpired => {
                (Reason::TLSError, "has a certificate that is not valid at this time")
            }
            Self::CertificateName => (Reason::TLSError, "has a certificate for another name"),
            Self::Tls => (Reason::TLSError, "does not speak TLS correctly"),
            Self::AddressNotAllowed => (
                Reason::RegistryNotAllowed,
                "has a private, loopback or reserved address; an administrator can list one that is not reserved in --private-registries of Claviger",
            ),
            Self::Throttled(left) => {
                let outcome = Outcome::new(Reason::RateLimited, "has asked Claviger to wait");
                return Outcome { retry_after: Some(left), ..outcome };
            }
            Self::TooLong => (Reason::NotARegistry, "gives a longer answer than a registry does"),
        };
        Outcome::new(reason, detail)
    }
}

macro_rules! error_codes {
    ($($code:ident),+ $(,)?) => {
        /// An error code of the distribution specification; any other is not passed on, as it would be foreign text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::upper_case_acronyms, reason = "as in the specification")]
        #[allow(non_camel_case_types, reason = "as in the specification")]
        pub(crate) enum ErrorCode { $($code),+ }

        impl ErrorCode {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),+ }
            }

            /// Reads one.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $(stringify!($code) => Some(Self::$code),)+ _ => None }
            }
        }
    };
}
error_codes!(
    UNAUTHORIZED,
    DENIED,
    UNSUPPORTED,
    TOOMANYREQUESTS,
    // As Harbor writes it.
    TOO_MANY_REQUEST,
    NAME_INVALID,
    NAME_UNKNOWN,
    MANIFEST_INVALID,
    MANIFEST_UNKNOWN,
    UNAVAILABLE,
    UNKNOWN,
);

impl ErrorCode {
    /// The first code of an error as the specification has it: `{"errors":[{"code":".."}]}`.
    fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<Error>,
        }
        #[derive(Deserialize)]
        struct Error {
            code: String,
        }
        let read: Errors = serde_json::from_slice(body).ok()?;
        Self::parse(&read.errors.first()?.code)
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
        let outcome =
            |body| Outcome::answered(Reason::AccessDenied, "refuses", &answer(403, body)).at(&ghcr).message;
        assert_eq!(outcome(body), "registry ghcr.io refuses (HTTP 403 DENIED)");
        assert_eq!(outcome(r#"{"errors":[{"code":"EVIL"}]}"#), "registry ghcr.io refuses (HTTP 403)");
        assert_eq!(
            Outcome::new(Reason::Authenticated, "accepts it").at(&ghcr).message,
            "registry ghcr.io accepts it"
        );
    }

    #[test]
    fn a_server_with_too_much_to_do_says_nothing_of_the_login() {
        let throttled = Answer { retry_after: Some(" 30".to_owned()), ..answer(429, "") };
        let outcome = throttled.unavailable().unwrap();
        assert_eq!(
            (outcome.reason, outcome.retry_after),
            (Reason::RateLimited, Some(Duration::from_secs(30)))
        );
        let code = answer(403, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#);
        assert_eq!(code.unavailable().unwrap().reason, Reason::RateLimited);
        assert_eq!(answer(502, "<html>").unavailable().unwrap().reason, Reason::RegistryUnreachable);
        assert_eq!(answer(401, "").unavailable(), None);
        for outcome in [throttled.unavailable(), answer(500, "").unavailable()] {
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
    }
}
