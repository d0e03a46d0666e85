//! How an access key is tried at a bucket, request by request: a signed list of at most one key of it.
//!
//! Per the API reference of Amazon S3, "ListObjectsV2" and "Error responses". What an answer means is told by the code in
//! its body and never by its HTTP status alone, of which servers do not agree, and which anybody on the way may give.

use std::{mem, net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::{
    error_code::ErrorCode,
    login::{BucketLogin, Login},
    outcome::{Answer, NoAnswer, Outcome},
    request::{Method, Request},
    server::{RegistryAccess, Scheme, Server, ServerKind},
    step::Step,
    xml::{self, Document},
};
use crate::domain::{
    reason::Reason,
    sigv4::{S3, Scope, sign},
};

const KIND: ServerKind = ServerKind::ObjectStorage;

/// The longest name of a region that is told.
const MAX_REGION: usize = 32;

/// From how far on clocks that differ explain a refusal that says nothing: S3 takes 15 minutes.
const MAX_SKEW: Duration = Duration::from_secs(600);

const UNEXPECTED: &str = "gives an answer that is not expected from object storage; check `spec.endpoint`";

/// What the last request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Whether the key may list the bucket.
    List,
    /// Where the bucket is; and what came of the list, should that not be told.
    Region(Outcome),
}

/// An access key that is being tried.
pub(crate) struct BucketHandshake {
    login: Arc<Login>,
    bucket: BucketLogin,
    access: Arc<RegistryAccess>,
    /// Who is asked, and at which path.
    server: Server,
    path: String,
    stage: Stage,
}

impl BucketHandshake {
    /// With its first request.
    pub fn begin(
        login: Arc<Login>,
        bucket: &BucketLogin,
        access: Arc<RegistryAccess>,
        now: Timestamp,
    ) -> (Self, Step) {
        let (server, path) = place(&login.server, bucket);
        let (bucket, stage) = (bucket.clone(), Stage::List);
        let handshake = Self { login, bucket, access, server, path, stage };
        let (access, login, scheme) = (&handshake.access, &handshake.login, handshake.bucket.scheme);
        let first = match login.not_asked(scheme, access) {
            Some(outcome) => handshake.done(outcome),
            None if scheme == Scheme::Http && !access.allows_plain(&login.server) => {
                let detail = "is only asked with TLS; an administrator can list it in --plain-http-registries of Claviger";
                handshake.done(Outcome::new(Reason::EndpointNotAllowed, detail))
            }
            None => handshake.ask(Method::Get, "?list-type=2&max-keys=1", now),
        };
        (handshake, first)
    }

    /// What follows from the answer to the last request.
    pub fn answered(&mut self, answer: Result<Answer, NoAnswer>, now: Timestamp) -> Step {
        match (mem::replace(&mut self.stage, Stage::List), answer) {
            (Stage::Region(listed), answer) => {
                let told = answer.ok().and_then(|answer| answer.region);
                self.done(match told.filter(|region| self.is_other(region)) {
                    Some(region) => {
                        Outcome { reason: Reason::WrongRegion, message: expects(&region), ..listed }
                    }
                    None => listed,
                })
            }
            (Stage::List, Err(no_answer)) => self.failed(no_answer.outcome(KIND)),
            (Stage::List, Ok(answer)) => match answer.unavailable(KIND) {
                Some(outcome) => self.failed(outcome),
                None => self.listed(&answer, now),
            },
        }
    }

    fn listed(&mut self, answer: &Answer, now: Timestamp) -> Step {
        use ErrorCode::{
            AccessDenied, AllAccessDisabled, AuthorizationHeaderMalformed, ExpiredToken,
            IllegalLocationConstraintException, InvalidAccessKeyId, InvalidBucketName, InvalidRegionName,
            InvalidToken, NoSuchBucket, PermanentRedirect, RequestExpired, RequestTimeTooSkewed,
            SignatureDoesNotMatch, TokenRefreshRequired, Unauthorized,
        };
        let document = xml::read(answer.body.expose()).unwrap_or_default();
        if answer.status == 200 && document.root == "ListBucketResult" {
            let detail = "accepts the access key, and lets it list the bucket";
            return self.done(Outcome::new(Reason::Authenticated, detail));
        }
        let code = ErrorCode::of_document(&document).filter(|_| answer.status >= 300);
        let (reason, detail) = match code {
            Some(AccessDenied | AllAccessDisabled) => (
                Reason::AccessDenied,
                "knows the access key, but does not let it list the bucket; that needs s3:ListBucket",
            ),
            Some(InvalidAccessKeyId | Unauthorized) => {
                (Reason::InvalidAccessKey, "does not know this access key")
            }
            Some(InvalidToken | ExpiredToken | TokenRefreshRequired) => (
                Reason::InvalidAccessKey,
                "does not accept the session token: it has expired, or belongs to another access key",
            ),
            // As versitygw had it before it told of the region.
            Some(SignatureDoesNotMatch) if document.message.to_ascii_lowercase().contains("valid region") => {
                (Reason::WrongRegion, "expects another region than `spec.region`, and does not say which")
            }
            Some(SignatureDoesNotMatch) => (
                Reason::SignatureMismatch,
                "does not accept the signature: the secret key does not belong to this access key",
            ),
            Some(NoSuchBucket | InvalidBucketName) => {
                (Reason::BucketNotFound, "has no such bucket; check `spec.bucket` and `spec.endpoint`")
            }
            Some(PermanentRedirect | IllegalLocationConstraintException) => (
                Reason::WrongRegion,
                "has the bucket in another region, or at another endpoint; check `spec.region` and `spec.endpoint`",
            ),
            Some(InvalidRegionName) => (Reason::WrongRegion, "does not know the region; check `spec.region`"),
            // Whatever else is wrong with the header is no fault of the credential.
            Some(AuthorizationHeaderMalformed) => (Reason::UnexpectedAnswer, UNEXPECTED),
            Some(RequestTimeTooSkewed | RequestExpired) => return self.done(skewed(answer, now)),
            // It may well be that a server that knows no code for it refuses the time.
            _ if matches!(answer.status, 400 | 403) && skew(answer, now).is_some() => {
                return self.done(skewed(answer, now));
            }
            _ => (Reason::UnexpectedAnswer, UNEXPECTED),
        };
        let outcome = Outcome::answered(reason, detail, answer);
        if reason != Reason::WrongRegion && code != Some(AuthorizationHeaderMalformed) {
            return self.done(outcome);
        }
        match self.region(answer, &document) {
            Some(region) => {
                let message = expects(region);
                self.done(Outcome { reason: Reason::WrongRegion, message, ..outcome })
            }
            // The answer to this has a header with it at AWS, also where the list had not.
            None => {
                self.stage = Stage::Region(outcome);
                self.ask(Method::Head, "", now)
            }
        }
    }

