//! Many logins: how often each is tried, and how fast one registry is asked.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{GOOD, USER, spec};
use crate::{
    lab::Lab,
    scenario::Scenario,
    support::{Result, registry::FaultyRegistry, wait_for},
};

#[tokio::test]
async fn one_login_of_many_credentials_is_tried_once() -> Result<()> {
    let registry = FaultyRegistry::that_takes_each_login(Duration::ZERO).await?;
    let test = Scenario::shared().await?;
    test.source("src", json!({"username": USER, "password": GOOD})).await?;
    for n in 0..10 {
        test.credential(&format!("reg-{n}"), spec(&registry.address(), "src", json!({}))).await?;
    }
    for n in 0..10 {
        test.wait_condition(&format!("reg-{n}"), "Verified", "True", "Authenticated").await?;
    }
    assert_eq!(registry.requests().len(), 2, "{:?}", registry.requests());
    Ok(())
}

/// The budget of issue 11: 1,000 logins at 50 registries within 30 s of a cold start.
#[tokio::test]
async fn a_thousand_logins_are_tried_soon_after_a_start_and_no_registry_is_flooded() -> Result<()> {
    const REGISTRIES: usize = 50;
    const LOGINS: usize = 1_000;
    let registries: Vec<FaultyRegistry> = stream::iter(0..REGISTRIES)
        .then(|_| FaultyRegistry::that_takes_each_login(Duration::ZERO))
        .try_collect()
        .await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    stream::iter(0..LOGINS)
        .map(|n| {
            let (test, server) = (&test, registries[n % REGISTRIES].address());
            async move {
                let (name, source) = (format!("reg-{n}"), format!("login-{n}"));
                test.source(&source, json!({"username": USER, "password": format!("password-{n}")})).await?;
                test.credential(&name, spec(&server, &source, json!({}))).await
            }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let began = std::time::Instant::now();
    let _operator = lab.operator()?.start().await?;
    wait_for(Duration::from_secs(120), "all logins to be tried", async || {
        let logins: BTreeSet<String> = registries.iter().flat_map(FaultyRegistry::authorizations).collect();
        if logins.len() == LOGINS { Ok(()) } else { Err(format!("{} were", logins.len())) }
    })
    .await?;
    let took = began.elapsed();
    let fastest = registries.iter().map(FaultyRegistry::most_in_a_second).max();
    eprintln!(
        "{LOGINS} logins at {REGISTRIES} registries: {took:?}; at most {fastest:?} requests a second to one"
    );
    // The budget is that of a release build on a quiet machine; docs/benchmark.md has the number.
    assert!(took < 3 * Duration::from_secs(30), "{took:?}");
    assert!(fastest <= Some(20), "{fastest:?}");
    Ok(())
}
