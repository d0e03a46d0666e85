//! When most owners are missing, it is more likely that the hub has lost its credentials than that people wanted it.

use std::time::Duration;

use k8s_openapi::api::{core::v1::Namespace, events::v1::Event};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{LONG, start, vanish};
use crate::{
    checks::{good_source, merge},
    lab::{Lab, copies},
    scenario::Scenario,
    support::{Error, Operator, Result, environment::OPERATOR_NAMESPACE, wait_for},
};

const ALLOW: &str = "claviger.dev/allow-sweep";

/// Credentials that go into their own namespace only.
async fn credentials(test: &Scenario, names: &[String]) -> Result<()> {
    for name in names {
        let spec = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
        test.credential(name, spec).await?;
    }
    for name in names {
        test.wait_ready(name, 1).await?;
    }
    Ok(())
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// An operator that finds these missing when it starts.
async fn restart_without(
    lab: &Lab,
    test: &Scenario,
    gone: &[String],
    operator: Operator,
) -> Result<Operator> {
    assert_eq!(operator.terminate(LONG).await?, 0);
    vanish(test, gone).await?;
    start(lab.operator()?, Duration::ZERO).await
}

async fn wait_copies(test: &Scenario, wanted: usize) -> Result<()> {
    wait_for(LONG, &format!("{wanted} copies"), async || {
        let found = copies(test).await?.items.len();
        if found == wanted { Ok(()) } else { Err(Error::new(format!("{found}"))) }
    })
    .await
}

/// The Events about the operator's namespace.
async fn held(test: &Scenario) -> Result<Vec<Event>> {
    let events: Api<Event> = Api::namespaced(test.client.clone(), OPERATOR_NAMESPACE);
    let mut found = events.list(&ListParams::default()).await?.items;
    found.retain(|event| event.reason.as_deref() == Some("SweepHeld"));
    Ok(found)
}

async fn held_metric(operator: &Operator) -> Result<f64> {
    Ok(operator.metric(r#"claviger_sweep_held{cluster="local"}"#).await?.unwrap_or(0.0))
}

async fn allow(test: &Scenario, value: Value) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    merge(&namespaces, OPERATOR_NAMESPACE, json!({"metadata": {"annotations": {ALLOW: value}}})).await?;
    Ok(())
}

#[tokio::test]
async fn more_than_ten_missing_owners_and_more_than_half_hold_the_sweep_until_it_is_allowed() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    good_source(&test, "src", "the-password").await?;
    let (gone, stay) = (names("gone", 11), names("stay", 3));
    let operator = start(lab.operator()?, Duration::ZERO).await?;
    credentials(&test, &[&gone[..], &stay[..]].concat()).await?;
    let operator = restart_without(&lab, &test, &gone, operator).await?;

    let event =
        wait_for(LONG, "the Event", async || held(&test).await.map(|found| found.into_iter().next()).ok()?)
            .await?;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let about = event.regarding.unwrap_or_default();
    assert_eq!((about.kind.as_deref(), about.name.as_deref()), (Some("Namespace"), Some(OPERATOR_NAMESPACE)));
    let note = event.note.unwrap_or_default();
    for part in ["11", "local", ALLOW] {
        assert!(note.contains(part), "no {part}: {note}");
    }
    wait_for(LONG, "the metric", async || held_metric(&operator).await.is_ok_and(|held| held == 11.0))
        .await?;
    assert!(operator.logs().contains(ALLOW), "the log does not name the way out");
    assert_eq!(copies(&test).await?.items.len(), 14);
    // The name of another cluster allows nothing here.
    allow(&test, json!("east")).await?;
    credentials(&test, &names("more", 2)).await?;
    assert_eq!((copies(&test).await?.items.len(), held_metric(&operator).await?), (16, 11.0));

    allow(&test, json!("east,local")).await?;
    wait_copies(&test, 5).await?;
    wait_for(LONG, "the metric", async || held_metric(&operator).await.is_ok_and(|held| held == 0.0)).await?;
    assert_eq!(held(&test).await?.len(), 1, "one Event for one transition");
    for name in stay.iter().chain(&names("more", 2)) {
        test.wait_ready(name, 1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn half_of_them_or_no_more_than_ten_are_swept() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    good_source(&test, "src", "the-password").await?;
    let (half, ten, last) = (names("half", 11), names("ten", 10), names("last", 1));
    let operator = start(lab.operator()?, Duration::ZERO).await?;
    credentials(&test, &[&half[..], &ten[..], &last[..]].concat()).await?;
    // 11 of 22: more than ten, but not over half.
    let operator = restart_without(&lab, &test, &half, operator).await?;
    wait_copies(&test, 11).await?;
    // 10 of 11: over half, but not more than ten.
    let operator = restart_without(&lab, &test, &ten, operator).await?;
    wait_copies(&test, 1).await?;
    assert!(held(&test).await?.is_empty());
    assert_eq!(held_metric(&operator).await?, 0.0);
    Ok(())
}
