//! What real registries say, and how it is told.

use std::time::Duration;

use serde_json::json;

use super::{BAD, GOOD, USER, assert_untold, login, spec, trust};
use crate::{
    checks::{count_events, merge, wait_events},
    scenario::Scenario,
    support::{
        Result,
        pki::Authority,
        registry::{Auth, Crane, Registry, TokenServer, docker_config},
        stays,
    },
};

#[tokio::test]
async fn a_login_that_works_is_told_from_one_that_does_not() -> Result<()> {
    let authority = Authority::new("registry")?;
    let tokens = TokenServer::start(&[(USER, GOOD)], Some(&authority)).await?;
    let by_token = Registry::start(Auth::Token(&tokens), Some(&authority)).await?;
    let by_password = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), Some(&authority)).await?;
    let test = Scenario::shared().await?;
    trust(&test, &authority).await?;
    login(&test, "good", GOOD).await?;
    login(&test, "bad", BAD).await?;
    let trusted = json!({"caSecretRef": {"name": "registry-ca"}});
    for (name, registry) in [("token", &by_token), ("password", &by_password)] {
        let server = format!("localhost:{}", registry.port());
        for (source, status, reason) in
            [("good", "True", "Authenticated"), ("bad", "False", "AuthenticationFailed")]
        {
            let credential = format!("{name}-{source}");
            test.credential(&credential, spec(&server, source, trusted.clone())).await?;
            test.wait_condition(&credential, "Verified", status, reason).await?;
            // By default a refusal is told, and holds nothing back.
            test.wait_ready(&credential, 1).await?;
            let told = test.status(&credential).await?.verification.unwrap_or_default();
            let login = told.logins.first().cloned().unwrap_or_default();
            assert_eq!((login.reason.as_str(), login.key.as_str()), (reason, server.as_str()));
            assert_eq!(told.revision, Some(1));
            if source == "bad" {
                assert_eq!((login.http_status, login.code.as_deref().is_some()), (Some(401), true));
                wait_events(&test, &credential, reason, 1).await?;
            }
        }
    }
    assert_untold(&test, &[GOOD, BAD]).await?;
    Ok(())
}

#[tokio::test]
async fn a_repository_is_tried_and_an_open_registry_proves_nothing_without_one() -> Result<()> {
    let authority = Authority::new("registry")?;
    let users = [(USER, GOOD), ("other", GOOD)];
    let tokens = TokenServer::start(&users, Some(&authority)).await?;
    let registry = Registry::start(Auth::Token(&tokens), Some(&authority)).await?;
    let server = format!("localhost:{}", registry.port());
    let own = Crane::new(docker_config(&server, USER, GOOD), Some(authority.pem()))?;
    own.push(&format!("{server}/{USER}/app:latest")).await?;
    own.push(&format!("{server}/{USER}/tagged:1")).await?;
    let test = Scenario::shared().await?;
    trust(&test, &authority).await?;
    login(&test, "own", GOOD).await?;
    test.source("other", json!({"username": "other", "password": GOOD})).await?;
    for (name, source, repository, status, reason) in [
        ("app", "own", "acme/app", "True", "Authenticated"),
        ("tag", "own", "acme/tagged:1", "True", "Authenticated"),
        ("no-latest", "own", "acme/tagged", "True", "Authenticated"),
        ("missing", "own", "acme/missing", "False", "RepositoryNotFound"),
        ("other", "other", "acme/app", "False", "AccessDenied"),
    ] {
        let asked = json!({"caSecretRef": {"name": "registry-ca"}, "repository": repository});
        test.credential(name, spec(&server, source, asked)).await?;
        test.wait_condition(name, "Verified", status, reason).await?;
    }

    let open = Registry::start(Auth::Open, None).await?;
    test.credential("open", spec(open.address(), "own", json!({}))).await?;
    test.wait_condition("open", "Verified", "Unknown", "NotDistinguishable").await?;
    test.wait_ready("open", 1).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_known_holds_nothing_back_and_alarms_nobody() -> Result<()> {
    let authority = Authority::new("registry")?;
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), Some(&authority)).await?;
    let server = format!("localhost:{}", registry.port());
    let test = Scenario::shared().await?;
    trust(&test, &authority).await?;
    login(&test, "good", GOOD).await?;
    test.source("no-ca", json!({"ca.crt": "none"})).await?;
    let enforced = json!({"mode": "Enforce"});
    for (name, spec, reason) in [
        ("untrusted", spec(&server, "good", enforced.clone()), "TLSError"),
        (
            "empty-ca",
            spec(&server, "good", json!({"mode": "Enforce", "caSecretRef": {"name": "no-ca"}})),
            "TLSError",
        ),
        ("lost-ca", spec(&server, "good", json!({"caSecretRef": {"name": "not-there"}})), "TLSError"),
        ("down", spec("127.0.0.1:1", "good", enforced.clone()), "RegistryUnreachable"),
        ("elsewhere", spec("registry.example.com", "good", enforced.clone()), "RegistryNotAllowed"),
        ("off", spec(&server, "good", json!({"mode": "Off"})), "Skipped"),
    ] {
        test.credential(name, spec).await?;
        test.wait_condition(name, "Verified", "Unknown", reason).await?;
        test.wait_ready(name, 1).await?;
        assert_eq!(count_events(&test, name, reason).await?, 0, "{name}");
    }
    // The authority comes later: it is tried again at once.
    test.source("not-there", json!({"ca.crt": authority.pem()})).await?;
    test.wait_condition("lost-ca", "Verified", "True", "Authenticated").await?;
    Ok(())
}

#[tokio::test]
async fn a_change_is_tried_at_once_and_a_sync_that_is_asked_for_tries_again() -> Result<()> {
    let authority = Authority::new("registry")?;
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), Some(&authority)).await?;
    let server = format!("localhost:{}", registry.port());
    let test = Scenario::shared().await?;
    trust(&test, &authority).await?;
    login(&test, "src", BAD).await?;
    let trusted = json!({"caSecretRef": {"name": "registry-ca"}});
    test.credential("reg", spec(&server, "src", trusted)).await?;
    test.wait_condition("reg", "Verified", "False", "AuthenticationFailed").await?;
    merge(&test.secrets(&test.home.name), "src", json!({"stringData": {"password": GOOD}})).await?;
    test.wait_condition("reg", "Verified", "True", "Authenticated").await?;
    wait_events(&test, "reg", "Authenticated", 1).await?;
    // Nothing else is asked: not for a resync, and not for a namespace.
    let asked = registry.requests().len();
    stays(Duration::from_secs(2), "what was asked", async || {
        if registry.requests().len() == asked { Ok(()) } else { Err(format!("{:?}", registry.requests())) }
    })
    .await?;
    registry.set_users(&[(USER, "changed-behind-our-back")])?;
    test.annotate("reg", "claviger.dev/sync-requested-at", "now").await?;
    test.wait_condition("reg", "Verified", "False", "AuthenticationFailed").await?;
    test.wait_ready("reg", 2).await?;
    Ok(())
}
