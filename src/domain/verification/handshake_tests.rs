//! What each registry answers, as its documentation, its source or a public record has it. Nothing of it was asked live.

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::{
    api::VerificationMode,
    domain::{condition::ConditionStatus, verification::Rules},
};

fn login(server: &str) -> Login {
    Login {
        key: server.to_owned(),
        rules: Rules { mode: VerificationMode::Warn, interval: Duration::ZERO },
        server: Server::parse(server).unwrap(),
        username: Zeroizing::new("user".to_owned()),
        password: Zeroizing::new("pass".to_owned()),
        repository: None,
        authorities: None,
        scaleway: None,
    }
}

fn that_pulls(server: &str) -> Login {
    Login { repository: Some(("team/app".to_owned(), "latest".to_owned())), ..login(server) }
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

/// Plays answers to the expected requests, and gives the outcome.
fn play_with(login: Login, access: RegistryAccess, exchanges: &[(&str, Answer)]) -> Outcome {
    let (mut handshake, mut step) = Handshake::begin(Arc::new(login), Arc::new(access));
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

/// docs.docker.com, distribution docs/spec/auth/token.md; the body of a refusal as recorded in jib#3292.
#[test]
fn docker_hub() {
    let ping = (
        "nobody GET https://registry-1.docker.io/v2/",
        challenge(r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#),
    );
    let token = "basic GET https://auth.docker.io/token?service=registry.docker.io";
    let again = "bearer GET https://registry-1.docker.io/v2/";
    let hub = || login("registry-1.docker.io");
    let good = play(hub(), &[ping.clone(), (token, answer(200, TOKEN)), (again, answer(200, "{}"))]);
    assert_eq!((good.reason, good.realm.as_deref()), (Reason::Authenticated, Some("auth.docker.io")));
    let wrong = answer(401, r#"{"details":"incorrect username or password"}"#);
    assert_eq!(reason(hub(), &[ping.clone(), (token, wrong)]), Reason::AuthenticationFailed);
    // A repository that the login may not pull: a token that is good for nothing, and a 401 for it.
    let to_pull = "basic GET https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Ateam%2Fapp%3Apull";
    let manifest = "bearer HEAD https://registry-1.docker.io/v2/team/app/manifests/latest";
    let until_pull = |last| {
        [
            ping.clone(),
            (token, answer(200, TOKEN)),
            (again, answer(200, "{}")),
            (to_pull, answer(200, TOKEN)),
            (manifest, last),
        ]
    };
    let hub = || that_pulls("registry-1.docker.io");
    assert_eq!(reason(hub(), &until_pull(answer(200, ""))), Reason::Authenticated);
    assert_eq!(reason(hub(), &until_pull(answer(401, ""))), Reason::AccessDenied);
    let limit = Answer { retry_after: Some("60".to_owned()), ..answer(429, "") };
    let limited = play(hub(), &until_pull(limit));
    assert_eq!((limited.reason, limited.retry_after), (Reason::RateLimited, Some(Duration::from_secs(60))));
}

/// A wrong token is answered with a 403 by ghcr.io/token, per public records of containerd and docker; the scope of the
/// challenge is a placeholder.
#[test]
fn github() {
    let ping = (
        "nobody GET https://ghcr.io/v2/",
        challenge(
            r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull""#,
        ),
    );
    let token = "basic GET https://ghcr.io/token?service=ghcr.io";
    assert_eq!(reason(login("ghcr.io"), &[ping.clone(), (token, answer(403, DENIED))]), Reason::AccessDenied);
    let again = ("bearer GET https://ghcr.io/v2/", answer(200, "{}"));
    let good = play(login("ghcr.io"), &[ping.clone(), (token, answer(200, TOKEN)), again.clone()]);
    assert_eq!((good.reason, good.realm), (Reason::Authenticated, None));
    let to_pull = "basic GET https://ghcr.io/token?service=ghcr.io&scope=repository%3Ateam%2Fapp%3Apull";
    let powerless = [ping, (token, answer(200, TOKEN)), again, (to_pull, answer(403, DENIED))];
    assert_eq!(reason(that_pulls("ghcr.io"), &powerless), Reason::AccessDenied);
}

/// quay/quay endpoints/v2/{__init__,v2auth}.py: `/v2/` answers `true`, as a page; what is missing is not told from what
/// is not allowed.
#[test]
fn quay() {
    let ping = (
        "nobody GET https://quay.io/v2/",
        Answer {
            body: "true".into(),
            ..challenge(r#"Bearer realm="https://quay.io/v2/auth",service="quay.io""#)
        },
    );
    let token = "basic GET https://quay.io/v2/auth?service=quay.io";
    assert_eq!(
        reason(login("quay.io"), &[ping.clone(), (token, answer(401, UNAUTHORIZED))]),
        Reason::AuthenticationFailed
    );
    let again = ("bearer GET https://quay.io/v2/", answer(200, "true"));
    assert_eq!(
        reason(login("quay.io"), &[ping.clone(), (token, answer(200, TOKEN)), again.clone()]),
        Reason::Authenticated
    );
    let to_pull = "basic GET https://quay.io/v2/auth?service=quay.io&scope=repository%3Ateam%2Fapp%3Apull";
    let manifest = "bearer HEAD https://quay.io/v2/team/app/manifests/latest";
    let powerless = [
        ping,
        (token, answer(200, TOKEN)),
        again,
        (to_pull, answer(200, TOKEN)),
        (manifest, answer(401, "")),
    ];
    assert_eq!(reason(that_pulls("quay.io"), &powerless), Reason::AccessDenied);
}

/// gitlab-org app/controllers/jwt_controller.rb; a ban after failed logins (docs.gitlab.com, abuse bans) is a 403 that
/// says nothing of this login.
#[test]
fn gitlab() {
    let ping = (
        "nobody GET https://registry.gitlab.com/v2/",
        challenge(r#"Bearer realm="https://gitlab.com/jwt/auth",service="container_registry""#),
    );
    let token = "basic GET https://gitlab.com/jwt/auth?service=container_registry";
    let of = |last| reason(login("registry.gitlab.com"), &[ping.clone(), (token, last)]);
    assert_eq!(of(answer(401, UNAUTHORIZED)), Reason::AuthenticationFailed);
    assert_eq!(
        of(answer(403, r#"{"errors":[{"code":"DENIED","message":"access forbidden"}],"http_status":403}"#)),
        Reason::AccessDenied
    );
    let banned = play(login("registry.gitlab.com"), &[ping.clone(), (token, answer(403, "Forbidden\n"))]);
    assert_eq!((banned.reason, banned.status()), (Reason::UnexpectedAnswer, ConditionStatus::Unknown));
    assert_eq!(of(answer(429, "Retry later\n")), Reason::RateLimited);
}

/// AWS ECR: Basic at `/v2/` itself; a wrong password is a 401 in plain text, an expired one a 403 (go-containerregistry#861).
#[test]
fn ecr() {
    let host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let ping = format!("nobody GET https://{host}/v2/");
    let again = format!("basic GET https://{host}/v2/");
    let asked = Answer {
        body: "Not Authorized\n".into(),
        ..challenge(&format!(r#"Basic realm="https://{host}/",service="ecr.amazonaws.com""#))
    };
    let of = |last| reason(login(host), &[(&ping, asked.clone()), (&again, last)]);
    assert_eq!(of(answer(200, "")), Reason::Authenticated);
    assert_eq!(of(answer(401, "Not Authorized\n")), Reason::AuthenticationFailed);
    let expired = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;
    assert_eq!(of(answer(403, expired)), Reason::AccessDenied);
    // A login that may pull, and not list tags, of a repository that is not there.
    let (manifest, tags) = (
        format!("basic HEAD https://{host}/v2/team/app/manifests/latest"),
        format!("basic GET https://{host}/v2/team/app/tags/list?n=1"),
    );
    let missing = [
        (&*ping, asked),
        (&again, answer(200, "")),
        (&manifest, answer(404, "")),
        (&tags, answer(403, DENIED)),
    ];
    assert_eq!(reason(that_pulls(host), &missing), Reason::RepositoryNotFound);
}

/// public.ecr.aws: a broken login is a 400 (dependabot/proxy#157).
#[test]
fn ecr_public() {
    let ping = (
        "nobody GET https://public.ecr.aws/v2/",
        challenge(r#"Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws""#),
    );
    let token = "basic GET https://public.ecr.aws/token/?service=public.ecr.aws";
    assert_eq!(
        reason(login("public.ecr.aws"), &[ping.clone(), (token, answer(400, DENIED))]),
        Reason::AccessDenied
    );
    assert_eq!(
        reason(login("public.ecr.aws"), &[ping, (token, answer(400, "bad request"))]),
        Reason::UnexpectedAnswer
    );
}

/// Azure/acr docs/AAD-OAuth.md: the token is `access_token`.
#[test]
fn acr() {
    let ping = (
        "nobody GET https://acme.azurecr.io/v2/",
        challenge(r#"Bearer realm="https://acme.azurecr.io/oauth2/token",service="acme.azurecr.io""#),
    );
    let token = "basic GET https://acme.azurecr.io/oauth2/token?service=acme.azurecr.io";
    let again = ("bearer GET https://acme.azurecr.io/v2/", answer(200, "{}"));
    let good = [ping.clone(), (token, answer(200, r#"{"access_token":"abc"}"#)), again];
    assert_eq!(reason(login("acme.azurecr.io"), &good), Reason::Authenticated);
    assert_eq!(
        reason(login("acme.azurecr.io"), &[ping, (token, answer(401, UNAUTHORIZED))]),
        Reason::AuthenticationFailed
    );
}

/// Google: no service in the challenge of Artifact Registry, one without quotes in that of gcr.io.
#[test]
fn google() {
    let ping = (
        "nobody GET https://europe-docker.pkg.dev/v2/",
        challenge(r#"Bearer realm="https://europe-docker.pkg.dev/v2/token""#),
    );
    let token = ("basic GET https://europe-docker.pkg.dev/v2/token", answer(401, UNAUTHORIZED));
    assert_eq!(reason(login("europe-docker.pkg.dev"), &[ping, token]), Reason::AuthenticationFailed);
    let ping = (
        "nobody GET https://gcr.io/v2/",
        challenge(r#"Bearer realm="https://gcr.io/v2/token",service=gcr.io"#),
    );
    let token = ("basic GET https://gcr.io/v2/token?service=gcr.io", answer(200, TOKEN));
    let again = ("bearer GET https://gcr.io/v2/", answer(200, ""));
    assert_eq!(reason(login("gcr.io"), &[ping, token, again]), Reason::Authenticated);
}

/// goharbor src/core/service/token: a refusal has no body, and `token` is there next to an empty `access_token`.
#[test]
fn harbor() {
    let ping = (
        "nobody GET https://harbor.example.com/v2/",
        challenge(r#"Bearer realm="https://harbor.example.com/service/token",service="harbor-registry""#),
    );
    let token = "basic GET https://harbor.example.com/service/token?service=harbor-registry";
    assert_eq!(
        reason(login("harbor.example.com"), &[ping.clone(), (token, answer(401, ""))]),
        Reason::AuthenticationFailed
    );
    let again = ("bearer GET https://harbor.example.com/v2/", answer(200, "{}"));
    let good = [ping, (token, answer(200, r#"{"token":"abc","access_token":""}"#)), again];
    assert_eq!(reason(login("harbor.example.com"), &good), Reason::Authenticated);
}

/// scaleway-sdk-go api/registry/v1; its token endpoint is said to answer a wrong key with a 404.
#[test]
fn scaleway() {
    let scaleway = || Login { scaleway: Some(("fr-par", "web".to_owned())), ..login("rg.fr-par.scw.cloud") };
    let realm = "https://api.scaleway.com/registry-internal/v1/regions/fr-par/tokens";
    let ping = (
        "nobody GET https://rg.fr-par.scw.cloud/v2/",
        challenge(&format!(r#"Bearer realm="{realm}",service="registry""#)),
    );
    let token = &format!("basic GET {realm}?service=registry")[..];
    let again = ("bearer GET https://rg.fr-par.scw.cloud/v2/", answer(200, "{}"));
    let api = "key GET https://api.scaleway.com/registry/v1/regions/fr-par/namespaces?name=web";
    let good =
        |last| play(scaleway(), &[ping.clone(), (token, answer(200, TOKEN)), again.clone(), (api, last)]);
    let found = |name: &str, status: &str| {
        answer(
            200,
            &format!(
                r#"{{"namespaces":[{{"id":"12345678-90ab-cdef-1234-567890abcdef","name":"{name}","status":"{status}","endpoint":"rg.fr-par.scw.cloud/{name}","is_public":false}}],"total_count":1}}"#
            ),
        )
    };
    let ready = good(found("web", "ready"));
    assert_eq!(ready.reason, Reason::Authenticated);
    assert_eq!(ready.namespace.unwrap().endpoint, "rg.fr-par.scw.cloud/web");
    for missing in [
        answer(200, r#"{"namespaces":[],"total_count":0}"#),
        found("website", "ready"),
        found("web", "deleting"),
    ] {
        assert_eq!(good(missing).reason, Reason::NamespaceNotFound);
    }
    // The API says nothing of a key that may pull, and no more.
    let powerless = r#"{"details":[{"action":"read","resource":"registry_namespace"}],"message":"insufficient permissions","type":"permissions_denied"}"#;
    for other in [answer(403, powerless), answer(401, "{}"), answer(500, ""), answer(200, "<html>")] {
        assert_eq!(good(other).reason, Reason::Authenticated);
    }
    let wrong = |last| reason(scaleway(), &[ping.clone(), (token, answer(404, "")), (api, last)]);
    assert_eq!(wrong(answer(401, r#"{"type":"denied_authentication"}"#)), Reason::AuthenticationFailed);
    assert_eq!(wrong(answer(403, powerless)), Reason::UnexpectedAnswer);
    assert_eq!(reason(scaleway(), &[ping.clone(), (token, answer(401, ""))]), Reason::AuthenticationFailed);
}

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
    let manifest = ("bearer HEAD https://r.example.com/v2/team/app/manifests/latest", answer(404, ""));
    let tags = |status| {
        let tags = ("bearer GET https://r.example.com/v2/team/app/tags/list?n=1", answer(status, ""));
        [&until_token(answer(200, TOKEN))[..], &[manifest.clone(), tags]].concat()
    };
    assert_eq!(play(login(), &tags(200)).reason, Reason::Authenticated);
    assert_eq!(play(login(), &tags(404)).reason, Reason::RepositoryNotFound);
    assert_eq!(play(login(), &tags(405)).reason, Reason::UnexpectedAnswer);
}

#[test]
fn a_token_server_inside_of_a_network_is_for_registries_inside_of_it() {
    let reach = |private: &[&str]| {
        let private = private.join(",").parse().unwrap();
        let access = RegistryAccess { private, ..RegistryAccess::default() };
        let (mut handshake, first) = Handshake::begin(Arc::new(login("r.example.com")), Arc::new(access));
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
    assert_eq!(play_with(login("quay.io"), access, &elsewhere).reason, Reason::RealmRejected);
    let untrusted =
        Login { authorities: Some(Err(super::super::login::MissingAuthorities)), ..login("quay.io") };
    assert_eq!(play(untrusted, &[]).reason, Reason::TLSError);
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
        let (mut handshake, _) = Handshake::begin(Arc::new(login("r.example.com")), Arc::default());
        let Step::Done(outcome) = handshake.answered(Err(no_answer)) else { panic!("{no_answer:?}") };
        assert_eq!(outcome.status(), ConditionStatus::Unknown, "{no_answer:?}");
    }
}
