//! Protected deletion: nothing is pulled away from under a Pod, and nothing is left behind.

use std::time::Duration;

use claviger::api::CredentialStatus;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PropagationPolicy},
};
use serde_json::json;

use crate::{
    checks::{
        MARKS, SOON, count_events, delete, delete_pod, exact, good_source, merge, spec, spec_to, stays_exact,
        wait_copy, wait_events, wait_no_credential, wait_no_secret,
    },
    scenario::Scenario,
    support::{Result, wait_for},
};

/// Two rounds in which it looks for definitions, and the time that it waits for its own watches.
const GARBAGE_COLLECTOR: Duration = Duration::from_secs(120);

/// A credential with copies in `count` namespaces.
async fn spread(count: usize) -> Result<(Scenario, Vec<String>)> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(count).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    Ok((test, targets))
}

async fn wait_used(test: &Scenario, name: &str, users: i64) -> Result<()> {
    wait_for(SOON, &format!("{users} users in the status"), async || {
        let status = test.status(name).await.map_err(|error| error.to_string())?;
        let found = status.references.map(|references| references.total);
        if found == Some(users) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
}

async fn patch_spec(test: &Scenario, name: &str, spec: serde_json::Value) -> Result<()> {
    merge(&test.credentials(), name, json!({"spec": spec})).await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_in_use_blocks_a_deletion_until_it_goes() -> Result<()> {
    let (test, targets) = spread(3).await?;
    test.pod(&targets[0], "app", "reg").await?;
    let copies = crate::checks::exact_all(&test, &targets, "reg").await?;
    delete(&test, "reg").await?;
    let blocked = test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    assert!(blocked.message.contains(&format!("Pod {}/app", targets[0])), "{}", blocked.message);
    assert!(
        blocked.message.contains("claviger.dev/force-delete"),
        "the way out is missing: {}",
        blocked.message
    );
    test.wait_condition("reg", "Ready", "False", "DeletionBlocked").await?;
    // Who uses it is asked of the API server; the status tells what the watch of Pods has shown.
    let is_used = |status: &CredentialStatus| {
        status.references.as_ref().is_some_and(|r| (r.total, r.blocking, r.items.len()) == (1, 1, 1))
    };
    let references = test.wait_status("reg", "one user", is_used).await?.references.unwrap_or_default();
    let user = &references.items[0];
    assert_eq!(
        (
            user.cluster.as_str(),
            user.kind.as_str(),
            user.namespace.as_str(),
            user.name.as_str(),
            user.field.as_str()
        ),
        ("local", "Pod", targets[0].as_str(), "app", "spec.imagePullSecrets")
    );
    wait_events(&test, "reg", "DeletionBlocked", 1).await?;
    // A new Pod counts too, and the old one goes: it stays blocked, and everything stays.
    test.pod(&targets[1], "late", "reg").await?;
    delete_pod(&test, &targets[0], "app").await?;
    wait_for(SOON, "the other user in the status", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let items = status.references.map(|references| references.items).unwrap_or_default();
        if items.len() == 1 && items[0].name == "late" { Ok(()) } else { Err(format!("{items:?}")) }
    })
    .await?;
    assert_eq!(crate::checks::exact_all(&test, &targets, "reg").await?, copies);
    assert_eq!(count_events(&test, "reg", "DeletionBlocked").await?, 1);
    delete_pod(&test, &targets[1], "late").await?;
    wait_no_credential(&test, "reg").await?;
    for namespace in &targets {
        assert!(test.secrets(namespace).get_opt("reg").await?.is_none(), "{namespace}: left behind");
    }
    wait_events(&test, "reg", "Deleted", 1).await?;
    assert_eq!(count_events(&test, "reg", "DeletionBlocked").await?, 1);
    Ok(())
}

#[tokio::test]
async fn finished_and_terminating_pods_do_not_count() -> Result<()> {
    let (test, targets) = spread(1).await?;
    for (name, phase) in [("done", "Succeeded"), ("failed", "Failed"), ("going", "Running")] {
        test.pod(&targets[0], name, "reg").await?;
        test.phase(&targets[0], name, phase).await?;
    }
    let pods = test.pods(&targets[0]);
    merge(&pods, "going", json!({"metadata": {"finalizers": ["example.com/wait"]}})).await?;
    pods.delete("going", &DeleteParams::default()).await?;
    assert!(pods.get("going").await?.metadata.deletion_timestamp.is_some());
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    wait_no_secret(&test, &targets[0], "reg").await?;
    merge(&pods, "going", json!({"metadata": {"finalizers": null}})).await?;
    Ok(())
}

#[tokio::test]
async fn the_annotation_forces_a_deletion() -> Result<()> {
    let (test, targets) = spread(2).await?;
    test.pod(&targets[0], "app", "reg").await?;
    delete(&test, "reg").await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    test.annotate("reg", "claviger.dev/force-delete", "yes").await?;
    test.annotate("reg", "claviger.dev/force-delete", "true").await?;
    wait_no_credential(&test, "reg").await?;
    for namespace in &targets {
        assert!(test.secrets(namespace).get_opt("reg").await?.is_none(), "{namespace}: left behind");
    }
    Ok(())
}

#[tokio::test]
async fn policy_force_does_not_ask_pods() -> Result<()> {
    let (test, targets) = spread(2).await?;
    test.pod(&targets[0], "app", "reg").await?;
    wait_used(&test, "reg", 1).await?;
    patch_spec(&test, "reg", json!({"deletionPolicy": "Force"})).await?;
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    for namespace in &targets {
        assert!(test.secrets(namespace).get_opt("reg").await?.is_none(), "{namespace}: left behind");
    }
    Ok(())
}

#[tokio::test]
async fn policy_orphan_leaves_the_copies_without_our_marks() -> Result<()> {
    let (test, targets) = spread(2).await?;
    test.pod(&targets[0], "app", "reg").await?;
    patch_spec(&test, "reg", json!({"deletionPolicy": "Orphan", "target": {"labels": {"team": "a"}}}))
        .await?;
    merge(&test.secrets(&targets[1]), "reg", json!({"metadata": {"labels": {"audited": "yes"}}})).await?;
    test.wait_ready("reg", 1).await?;
    let before = crate::checks::exact_all(&test, &targets, "reg").await?;
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    for (namespace, before) in targets.iter().zip(before) {
        let left = test.secrets(namespace).get("reg").await?;
        assert_eq!(
            (left.uid().unwrap_or_default(), left.data.clone().unwrap_or_default()),
            (before.0, before.2)
        );
        let marks: Vec<&String> = left
            .labels()
            .keys()
            .chain(left.annotations().keys())
            .filter(|key| {
                key.starts_with("claviger.dev/") || *key == "app.kubernetes.io/managed-by" || *key == "team"
            })
            .collect();
        assert_eq!(marks, ["claviger.dev/released-from"], "{namespace}");
        let from = &left.annotations()["claviger.dev/released-from"];
        assert_eq!(*from, format!("RegistryCredential/{}/reg", test.home.name));
    }
    assert!(test.secrets(&targets[1]).get("reg").await?.labels().contains_key("audited"));
    // They are nobody's now: a new credential of the same name does not take them back.
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "False", "SecretNameConflict").await?;
    Ok(())
}

fn foreground() -> DeleteParams {
    DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() }
}

