//! What each registry answers, as its documentation, its source or a public record has it. Nothing of it was asked live.

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::{
    api::VerificationMode,
    domain::{
        condition::ConditionStatus,
        verification::{MissingAuthorities, Rules, Subject},
    },
};

fn user() -> RegistryLogin {
    RegistryLogin {
        username: Zeroizing::new("user".to_owned()),
        password: Zeroizing::new("pass".to_owned()),
        repository: None,
        scaleway: None,
    }
}

fn login_with(server: &str, registry: RegistryLogin) -> Login {
    Login {
        provider: "Custom".to_owned(),
        version: None,
        key: server.to_owned(),
        rules: Rules { mode: VerificationMode::Warn, interval: Duration::ZERO },
        server: Server::parse(server).unwrap(),
        authorities: None,
        subject: Subject::Registry(registry),
    }
}

fn login(server: &str) -> Login {
    login_with(server, user())
}

fn that_pulls(server: &str) -> Login {
    let repository = Some(("team/app".to_owned(), "latest".to_owned()));
    login_with(server, RegistryLogin { repository, ..user() })
}

fn answer(status: u16, body: &str) -> Answer {
    Answer::new(status, body.into())
}

fn challenge(text: &str) -> Answer {
    Answer { challenges: vec![text.to_owned()], ..answer(401, UNAUTHORIZED) }
}

const UNAUTHORIZED: &str =
    r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}"#;
const DENIED: &str = r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#;
const TOKEN: &str = r#"{"token":"abc.def","expires_in":300}"#;

/// A request as one line: who asks for what.
fn line(request: &Request) -> String {
    let who = match &request.authorization {
        Authorization::Nobody => "nobody",
        Authorization::Basic => "basic",
        Authorization::Bearer(_) => "bearer",
        Authorization::AuthToken => "key",
    };
    let method = if request.method == Method::Head { "HEAD" } else { "GET" };
    format!("{who} {method} {}://{}{}", request.scheme, request.server, request.path)
}

fn begin(login: Login, access: RegistryAccess) -> (RegistryHandshake, Step) {
    let login = Arc::new(login);
    let Subject::Registry(registry) = &login.subject else { panic!("a registry") };
    RegistryHandshake::begin(login.clone(), registry, Arc::new(access))
}

/// Plays answers to the expected requests, and gives the outcome.
fn play_with(login: Login, access: RegistryAccess, exchanges: &[(&str, Answer)]) -> Outcome {
    let (mut handshake, mut step) = begin(login, access);
    for (wanted, answer) in exchanges {
        let Step::Ask(request) = &step else { panic!("{step:?} instead of {wanted}") };
        assert_eq!(line(request), *wanted);
        step = handshake.answered(Ok(answer.clone()));
    }
    match step {
        Step::Done(outcome) => outcome,
        Step::Ask(request) => panic!("not expected: {}", line(&request)),
    }
}

fn play(login: Login, exchanges: &[(&str, Answer)]) -> Outcome {
    play_with(login, RegistryAccess::default(), exchanges)
}

fn reason(login: Login, exchanges: &[(&str, Answer)]) -> Reason {
    play(login, exchanges).reason
}

#[path = "handshake_vendor_tests.rs"]
mod vendors;

