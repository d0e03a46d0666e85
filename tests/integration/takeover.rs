//! Whoever owns a Secret can hand it over with an annotation, and it keeps its uid.

use kube::{
    ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    checks::{
        MARKS, SOON, delete, exact, good_source, merge, spec, spec_to, wait_copy, wait_no_credential,
        wait_no_secret,
    },
    scenario::Scenario,
    support::{Result, wait_for},
};

const ADOPT: &str = "claviger.dev/adopt";
/// Where `kubectl apply` keeps what it applied, with all values.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const TYPE: &str = "kubernetes.io/dockerconfigjson";

/// A Secret of somebody else, as a person would have made it.
async fn theirs(test: &Scenario, namespace: &str, type_: &str, annotations: Value) -> Result<()> {
    let config = json!({"auths": {"old.example.com": {"username": "old", "password": "old"}}}).to_string();
    let secret = json!({
        "metadata": {"name": "reg", "labels": {"team": "a"}, "annotations": annotations},
        "type": type_, "stringData": {".dockerconfigjson": config},
    });
    test.secrets(namespace).create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}

fn id(test: &Scenario, name: &str) -> String {
    format!("RegistryCredential/{}/{name}", test.home.name)
}

#[tokio::test]
async fn a_secret_that_is_handed_over_is_taken_over_in_place() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    // One is handed over before the credential is there, one after; one is not.
    let applied =
        json!({ADOPT: id(&test, "reg"), "note": "kept", LAST_APPLIED: "{\"stringData\":{\"a\":\"old\"}}"});
    theirs(&test, &targets[0], TYPE, applied).await?;
    theirs(&test, &targets[1], TYPE, json!({})).await?;
    theirs(&test, &targets[2], TYPE, json!({})).await?;
    let [first, second, third] = [0, 1, 2].map(async |n: usize| exact(&test, &targets[n], "reg").await);
    let (first, second, third) = (first.await?, second.await?, third.await?);
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_password(&targets[0], "reg", "the-password").await?;
    test.wait_condition("reg", "Ready", "False", "PartiallySynced").await?;
    assert_eq!(exact(&test, &targets[1], "reg").await?, second, "it was not handed over");

    merge(&test.secrets(&targets[1]), "reg", json!({"metadata": {"annotations": {ADOPT: id(&test, "reg")}}}))
        .await?;
    // A name that is taken is looked at again within half a minute.
    wait_for(2 * SOON, "the second to be taken over", async || {
        test.login(&targets[1], "reg")
            .await
            .is_ok_and(|login| login.is_some_and(|(_, p)| p == "the-password"))
    })
    .await?;
    for (namespace, before) in [(&targets[0], &first), (&targets[1], &second)] {
        let copy = test.secrets(namespace).get("reg").await?;
        assert_eq!(copy.uid().as_deref(), Some(&*before.0), "it was replaced");
        for mark in MARKS {
            assert!(copy.labels().contains_key(mark) || copy.annotations().contains_key(mark), "no {mark}");
        }
        assert_eq!(copy.labels().get("team").map(String::as_str), Some("a"), "what others put there stays");
    }
    let first = test.secrets(&targets[0]).get("reg").await?;
    assert_eq!(first.annotations().get("note").map(String::as_str), Some("kept"));
    assert!(!first.annotations().contains_key(LAST_APPLIED), "it quotes the former value");
    assert_eq!(exact(&test, &targets[2], "reg").await?, third, "it was never handed over");
    wait_for(SOON, "the status to tell of the third alone", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let failures: Vec<_> = status.clusters.into_iter().flat_map(|row| row.failures).collect();
        if failures.len() == 1 && failures[0].namespace == targets[2] {
            Ok(())
        } else {
            Err(format!("{failures:?}"))
        }
    })
    .await?;

    // From now on they are copies like others: rotated, put right, and taken back.
    test.secrets(&targets[2]).delete("reg", &DeleteParams::default()).await?;
    test.wait_ready("reg", 1).await?;
    good_source(&test, "src", "another-password").await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    for namespace in &targets {
        wait_no_secret(&test, namespace, "reg").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_that_was_handed_to_somebody_else_or_cannot_be_one_of_ours_is_left_alone() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let wrong = [
        ("another kind", TYPE, format!("TlsCredential/{}/reg", test.home.name)),
        ("another namespace", TYPE, "RegistryCredential/elsewhere/reg".to_owned()),
        ("another name", TYPE, id(&test, "other")),
        ("no credential", TYPE, "true".to_owned()),
        ("more than one", TYPE, format!("{0},{0}", id(&test, "reg"))),
        ("another type", "Opaque", id(&test, "reg")),
    ];
    let targets = test.targets(wrong.len() + 1).await?;
    let (right, targets) = targets.split_last().expect("one at least");
    let mut before = Vec::new();
    for (namespace, (_, type_, to)) in targets.iter().zip(&wrong) {
        theirs(&test, namespace, type_, json!({ADOPT: to})).await?;
        before.push(exact(&test, namespace, "reg").await?);
    }
    // Handed to a credential that does not want it: of another Secret name, and of another namespace.
    good_source(&test, "src", "the-password").await?;
    let elsewhere = json!({"secretName": "elsewhere", "namespaces": {"names": [test.home.name]}});
    test.credential("other", spec_to("src", elsewhere)).await?;
    test.wait_ready("other", 1).await?;

    test.credential("reg", spec(&test, "src")).await?;
    wait_copy(&test, right, "reg").await?;
    let synced = test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;
    assert!(synced.message.contains("SecretNameConflict"), "{}", synced.message);
    good_source(&test, "src", "another-password").await?;
    test.wait_password(right, "reg", "another-password").await?;
    for ((namespace, (what, ..)), before) in targets.iter().zip(&wrong).zip(&before) {
        assert_eq!(&exact(&test, namespace, "reg").await?, before, "{what}: it was touched");
    }
    let status = test.status("reg").await?;
    let count = i64::try_from(wrong.len())?;
    assert_eq!(status.clusters[0].namespaces.failed, count, "{:?}", status.clusters[0].failures);
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    for ((namespace, (what, ..)), before) in targets.iter().zip(&wrong).zip(&before) {
        assert_eq!(&exact(&test, namespace, "reg").await?, before, "{what}: it was touched");
    }
    Ok(())
}

/// Consent is the administrators'; a tenant's annotation does not replace it.
#[tokio::test]
async fn a_secret_that_is_handed_over_still_needs_consent() -> Result<()> {
    let test = Scenario::shared().await?;
    let targets = test.targets(1).await?;
    theirs(&test, &targets[0], TYPE, json!({ADOPT: id(&test, "reg")})).await?;
    let before = exact(&test, &targets[0], "reg").await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "False", "NotPermitted").await?;
    assert_eq!(exact(&test, &targets[0], "reg").await?, before);
    test.policy().await?;
    test.wait_password(&targets[0], "reg", "the-password").await?;
    assert_eq!(exact(&test, &targets[0], "reg").await?.0, before.0, "it was replaced");
    Ok(())
}