/// Waits until the garbage collector works on credentials: it looks for new definitions every 30 s. A credential without
/// copies is held by nobody else.
async fn wait_garbage_collector(test: &Scenario) -> Result<()> {
    test.credential("probe", spec_to("no-source", json!({}))).await?;
    test.credentials().delete("probe", &foreground()).await?;
    wait_for(GARBAGE_COLLECTOR, "the garbage collector to know the definition", async || {
        let found = test.credentials().get_opt("probe").await.map_err(|error| error.to_string())?;
        found.map_or(Ok(()), |object| Err(format!("{:?}", object.finalizers())))
    })
    .await
}

#[tokio::test]
async fn foreground_deletion_spares_copies_in_use() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    wait_garbage_collector(&test).await?;
    good_source(&test, "src", "the-password").await?;
    let namespaces = json!({"namespaces": {"names": [test.home.name, targets[0]]}});
    test.credential("reg", spec_to("src", namespaces)).await?;
    test.wait_ready("reg", 1).await?;
    test.pod(&test.home.name, "app", "reg").await?;
    wait_used(&test, "reg", 1).await?;
    let copy = exact(&test, &test.home.name, "reg").await?;
    test.credentials().delete("reg", &foreground()).await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    // The garbage collector takes its finalizer off when it has looked at what the credential owns.
    wait_for(SOON, "the garbage collector to be done", async || {
        let object = test.credentials().get("reg").await.map_err(|error| error.to_string())?;
        if object.finalizers() == ["claviger.dev/protect"] {
            Ok(())
        } else {
            Err(format!("{:?}", object.finalizers()))
        }
    })
    .await?;
    assert_eq!(exact(&test, &test.home.name, "reg").await?, copy);
    delete_pod(&test, &test.home.name, "app").await?;
    wait_no_credential(&test, "reg").await?;
    wait_no_secret(&test, &test.home.name, "reg").await?;
    wait_no_secret(&test, &targets[0], "reg").await
}

#[tokio::test]
async fn the_namespace_of_the_credential_is_never_held_up() -> Result<()> {
    let (test, targets) = spread(3).await?;
    test.pod(&targets[0], "app", "reg").await?;
    wait_used(&test, "reg", 1).await?;
    let used = exact(&test, &targets[0], "reg").await?;
    test.home.delete().await?;
    test.home.wait_gone().await?;
    for namespace in &targets[1..] {
        wait_no_secret(&test, namespace, "reg").await?;
    }
    assert_eq!(exact(&test, &targets[0], "reg").await?, used, "a copy in use was touched");
    delete_pod(&test, &targets[0], "app").await?;
    wait_no_secret(&test, &targets[0], "reg").await
}

