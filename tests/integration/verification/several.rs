//! Several registries in one Secret: each is looked into by itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BAD, GOOD, USER, assert_untold};
use crate::{
    checks::{SOON, merge},
    lab::Lab,
    scenario::Scenario,
    support::{
        Error, Result,
        registry::{Auth, Crane, Registry, docker_config},
        stays, wait_for,
    },
};

async fn passwords(test: &Scenario, namespace: &str) -> Result<Value> {
    let secret = test.secrets(namespace).get("reg").await?;
    let file = secret.data.unwrap_or_default().remove(".dockerconfigjson");
    let file: Value = serde_json::from_slice(&file.ok_or_else(|| Error::new("no file"))?.0)?;
    let auths = file["auths"].as_object().cloned().unwrap_or_default();
    Ok(auths.into_iter().map(|(key, entry)| (key, entry["password"].clone())).collect())
}

async fn wait_passwords(test: &Scenario, wanted: Value) -> Result<()> {
    wait_passwords_in(test, &test.home.name, wanted).await
}

async fn wait_passwords_in(test: &Scenario, namespace: &str, wanted: Value) -> Result<()> {
    wait_for(SOON, "the passwords", async || {
        let found = passwords(test, namespace).await.map_err(|error| error.to_string())?;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{} entries", found.as_object().map_or(0, |all| all.len())))
        }
    })
    .await
}

fn entry(server: &str, source: &str) -> Value {
    json!({"provider": "Custom", "server": server, "secretRef": {"name": source}, "verification": {"mode": "Enforce"}})
}

#[tokio::test]
async fn a_bad_registry_holds_back_itself_only() -> Result<()> {
    let (one, other) = (
        Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?,
        Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?,
    );
    let test = Scenario::shared().await?;
    for source in ["one", "other"] {
        test.source(source, json!({"username": USER, "password": GOOD})).await?;
    }
    let spec = json!({"registries": [entry(one.address(), "one"), entry(other.address(), "other"), entry("127.0.0.1:1", "third")]});
    test.credential("reg", spec).await?;
    // The Secret of the third is not there yet: the others are not held up by it.
    test.wait_condition("reg", "SourceResolved", "False", "SecretNotFound").await?;
    wait_passwords(&test, json!({one.address(): GOOD, other.address(): GOOD})).await?;
    test.source("third", json!({"username": USER, "password": "anything"})).await?;
    wait_passwords(&test, json!({one.address(): GOOD, other.address(): GOOD, "127.0.0.1:1": "anything"}))
        .await?;
    test.wait_condition("reg", "Verified", "Unknown", "RegistryUnreachable").await?;
    test.wait_condition("reg", "Ready", "True", "AllTargetsSynced").await?;

    // A wrong password for one, and a new one for the other: the first keeps what it had.
    other.set_users(&[(USER, "the-next-password")])?;
    merge(&test.secrets(&test.home.name), "one", json!({"stringData": {"password": BAD}})).await?;
    merge(&test.secrets(&test.home.name), "other", json!({"stringData": {"password": "the-next-password"}}))
        .await?;
    wait_passwords(
        &test,
        json!({one.address(): GOOD, other.address(): "the-next-password", "127.0.0.1:1": "anything"}),
    )
    .await?;
    test.wait_condition("reg", "Verified", "False", "AuthenticationFailed").await?;
    test.wait_condition("reg", "Ready", "False", "AuthenticationFailed").await?;
    let told = test.status("reg").await?.verification.unwrap_or_default();
    let mut reasons: Vec<_> = told.logins.iter().map(|login| login.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["Authenticated", "AuthenticationFailed", "RegistryUnreachable"]);

    // A client pulls from both with the one Secret.
    for (registry, password) in [(&one, GOOD), (&other, "the-next-password")] {
        let own = Crane::new(docker_config(registry.address(), USER, password), None)?;
        let image = own.push(&format!("{}/acme/app:1", registry.address())).await?;
        let secret = test.secrets(&test.home.name).get("reg").await?;
        let file = secret.data.unwrap_or_default().remove(".dockerconfigjson");
        let file = file.ok_or_else(|| Error::new("no file"))?.0;
        Crane::new(file, None)?.pull(&image).await?;
    }
    assert_untold(&test, &[GOOD, BAD, "the-next-password"]).await
}

/// Whoever edits one copy while the operator is down must not have an entry taken out of all others.
#[tokio::test]
async fn an_entry_that_is_held_stays_where_it_is_when_nobody_knows_what_it_was() -> Result<()> {
    let (one, other) = (
        Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?,
        Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?,
    );
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    for source in ["one", "other"] {
        test.source(source, json!({"username": USER, "password": GOOD})).await?;
    }
    let operator = lab.operator()?.start().await?;
    let entries = [entry(one.address(), "one"), entry(other.address(), "other")];
    test.credential("reg", json!({"registries": entries, "target": test.selector()})).await?;
    let both = json!({one.address(): GOOD, other.address(): GOOD});
    for namespace in &targets {
        wait_passwords_in(&test, namespace, both.clone()).await?;
    }
    test.wait_condition("reg", "Verified", "True", "Authenticated").await?;
    assert_eq!(operator.terminate(SOON).await?, 0);

    let edited = json!({"stringData": {".dockerconfigjson": "{\"auths\":{}}"}});
    merge(&test.secrets(&targets[1]), "reg", edited).await?;
    merge(&test.secrets(&test.home.name), "one", json!({"stringData": {"password": BAD}})).await?;
    let _operator = lab.operator()?.start().await?;
    test.wait_condition("reg", "Verified", "False", "AuthenticationFailed").await?;
    stays(Duration::from_secs(2), "the copy that nobody edited", async || {
        let found = passwords(&test, &targets[0]).await.map_err(|error| error.to_string())?;
        if found == both { Ok(()) } else { Err("another one".to_owned()) }
    })
    .await
}
