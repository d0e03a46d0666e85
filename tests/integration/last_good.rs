//! What was good once holds until something better comes, also after a restart.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::{
    checks::{SOON, good_source, merge, spec, wait_no_secret},
    lab::Lab,
    scenario::Scenario,
    support::{Operator, Result, stays, wait_for},
};

const GOOD: &str = "the-good-password";

/// Deletes one copy, then edits another: both must come back, as nothing better is known. In that order, as a new
/// process may find out what was good only while the copies that are there agree.
async fn heals(test: &Scenario, targets: &[String]) -> Result<()> {
    test.secrets(&targets[1]).delete("reg", &DeleteParams::default()).await?;
    test.wait_password(&targets[1], "reg", GOOD).await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"data": {".dockerconfigjson": "e30="}})).await?;
    test.wait_password(&targets[0], "reg", GOOD).await?;
    wait_for(SOON, "the revision of the copies", async || {
        for namespace in targets {
            let notes = test.secrets(namespace).get("reg").await.map_err(|error| error.to_string())?.metadata;
            let revision = notes.annotations.and_then(|notes| notes.get("claviger.dev/revision").cloned());
            if revision.as_deref() != Some("1") {
                return Err(format!("{namespace}: {revision:?}"));
            }
        }
        Ok(())
    })
    .await
}

async fn stage(lab: &Lab, namespaces: usize) -> Result<(Scenario, Vec<String>, Operator)> {
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(namespaces).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", GOOD).await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    Ok((test, targets, operator))
}

#[tokio::test]
async fn a_source_that_went_is_outlived_by_the_last_good_content_also_over_a_restart() -> Result<()> {
    let lab = Lab::start().await?;
    let (test, targets, operator) = stage(&lab, 3).await?;
    test.secrets(&test.home.name).delete("src", &DeleteParams::default()).await?;
    test.wait_condition("reg", "SourceResolved", "False", "SecretNotFound").await?;
    heals(&test, &targets).await?;
    assert_eq!(operator.terminate(SOON).await?, 0);
    let operator = lab.operator()?.start().await?;
    heals(&test, &targets).await?;
    test.wait_condition("reg", "SourceResolved", "False", "SecretNotFound").await?;
    // As it was found broken, it is told so, however right the copies are.
    test.wait_condition("reg", "Ready", "False", "SecretNotFound").await?;
    assert_eq!(test.status("reg").await?.revision, Some(1));

    // What happened while nobody was there is put right as well.
    assert_eq!(operator.terminate(SOON).await?, 0);
    test.secrets(&targets[2]).delete("reg", &DeleteParams::default()).await?;
    let _operator = lab.operator()?.start().await?;
    test.wait_password(&targets[2], "reg", GOOD).await?;
    good_source(&test, "src", "another-password").await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    test.wait_ready("reg", 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_source_that_is_broken_is_outlived_too() -> Result<()> {
    let lab = Lab::start().await?;
    let (test, targets, operator) = stage(&lab, 3).await?;
    let broken: Value = json!({"stringData": {"password": "two\n\nlines\n\n"}});
    merge(&test.secrets(&test.home.name), "src", broken).await?;
    test.wait_condition("reg", "SourceResolved", "False", "InvalidFormat").await?;
    heals(&test, &targets).await?;
    operator.kill9()?;
    let _operator = lab.operator()?.start().await?;
    heals(&test, &targets).await?;
    test.wait_condition("reg", "Ready", "False", "InvalidFormat").await?;
    good_source(&test, "src", "another-password").await?;
    test.wait_ready("reg", 2).await?;
    Ok(())
}

/// What a tenant wrote into a copy while nobody was there reaches nobody else.
#[tokio::test]
async fn an_edited_copy_is_not_the_last_good_content() -> Result<()> {
    let lab = Lab::start().await?;
    let (test, targets, operator) = stage(&lab, 4).await?;
    test.secrets(&test.home.name).delete("src", &DeleteParams::default()).await?;
    test.wait_condition("reg", "SourceResolved", "False", "SecretNotFound").await?;
    assert_eq!(operator.terminate(SOON).await?, 0);
    let forged = json!({"auths": {"r.example.com": {"username": "me", "password": "forged"}}}).to_string();
    let data = json!({"stringData": {".dockerconfigjson": forged}});
    merge(&test.secrets(&targets[0]), "reg", data).await?;
    test.secrets(&targets[1]).delete("reg", &DeleteParams::default()).await?;
    let _operator = lab.operator()?.start().await?;
    // Two that are in order, one after the other: by then the first was looked at more than once.
    good_source(&test, "other-src", GOOD).await?;
    for name in ["other", "another"] {
        test.credential(name, spec(&test, "other-src")).await?;
        test.wait_ready(name, 1).await?;
    }
    for namespace in &targets[1..] {
        let login = test.login(namespace, "reg").await?;
        assert!(login.is_none_or(|(_, password)| password == GOOD), "{namespace} has the forged one");
    }
    good_source(&test, "src", "another-password").await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    test.wait_ready("reg", 2).await?;
    Ok(())
}

/// A storm found it in a new target, with the server and the password of an older spec.
#[tokio::test]
async fn a_content_that_no_copy_has_any_more_does_not_come_back() -> Result<()> {
    let lab = Lab::start().await?;
    let (test, targets, operator) = stage(&lab, 1).await?;
    let only = |name: &str| json!({"spec": {"target": {"namespaces": {"selector": null, "names": [name]}}}});
    merge(&test.credentials(), "reg", only("nowhere")).await?;
    wait_no_secret(&test, &targets[0], "reg").await?;
    test.wait_condition("reg", "SourceResolved", "Unknown", "NotRead").await?;
    let broken: Value = json!({"stringData": {"password": "two\n\nlines\n\n"}});
    merge(&test.secrets(&test.home.name), "src", broken).await?;
    merge(&test.credentials(), "reg", only(&targets[0])).await?;
    test.wait_condition("reg", "SourceResolved", "False", "InvalidFormat").await?;
    let gone = async || test.login(&targets[0], "reg").await.is_ok_and(|login| login.is_none());
    stays(Duration::from_secs(2), "without a copy", gone).await?;
    good_source(&test, "src", "another-password").await?;
    test.wait_password(&targets[0], "reg", "another-password").await?;
    operator.check_running()
}
