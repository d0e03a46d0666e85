//! What was found out holds over a restart.

use std::time::Duration;

use serde_json::json;

use super::{BAD, GOOD, USER, login, spec};
use crate::{
    checks::SOON,
    lab::Lab,
    support::{
        Error, Result,
        registry::{Auth, Registry},
        stays, wait_for,
    },
};

#[tokio::test]
async fn what_was_verified_within_its_interval_is_not_asked_again() -> Result<()> {
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?;
    let other = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    login(&test, "good-login", GOOD).await?;
    login(&test, "bad-login", BAD).await?;
    let operator = lab.operator()?.start().await?;
    for (name, mode) in [("good", "Enforce"), ("bad", "Warn")] {
        test.credential(name, spec(registry.address(), &format!("{name}-login"), json!({"mode": mode})))
            .await?;
    }
    // Nobody is there, and one of several is held back.
    test.credential("down", spec("127.0.0.1:1", "good-login", json!({"mode": "Enforce"}))).await?;
    let entry = |server: &str, source: &str| json!({"provider": "Custom", "server": server, "secretRef": {"name": source}, "verification": {"mode": "Enforce"}});
    let entries = [entry(registry.address(), "bad-login"), entry(other.address(), "good-login")];
    test.credential("several", json!({"registries": entries})).await?;
    test.wait_condition("good", "Verified", "True", "Authenticated").await?;
    test.wait_condition("bad", "Verified", "False", "AuthenticationFailed").await?;
    test.wait_condition("down", "Verified", "Unknown", "RegistryUnreachable").await?;
    test.wait_condition("several", "Verified", "False", "AuthenticationFailed").await?;
    for ready in ["good", "bad", "down"] {
        test.wait_ready(ready, 1).await?;
    }
    wait_for(SOON, "both logins to be told", async || {
        let told = test.status("several").await.map_err(|error| error.to_string())?;
        let logins = told.verification.map_or(0, |told| told.logins.len());
        let synced = told.summary.unwrap_or_default().namespaces;
        if (logins, &*synced) == (2, "1/1") { Ok(()) } else { Err(format!("{logins}, {synced}")) }
    })
    .await?;
    assert_eq!(operator.terminate(SOON).await?, 0);

    let requests = || registry.requests().len() + other.requests().len();
    let statuses = async || {
        let mut all = Vec::new();
        for name in ["good", "bad", "down", "several"] {
            all.push(test.status(name).await?);
        }
        Ok::<_, Error>(all)
    };
    let (asked, before) = (requests(), statuses().await?);
    let _operator = lab.operator()?.start().await?;
    stays(Duration::from_secs(4), "what was found out", async || {
        let now = statuses().await.map_err(|error| error.to_string())?;
        if requests() != asked {
            return Err(format!("asked again: {:?}", registry.requests()));
        }
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await
}

#[tokio::test]
async fn an_operator_that_asks_nobody_says_so() -> Result<()> {
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    login(&test, "bad", BAD).await?;
    let asked = registry.requests().len();
    let _operator = lab.operator()?.arg("--no-verification").start().await?;
    test.credential("reg", spec(registry.address(), "bad", json!({"mode": "Enforce"}))).await?;
    test.wait_ready("reg", 1).await?;
    let told = test.wait_condition("reg", "Verified", "Unknown", "Skipped").await?;
    assert!(told.message.contains("--no-verification"), "{}", told.message);
    assert_eq!(registry.requests().len(), asked);
    Ok(())
}
