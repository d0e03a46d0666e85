//! How long an owner must have been missing.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{LONG, start, vanish};
use crate::{
    checks::{delete, delete_pod, exact_all, good_source, merge, spec, wait_no_credential, wait_no_secret},
    lab::Lab,
    support::{Result, wait_for},
};

#[tokio::test]
async fn copies_of_a_missing_owner_stay_for_the_grace_period_and_those_of_one_that_returns_for_good()
-> Result<()> {
    const GRACE: Duration = Duration::from_secs(12);
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    for name in ["reg", "witness"] {
        test.credential(name, spec(&test, "src")).await?;
        test.wait_ready(name, 1).await?;
    }
    let before = exact_all(&test, &targets, "reg").await?;
    assert_eq!(operator.terminate(LONG).await?, 0);
    vanish(&test, &["reg".into(), "witness".into()]).await?;

    let began = Instant::now();
    let operator = start(lab.operator()?, GRACE).await?;
    // It knows of no credential, and says so by one that comes. Then the first one returns.
    test.credential("other", spec(&test, "src")).await?;
    test.wait_ready("other", 1).await?;
    test.credential("reg", spec(&test, "src")).await?;
    for namespace in &targets {
        wait_no_secret(&test, namespace, "witness").await?;
    }
    assert!(began.elapsed() >= GRACE, "the witness was swept after {:?}", began.elapsed());
    test.wait_ready("reg", 1).await?;
    assert_eq!(exact_all(&test, &targets, "reg").await?, before, "a copy was touched");
    operator.check_running()
}

/// What a deletion left to a Pod goes with the Pod, and not a grace period later.
#[tokio::test]
async fn what_a_deleted_credential_left_to_a_pod_goes_with_the_pod() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    let _operator = start(lab.operator()?, Duration::from_secs(3600)).await?;
    good_source(&test, "src", "the-password").await?;
    for name in ["frozen", "homeless"] {
        test.credential(name, spec(&test, "src")).await?;
        test.wait_ready(name, 1).await?;
        test.pod(&targets[0], &format!("uses-{name}"), name).await?;
        wait_for(LONG, "the Pod in the status", async || {
            test.status(name).await.is_ok_and(|status| status.references.is_some_and(|r| r.blocking == 1))
        })
        .await?;
    }
    let before = exact_all(&test, &targets[..1], "frozen").await?;

    // One namespace leaves the target while a Pod there uses the copy. It does not hold the deletion.
    let names = json!({"names": [targets[1], targets[2]], "selector": null});
    merge(&test.credentials(), "frozen", json!({"spec": {"target": {"namespaces": names}}})).await?;
    test.wait_condition("frozen", "Ready", "True", "AllTargetsSynced").await?;
    delete(&test, "frozen").await?;
    wait_no_credential(&test, "frozen").await?;
    wait_no_secret(&test, &targets[1], "frozen").await?;
    assert_eq!(exact_all(&test, &targets[..1], "frozen").await?, before, "a Pod uses it");

    // A namespace that goes takes its credentials with it, whoever uses them.
    test.home.delete().await?;
    test.home.wait_gone().await?;
    wait_no_secret(&test, &targets[1], "homeless").await?;
    for name in ["frozen", "homeless"] {
        assert!(test.secrets(&targets[0]).get_opt(name).await?.is_some(), "{name}: a Pod uses it");
        delete_pod(&test, &targets[0], &format!("uses-{name}")).await?;
        wait_no_secret(&test, &targets[0], name).await?;
    }
    Ok(())
}