#[test]
fn a_registry_without_a_login_says_nothing_of_one() {
    let ping = ("nobody GET https://r.example.com/v2/", answer(200, "{}"));
    assert_eq!(reason(login("r.example.com"), std::slice::from_ref(&ping)), Reason::NotDistinguishable);
    let manifest = "nobody HEAD https://r.example.com/v2/team/app/manifests/latest";
    let public = [ping.clone(), (manifest, answer(200, ""))];
    assert_eq!(reason(that_pulls("r.example.com"), &public), Reason::NotDistinguishable);
    // One that is open, with private repositories.
    let private = [
        ping,
        (manifest, challenge(r#"Basic realm="x""#)),
        ("basic GET https://r.example.com/v2/", answer(200, "{}")),
        ("basic HEAD https://r.example.com/v2/team/app/manifests/latest", answer(200, "")),
    ];
    assert_eq!(reason(that_pulls("r.example.com"), &private), Reason::Authenticated);
}

#[test]
fn what_is_not_a_registry_never_gets_the_login() {
    let ping = "nobody GET https://r.example.com/v2/";
    for (last, wanted) in [
        (answer(200, "\n<!doctype html><title>Sign in</title>"), Reason::NotARegistry),
        (answer(404, "not found"), Reason::NotARegistry),
        (answer(301, ""), Reason::NotARegistry),
        (answer(403, "<html>"), Reason::UnexpectedAnswer),
        (answer(500, ""), Reason::RegistryUnreachable),
        (challenge("Negotiate"), Reason::UnsupportedChallenge),
        (answer(401, ""), Reason::UnsupportedChallenge),
        (challenge(r#"Bearer realm="http://r.example.com/token""#), Reason::RealmRejected),
        (challenge(r#"Bearer realm="https://u:p@r.example.com/token""#), Reason::RealmRejected),
    ] {
        let outcome = play(login("r.example.com"), &[(ping, last.clone())]);
        assert_eq!((outcome.reason, outcome.status()), (wanted, ConditionStatus::Unknown), "{last:?}");
    }
}

#[test]
fn a_token_that_is_not_taken_says_nothing_of_the_login() {
    let exchanges = [
        ("nobody GET https://r.example.com/v2/", challenge(r#"Bearer realm="https://r.example.com/token""#)),
        ("basic GET https://r.example.com/token", answer(200, TOKEN)),
        ("bearer GET https://r.example.com/v2/", answer(401, UNAUTHORIZED)),
    ];
    let outcome = play(login("r.example.com"), &exchanges);
    assert_eq!((outcome.reason, outcome.is_refusal()), (Reason::UnexpectedAnswer, false));
}

#[test]
fn what_says_nothing_of_a_repository_is_no_refusal() {
    let login = || that_pulls("r.example.com");
    let until_token = |last| {
        [
            (
                "nobody GET https://r.example.com/v2/",
                challenge(r#"Bearer realm="https://r.example.com/token""#),
            ),
            ("basic GET https://r.example.com/token", answer(200, TOKEN)),
            ("bearer GET https://r.example.com/v2/", answer(200, "{}")),
            ("basic GET https://r.example.com/token?scope=repository%3Ateam%2Fapp%3Apull", last),
        ]
    };
    for (status, body) in [(302, ""), (400, "bad request"), (403, "<html>"), (404, "")] {
        let outcome = play(login(), &until_token(answer(status, body)));
        assert_eq!(outcome.reason, Reason::UnexpectedAnswer, "{status}");
    }
    let head = "bearer HEAD https://r.example.com/v2/team/app/manifests/latest";
    let after = |status, line, last| {
        play(
            login(),
            &[&until_token(answer(200, TOKEN))[..], &[(head, answer(status, "")), (line, last)]].concat(),
        )
        .reason
    };
    let tags = |last| after(404, "bearer GET https://r.example.com/v2/team/app/tags/list?n=1", last);
    assert_eq!(tags(answer(200, "")), Reason::Authenticated);
    for hidden in [answer(404, ""), answer(401, ""), answer(403, DENIED)] {
        assert_eq!(tags(hidden), Reason::RepositoryNotFound);
    }
    for nothing in [answer(405, ""), answer(403, ""), answer(403, "<html>")] {
        assert_eq!(tags(nothing), Reason::UnexpectedAnswer);
    }
    // A 403 without a body may be of anybody on the way: only the registry's own word counts.
    let get = |last| after(403, "bearer GET https://r.example.com/v2/team/app/manifests/latest", last);
    assert_eq!(get(answer(403, DENIED)), Reason::AccessDenied);
    assert_eq!(get(answer(401, "")), Reason::AccessDenied);
    assert_eq!(get(answer(200, "{}")), Reason::Authenticated);
    for nothing in [answer(403, ""), answer(403, "<html>"), answer(400, "")] {
        assert_eq!(get(nothing), Reason::UnexpectedAnswer);
    }
}

#[test]
fn a_token_server_inside_of_a_network_is_for_registries_inside_of_it() {
    let reach = |private: &[&str]| {
        let private = private.join(",").parse().unwrap();
        let access = RegistryAccess { private, ..RegistryAccess::default() };
        let (mut handshake, first) = begin(login("r.example.com"), access);
        let next = handshake.answered(Ok(challenge(r#"Bearer realm="https://auth.example.com/token""#)));
        match (first, next) {
            (Step::Ask(first), Step::Ask(next)) => (first.reach, next.reach),
            steps => panic!("{steps:?}"),
        }
    };
    assert_eq!(reach(&[]), (Reach::Public, Reach::Public));
    assert_eq!(reach(&["r.example.com"]), (Reach::Loopback, Reach::Private));
    assert_eq!(reach(&["r.example.com", "auth.example.com"]), (Reach::Loopback, Reach::Loopback));
    assert_eq!(reach(&["auth.example.com"]), (Reach::Public, Reach::Public), "it would send us inside");
}

#[test]
fn only_what_is_allowed_is_asked() {
    let access = RegistryAccess { allowed: "quay.io".parse().unwrap(), ..RegistryAccess::default() };
    assert_eq!(play_with(login("r.example.com"), access.clone(), &[]).reason, Reason::RegistryNotAllowed);
    let elsewhere =
        [("nobody GET https://quay.io/v2/", challenge(r#"Bearer realm="https://auth.example.com/""#))];
    let rejected = play_with(login("quay.io"), access, &elsewhere);
    assert_eq!(
        (rejected.reason, rejected.realm.as_deref()),
        (Reason::RealmRejected, Some("auth.example.com"))
    );
    assert!(rejected.message.ends_with(": auth.example.com"), "{}", rejected.message);
    let untrusted = Login { authorities: Some(Err(MissingAuthorities)), ..login("quay.io") };
    assert_eq!(play(untrusted, &[]).reason, Reason::TLSError);
}

/// A user in a URL may be a password.
#[test]
fn a_realm_that_is_rejected_is_named_by_its_host_alone() {
    let of = |realm: &str| {
        let asked = challenge(&format!("Bearer realm=\"{realm}\""));
        play(login("r.example.com"), &[("nobody GET https://r.example.com/v2/", asked)])
    };
    let outcome = of("https://user:s3cret@Auth.example.com:5000/s3cret?s3cret");
    assert_eq!(outcome.realm.as_deref(), Some("auth.example.com:5000"));
    assert!(outcome.message.ends_with(": auth.example.com:5000"), "{}", outcome.message);
    let outcome = of("http://r.example.com/token");
    assert_eq!((outcome.reason, outcome.realm), (Reason::RealmRejected, None), "it is the registry itself");
    let outcome = of("https://s3cret evil/");
    assert!(outcome.realm.is_none() && !outcome.message.contains("s3cret"), "{}", outcome.message);
}

#[test]
fn what_is_wrong_with_a_token_server_is_told_of_it() {
    let of = |answer: Result<Answer, NoAnswer>| {
        let (mut handshake, _) = begin(login("r.example.com"), RegistryAccess::default());
        handshake.answered(Ok(challenge(r#"Bearer realm="https://auth.example.com/token""#)));
        match handshake.answered(answer) {
            Step::Done(outcome) => outcome.message,
            step => panic!("{step:?}"),
        }
    };
    for failed in [Err(NoAnswer::NameNotFound), Err(NoAnswer::UnknownAuthority), Ok(answer(503, ""))] {
        let message = of(failed);
        assert!(message.starts_with("token server auth.example.com of registry r.example.com "), "{message}");
    }
    assert!(of(Ok(answer(401, ""))).starts_with("registry r.example.com "));
}

#[test]
fn an_open_registry_that_hides_a_repository_is_not_called_public() {
    let exchanges = [
        ("nobody GET https://r.example.com/v2/", answer(200, "{}")),
        ("nobody HEAD https://r.example.com/v2/team/app/manifests/latest", answer(404, "")),
    ];
    let outcome = play(that_pulls("r.example.com"), &exchanges);
    assert_eq!(outcome.reason, Reason::NotDistinguishable);
    assert!(outcome.message.contains("does not show `spec.verification.repository`"), "{}", outcome.message);
}

#[test]
fn no_answer_is_no_refusal() {
    use NoAnswer::*;
    for no_answer in [
        NameNotFound,
        NotConnected,
        TimedOut,
        UnknownAuthority,
        CertificateExpired,
        CertificateName,
        Tls,
        AddressNotAllowed,
        TooLong,
        Broken,
        Throttled(Duration::MAX),
    ] {
        let (mut handshake, _) = begin(login("r.example.com"), RegistryAccess::default());
        let Step::Done(outcome) = handshake.answered(Err(no_answer)) else { panic!("{no_answer:?}") };
        assert_eq!(outcome.status(), ConditionStatus::Unknown, "{no_answer:?}");
    }
}
