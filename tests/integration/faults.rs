//! Crashes, restarts and races: what an operator finds when it comes back, and what it leaves alone.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::{
    checks::{delete, exact, foreign, good_source, merge, spec, spec_to, wait_copy},
    lab::{Lab, at_revision, copies, many_targets},
    policies::Told,
    support::{AuditEvent, Error, FaultProxy, Result, stays, wait_for},
};

/// Long enough for a write that comes with a resync, or that a status waits a second for.
const QUIET: Duration = Duration::from_secs(5);

const FLEET: usize = 300;

/// Enough for a whole fleet while other tests use the machine.
const LONG: Duration = Duration::from_secs(60);

/// Slows every request down, so that a fan-out can be met half way.
const DELAY: Duration = Duration::from_millis(40);

/// Writes at once of an operator that is killed. Those in flight then may be carried out, and yet be in the audit log as
/// failed, since nobody was there for the answer.
const IN_FLIGHT: usize = 2;

#[tokio::test]
async fn killed_in_the_middle_of_a_fan_out_and_of_a_rotation() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    many_targets(&test, FLEET).await?;
    good_source(&test, "src", "the-first").await?;
    let start = async || lab.operator_behind(&proxy)?.arg(format!("--concurrency={IN_FLIGHT}")).start().await;
    let some = |copies: usize| (FLEET / 10..FLEET * 8 / 10).contains(&copies);

    proxy.delay(DELAY);
    let operator = start().await?;
    test.credential("reg", spec(&test, "src")).await?;
    wait_for(LONG, "a part of the copies", async || at_revision(&test, "1").await.map(some).unwrap_or(false))
        .await?;
    operator.kill9()?;
    let there = at_revision(&test, "1").await?;
    assert!(there < FLEET, "it was too late to kill it");
    proxy.delay(Duration::ZERO);
    let operator = start().await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(copies(&test).await?.items.len(), FLEET);
    // The log may be a moment behind the answers.
    wait_for(LONG, "every creation in the audit log", async || {
        let seen = lab.writes(0).unwrap_or_default();
        let made: Vec<_> = seen.iter().filter(|e| e.resource == "secrets" && e.verb == "create").collect();
        made.len() >= FLEET && made.iter().filter(|e| e.code < 300).count() >= FLEET - IN_FLIGHT
    })
    .await?;
    let writes = lab.writes(0)?;
    let count = |verb: &str, codes: std::ops::Range<u16>| {
        writes.iter().filter(|e| e.resource == "secrets" && e.verb == verb && codes.contains(&e.code)).count()
    };
    assert!(count("create", 200..300) <= FLEET, "a copy was made twice");
    // At most what was in flight when it was killed is met again.
    assert!(count("create", 400..500) <= IN_FLIGHT, "{} creations were refused", count("create", 400..500));
    assert_eq!(count("update", 0..600) + count("patch", 0..600) + count("delete", 0..600), 0);

    let before = lab.requests()?;
    proxy.delay(DELAY);
    good_source(&test, "src", "the-second").await?;
    wait_for(LONG, "a part of the rotation", async || {
        at_revision(&test, "2").await.map(some).unwrap_or(false)
    })
    .await?;
    operator.kill9()?;
    // What was on its way when it was killed may still arrive, so the two looks are one.
    wait_for(LONG, "each copy to have one of the two revisions", async || {
        let (Ok(old), Ok(new)) = (at_revision(&test, "1").await, at_revision(&test, "2").await) else {
            return false;
        };
        new < FLEET && old + new == FLEET
    })
    .await?;
    proxy.delay(Duration::ZERO);
    let _operator = start().await?;
    test.wait_ready("reg", 2).await?;
    assert_eq!(at_revision(&test, "2").await?, FLEET, "the revision is one more, not two");
    wait_for(LONG, "every update in the audit log", async || {
        let seen = lab.writes(before).unwrap_or_default();
        let made: Vec<_> = seen.iter().filter(|e| e.resource == "secrets" && e.verb == "update").collect();
        made.len() >= FLEET && made.iter().filter(|e| e.code < 300).count() >= FLEET - IN_FLIGHT
    })
    .await?;
    let writes = lab.writes(before)?;
    let updates =
        writes.iter().filter(|e| e.resource == "secrets" && e.verb == "update" && e.code == 200).count();
    assert!(updates <= FLEET, "{updates} updates: a copy was updated twice");
    assert!(writes.iter().all(|e| e.resource != "secrets" || e.verb == "update"), "a rotation only updates");
    Ok(())
}

