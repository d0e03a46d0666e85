//! What was found out holds over a restart.

use std::time::Duration;

use serde_json::json;

use super::{BAD, GOOD, USER, login, spec};
use crate::{
    checks::SOON,
    lab::Lab,
    support::{
        Result,
        registry::{Auth, Registry},
        stays,
    },
};

#[tokio::test]
async fn what_was_verified_within_its_interval_is_not_asked_again() -> Result<()> {
    let registry = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None).await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    login(&test, "good-login", GOOD).await?;
    login(&test, "bad-login", BAD).await?;
    let operator = lab.operator()?.start().await?;
    for (name, mode) in [("good", "Enforce"), ("bad", "Warn")] {
        test.credential(name, spec(registry.address(), &format!("{name}-login"), json!({"mode": mode})))
            .await?;
    }
    test.wait_condition("good", "Verified", "True", "Authenticated").await?;
    test.wait_condition("bad", "Verified", "False", "AuthenticationFailed").await?;
    test.wait_ready("good", 1).await?;
    test.wait_ready("bad", 1).await?;
    assert_eq!(operator.terminate(SOON).await?, 0);

    let asked = registry.requests().len();
    let before = (test.status("good").await?, test.status("bad").await?);
    let _operator = lab.operator()?.start().await?;
    stays(Duration::from_secs(4), "what was found out", async || {
        let of = async |name| test.status(name).await.map_err(|error| error.to_string());
        let now = (of("good").await?, of("bad").await?);
        if registry.requests().len() != asked {
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
