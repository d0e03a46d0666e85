//! The API server goes, comes back, forgets, or falls silent.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use crate::{
    checks::{
        delete, delete_pod, exact, good_source, merge, spec, wait_copy, wait_no_credential, wait_no_secret,
    },
    lab::Lab,
    support::{Error, FaultProxy, Result, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_api_server_that_restarts_is_found_again() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let copies = crate::checks::exact_all(&test, &targets, "reg").await?;
    lab.control_plane.stop_apiserver()?;
    // Long enough for every watch to have failed once.
    wait_for(LONG, "the operator to notice", async || operator.logs().matches("\"watch\":").count() >= 6)
        .await?;
    assert_eq!(operator.healthz().await?, 200, "an outage of seconds is no reason for a restart");
    lab.control_plane.start_apiserver().await?;
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    wait_copy(&test, &late, "reg").await?;
    // Every watch is back: of sources, copies, Pods and credentials.
    good_source(&test, "src", "another-password").await?;
    test.wait_password(&targets[0], "reg", "another-password").await?;
    test.secrets(&targets[0]).delete("reg", &DeleteParams::default()).await?;
    test.wait_password(&targets[0], "reg", "another-password").await?;
    test.pod(&targets[1], "app", "reg").await?;
    delete(&test, "reg").await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    assert_eq!(exact(&test, &targets[1], "reg").await?.0, copies[1].0, "it was replaced, not updated");
    operator.check_running()?;
    assert_eq!(operator.healthz().await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_watch_that_expired_misses_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(5).await?;
    let operator = lab.operator_behind(&proxy)?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.credential("going", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    test.wait_ready("going", 1).await?;
    crate::checks::foreign(&test, &test.home.name, "freed").await?;
    test.credential(
        "freed",
        json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}}),
    )
    .await?;
    test.wait_condition("freed", "Ready", "False", "SecretNameConflict").await?;
    test.pod(&targets[4], "app", "going").await?;
    delete(&test, "going").await?;
    test.wait_condition("going", "DeletionBlocked", "True", "InUse").await?;

    // Nobody listens while all of this happens, and a new server remembers none of it.
    proxy.refuse(true).await?;
    proxy.reset();
    wait_for(LONG, "all connections to be cut", async || proxy.open() == 0).await?;
    good_source(&test, "src", "another-password").await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"data": {".dockerconfigjson": "e30="}})).await?;
    test.secrets(&targets[1]).delete("reg", &DeleteParams::default()).await?;
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    namespaces.delete(&targets[2], &DeleteParams::default()).await?;
    wait_for(LONG, "a namespace to be gone", async || {
        namespaces.get_opt(&targets[2]).await.is_ok_and(|found| found.is_none())
    })
    .await?;
    crate::checks::label_namespace(&test, &targets[3], json!({"test": null})).await?;
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    test.secrets(&test.home.name).delete("freed", &DeleteParams::default()).await?;
    delete_pod(&test, &targets[4], "app").await?;
    lab.control_plane.stop_apiserver()?;
    lab.control_plane.start_apiserver().await?;
    proxy.refuse(false).await?;

    for namespace in [&targets[0], &targets[1], &targets[4], &late] {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    test.wait_password(&test.home.name, "freed", "another-password").await?;
    wait_no_secret(&test, &targets[3], "reg").await?;
    wait_no_credential(&test, "going").await?;
    wait_no_secret(&test, &targets[4], "going").await?;
    test.wait_ready("reg", 2).await?;
    // All watches have come back by then, each in its own time.
    test.wait_status("reg", "4/4", |status| {
        status.summary.as_ref().is_some_and(|summary| summary.namespaces == "4/4")
    })
    .await?;
    operator.check_running()
}

#[tokio::test]
async fn a_frozen_connection_is_noticed_and_recovered_from() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator =
        lab.operator_behind(&proxy)?.arg("--watch-timeout=5s").arg("--request-timeout=2s").start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(operator.healthz().await?, 200);

    proxy.freeze();
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"data": {".dockerconfigjson": "e30="}})).await?;
    test.secrets(&targets[1]).delete("reg", &DeleteParams::default()).await?;
    let told = wait_for(LONG, "liveness to fail", async || {
        let answer = operator.get("/healthz").await?;
        let all = ["namespaces", "copies", "pods", "secrets", "registrycredentials", "distributionpolicies"]
            .iter()
            .all(|watch| answer.body.contains(&format!("watch of {watch} in cluster local")));
        if answer.status == 503 && all {
            return Ok(answer.body);
        }
        Err(Error::new(format!("{}: {}", answer.status, answer.body)))
    })
    .await?;
    assert!(told.contains("last good answer"), "{told}");
    for kind in ["namespaces", "copies", "pods", "secrets", "registrycredentials", "distributionpolicies"] {
        let series = format!("claviger_watch_age_seconds{{cluster=\"local\",kind=\"{kind}\"}}");
        let age = operator.metric(&series).await?;
        assert!(age > Some(10.0), "{series}: {age:?}");
    }
    operator.check_running()?;
    assert!(test.secrets(&late).get_opt("reg").await?.is_none(), "the proxy was not frozen");

    proxy.thaw();
    for namespace in targets.iter().chain([&late]) {
        test.wait_password(namespace, "reg", "the-password").await?;
    }
    wait_for(LONG, "liveness to be well again", async || {
        let answer = operator.get("/healthz").await?;
        if answer.status == 200 { Ok(()) } else { Err(Error::new(answer.body)) }
    })
    .await?;
    test.wait_ready("reg", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_deletion_does_not_rely_on_what_was_true_before_a_freeze() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let _operator =
        lab.operator_behind(&proxy)?.arg("--watch-timeout=5s").arg("--request-timeout=2s").start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    proxy.freeze();
    // The Pod begins to use the Secret, and the credential is deleted, while nobody sees either.
    test.pod(&targets[0], "app", "reg").await?;
    delete(&test, "reg").await?;
    proxy.thaw();
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    for namespace in &targets {
        wait_copy(&test, namespace, "reg").await?;
    }
    Ok(())
}