    /// Where the bucket is, if an answer tells: in a header, in an element, or in a sentence.
    fn region<'a>(&self, answer: &'a Answer, document: &'a Document) -> Option<&'a str> {
        let sentence = document.message.split_once("expecting ").and_then(|(_, rest)| {
            let (region, _) = rest.strip_prefix(['\'', '"'])?.split_once(['\'', '"'])?;
            Some(region)
        });
        let told = [answer.region.as_deref(), Some(document.region.trim()), sentence];
        told.into_iter().flatten().find(|region| self.is_other(region))
    }

    /// Whether a text is the name of a region, and of another one than was asked for.
    fn is_other(&self, region: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=MAX_REGION).contains(&region.len())
            && region.bytes().all(is_plain)
            && region != self.bucket.region
    }

    fn ask(&self, method: Method, query: &str, now: Timestamp) -> Step {
        let scheme = self.bucket.scheme;
        // The bucket is inside of what an administrator has listed, also where it is a part of the name.
        let reach = self.access.reach(&self.login.server, scheme);
        let path = format!("{}{query}", self.path);
        let request = Request { method, ..Request::get(scheme, self.server.clone(), reach, path) };
        let scope = Scope { region: &self.bucket.region, service: S3, time: now };
        match sign(request, &self.bucket.access_key, scope) {
            Ok(mut request) => {
                // After the signature: proxies may change it.
                request.headers.push(("accept", "*/*".into()));
                Step::Ask(request)
            }
            Err(_) => {
                let detail = "is not asked, as no request can be signed with this access key";
                self.done(Outcome::new(Reason::Internal, detail))
            }
        }
    }

    /// The server did not answer, or cannot now. It is told by the name that was asked, which may be what is wrong.
    fn failed(&self, outcome: Outcome) -> Step {
        Step::Done(outcome.at(KIND, &self.server))
    }

    fn done(&self, outcome: Outcome) -> Step {
        Step::Done(outcome.at(KIND, &self.login.server))
    }
}

/// Who is asked for a bucket, and at which path. Where the bucket is a part of the server's name, that needs a name, and a
/// certificate for one label more.
fn place(server: &Server, bucket: &BucketLogin) -> (Server, String) {
    // Clients leave the usual port out of what they sign, and some servers take nothing else.
    let port = server.port.filter(|port| *port != bucket.scheme.default_port());
    let server = Server { port, ..server.clone() };
    let name = &bucket.bucket;
    let is_by_path = bucket.path_style || name.contains('.') || server.host.parse::<IpAddr>().is_ok();
    match Server::parse(&format!("{name}.{server}")).filter(|_| !is_by_path) {
        Some(server) => (server, "/".to_owned()),
        None => (server, format!("/{name}")),
    }
}

fn expects(region: &str) -> String {
    format!("expects region {region}; set `spec.region` to it")
}

/// How far the clock of a server is from ours, where that is far.
fn skew(answer: &Answer, now: Timestamp) -> Option<Duration> {
    let skew = answer.date?.duration_since(now).unsigned_abs();
    (skew > MAX_SKEW).then_some(skew)
}

fn skewed(answer: &Answer, now: Timestamp) -> Outcome {
    let detail = match skew(answer, now) {
        Some(skew) => format!("has a clock that differs from that of Claviger by {}", minutes(skew)),
        None => "has a clock that differs too much from that of Claviger".to_owned(),
    };
    Outcome::answered(Reason::ClockSkew, &detail, answer)
}

/// Such as 27m, 3h5m or 12d.
fn minutes(time: Duration) -> String {
    match time.as_secs() / 60 {
        minutes @ ..60 => format!("{minutes}m"),
        minutes @ 60..2_880 => format!("{}h{}m", minutes / 60, minutes % 60),
        minutes => format!("{}d", minutes / 1_440),
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