#[tokio::test]
async fn a_blocked_deletion_goes_on_when_the_namespace_goes() -> Result<()> {
    let (test, targets) = spread(2).await?;
    test.pod(&targets[0], "app", "reg").await?;
    delete(&test, "reg").await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    test.home.delete().await?;
    test.home.wait_gone().await?;
    wait_no_secret(&test, &targets[1], "reg").await?;
    wait_copy(&test, &targets[0], "reg").await?;
    Ok(())
}

#[tokio::test]
async fn a_target_namespace_can_go_while_it_holds_a_deletion() -> Result<()> {
    let (test, targets) = spread(2).await?;
    test.pod(&targets[0], "app", "reg").await?;
    delete(&test, "reg").await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    namespaces.delete(&targets[0], &DeleteParams::default()).await?;
    wait_no_credential(&test, "reg").await?;
    wait_no_secret(&test, &targets[1], "reg").await?;
    wait_for(SOON, "the namespace to be gone", async || {
        namespaces.get_opt(&targets[0]).await.is_ok_and(|found| found.is_none())
    })
    .await
}

#[tokio::test]
async fn a_target_that_leaves_is_frozen_while_used() -> Result<()> {
    let (test, targets) = spread(2).await?;
    test.pod(&targets[0], "app", "reg").await?;
    wait_used(&test, "reg", 1).await?;
    for namespace in &targets {
        crate::checks::label_namespace(&test, namespace, json!({"test": null})).await?;
    }
    wait_no_secret(&test, &targets[1], "reg").await?;
    let frozen = exact(&test, &targets[0], "reg").await?;
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    good_source(&test, "src", "another-password").await?;
    test.wait_password(&late, "reg", "another-password").await?;
    let status = test.wait_ready("reg", 2).await?;
    assert_eq!(status.summary.map(|summary| summary.namespaces), Some("1/1".into()));
    test.wait_told(
        "reg",
        "Synced",
        "True",
        "AllTargetsSynced",
        &["while a Pod or another blocking object uses it"],
    )
    .await?;
    stays_exact(&test, &targets[0], "reg", &frozen).await?;
    delete_pod(&test, &targets[0], "app").await?;
    wait_no_secret(&test, &targets[0], "reg").await
}

#[tokio::test]
async fn a_new_secret_name_moves_the_copies_and_holds_old_ones_in_use() -> Result<()> {
    let (test, targets) = spread(2).await?;
    test.pod(&targets[0], "app", "reg").await?;
    wait_used(&test, "reg", 1).await?;
    let used = exact(&test, &targets[0], "reg").await?;
    patch_spec(&test, "reg", json!({"target": {"secretName": "moved"}})).await?;
    for namespace in &targets {
        wait_copy(&test, namespace, "moved").await?;
    }
    wait_no_secret(&test, &targets[1], "reg").await?;
    assert_eq!(exact(&test, &targets[0], "reg").await?, used);
    assert_eq!(test.login(&targets[0], "moved").await?, test.login(&targets[0], "reg").await?);
    // The same content under another name is the same revision.
    test.wait_ready("reg", 1).await?;
    delete_pod(&test, &targets[0], "app").await?;
    wait_no_secret(&test, &targets[0], "reg").await?;
    wait_copy(&test, &targets[0], "moved").await?;
    Ok(())
}

#[tokio::test]
async fn copies_are_swept_when_the_finalizer_was_taken_off_by_hand() -> Result<()> {
    let (test, targets) = spread(3).await?;
    test.pod(&targets[0], "app", "reg").await?;
    delete(&test, "reg").await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    merge(&test.credentials(), "reg", json!({"metadata": {"finalizers": null}})).await?;
    wait_no_credential(&test, "reg").await?;
    for namespace in &targets[1..] {
        wait_no_secret(&test, namespace, "reg").await?;
    }
    let copy = wait_copy(&test, &targets[0], "reg").await?;
    assert!(
        MARKS.iter().all(|mark| copy.labels().contains_key(*mark) || copy.annotations().contains_key(*mark))
    );
    delete_pod(&test, &targets[0], "app").await?;
    wait_no_secret(&test, &targets[0], "reg").await
}

#[tokio::test]
async fn a_finalizer_that_was_taken_off_comes_back() -> Result<()> {
    let (test, _) = spread(1).await?;
    merge(&test.credentials(), "reg", json!({"metadata": {"finalizers": null}})).await?;
    wait_for(SOON, "the finalizer", async || {
        let object = test.credentials().get("reg").await.map_err(|error| error.to_string())?;
        if object.finalizers() == ["claviger.dev/protect"] {
            Ok(())
        } else {
            Err(format!("{:?}", object.finalizers()))
        }
    })
    .await
}
