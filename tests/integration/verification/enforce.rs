//! With `Enforce`, a value that the registry refuses goes nowhere.

use std::time::Duration;

use serde_json::json;

use super::{BAD, GOOD, USER, login, spec, trust};
use crate::{
    checks::{SOON, merge, stays_absent},
    lab::Lab,
    scenario::Scenario,
    support::{
        FaultProxy, Result,
        pki::Authority,
        registry::{Answer, Auth, FaultyRegistry, Registry},
        stays,
    },
};

async fn set_password(test: &Scenario, password: &str) -> Result<()> {
    merge(&test.secrets(&test.home.name), "src", json!({"stringData": {"password": password}})).await?;
    Ok(())
}

#[tokio::test]
async fn the_copies_keep_the_last_value_that_was_not_refused_also_over_a_restart() -> Result<()> {
    let authority = Authority::new("registry")?;
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), Some(&authority)).await?;
    let server = format!("localhost:{}", registry.port());
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    trust(&test, &authority).await?;
    login(&test, "src", BAD).await?;
    let operator = lab.operator()?.start().await?;
    let mut spec = spec(&server, "src", json!({"mode": "Enforce", "caSecretRef": {"name": "registry-ca"}}));
    spec["target"] = test.selector();
    test.credential("reg", spec).await?;
    // The first value is refused: nothing is written at all.
    test.wait_condition("reg", "Verified", "False", "AuthenticationFailed").await?;
    test.wait_condition("reg", "Ready", "False", "AuthenticationFailed").await?;
    test.wait_condition("reg", "Stalled", "True", "AuthenticationFailed").await?;
    stays_absent(&test, &targets[0], "reg").await?;
    set_password(&test, GOOD).await?;
    test.wait_ready("reg", 1).await?;
    test.wait_condition("reg", "Verified", "True", "Authenticated").await?;

    let keeps = async || {
        test.wait_condition("reg", "Ready", "False", "AuthenticationFailed").await?;
        stays(Duration::from_secs(2), "the last good value", async || {
            for namespace in &targets {
                let login = test.login(namespace, "reg").await.map_err(|error| error.to_string())?;
                if login.as_ref().map(|(_, password)| password.as_str()) != Some(GOOD) {
                    return Err(format!("{namespace}: {:?}", login.map(|(user, _)| user)));
                }
            }
            Ok(())
        })
        .await
    };
    set_password(&test, BAD).await?;
    keeps().await?;
    // A copy that is deleted meanwhile comes back as it was.
    test.secrets(&targets[1]).delete("reg", &Default::default()).await?;
    test.wait_password(&targets[1], "reg", GOOD).await?;
    assert_eq!(operator.terminate(SOON).await?, 0);
    let _operator = lab.operator()?.start().await?;
    keeps().await?;
    assert_eq!(test.status("reg").await?.revision, Some(1));

    registry.set_users(&[(USER, "the-next-password")])?;
    set_password(&test, "the-next-password").await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", "the-next-password").await?;
    }
    test.wait_ready("reg", 2).await?;
    test.wait_condition("reg", "Verified", "True", "Authenticated").await?;
    Ok(())
}

#[tokio::test]
async fn a_registry_that_is_down_or_slow_holds_nothing_back() -> Result<()> {
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?;
    let proxy = FaultProxy::start(registry.address()).await?;
    let test = Scenario::shared().await?;
    login(&test, "src", GOOD).await?;
    test.credential("reg", spec(&proxy.address(), "src", json!({"mode": "Enforce"}))).await?;
    test.wait_ready("reg", 1).await?;
    test.wait_condition("reg", "Verified", "True", "Authenticated").await?;
    // Nobody answers any more; a new value is not known to be wrong.
    proxy.freeze();
    set_password(&test, BAD).await?;
    test.wait_password(&test.home.name, "reg", BAD).await?;
    test.wait_condition("reg", "Verified", "Unknown", "RegistryUnreachable").await?;
    test.wait_ready("reg", 2).await?;
    // It is back, and refuses what is distributed: that stays, as there is nothing better, and is told.
    proxy.thaw();
    test.annotate("reg", "claviger.dev/sync-requested-at", "now").await?;
    test.wait_condition("reg", "Ready", "False", "AuthenticationFailed").await?;
    test.wait_password(&test.home.name, "reg", BAD).await?;
    Ok(())
}

/// Whoever has a registry fail after it has refused a value lets that value out neither now nor by a restart.
#[tokio::test]
async fn what_was_refused_is_held_until_the_registry_says_something_else() -> Result<()> {
    let registry = FaultyRegistry::start(None).await?;
    registry.rule(|request| match &request.authorization {
        None => Answer::status(401).header("www-authenticate", "Basic realm=\"x\""),
        Some(_) => Answer::status(401),
    });
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    login(&test, "src", BAD).await?;
    let operator = lab.operator()?.start().await?;
    test.credential("reg", spec(&registry.address(), "src", json!({"mode": "Enforce"}))).await?;
    test.wait_condition("reg", "Ready", "False", "AuthenticationFailed").await?;
    assert_eq!(operator.terminate(SOON).await?, 0);
    let told = test.status("reg").await?;
    let asked = registry.requests().len();
    registry.rule(|_| Answer::status(503));
    let _operator = lab.operator()?.start().await?;
    stays_absent(&test, &test.home.name, "reg").await?;
    assert_eq!(test.status("reg").await?, told);
    assert_eq!(registry.requests().len(), asked);
    Ok(())
}

/// A copy that is left in a namespace which still uses it has the value that was good once. That does not make it good.
#[tokio::test]
async fn an_old_value_that_some_copy_still_has_is_held_like_any_other() -> Result<()> {
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?;
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    login(&test, "src", GOOD).await?;
    let mut spec = spec(registry.address(), "src", json!({"mode": "Enforce"}));
    spec["target"] = json!({"namespaces": {"names": targets}});
    test.credential("reg", spec).await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", GOOD).await?;
    }
    test.pod(&targets[1], "user", "reg").await?;
    let narrowed = json!({"spec": {"target": {"namespaces": {"names": [targets[0]]}}}});
    merge(&test.credentials(), "reg", narrowed).await?;
    test.wait_ready("reg", 1).await?;
    registry.set_users(&[(USER, "the-next-password")])?;
    set_password(&test, "the-next-password").await?;
    test.wait_password(&targets[0], "reg", "the-next-password").await?;
    test.wait_condition("reg", "Verified", "True", "Authenticated").await?;
    set_password(&test, GOOD).await?;
    test.wait_condition("reg", "Verified", "False", "AuthenticationFailed").await?;
    stays(Duration::from_secs(2), "the last good value", async || {
        let login = test.login(&targets[0], "reg").await.map_err(|error| error.to_string())?;
        let is_kept = login.is_some_and(|(_, password)| password == "the-next-password");
        if is_kept { Ok(()) } else { Err("another one".to_owned()) }
    })
    .await?;
    test.wait_password(&targets[1], "reg", GOOD).await
}
