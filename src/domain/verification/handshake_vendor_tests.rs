//! What the registries of vendors answer, and what follows.

use super::*;

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
    let wrong = [ping.clone(), (token, answer(403, DENIED))];
    assert_eq!(reason(login("ghcr.io"), &wrong), Reason::AuthenticationFailed);
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
    assert_eq!(of(answer(403, expired)), Reason::AuthenticationFailed);
    assert_eq!(of(answer(403, "<html>")), Reason::UnexpectedAnswer);
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
        Reason::AuthenticationFailed
    );
    assert_eq!(
        reason(login("public.ecr.aws"), &[ping, (token, answer(400, "bad request"))]),
        Reason::UnexpectedAnswer
    );
}

/// Azure/acr docs/AAD-OAuth.md: the token is `access_token`. Its firewall answers 403 with `DENIED`, wherever one asks.
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
    let outside = play(login("acme.azurecr.io"), &[ping.clone(), (token, answer(403, DENIED))]);
    assert_eq!((outside.reason, outside.status()), (Reason::UnexpectedAnswer, ConditionStatus::Unknown));
    let to_pull = format!("{token}&scope=repository%3Ateam%2Fapp%3Apull");
    let pull = [&good[..], &[(&*to_pull, answer(403, DENIED))]].concat();
    assert_eq!(reason(that_pulls("acme.azurecr.io"), &pull), Reason::UnexpectedAnswer);
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
    let of = |name: Option<&str>| {
        let scaleway = Some(("fr-par", name.map(str::to_owned)));
        login_with("rg.fr-par.scw.cloud", RegistryLogin { scaleway, ..user() })
    };
    let scaleway = || of(Some("web"));
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
    // Without a namespace, only whether the key is known.
    let any = "key GET https://api.scaleway.com/registry/v1/regions/fr-par/namespaces?page_size=1";
    let wrong = |last| reason(of(None), &[ping.clone(), (token, answer(404, "")), (any, last)]);
    assert_eq!(wrong(answer(401, r#"{"type":"denied_authentication"}"#)), Reason::AuthenticationFailed);
    let none = r#"{"namespaces":[],"total_count":0}"#;
    for other in [answer(200, none), answer(403, powerless), answer(500, "")] {
        assert_eq!(wrong(other), Reason::UnexpectedAnswer);
    }
    let good = [ping.clone(), (token, answer(200, TOKEN)), again.clone(), (any, answer(200, none))];
    assert_eq!(reason(of(None), &good), Reason::Authenticated);
}