#[tokio::test]
async fn a_restart_with_everything_in_place_writes_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(20).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    // One of each kind of rest: in place, in place twice, without a source, taken, held.
    test.credential("good", spec(&test, "src")).await?;
    let target = json!({"labels": {"team": "a"}, "annotations": {"note": "b"}, "namespaces": test.selector()["namespaces"]});
    test.credential("labelled", spec_to("src", target)).await?;
    test.credential("missing", spec(&test, "nowhere")).await?;
    foreign(&test, &targets[0], "taken").await?;
    test.credential("taken", spec(&test, "src")).await?;
    test.credential("forbidden", spec_to("src", json!({"namespaces": {"names": ["default"]}}))).await?;
    test.credential("held", spec(&test, "src")).await?;
    test.wait_ready("good", 1).await?;
    test.wait_ready("labelled", 1).await?;
    test.wait_ready("held", 1).await?;
    test.wait_condition("missing", "Ready", "False", "SecretNotFound").await?;
    test.wait_condition("taken", "Ready", "False", "PartiallySynced").await?;
    test.wait_condition("forbidden", "Ready", "False", "NotPermitted").await?;
    test.pod(&targets[0], "app", "held").await?;
    delete(&test, "held").await?;
    test.wait_condition("held", "DeletionBlocked", "True", "InUse").await?;
    let quiet = operator.terminate(Duration::from_secs(10)).await?;
    assert_eq!(quiet, 0);

    let before = lab.requests()?;
    // A resync must find nothing to do either.
    let operator = lab.operator()?.arg("--resync-interval=2s").start().await?;
    wait_for(LONG, "a pass over each credential", async || {
        let passes = operator.metric("claviger_reconcile_total").await?.unwrap_or(0.0);
        if passes >= 6.0 { Ok(()) } else { Err(Error::new(format!("{passes} passes"))) }
    })
    .await?;
    let early: Vec<_> = lab.writes(before)?.into_iter().filter(|e| e.code != 409).collect();
    assert!(early.is_empty(), "{early:#?}");
    // One more namespace: when it has its copies, whatever was to be written before has been.
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    for name in ["good", "labelled", "taken"] {
        wait_copy(&test, &late, name).await?;
    }
    let is_needless = |e: &AuditEvent| {
        // A name that is taken is tried once by a new process, as it knows nothing of it yet.
        let tried =
            e.verb == "create" && e.resource == "secrets" && e.namespace == targets[0] && e.code == 409;
        // The new namespace is told in the statuses of those who select it, and in no others.
        let told = is_status(e) && ["good", "labelled", "taken", "missing"].contains(&e.name.as_str());
        e.namespace != late && !tried && !told
    };
    let writes = stays(QUIET, "no write but for the new namespace", async || {
        let writes = lab.writes(before).map_err(|error| error.to_string())?;
        let needless: Vec<_> = writes.iter().filter(|e| is_needless(e)).collect();
        if needless.is_empty() { Ok(writes) } else { Err(format!("{needless:#?}")) }
    })
    .await?;
    let count = |is: &dyn Fn(&AuditEvent) -> bool| writes.iter().filter(|e| is(e)).count();
    assert_eq!(count(&|e| e.resource == "secrets" && e.code == 201), 3);
    assert!(count(&|e| e.code == 409) <= 1, "{writes:#?}");
    // Each of the four tells at most that there is work, and that it is done.
    assert!(count(&is_status) <= 8, "{writes:#?}");
    operator.check_running()
}

fn is_status(write: &AuditEvent) -> bool {
    write.subresource == "status"
}

#[tokio::test]
async fn a_second_restart_does_not_even_write_a_status() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    let policy = Told::by(&test).await?;
    test.targets(5).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    policy.wait_count(1).await?;
    // An operator that knows everything asks for nothing: the pass after its own status.
    operator.terminate(Duration::from_secs(10)).await?;
    let before = lab.requests()?;
    let operator = lab.operator()?.args(&["--resync-interval=1s", "--sweep-interval=1s"]).start().await?;
    let passes = async || operator.metric("claviger_reconcile_total{outcome=\"synced\"}").await;
    wait_for(LONG, "a settled pass", async || passes().await.is_ok_and(|n| n >= Some(1.0))).await?;
    stays(QUIET, "no write at all", async || match lab.writes(before) {
        Ok(writes) if writes.is_empty() => Ok(()),
        other => Err(format!("{other:#?}")),
    })
    .await?;
    assert!(passes().await? >= Some(3.0), "there was no resync meanwhile");
    operator.terminate(Duration::from_secs(10)).await?;
    let writes = lab.writes(before)?;
    assert!(writes.is_empty(), "{writes:#?}");
    Ok(())
}

