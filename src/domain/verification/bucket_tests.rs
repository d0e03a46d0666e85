//! What servers of object storage answer, as the API reference of Amazon S3, the sources of versitygw and MinIO, and
//! Cloudflare's list of error codes have it. Nothing of it was asked live.

use super::*;
use crate::{
    api::VerificationMode,
    domain::{
        condition::ConditionStatus,
        sigv4::AccessKey,
        verification::{Authorization, MissingAuthorities, Reach, Rules, ServerPatterns, Subject},
    },
};

const LIST: &str = "GET https://s3.example.com/backups?list-type=2&max-keys=1";
const HEAD: &str = "HEAD https://s3.example.com/backups";
const EMPTY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><KeyCount>0</KeyCount></ListBucketResult>"#;

fn bucket() -> BucketLogin {
    let access_key = AccessKey { id: "AKIDEXAMPLE".into(), secret: "s3cret".into(), session: None };
    BucketLogin {
        scheme: Scheme::Https,
        access_key,
        region: "us-east-1".to_owned(),
        bucket: "backups".to_owned(),
        path_style: true,
    }
}

fn login_at(server: &str, bucket: BucketLogin) -> Login {
    Login {
        key: format!("{server}/{}", bucket.bucket),
        provider: "S3Compatible".to_owned(),
        version: None,
        rules: Rules { mode: VerificationMode::Warn, interval: Duration::ZERO },
        server: Server::parse(server).unwrap(),
        authorities: None,
        subject: Subject::Bucket(bucket),
    }
}

fn login() -> Login {
    login_at("s3.example.com", bucket())
}

fn now() -> Timestamp {
    "2026-11-22T09:10:50Z".parse().unwrap()
}

fn answer(status: u16, body: &str) -> Answer {
    Answer::new(status, body.into())
}

/// An answer with an error code.
fn error(status: u16, code: &str) -> Answer {
    answer(status, &format!("<Error><Code>{code}</Code><Message>m</Message><RequestId>1</RequestId></Error>"))
}

fn malformed(message: &str) -> Answer {
    answer(
        400,
        &format!("<Error><Code>AuthorizationHeaderMalformed</Code><Message>{message}</Message></Error>"),
    )
}

fn begin(login: Login, access: RegistryAccess) -> (BucketHandshake, Step) {
    let login = Arc::new(login);
    let Subject::Bucket(bucket) = &login.subject else { panic!("a bucket") };
    BucketHandshake::begin(login.clone(), bucket, Arc::new(access), now())
}

/// A request as one line.
fn line(request: &Request) -> String {
    format!("{} {}://{}{}", request.method.name(), request.scheme, request.server, request.path)
}

/// Plays answers to the expected requests, and gives the outcome.
fn play_with(login: Login, access: RegistryAccess, exchanges: &[(&str, Answer)]) -> Outcome {
    let (mut handshake, mut step) = begin(login, access);
    for (wanted, answer) in exchanges {
        let Step::Ask(request) = &step else { panic!("{step:?} instead of {wanted}") };
        assert_eq!(line(request), *wanted);
        step = handshake.answered(Ok(answer.clone()), now());
    }
    match step {
        Step::Done(outcome) => outcome,
        Step::Ask(request) => panic!("not expected: {}", line(&request)),
    }
}

fn play(exchanges: &[(&str, Answer)]) -> Outcome {
    play_with(login(), RegistryAccess::default(), exchanges)
}

fn list(answer: Answer) -> Outcome {
    play(&[(LIST, answer)])
}

