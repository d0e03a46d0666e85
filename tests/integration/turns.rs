//! Credentials take turns: a small one does not wait behind large ones.

use std::time::{Duration, Instant};

use crate::{
    checks::{good_source, spec, spec_to},
    lab::{Lab, copies, many_targets},
    scenario::Scenario,
    support::{Error, FaultProxy, Result, wait_for},
};
use serde_json::json;

const LARGE: usize = 12;
const NAMESPACES: usize = 600;

/// Each write takes that long, four at a time: all of them take about a minute.
const DELAY: Duration = Duration::from_millis(30);

const LONG: Duration = Duration::from_secs(120);

/// Makes a credential for one namespace, and tells how long its copy took.
async fn serve_small(test: &Scenario, name: &str) -> Result<Duration> {
    let began = Instant::now();
    test.credential(name, spec_to("src", json!({"namespaces": {"names": [test.home.name]}}))).await?;
    wait_for(LONG, &format!("the copy of {name}"), async || {
        test.secrets(&test.home.name).get_opt(name).await.is_ok_and(|found| found.is_some())
    })
    .await?;
    Ok(began.elapsed())
}

#[tokio::test]
async fn a_small_credential_is_served_within_a_second_beside_twelve_large_ones() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    many_targets(&test, NAMESPACES).await?;
    good_source(&test, "src", "the-password").await?;
    let operator = lab.operator_behind(&proxy)?.arg("--concurrency=4").start().await?;
    proxy.delay(DELAY);
    let alone = serve_small(&test, "alone").await?;
    for n in 0..LARGE {
        test.credential(&format!("large-{n}"), spec(&test, "src")).await?;
    }
    // They are all under way.
    let written = |name: &str, found: &[k8s_openapi::api::core::v1::Secret]| {
        found.iter().filter(|copy| copy.metadata.name.as_deref() == Some(name)).count()
    };
    wait_for(LONG, "work on the large ones", async || {
        let found = copies(&test).await.map_err(|error| error.to_string())?.items;
        let begun = (0..LARGE).filter(|n| written(&format!("large-{n}"), &found) > 0).count();
        if begun == LARGE { Ok(()) } else { Err(format!("{begun} have begun")) }
    })
    .await?;
    for round in 0..6 {
        let took = serve_small(&test, &format!("small-{round}")).await?;
        assert!(took < alone + Duration::from_secs(1), "round {round}: {took:?}, alone {alone:?}");
    }
    // A rotation of a small one is as quick.
    good_source(&test, "other-src", "the-first").await?;
    test.credential("rotated", spec_to("other-src", json!({"namespaces": {"names": [test.home.name]}})))
        .await?;
    test.wait_password(&test.home.name, "rotated", "the-first").await?;
    let began = Instant::now();
    good_source(&test, "other-src", "the-second").await?;
    test.wait_password(&test.home.name, "rotated", "the-second").await?;
    assert!(began.elapsed() < alone + Duration::from_secs(1), "a rotation took {:?}", began.elapsed());

    let found = copies(&test).await?.items;
    let done = (0..LARGE).filter(|n| written(&format!("large-{n}"), &found) == NAMESPACES).count();
    if done == LARGE {
        return Err(Error::new("the large ones were done before: the test shows nothing"));
    }
    operator.check_running()
}
