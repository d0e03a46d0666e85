//! What a tenant writes into their namespace does not make the operator large.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    checks::{good_source, spec, wait_copy},
    heavy::heavy,
    lab::{Lab, copies, many_targets},
    scenario::Scenario,
    support::{Operator, Result, wait_for},
};

/// On a busy machine a thousand writes take minutes.
const LONG: Duration = Duration::from_secs(300);
const MEBI: u64 = 1 << 20;
/// The budget of 128 MiB with hostile input is that of a release build; the operator of the tests is not optimised.
const BUDGET: u64 = (128 + 48) * MEBI;
/// Less than the edits are together, of which nothing may stay.
const GROWTH: u64 = 32 * MEBI;
/// Large objects in flight.
const AT_ONCE: usize = 4;

/// Makes objects of almost the size that the API server takes.
async fn large(test: &Scenario, count: usize) -> Result<()> {
    let copy = wait_copy(test, &test.home.name, "reg").await?;
    let secrets = test.secrets(&test.home.name);
    stream::iter(0..count)
        .map(|number| {
            let secret = json!({
                "metadata": {"name": format!("large-{number}"), "labels": copy.metadata.labels, "annotations": copy.metadata.annotations},
                "stringData": {"x": "x".repeat(700_000)},
            });
            let (secrets, pods) = (secrets.clone(), test.pods(&test.home.name));
            async move {
                let secret: Secret = serde_json::from_value(secret)?;
                secrets.create(&PostParams::default(), &secret).await?;
                let pod: Pod = serde_json::from_value(json!({
                    "metadata": {"name": format!("large-{number}")},
                    "spec": {"containers": [{"name": "app", "image": "x", "env": [{"name": "X", "value": "x".repeat(700_000)}]}]},
                }))?;
                pods.create(&PostParams::default(), &pod).await?;
                Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The operator has caught up when it has brought this password everywhere.
async fn caught_up(test: &Scenario, password: &str, count: usize) -> Result<()> {
    good_source(test, "src", password).await?;
    wait_for(LONG, "the operator to catch up", async || {
        let home = test.secrets(&test.home.name).get("reg").await.map_err(|error| error.to_string())?;
        let revision = home.metadata.annotations.unwrap_or_default().remove("claviger.dev/revision");
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let is_told = status.revision.map(|told| told.to_string()) == revision;
        let summary = status.summary.map(|summary| summary.namespaces);
        let login = test.login(&test.home.name, "reg").await.map_err(|error| error.to_string())?;
        if login.is_none_or(|(_, found)| found != password) {
            return Err("another password".to_owned());
        }
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        if is_told
            && ready.is_some_and(|ready| ready.status == "True")
            && summary == Some(format!("{count}/{count}"))
        {
            Ok(())
        } else {
            Err(format!("{summary:?}, {ready:?}"))
        }
    })
    .await
}

fn within_budget(operator: &Operator, when: &str) -> Result<()> {
    let peak = operator.peak_rss_bytes()?;
    eprintln!("{when}: peak of {} MiB", peak / MEBI);
    assert!(peak < BUDGET, "{when}: peak of {} MiB", peak / MEBI);
    Ok(())
}

/// The attacks: a marked Secret that is edited time and again with another large annotation; and Secrets and Pods of
/// nearly a megabyte each, that a start has to read.
#[tokio::test]
async fn what_a_tenant_writes_does_not_make_the_operator_large() -> Result<()> {
    let _turn = heavy().await;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    // The home namespace, too.
    let count = many_targets(&test, 1_000).await?.len() + 1;
    good_source(&test, "src", "the-password").await?;
    let mut spec = spec(&test, "src");
    spec["target"]["namespaces"]["names"] = json!([test.home.name]);
    let operator = lab.operator()?.start().await?;
    test.credential("reg", spec).await?;
    caught_up(&test, "another-password", count).await?;
    assert_eq!(copies(&test).await?.items.len(), count);
    let calm = operator.rss_bytes()?;

    let marked: Api<Secret> = test.secrets(&test.home.name);
    for number in 0..600 {
        let note = format!("{number}{}", "x".repeat(90_000));
        let edit = json!({"metadata": {"annotations": {"note": note}}});
        marked.patch("reg", &PatchParams::default(), &Patch::Merge(edit)).await?;
    }
    caught_up(&test, "the-password", count).await?;
    let grown = operator.rss_bytes()?.saturating_sub(calm);
    eprintln!("calm: {} MiB, 600 edits: {} MiB more", calm / MEBI, grown / MEBI);
    assert!(grown < GROWTH, "600 edits made it grow by {} MiB", grown / MEBI);

    large(&test, 60).await?;
    caught_up(&test, "another-password", count).await?;
    within_budget(&operator, "with large Secrets and Pods")?;
    assert_eq!(operator.terminate(LONG).await?, 0);
    let operator = lab.operator()?.start().await?;
    caught_up(&test, "the-password", count).await?;
    within_budget(&operator, "started with them")?;
    assert_eq!(operator.terminate(LONG).await?, 0);
    Ok(())
}