#[tokio::test]
async fn another_writer_is_outlasted_at_a_bounded_rate() -> Result<()> {
    const EDITS: usize = 300;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let other = exact(&test, &targets[1], "reg").await?;
    let before = lab.requests()?;
    let secrets = test.secrets(&targets[0]);
    let (began, mut edits) = (Instant::now(), 0);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while edits < EDITS {
        ticks.tick().await;
        merge(&secrets, "reg", json!({"stringData": {"edit": format!("{edits}")}})).await?;
        edits += 1;
    }
    // Some repairs at once, then about one a second, however many edits there are.
    let seconds = usize::try_from(began.elapsed().as_secs())? + 1;
    let repairs = 15 + 2 * seconds;
    assert!(repairs < EDITS / 3, "the edits were too slow to show anything: {EDITS} in {seconds} s");
    // It never stops to repair either.
    let repaired = operator.metric("claviger_drift_repaired_total").await?;
    assert!(repaired >= Some(5.0), "{repaired:?} repairs");
    test.wait_password(&targets[0], "reg", "the-password").await?;
    wait_for(LONG, "the copy to be right", async || {
        secrets.get("reg").await.is_ok_and(|copy| copy.data.is_some_and(|data| data.len() == 1))
    })
    .await?;
    test.wait_ready("reg", 1).await?;
    operator.check_running()?;
    let writes = lab.writes(before)?;
    let count = |resource: &str| writes.iter().filter(|write| write.resource == resource).count();
    assert!(count("secrets") <= repairs, "{} writes of the copy in {seconds} s", count("secrets"));
    let statuses = count("registrycredentials");
    assert!(statuses <= seconds + 5, "{statuses} writes of the status in {seconds} s");
    assert!(count("events") <= 5, "{} Events", count("events"));
    // A write, and perhaps a look before it, and what renews watches.
    let asked = lab.requests_of_operators(before)?;
    assert!(asked <= 2 * repairs + statuses + 20, "{asked} requests in {seconds} s");
    assert_eq!(exact(&test, &targets[1], "reg").await?, other, "a copy that nobody edited was written");
    assert!(!operator.logs().contains("panicked"));
    Ok(())
}

#[tokio::test]
async fn namespaces_that_vanish_in_mid_flight() -> Result<()> {
    const WAVES: usize = 6;
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let operator = lab.operator_behind(&proxy)?.arg("--concurrency=4").start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    proxy.delay(Duration::from_millis(3));
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for wave in 0..WAVES {
        let names = many_targets(&test, 20).await?;
        if wave == 3 {
            good_source(&test, "src", "another-password").await?;
        }
        let (doomed, staying) = names.split_at(10);
        for name in doomed {
            namespaces.delete(name, &DeleteParams::default()).await?;
        }
        kept.extend_from_slice(staying);
        gone.extend_from_slice(doomed);
    }
    proxy.delay(Duration::ZERO);
    wait_for(LONG, "the vanished namespaces to be gone", async || {
        let left = namespaces.list(&Default::default()).await?;
        let left = left.iter().filter(|namespace| gone.contains(&namespace.name_any())).count();
        if left == 0 { Ok(()) } else { Err(Error::new(format!("{left} are left"))) }
    })
    .await?;
    for namespace in &kept {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    wait_for(LONG, "an honest status", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let wanted = format!("{0}/{0}", kept.len());
        let told = status.summary.map(|summary| summary.namespaces);
        if ready && told.as_ref() == Some(&wanted) { Ok(()) } else { Err(format!("{told:?}, ready {ready}")) }
    })
    .await?;
    operator.check_running()?;
    assert_eq!(copies(&test).await?.items.len(), kept.len());
    Ok(())
}

#[tokio::test]
async fn sigterm_during_a_fan_out_ends_in_order() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    many_targets(&test, FLEET).await?;
    good_source(&test, "src", "the-password").await?;
    proxy.delay(DELAY);
    let operator = lab.operator_behind(&proxy)?.arg("--concurrency=1").start().await?;
    test.credential("reg", spec(&test, "src")).await?;
    wait_for(LONG, "the first copies", async || copies(&test).await.is_ok_and(|found| found.items.len() > 5))
        .await?;
    // Kubelet gives a Pod 30 s.
    assert_eq!(operator.terminate(Duration::from_secs(10)).await?, 0);
    let left = copies(&test).await?.items.len();
    assert!(left < FLEET, "it was too late to stop it");
    assert!(operator.logs().contains("\"stopped\""), "it did not say so");
    // Nothing is half done: the next one goes on where this one stopped.
    proxy.delay(Duration::ZERO);
    let _operator = lab.operator()?.start().await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(copies(&test).await?.items.len(), FLEET);
    Ok(())
}
