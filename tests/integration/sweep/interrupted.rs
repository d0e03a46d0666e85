//! A sweep takes its time; each copy is looked at again in the moment in which it would go.

use std::time::Duration;

use futures::StreamExt;

use super::{LONG, slow, spread_and_stop, start, uids, vanish, with_uid};
use crate::{
    checks::{delete_pod, good_source, spec, wait_no_secret},
    lab::{Lab, many_targets, wait_accounts},
    scenario::Scenario,
    support::{FaultProxy, Operator, Result, wait_for},
};

const NAMESPACES: usize = 300;
const DELAY: Duration = Duration::from_millis(20);

/// How many copies may go between a change and the look that sees it, on a machine that has other things to do.
const SLACK: usize = 60;

/// Copies whose credential is gone, and an operator that has begun to sweep them, slowly.
struct Swept {
    _lab: Lab,
    proxy: FaultProxy,
    test: Scenario,
    operator: Operator,
    uids: Vec<(String, String)>,
}

async fn begun() -> Result<Swept> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = many_targets(&test, NAMESPACES).await?;
    wait_accounts(&test, &targets).await?;
    good_source(&test, "src", "the-password").await?;
    let operator = lab.operator()?.start().await?;
    spread_and_stop(&lab, &test, operator, "reg").await?;
    let uids = uids(&test, "reg").await?;
    assert_eq!(uids.len(), NAMESPACES);
    vanish(&test, &["reg".into()]).await?;
    let operator = start(slow(&lab, &proxy, DELAY).await?, Duration::ZERO).await?;
    wait_for(LONG, "the sweep to begin", async || {
        with_uid(&test, "reg", &uids).await.is_ok_and(|left| left.len() < NAMESPACES - 5)
    })
    .await?;
    Ok(Swept { _lab: lab, proxy, test, operator, uids })
}

#[tokio::test]
async fn a_credential_that_comes_back_keeps_the_rest_of_its_copies() -> Result<()> {
    let swept = begun().await?;
    let (test, uids) = (&swept.test, &swept.uids);
    let left = with_uid(test, "reg", uids).await?.len();
    assert!(left > NAMESPACES / 2, "it was too late: {left} are left");
    test.credential("reg", spec(test, "src")).await?;
    // What went is made again, with another uid.
    wait_for(LONG, "all copies", async || {
        let found = super::uids(test, "reg").await.map_err(|error| error.to_string())?.len();
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        if ready && found == NAMESPACES { Ok(()) } else { Err(format!("{found} copies, ready: {ready}")) }
    })
    .await?;
    let kept = with_uid(test, "reg", uids).await?.len();
    assert!(kept + SLACK >= left, "of {left} copies that were there when it came back, {kept} were kept");
    swept.operator.check_running()
}

#[tokio::test]
async fn pods_that_appear_keep_their_copies() -> Result<()> {
    let swept = begun().await?;
    let (test, uids) = (&swept.test, &swept.uids);
    let users = use_some(test, uids, 40).await?;
    wait_for(LONG, "all the others to go", async || {
        let left = with_uid(test, "reg", uids).await.map_err(|error| error.to_string())?;
        let unused = left.iter().filter(|namespace| !users.contains(namespace)).count();
        if unused == 0 { Ok(()) } else { Err(format!("{unused} are left")) }
    })
    .await?;
    let kept = with_uid(test, "reg", uids).await?;
    let lost: Vec<_> = users.iter().filter(|namespace| !kept.contains(namespace)).collect();
    // One deletion may have been on its way when the last Pod came.
    assert!(lost.len() <= 1, "of {} copies in use these were deleted: {lost:?}", users.len());
    swept.proxy.delay(Duration::ZERO);
    for namespace in kept.iter().take(3) {
        delete_pod(test, namespace, "app").await?;
        wait_no_secret(test, namespace, "reg").await?;
    }
    swept.operator.check_running()
}

/// Pods in some of the namespaces that still have their copy: those that had it also when the Pod was there.
pub async fn use_some(test: &Scenario, uids: &[(String, String)], count: usize) -> Result<Vec<String>> {
    let mut left = with_uid(test, "reg", uids).await?;
    assert!(left.len() > 3 * count, "it was too late: {} are left", left.len());
    // From all over the range, whatever the order of the deletions is.
    let step = left.len() / count;
    left = left.into_iter().step_by(step).take(count).collect();
    let made: Vec<Result<_>> = futures::stream::iter(&left)
        .map(async |namespace| test.pod(namespace, "app", "reg").await)
        .buffer_unordered(16)
        .collect()
        .await;
    made.into_iter().collect::<Result<Vec<_>>>()?;
    let there = with_uid(test, "reg", uids).await?;
    left.retain(|namespace| there.contains(namespace));
    assert!(left.len() > count / 2, "only {} of {count} Pods came in time", left.len());
    Ok(left)
}
