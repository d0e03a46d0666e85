//! How often a status is written, counted in the audit log: people and other controllers watch it, and etcd keeps each
//! version.

use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::json;

use crate::{
    checks::{SOON, delete_pod, good_source, label_namespace, spec},
    lab::Lab,
    scenario::Scenario,
    support::{Operator, Result, wait_for},
};

/// How long a change of references alone may wait to be written.
const REFERENCES_AFTER: Duration = Duration::from_secs(30);

/// For what is written at once, beside other tests; far below the time above.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn start(targets: usize) -> Result<(Lab, Scenario, Vec<String>, Operator)> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(targets).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    Ok((lab, test, targets, operator))
}

/// When the status of a credential was written, from one moment to another. A refused write is none.
fn written(lab: &Lab, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>> {
    let of_status = lab.writes(0)?.into_iter().filter(|e| e.subresource == "status" && e.name == "reg");
    let times = of_status.filter(|e| e.code < 300).map(|e| e.received);
    Ok(times.filter(|at| (from..to).contains(at)).collect())
}

/// Calls a step again and again, with its number, for so long.
async fn churn(
    length: Duration,
    pause: Duration,
    mut step: impl AsyncFnMut(usize) -> Result<()>,
) -> Result<()> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(pause);
    for number in 0.. {
        if began.elapsed() >= length {
            break;
        }
        ticks.tick().await;
        step(number).await?;
    }
    Ok(())
}

#[tokio::test]
async fn many_namespaces_that_change_make_about_one_write_a_second() -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(10);
    let (lab, test, targets, operator) = start(24).await?;
    let from = Timestamp::now();
    // Each moment some come and some go, so that the counts are other ones each time.
    churn(WINDOW, Duration::from_millis(50), async |number| {
        let namespace = &targets[number * 7 % targets.len()];
        let label = if number / targets.len() % 2 == 0 { None } else { Some(&test.mark) };
        label_namespace(&test, namespace, json!({"test": label})).await
    })
    .await?;
    let to = Timestamp::now();
    let seconds = usize::try_from(to.duration_since(from).as_secs())?;
    // What came last is told too.
    let all = futures::stream::iter(&targets)
        .map(|namespace| label_namespace(&test, namespace, json!({"test": test.mark})))
        .buffer_unordered(8);
    all.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<()>>>()?;
    wait_for(SOON, "an honest status", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let told = status.summary.map(|summary| summary.namespaces).unwrap_or_default();
        if told == "24/24" { Ok(()) } else { Err(told) }
    })
    .await?;
    // Now that this is written, everything before is in the log.
    let times = written(&lab, from, to)?;
    assert!(times.len() <= seconds * 5 / 4 + 1, "{} writes in {seconds} s: {times:#?}", times.len());
    assert!(times.len() >= 2, "the status stood still for {seconds} s: {times:#?}");
    operator.check_running()
}

/// How many Pods the status says use the copies, and how many of them hold the credential.
async fn told(test: &Scenario) -> Result<(i64, i64)> {
    let references = test.status("reg").await?.references.unwrap_or_default();
    Ok((references.total, references.blocking))
}

async fn wait_told(test: &Scenario, within: Duration, what: &str, wanted: (i64, i64)) -> Result<()> {
    wait_for(within, what, async || {
        let found = told(test).await.map_err(|error| error.to_string())?;
        if found == wanted { Ok(()) } else { Err(format!("{found:?}, not {wanted:?}")) }
    })
    .await
}

#[tokio::test]
async fn pod_churn_is_written_at_once_only_when_the_credential_becomes_used_or_unused() -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(10);
    let (lab, test, targets, operator) = start(1).await?;
    let web = targets[0].as_str();
    // Without its default ServiceAccount no Pod is let in.
    let accounts: kube::Api<ServiceAccount> = kube::Api::namespaced(test.client.clone(), web);
    wait_for(SOON, "the default ServiceAccount", async || accounts.get("default").await).await?;

    test.pod(web, "first", "reg").await?;
    wait_told(&test, AT_ONCE, "the first user", (1, 1)).await?;

    let from = Timestamp::now();
    churn(WINDOW, Duration::from_millis(150), async |number| {
        test.pod(web, &format!("more-{number}"), "reg").await?;
        // Two others at most, now one, now the other.
        match number.checked_sub(2) {
            Some(older) => delete_pod(&test, web, &format!("more-{older}")).await,
            None => Ok(()),
        }
    })
    .await?;
    let to = Timestamp::now();
    wait_told(&test, REFERENCES_AFTER + AT_ONCE, "the users that are left", (3, 3)).await?;
    let times = written(&lab, from, to)?;
    assert!(times.len() <= 1, "{} writes in {WINDOW:?}: {times:#?}", times.len());

    // Nobody uses it any more: from now on it can be deleted.
    let pods = test.pods(web);
    let gone = kube::api::DeleteParams::default().grace_period(0);
    pods.delete_collection(&gone, &kube::api::ListParams::default()).await?;
    wait_told(&test, AT_ONCE, "no users", (0, 0)).await?;
    // Not a special treatment of the first time.
    test.pod(web, "last", "reg").await?;
    wait_told(&test, AT_ONCE, "a user again", (1, 1)).await?;
    // A Pod that has finished holds nothing.
    test.phase(web, "last", "Succeeded").await?;
    wait_for(AT_ONCE, "a user that holds nothing", async || told(&test).await.is_ok_and(|(_, n)| n == 0))
        .await?;
    operator.check_running()
}
