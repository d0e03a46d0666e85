//! Copies whose credential is gone: when they go, and what stops that.

mod brake;
mod interrupted;
mod patience;

use std::time::Duration;

use futures::StreamExt;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use crate::{
    checks::merge,
    lab::Lab,
    scenario::Scenario,
    support::{FaultProxy, Operator, Result, operator::Builder, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

/// A sweep each second, of owners that have been missing for that long.
async fn start(builder: Builder, grace: Duration) -> Result<Operator> {
    let grace = format!("{}s", grace.as_secs());
    builder.env("CLAVIGER_SWEEP_GRACE_PERIOD", grace).arg("--sweep-interval=1s").start().await
}

/// Takes credentials away past the operator, which must not be running: it would put its finalizer back.
async fn vanish(test: &Scenario, names: &[String]) -> Result<()> {
    let vanished: Vec<Result<()>> = futures::stream::iter(names)
        .map(async |name| {
            let credentials = test.credentials();
            merge(&credentials, name, json!({"metadata": {"finalizers": null}})).await?;
            credentials.delete(name, &DeleteParams::default()).await?;
            Ok(())
        })
        .buffer_unordered(8)
        .collect()
        .await;
    vanished.into_iter().collect()
}

/// A credential with copies in all namespaces of the test, whose operator has ended.
async fn spread_and_stop(lab: &Lab, test: &Scenario, operator: Operator, name: &str) -> Result<()> {
    let spec = crate::checks::spec(test, "src");
    test.credential(name, spec).await?;
    wait_for(LONG, "all copies", async || {
        let status = test.status(name).await.map_err(|error| error.to_string())?;
        let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        if ready { Ok(()) } else { Err(format!("{:?}", status.summary)) }
    })
    .await?;
    assert_eq!(operator.terminate(LONG).await?, 0);
    // The audit log ends with what it did.
    lab.requests().map(drop)
}

/// An operator that needs this long for each request, one at a time.
async fn slow(lab: &Lab, proxy: &FaultProxy, delay: Duration) -> Result<Builder> {
    proxy.delay(delay);
    Ok(lab.operator_behind(proxy)?.arg("--concurrency=1"))
}

/// Namespaces among these where a Secret of that name has one of the uids.
async fn with_uid(test: &Scenario, name: &str, uids: &[(String, String)]) -> Result<Vec<String>> {
    let all: Api<k8s_openapi::api::core::v1::Secret> = Api::all(test.client.clone());
    let found = all.list(&kube::api::ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    let has = |namespace: &str, uid: &str| {
        found.items.iter().any(|secret| {
            secret.metadata.namespace.as_deref() == Some(namespace)
                && secret.metadata.uid.as_deref() == Some(uid)
        })
    };
    Ok(uids.iter().filter(|(namespace, uid)| has(namespace, uid)).map(|(name, _)| name.clone()).collect())
}

/// Namespace and uid of each copy of that name.
async fn uids(test: &Scenario, name: &str) -> Result<Vec<(String, String)>> {
    let copies = crate::lab::copies(test).await?;
    let named = copies.items.into_iter().filter(|copy| copy.metadata.name.as_deref() == Some(name));
    Ok(named
        .map(|copy| (copy.metadata.namespace.unwrap_or_default(), copy.metadata.uid.unwrap_or_default()))
        .collect())
}
