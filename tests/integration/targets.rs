//! What a credential aims at, and how it is told when that is nothing, misspelt, or in part out of reach.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    checks::{
        SOON, count_events, foreign, good_source, label_namespace, merge, spec, spec_to, wait_copy,
        wait_no_secret, wait_stalled,
    },
    lab::Lab,
    scenario::Scenario,
    support::{Result, wait_for},
};

fn named(names: Value) -> Value {
    spec_to("src", json!({"namespaces": {"names": names}}))
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_told() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let misspelt = format!("{}-mispelt", test.mark);
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", named(json!([test.home.name, misspelt]))).await?;
    let synced = test.wait_condition("reg", "Synced", "False", "NamespaceNotFound").await?;
    assert!(synced.message.contains(&format!("'{misspelt}'")), "{}", synced.message);
    test.wait_condition("reg", "Ready", "False", "NamespaceNotFound").await?;
    // It is the fault of one name, and the others have what they need.
    wait_stalled(&test, "reg", "False").await?;
    wait_copy(&test, &test.home.name, "reg").await?;
    wait_for(SOON, "one Event", async || {
        count_events(&test, "reg", "NamespaceNotFound").await.is_ok_and(|count| count == 1)
    })
    .await?;

    // It appears, and goes again.
    test.target(&misspelt).await?;
    wait_copy(&test, &misspelt, "reg").await?;
    let status = test.wait_ready("reg", 1).await?;
    assert_eq!(status.summary.map(|summary| summary.namespaces), Some("2/2".into()));
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    namespaces.delete(&misspelt, &DeleteParams::default()).await?;
    test.wait_condition("reg", "Ready", "False", "NamespaceNotFound").await?;

    // The name is put right.
    test.credential("reg", named(json!([test.home.name]))).await?;
    test.wait_ready("reg", 1).await?;
    Ok(())
}

#[tokio::test]
async fn only_names_that_do_not_exist_give_no_ready_either() -> Result<()> {
    let test = Scenario::shared().await?;
    let misspelt = format!("{}-mispelt", test.mark);
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", named(json!([misspelt]))).await?;
    let ready = test.wait_condition("reg", "Ready", "False", "NamespaceNotFound").await?;
    assert!(ready.message.contains(&format!("'{misspelt}'")), "{}", ready.message);
    // One that is left out has been thought of.
    let namespaces = json!({"names": [misspelt, test.home.name], "exclude": [misspelt]});
    test.credential("reg", spec_to("src", json!({"namespaces": namespaces}))).await?;
    test.wait_ready("reg", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_selector_that_matches_nothing_is_ready_and_warned_of_once() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "True", "NoTargets").await?;
    test.wait_condition("reg", "Synced", "True", "NoTargets").await?;
    let warned = async |count: usize| {
        wait_for(SOON, &format!("{count} Events"), async || {
            let found = count_events(&test, "reg", "NoTargets").await.map_err(|error| error.to_string())?;
            if found == count { Ok(()) } else { Err(format!("{found}")) }
        })
        .await
    };
    warned(1).await?;
    assert_eq!(warnings(&test).await?, ["NoTargets"]);
    // A restart is no transition; that it was looked at again shows in what happens next.
    assert_eq!(operator.terminate(SOON).await?, 0);
    let _operator = lab.operator()?.start().await?;
    let target = test.targets(1).await?.remove(0);
    test.wait_ready("reg", 1).await?;
    warned(1).await?;
    label_namespace(&test, &target, json!({"test": null})).await?;
    test.wait_condition("reg", "Ready", "True", "NoTargets").await?;
    wait_no_secret(&test, &target, "reg").await?;
    warned(2).await
}

/// Reasons of Warnings about `reg`.
async fn warnings(test: &Scenario) -> Result<Vec<String>> {
    let events: Api<k8s_openapi::api::events::v1::Event> =
        Api::namespaced(test.client.clone(), &test.home.name);
    let mut list = events.list(&Default::default()).await?.items;
    list.retain(|event| {
        event.type_.as_deref() == Some("Warning")
            && event.regarding.as_ref().is_some_and(|about| about.name.as_deref() == Some("reg"))
    });
    Ok(list.into_iter().filter_map(|event| event.reason).collect())
}

/// `Stalled` says that a person has to act on the credential itself.
#[tokio::test]
async fn some_namespaces_that_fail_do_not_stall_a_credential() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    foreign(&test, &targets[0], "reg").await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "False", "PartiallySynced").await?;
    wait_stalled(&test, "reg", "False").await?;
    for namespace in &targets[1..] {
        wait_copy(&test, namespace, "reg").await?;
    }
    // Every target is refused for good: then it is.
    let only = json!({"names": [targets[0]], "selector": null});
    merge(&test.credentials(), "reg", json!({"spec": {"target": {"namespaces": only}}})).await?;
    test.wait_condition("reg", "Ready", "False", "SecretNameConflict").await?;
    wait_stalled(&test, "reg", "True").await?;
    // A broken source is a fault of the whole, also when all copies are in place.
    test.secrets(&targets[0]).delete("reg", &DeleteParams::default()).await?;
    test.wait_ready("reg", 1).await?;
    wait_stalled(&test, "reg", "False").await?;
    merge(&test.secrets(&test.home.name), "src", json!({"data": {"password": null}})).await?;
    test.wait_condition("reg", "Ready", "False", "KeyMissing").await?;
    wait_stalled(&test, "reg", "True").await
}
