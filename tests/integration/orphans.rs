//! Copies whose credential is gone, though its deletion never went through the operator: they are swept at start
//! and by a timer.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;

use crate::{
    checks::{delete, good_source, merge, spec_to, wait_no_credential, wait_no_secret},
    lab::Lab,
    scenario::Scenario,
    support::{Operator, Result, wait_for},
};

/// Between two sweeps of the timer.
const INTERVAL: Duration = Duration::from_secs(3);

/// What a sweep may take longer than its timer, beside other tests.
const SLACK: Duration = Duration::from_secs(15);

const GRACE: Duration = Duration::from_secs(6);

/// How long an operator may take to end.
const STOP: Duration = Duration::from_secs(20);

const NAME: &str = "reg";

async fn start() -> Result<(Lab, Scenario)> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    good_source(&test, "src", "the-password").await?;
    Ok((lab, test))
}

async fn sweeping(lab: &Lab, grace: Duration) -> Result<Operator> {
    let builder = lab.operator()?.arg(format!("--sweep-interval={}s", INTERVAL.as_secs()));
    builder.env("CLAVIGER_SWEEP_GRACE_PERIOD", format!("{}s", grace.as_secs())).start().await
}

/// A credential with one copy, in its own namespace.
async fn credential(test: &Scenario) -> Result<Secret> {
    test.credential(NAME, spec_to("src", json!({}))).await?;
    test.wait_ready(NAME, 1).await?;
    Ok(test.secrets(&test.home.name).get(NAME).await?)
}

/// A copy whose credential no later operator will have known, as one that a backup brings back.
async fn restored_copy(lab: &Lab, test: &Scenario) -> Result<Secret> {
    let operator = lab.operator()?.start().await?;
    let mut copy = credential(test).await?;
    delete(test, NAME).await?;
    wait_no_credential(test, NAME).await?;
    wait_no_secret(test, &test.home.name, NAME).await?;
    // Not the process that will sweep: it would know that this credential was deleted in order.
    assert_eq!(operator.terminate(STOP).await?, 0);
    copy.metadata = ObjectMeta {
        name: copy.metadata.name,
        labels: copy.metadata.labels,
        annotations: copy.metadata.annotations,
        ..ObjectMeta::default()
    };
    Ok(copy)
}

/// How long the copy stays, counted from `since`; at most `limit`.
async fn stays(test: &Scenario, since: Instant, limit: Duration) -> Result<Duration> {
    let secrets = test.secrets(&test.home.name);
    let gone = wait_for(limit, "the copy to be swept", async || match secrets.get_opt(NAME).await {
        Ok(None) => Ok(since.elapsed()),
        Ok(Some(copy)) => Err(format!("{:?} is there", copy.uid())),
        Err(error) => Err(error.to_string()),
    });
    test.home.explain(gone.await).await
}

#[tokio::test]
async fn a_copy_whose_credential_went_while_no_operator_ran_is_swept() -> Result<()> {
    let (lab, test) = start().await?;
    let operator = lab.operator()?.start().await?;
    credential(&test).await?;
    assert_eq!(operator.terminate(STOP).await?, 0);
    merge(&test.credentials(), NAME, json!({"metadata": {"finalizers": null}})).await?;
    delete(&test, NAME).await?;
    wait_no_credential(&test, NAME).await?;
    assert!(test.secrets(&test.home.name).get_opt(NAME).await?.is_some(), "nothing is left to sweep");
    let began = Instant::now();
    let operator = sweeping(&lab, Duration::ZERO).await?;
    stays(&test, began, INTERVAL + SLACK).await?;
    operator.check_running()
}

#[tokio::test]
async fn a_copy_that_appears_without_a_credential_is_swept() -> Result<()> {
    let (lab, test) = start().await?;
    let copy = restored_copy(&lab, &test).await?;
    let operator = sweeping(&lab, Duration::ZERO).await?;
    test.secrets(&test.home.name).create(&PostParams::default(), &copy).await?;
    stays(&test, Instant::now(), INTERVAL + SLACK).await?;
    operator.check_running()
}

/// Nothing happens when the period ends: what sweeps then is the timer.
#[tokio::test]
async fn a_copy_is_swept_by_the_timer_when_the_grace_period_is_over_and_not_before() -> Result<()> {
    let (lab, test) = start().await?;
    let copy = restored_copy(&lab, &test).await?;
    let operator = sweeping(&lab, GRACE).await?;
    let began = Instant::now();
    test.secrets(&test.home.name).create(&PostParams::default(), &copy).await?;
    let stayed = stays(&test, began, GRACE + INTERVAL + SLACK).await?;
    assert!(stayed >= GRACE, "it was swept after {stayed:?}");
    operator.check_running()
}