fn first(login: Login, access: RegistryAccess) -> Request {
    match begin(login, access).1 {
        Step::Ask(request) => request,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_list_that_is_given_shows_that_the_key_is_good() {
    let good = list(answer(200, EMPTY));
    assert_eq!((good.reason, good.status()), (Reason::Authenticated, ConditionStatus::True));
    assert_eq!(good.message, "endpoint s3.example.com accepts the access key, and lets it list the bucket");
}

#[test]
fn a_code_says_what_is_wrong_whatever_the_status() {
    use ConditionStatus::{False, Unknown};
    for (status, code, reason, verified) in [
        (403, "AccessDenied", Reason::AccessDenied, False),
        (403, "AllAccessDisabled", Reason::AccessDenied, False),
        (403, "InvalidAccessKeyId", Reason::InvalidAccessKey, False),
        (401, "Unauthorized", Reason::InvalidAccessKey, False),
        (400, "InvalidToken", Reason::InvalidAccessKey, False),
        (400, "ExpiredToken", Reason::InvalidAccessKey, False),
        (400, "TokenRefreshRequired", Reason::InvalidAccessKey, False),
        (403, "SignatureDoesNotMatch", Reason::SignatureMismatch, False),
        (404, "NoSuchBucket", Reason::BucketNotFound, False),
        (400, "InvalidBucketName", Reason::BucketNotFound, False),
        (403, "RequestTimeTooSkewed", Reason::ClockSkew, Unknown),
        (400, "RequestExpired", Reason::ClockSkew, Unknown),
        (503, "SlowDown", Reason::RateLimited, Unknown),
        (400, "RequestLimitExceeded", Reason::RateLimited, Unknown),
        (500, "InternalError", Reason::EndpointUnreachable, Unknown),
        (503, "ServiceUnavailable", Reason::EndpointUnreachable, Unknown),
        (307, "TemporaryRedirect", Reason::UnexpectedAnswer, Unknown),
        (400, "InvalidRequest", Reason::UnexpectedAnswer, Unknown),
        (403, "SomethingElse", Reason::UnexpectedAnswer, Unknown),
        (200, "AccessDenied", Reason::UnexpectedAnswer, Unknown),
        (404, "AccessDenied", Reason::AccessDenied, False),
    ] {
        let outcome = list(error(status, code));
        assert_eq!((outcome.reason, outcome.status()), (reason, verified), "{status} {code}");
        let behind = if code == "SomethingElse" { String::new() } else { format!(" {code}") };
        assert!(outcome.message.ends_with(&format!(" (HTTP {status}{behind})")), "{}", outcome.message);
        // Such a key is not shown again for each of its buckets.
        let is_wrong = matches!(reason, Reason::InvalidAccessKey | Reason::SignatureMismatch);
        assert_eq!(outcome.is_wrong(), is_wrong, "{code}");
    }
    assert!(list(error(400, "ExpiredToken")).message.contains("session token"));
}

#[test]
fn what_is_not_of_object_storage_says_nothing_of_the_key() {
    for (status, body) in [
        (200, "<html></html>"),
        (200, ""),
        (200, "{}"),
        (200, "<ListAllMyBucketsResult></ListAllMyBucketsResult>"),
        (204, EMPTY),
        (301, ""),
        (302, "<html>"),
        (307, ""),
        (400, ""),
        (401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#),
        (403, ""),
        (403, "AccessDenied"),
        (403, "<html><Code>AccessDenied</Code></html>"),
        (403, "<Error><Resource><Code>AccessDenied</Code></Resource></Error>"),
        (404, "<!doctype html><p>not found"),
    ] {
        let outcome = list(answer(status, body));
        let got = (outcome.reason, outcome.status());
        assert_eq!(got, (Reason::UnexpectedAnswer, ConditionStatus::Unknown), "{status} {body}");
    }
    for (status, reason) in [(429, Reason::RateLimited), (502, Reason::EndpointUnreachable)] {
        assert_eq!(list(answer(status, "<html>")).reason, reason);
    }
}

#[test]
fn the_right_region_is_told_wherever_it_stands() {
    let wanted = "endpoint s3.example.com expects region eu-west-1; set `spec.region` to it";
    let region = Some("eu-west-1".to_owned());
    let element = "<Error><Code>PermanentRedirect</Code><Region> eu-west-1 </Region></Error>";
    for (status, told) in [
        (301, Answer { region, ..error(301, "PermanentRedirect") }),
        (301, answer(301, element)),
        (400, malformed("the region &#39;us-east-1&#39; is wrong; expecting &#39;eu-west-1&#39;")),
        // versitygw.
        (400, malformed("the region &#34;us-east-1&#34; is wrong; expecting &#34;eu-west-1&#34;")),
        // MinIO.
        (400, malformed("header is malformed; the region is wrong; expecting 'eu-west-1'.")),
    ] {
        let outcome = list(told);
        assert_eq!((outcome.reason, outcome.status()), (Reason::WrongRegion, ConditionStatus::False));
        assert!(outcome.message.starts_with(wanted), "{}", outcome.message);
        assert_eq!(outcome.http_status, Some(status));
    }
}

#[test]
fn a_region_that_is_not_told_is_asked_for() {
    let told = Answer { region: Some("eu-west-1".to_owned()), ..answer(400, "") };
    let scoped = "<Error><Code>SignatureDoesNotMatch</Code><Message>Credential should be scoped to a valid Region, not 'us-east-1'</Message></Error>";
    for (first, reason) in [
        (error(301, "PermanentRedirect"), Reason::WrongRegion),
        (error(400, "IllegalLocationConstraintException"), Reason::WrongRegion),
        (error(400, "InvalidRegionName"), Reason::WrongRegion),
        (answer(403, scoped), Reason::WrongRegion),
        (malformed("missing Credential."), Reason::UnexpectedAnswer),
    ] {
        let found = play(&[(LIST, first.clone()), (HEAD, told.clone())]);
        assert_eq!(found.reason, Reason::WrongRegion);
        assert!(found.message.contains("expects region eu-west-1"), "{}", found.message);
        for nothing in [answer(400, ""), answer(503, ""), answer(200, "")] {
            let lost = play(&[(LIST, first.clone()), (HEAD, nothing)]);
            assert_eq!(lost.reason, reason, "{}", lost.message);
            assert!(!lost.message.contains("eu-west-1"));
        }
        let (mut handshake, _) = begin(login(), RegistryAccess::default());
        handshake.answered(Ok(first), now());
        let Step::Done(lost) = handshake.answered(Err(NoAnswer::TimedOut), now()) else { panic!("no end") };
        assert_eq!(lost.reason, reason);
    }
}

#[test]
fn no_text_of_a_server_stands_for_a_region() {
    for text in [
        "",
        "us-east-1",
        "EU",
        "eu west",
        "see https://evil.example.com",
        "<b>",
        "a\u{202e}b",
        &"a".repeat(33),
    ] {
        let header = Answer { region: Some(text.to_owned()), ..error(301, "PermanentRedirect") };
        let escaped = text.replace('<', "&lt;");
        let element =
            answer(301, &format!("<Error><Code>PermanentRedirect</Code><Region>{escaped}</Region></Error>"));
        let sentence = malformed(&format!("expecting '{escaped}'"));
        for hostile in [header, element, sentence] {
            let again = Answer { region: Some(text.to_owned()), ..answer(400, "") };
            let outcome = play(&[(LIST, hostile), (HEAD, again)]);
            assert!(!outcome.message.contains("expects region"), "{text}: {}", outcome.message);
        }
    }
}

#[test]
fn a_clock_that_is_wrong_is_named() {
    let dated = |seconds: i64, answer: Answer| {
        let date = Timestamp::from_second(now().as_second() + seconds).unwrap();
        list(Answer { date: Some(date), ..answer })
    };
    for (seconds, told) in [
        (-27 * 60, "by 27m ("),
        (3 * 3_600 + 300, "by 3h5m ("),
        (-12 * 86_400, "by 12d ("),
        (60, "too much from that of Claviger ("),
    ] {
        let outcome = dated(seconds, error(403, "RequestTimeTooSkewed"));
        assert_eq!((outcome.reason, outcome.status()), (Reason::ClockSkew, ConditionStatus::Unknown));
        assert!(outcome.message.contains(told), "{}", outcome.message);
    }
    assert!(list(error(403, "RequestTimeTooSkewed")).message.contains("too much"));
    // Garage has no code for it.
    for silent in [answer(403, ""), error(400, "InvalidRequest")] {
        assert_eq!(dated(1_620, silent.clone()).reason, Reason::ClockSkew);
        assert_eq!(dated(540, silent).reason, Reason::UnexpectedAnswer);
    }
    for (other, reason) in [
        (error(403, "AccessDenied"), Reason::AccessDenied),
        (error(403, "SignatureDoesNotMatch"), Reason::SignatureMismatch),
        (answer(200, EMPTY), Reason::Authenticated),
        (answer(404, ""), Reason::UnexpectedAnswer),
    ] {
        assert_eq!(dated(-7_200, other).reason, reason, "the clock does not matter to it");
    }
}

#[test]
fn a_bucket_is_asked_for_by_path_or_by_name() {
    let plain_http: ServerPatterns = "*.lan".parse().unwrap();
    let asked = |server: &str, bucket: BucketLogin| {
        let access = RegistryAccess { plain_http: plain_http.clone(), ..RegistryAccess::default() };
        line(&first(login_at(server, bucket), access))
    };
    let by_name = || BucketLogin { path_style: false, ..bucket() };
    let query = "?list-type=2&max-keys=1";
    for (server, bucket, wanted) in [
        ("s3.example.com", bucket(), "GET https://s3.example.com/backups"),
        ("s3.example.com:9000", bucket(), "GET https://s3.example.com:9000/backups"),
        ("s3.example.com:443", bucket(), "GET https://s3.example.com/backups"),
        ("s3.example.com", by_name(), "GET https://backups.s3.example.com/"),
        ("s3.example.com:9000", by_name(), "GET https://backups.s3.example.com:9000/"),
        (
            "s3.example.com",
            BucketLogin { bucket: "a.b".to_owned(), ..by_name() },
            "GET https://s3.example.com/a.b",
        ),
        ("10.0.0.1:9000", by_name(), "GET https://10.0.0.1:9000/backups"),
        ("[fd00::1]:9000", by_name(), "GET https://[fd00::1]:9000/backups"),
        ("s3.lan:80", BucketLogin { scheme: Scheme::Http, ..bucket() }, "GET http://s3.lan/backups"),
        ("s3.lan:443", BucketLogin { scheme: Scheme::Http, ..bucket() }, "GET http://s3.lan:443/backups"),
    ] {
        assert_eq!(asked(server, bucket), format!("{wanted}{query}"), "{server}");
    }
}

#[test]
fn the_secret_key_goes_to_nobody() {
    let access_key = AccessKey { session: Some("t0ken".into()), ..bucket().access_key };
    let request =
        first(login_at("s3.example.com", BucketLogin { access_key, ..bucket() }), RegistryAccess::default());
    assert_eq!((&request.authorization, &request.body), (&Authorization::Nobody, &None));
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["x-amz-date", "authorization", "x-amz-content-sha256", "x-amz-security-token", "accept"]
    );
    assert!(!request.headers.iter().any(|(_, value)| value.text().contains("s3cret")));
    let access_key = AccessKey { session: Some("a\nb".into()), ..bucket().access_key };
    let broken = BucketLogin { access_key, ..bucket() };
    let outcome = play_with(login_at("s3.example.com", broken), RegistryAccess::default(), &[]);
    assert_eq!((outcome.reason, outcome.status()), (Reason::Internal, ConditionStatus::Unknown));
}

#[test]
fn only_what_is_allowed_is_asked() {
    let access = |allowed: &str, plain: &str| RegistryAccess {
        allowed: allowed.parse().unwrap(),
        plain_http: plain.parse().unwrap(),
        ..RegistryAccess::default()
    };
    let refused = |login: Login, access: RegistryAccess| {
        let outcome = play_with(login, access, &[]);
        assert_eq!(outcome.status(), ConditionStatus::Unknown);
        (outcome.reason, outcome.message)
    };
    let (reason, message) = refused(login(), access("quay.io", ""));
    assert_eq!(reason, Reason::EndpointNotAllowed);
    assert_eq!(
        message,
        "endpoint s3.example.com is not in --allowed-registries of Claviger, so it is not asked"
    );
    let plain = || login_at("s3.example.com", BucketLogin { scheme: Scheme::Http, ..bucket() });
    let (reason, message) = refused(plain(), RegistryAccess::default());
    assert_eq!(reason, Reason::EndpointNotAllowed);
    assert!(message.contains("--plain-http-registries"), "{message}");
    first(plain(), access("", "s3.example.com"));
    // What the spec gives counts, also where TLS is not needed.
    assert_eq!(first(login(), access("", "s3.example.com")).scheme, Scheme::Https);
    let untrusted = Login { authorities: Some(Err(MissingAuthorities)), ..login() };
    let (reason, message) = refused(untrusted, RegistryAccess::default());
    assert_eq!(reason, Reason::TLSError);
    assert!(message.contains("the Secret in `spec.caSecretRef` does not exist"), "{message}");
}

#[test]
fn a_bucket_may_be_where_its_server_may() {
    let access =
        |private: &str| RegistryAccess { private: private.parse().unwrap(), ..RegistryAccess::default() };
    let by_name = BucketLogin { path_style: false, ..bucket() };
    let login = |bucket: &BucketLogin| login_at("s3.example.com", bucket.clone());
    for bucket in [&bucket(), &by_name] {
        assert_eq!(first(login(bucket), RegistryAccess::default()).reach, Reach::Public);
        assert_eq!(first(login(bucket), access("s3.example.com")).reach, Reach::Loopback);
        assert_eq!(first(login(bucket), access("backups.s3.example.com")).reach, Reach::Public);
    }
    // `--allowed-registries` names the endpoint, and no bucket.
    let allowed = RegistryAccess { allowed: "s3.example.com".parse().unwrap(), ..RegistryAccess::default() };
    assert_eq!(first(login(&by_name), allowed).server.host, "backups.s3.example.com");
}

#[test]
fn no_answer_is_no_refusal_and_names_who_was_asked() {
    use NoAnswer::*;
    let by_name = BucketLogin { path_style: false, ..bucket() };
    for (no_answer, reason) in [
        (NameNotFound, Reason::EndpointUnreachable),
        (NotConnected, Reason::EndpointUnreachable),
        (TimedOut, Reason::EndpointUnreachable),
        (Broken, Reason::EndpointUnreachable),
        (UnknownAuthority, Reason::TLSError),
        (CertificateExpired, Reason::TLSError),
        (CertificateName, Reason::TLSError),
        (Tls, Reason::TLSError),
        (AddressNotAllowed, Reason::EndpointNotAllowed),
        (TooLong, Reason::UnexpectedAnswer),
        (Throttled(Duration::MAX), Reason::RateLimited),
    ] {
        let (mut handshake, _) =
            begin(login_at("s3.example.com", by_name.clone()), RegistryAccess::default());
        let Step::Done(outcome) = handshake.answered(Err(no_answer), now()) else { panic!("{no_answer:?}") };
        assert_eq!((outcome.reason, outcome.status()), (reason, ConditionStatus::Unknown), "{no_answer:?}");
        assert!(outcome.message.starts_with("endpoint backups.s3.example.com "), "{}", outcome.message);
    }
}
