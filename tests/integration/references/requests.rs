//! What it costs to ask who uses what, and that it can be stopped.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::json;

use super::{LONG, Stage};
use crate::{
    checks::{delete, wait_no_credential},
    support::{AuditEvent, Result, wait_for},
};

const NAMESPACES: usize = 200;

/// Up to so many namespaces are asked about one by one.
const FEW: usize = 16;

/// How many lists of Pods deletions that take so long may ask for, however many namespaces there are: one for each 10 s,
/// and what begins and ends in between.
fn bound(took: Duration) -> usize {
    2 + usize::try_from(took.as_secs() / 10).unwrap_or(usize::MAX)
}

impl Stage {
    /// The operator's lists of Pods, from the `after`-th request of the log on. A watch is none.
    fn lists(&self, after: usize) -> Result<Vec<AuditEvent>> {
        let events = self.lab.control_plane.audit_events()?.into_iter().skip(after);
        Ok(events.filter(|e| self.is_operator(e) && e.resource == "pods" && e.verb == "list").collect())
    }

    fn is_operator(&self, event: &AuditEvent) -> bool {
        event.user == "claviger-operator"
    }
}

/// Whether finished Pods are left out by the server. A colon or an equals sign may be encoded.
fn leaves_finished_out(list: &AuditEvent) -> bool {
    let selector = list.uri.split(['?', '&']).find_map(|part| part.strip_prefix("fieldSelector="));
    let selector = selector.unwrap_or_default().replace("%21", "!").replace("%3D", "=").replace("%2C", ",");
    ["Succeeded", "Failed"].iter().all(|phase| selector.contains(&format!("status.phase!={phase}")))
}

#[tokio::test]
async fn a_deletion_over_many_namespaces_makes_few_lists_of_pods_without_finished_ones() -> Result<()> {
    let stage = Stage::new(NAMESPACES, &["--concurrency=1"]).await?;
    let test = &stage.test;
    // So slow that many slices of it are needed.
    stage.proxy.delay(Duration::from_millis(60));
    let after = stage.lab.requests()?;
    let began = Instant::now();
    delete(test, "reg").await?;
    wait_for(LONG, "all copies to go", async || {
        let left = stage.copies().await.map_err(|error| error.to_string())?.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left}")) }
    })
    .await?;
    assert!(began.elapsed() > Duration::from_secs(8), "it was too fast to be asked more than once");
    stage.proxy.delay(Duration::ZERO);
    wait_no_credential(test, "reg").await?;
    let bound = bound(began.elapsed());
    let lists = stage.lists(after)?;
    let asked: Vec<&str> = lists.iter().map(|list| list.uri.as_str()).collect();
    // When few namespaces are left as an answer gets too old, these are asked about one by one.
    let whole = asked.iter().filter(|uri| uri.starts_with("/api/v1/pods?")).count();
    assert!((1..=bound).contains(&whole) && asked.len() - whole <= FEW, "{} lists: {asked:#?}", asked.len());
    assert!(lists.iter().all(leaves_finished_out), "{asked:#?}");
    Ok(())
}

#[tokio::test]
async fn several_deletions_at_a_time_share_what_they_ask() -> Result<()> {
    const CREDENTIALS: usize = 6;
    let stage = Stage::new(60, &[]).await?;
    let test = &stage.test;
    let names: Vec<String> = (0..CREDENTIALS).map(|n| format!("reg-{n}")).collect();
    for name in &names {
        test.credential(name, crate::checks::spec(test, "src")).await?;
    }
    for name in &names {
        test.wait_ready(name, 1).await?;
    }
    let after = stage.lab.requests()?;
    stage.proxy.delay(Duration::from_millis(100));
    let began = Instant::now();
    futures::future::try_join_all(names.iter().map(|name| delete(test, name))).await?;
    for name in &names {
        wait_no_credential(test, name).await?;
    }
    let bound = bound(began.elapsed());
    let asked: Vec<String> = stage.lists(after)?.into_iter().map(|list| list.uri).collect();
    assert!(!asked.is_empty() && asked.len() <= bound, "{} lists: {asked:#?}", asked.len());
    Ok(())
}

/// Kubelet gives a Pod 30 s, and others may be waiting for the lease.
#[tokio::test]
async fn an_operator_that_is_asking_ends_when_told() -> Result<()> {
    const PODS: usize = 3000;
    let stage = Stage::new(NAMESPACES, &[]).await?;
    let test = &stage.test;
    // They use nothing of ours, but they are all in the list.
    let pods = test.pods(&test.home.name);
    let made: Vec<_> = futures::stream::iter(0..PODS)
        .map(async |n| {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": format!("pod-{n}")}, "spec": {"containers": [{"name": "app", "image": "x"}]},
            }))?;
            Result::Ok(pods.create(&PostParams::default(), &pod).await.map(drop)?)
        })
        .buffer_unordered(16)
        .collect()
        .await;
    made.into_iter().collect::<Result<Vec<()>>>()?;
    let after = stage.lab.requests()?;
    stage.proxy.delay(Duration::from_secs(2));
    delete(test, "reg").await?;
    wait_for(LONG, "the first page", async || stage.lists(after).is_ok_and(|lists| !lists.is_empty()))
        .await?;
    let began = Instant::now();
    assert_eq!(stage.operator.terminate(LONG).await?, 0);
    assert!(began.elapsed() < Duration::from_secs(6), "it took {:?}", began.elapsed());
    // At most what was on its way when all was asked goes; that is no more than may be in flight.
    let left = stage.copies().await?.items.len();
    assert!(left >= NAMESPACES - 32, "it went on deleting: {left} are left");
    Ok(())
}

#[tokio::test]
async fn an_operator_that_is_deleting_ends_when_told() -> Result<()> {
    let stage = Stage::new(NAMESPACES, &["--concurrency=1"]).await?;
    stage.proxy.delay(Duration::from_millis(60));
    delete(&stage.test, "reg").await?;
    let left = stage.begun().await?;
    let began = Instant::now();
    assert_eq!(stage.operator.terminate(LONG).await?, 0);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert!(stage.copies().await?.items.len() > left / 2, "it went on deleting");
    Ok(())
}
