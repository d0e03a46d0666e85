//! A policy that goes, changes, or is replaced while the operator runs.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{LONG, Stage};
use crate::{
    checks::{delete, delete_pod, exact, exact_all, good_source, merge, wait_no_credential, wait_no_secret},
    support::{Result, wait_for},
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn copies_outlast_their_policy_by_the_grace_period_and_no_pod_loses_its_own() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(6);
    let stage = Stage::new().await?;
    let test = &stage.test;
    let _operator = stage.operator(GRACE).await?;
    test.pod(&stage.targets[0], "app", "reg").await?;
    wait_for(LONG, "the Pod in the status", async || {
        test.status("reg").await.is_ok_and(|status| status.references.is_some_and(|r| r.blocking == 1))
    })
    .await?;
    let used = exact(test, &stage.targets[0], "reg").await?;
    let began = Instant::now();
    stage.remove_all().await?;
    wait_for(LONG, "the first copy to go", async || stage.bare().await.is_ok_and(|bare| !bare.is_empty()))
        .await?;
    assert!(began.elapsed() >= GRACE, "the first copy went after {:?}", began.elapsed());
    for namespace in &stage.targets[1..] {
        wait_no_secret(test, namespace, "reg").await?;
    }
    assert_eq!(exact(test, &stage.targets[0], "reg").await?, used, "a Pod uses it");
    delete_pod(test, &stage.targets[0], "app").await?;
    wait_no_secret(test, &stage.targets[0], "reg").await
}

#[tokio::test]
async fn a_policy_that_is_replaced_in_time_takes_nothing_away() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(12);
    let stage = Stage::new().await?;
    let test = &stage.test;
    let _operator = stage.operator(GRACE).await?;
    stage.add_witness().await?;
    let before = exact_all(test, &stage.targets, "reg").await?;
    let requests = stage.lab.requests()?;
    let [restored, renamed, narrowed] = [0, 1, 2].map(|n| &stage.targets[n]);

    // One is deleted and comes back, one comes back by another name, one is narrowed and widened again.
    stage.remove("allow-0").await?;
    stage.remove("allow-1").await?;
    stage.policy("allow-2", json!({"names": ["elsewhere"]})).await?;
    stage.seen().await?;
    stage.policy("allow-0", json!({"names": [restored]})).await?;
    stage.policy("renamed", json!({"names": [renamed]})).await?;
    stage.policy("allow-2", json!({"names": [narrowed]})).await?;

    // When the witness has lost its copy, the quiet period of all that was changed before is over too.
    let began = Instant::now();
    stage.remove("witness").await?;
    wait_no_copy_of_witness(&stage).await?;
    assert_eq!(exact_all(test, &stage.targets, "reg").await?, before, "a copy was touched");
    assert!(began.elapsed() >= GRACE, "the witness went after {:?}", began.elapsed());
    let deleted: Vec<_> = stage.lab.writes(requests)?.into_iter().filter(|e| e.verb == "delete").collect();
    assert!(deleted.iter().all(|e| e.namespace == stage.witness()), "{deleted:#?}");
    test.wait_ready("reg", 1).await?;
    Ok(())
}

async fn wait_no_copy_of_witness(stage: &Stage) -> Result<()> {
    let secrets = stage.test.secrets(&stage.witness());
    wait_for(LONG, "the copy of the witness to go", async || {
        secrets.get_opt("witness").await.is_ok_and(|found| found.is_none())
    })
    .await
}

#[tokio::test]
async fn in_the_quiet_period_nothing_new_is_written_and_what_a_person_asks_for_happens_at_once() -> Result<()>
{
    let stage = Stage::new().await?;
    let test = &stage.test;
    let _operator = stage.operator(HOUR).await?;
    let before = exact_all(test, &stage.targets, "reg").await?;
    stage.remove_all().await?;
    let marker = stage.seen().await?;
    let synced = test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;
    assert!(synced.message.contains("NotPermitted"), "{}", synced.message);
    test.wait_condition("reg", "Ready", "False", "PartiallySynced").await?;

    // No consent, no new content; where there is some, it arrives as ever.
    good_source(test, "src", "another-password").await?;
    test.wait_password(&marker, "reg", "another-password").await?;
    assert_eq!(exact_all(test, &stage.targets, "reg").await?, before);

    // A narrower target is a person's word, and so is a deletion.
    let names = json!({"names": [stage.targets[0], marker], "selector": null});
    merge(&test.credentials(), "reg", json!({"spec": {"target": {"namespaces": names}}})).await?;
    for namespace in &stage.targets[1..] {
        wait_no_secret(test, namespace, "reg").await?;
    }
    assert_eq!(exact(test, &stage.targets[0], "reg").await?, before[0]);
    delete(test, "reg").await?;
    wait_no_credential(test, "reg").await?;
    for namespace in [&stage.targets[0], &marker] {
        assert!(test.secrets(namespace).get_opt("reg").await?.is_none(), "{namespace}: left behind");
    }
    Ok(())
}

#[tokio::test]
async fn consent_that_comes_takes_effect_at_once_also_in_a_quiet_period() -> Result<()> {
    let stage = Stage::new().await?;
    let test = &stage.test;
    let _operator = stage.operator(HOUR).await?;
    stage.remove_all().await?;
    stage.seen().await?;
    // One policy for all of them: what had gone stale meanwhile is brought in line.
    good_source(test, "src", "another-password").await?;
    let name = format!("policy-{}", test.mark);
    let spec = json!({"kinds": ["RegistryCredential"]});
    test.policy().await?;
    stage.policies().patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await?;
    for namespace in &stage.targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    test.wait_ready("reg", 2).await?;
    Ok(())
}
