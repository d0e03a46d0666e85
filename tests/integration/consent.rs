//! Who may push where: asked before a source is read, and taken back at any time.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use claviger::api::DistributionPolicy;

use crate::{
    checks::{
        delete, delete_pod, exact, good_source, label_namespace, merge, spec, spec_to, stays_absent,
        stays_exact, wait_copy, wait_no_credential, wait_no_secret,
    },
    scenario::Scenario,
    support::{Result, random_name},
};

const OPT_OUT: &str = "claviger.dev/opt-out";

async fn policy(test: &Scenario, name: &str, from: Value, to: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": name},
        "spec": {"from": {"namespaces": from}, "to": {"namespaces": to}},
    });
    policies(test).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?;
    Ok(())
}

fn policies(test: &Scenario) -> Api<DistributionPolicy> {
    Api::all(test.client.clone())
}

async fn withdraw(test: &Scenario) -> Result<()> {
    let name = format!("policy-{}", test.mark);
    policies(test).delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn without_consent_nothing_is_written_and_nothing_read() -> Result<()> {
    let test = Scenario::shared().await?;
    let targets = test.targets(2).await?;
    // There is no source: an operator that looked for it would say so.
    test.credential("reg", spec(&test, "src")).await?;
    let told = test
        .wait_told("reg", "Synced", "False", "NotPermitted", &["2 namespaces", "DistributionPolicy"])
        .await?;
    assert!(targets.iter().all(|target| !told.message.contains(target)), "it names them: {}", told.message);
    test.wait_condition("reg", "SourceResolved", "Unknown", "NotRead").await?;
    test.wait_condition("reg", "Ready", "False", "NotPermitted").await?;
    test.wait_condition("reg", "Stalled", "True", "NotPermitted").await?;
    let status = test.status("reg").await?;
    assert_eq!((status.clusters[0].namespaces.failed, status.clusters[0].failures.len()), (2, 0));

    test.policy().await?;
    test.wait_condition("reg", "SourceResolved", "False", "SecretNotFound").await?;
    good_source(&test, "src", "the-password").await?;
    test.wait_ready("reg", 1).await?;
    for namespace in &targets {
        wait_copy(&test, namespace, "reg").await?;
    }
    Ok(())
}

#[tokio::test]
async fn some_namespaces_may_be_written_and_others_not() -> Result<()> {
    let test = Scenario::shared().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    policy(&test, &random_name("policy"), json!({"names": [test.home.name]}), json!({"names": [targets[0]]}))
        .await?;
    test.credential("reg", spec(&test, "src")).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    test.wait_told("reg", "Synced", "False", "PartiallySynced", &["1 of 2", "NotPermitted in 1 namespace"])
        .await?;
    stays_absent(&test, &targets[1], "reg").await
}

#[tokio::test]
async fn consent_of_another_namespace_is_not_ours() -> Result<()> {
    let test = Scenario::shared().await?;
    let targets = test.targets(2).await?;
    let (other, ours) = (json!({"names": [random_name("other")]}), json!({"names": [test.home.name]}));
    good_source(&test, "src", "the-password").await?;
    policy(&test, &random_name("policy"), other, json!({"names": targets})).await?;
    // A later one of our own, for one namespace: when that has its copy, the operator knows both policies.
    policy(&test, &random_name("policy"), ours, json!({"names": [targets[0]]})).await?;
    test.credential("reg", spec(&test, "src")).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    test.wait_told("reg", "Synced", "False", "PartiallySynced", &["NotPermitted in 1 namespace"]).await?;
    stays_absent(&test, &targets[1], "reg").await
}

#[tokio::test]
async fn consent_withdrawn_takes_copies_back_but_not_from_under_pods() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    test.pod(&targets[0], "app", "reg").await?;
    wait_used(&test, 1).await?;
    let before = exact(&test, &targets[0], "reg").await?;
    withdraw(&test).await?;
    wait_no_secret(&test, &targets[1], "reg").await?;
    wait_no_secret(&test, &targets[2], "reg").await?;
    test.wait_told(
        "reg",
        "Synced",
        "False",
        "NotPermitted",
        &["while a Pod or another blocking object uses it"],
    )
    .await?;
    // Held also means frozen.
    good_source(&test, "src", "another-password").await?;
    let plain = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("known", plain).await?;
    test.wait_password(&test.home.name, "known", "another-password").await?;
    stays_exact(&test, &targets[0], "reg", &before).await?;
    delete_pod(&test, &targets[0], "app").await?;
    wait_no_secret(&test, &targets[0], "reg").await?;

    test.policy().await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    Ok(())
}

async fn wait_used(test: &Scenario, users: i64) -> Result<()> {
    crate::support::wait_for(crate::checks::SOON, &format!("{users} users in the status"), async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let found = status.references.map(|references| references.total);
        if found == Some(users) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_namespace_can_opt_out_and_in_again() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let mut targets = test.targets(2).await?;
    // From the beginning, so that it never was one that takes copies.
    targets.insert(0, format!("{}-out", test.mark));
    test.target_with(&targets[0], &[(OPT_OUT, "true")]).await?;
    label_namespace(&test, &test.home.name, json!({OPT_OUT: "true", "test": test.mark})).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    stays_absent(&test, &targets[0], "reg").await?;
    wait_copy(&test, &targets[1], "reg").await?;
    // The label speaks of credentials of other namespaces.
    wait_copy(&test, &test.home.name, "reg").await?;
    assert_eq!(test.status("reg").await?.summary.map(|summary| summary.namespaces), Some("3/3".into()));

    test.pod(&targets[1], "app", "reg").await?;
    wait_used(&test, 1).await?;
    for namespace in &targets[1..] {
        label_namespace(&test, namespace, json!({OPT_OUT: "true"})).await?;
    }
    wait_no_secret(&test, &targets[2], "reg").await?;
    wait_copy(&test, &targets[1], "reg").await?;
    delete_pod(&test, &targets[1], "app").await?;
    wait_no_secret(&test, &targets[1], "reg").await?;

    label_namespace(&test, &targets[0], json!({OPT_OUT: null})).await?;
    label_namespace(&test, &targets[1], json!({OPT_OUT: "false"})).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    wait_copy(&test, &targets[1], "reg").await?;
    // Nothing but the word `true` opts out, and a namespace that did needs no consent that it refuses.
    test.wait_ready("reg", 1).await?;
    Ok(())
}

#[tokio::test]
async fn system_namespaces_must_be_named_on_both_sides() -> Result<()> {
    let test = Scenario::shared().await?;
    let targets = test.targets(1).await?;
    let system = ["kube-system", "kube-public", "kube-node-lease", "claviger-system"];
    let all: Vec<&str> = system.iter().copied().chain([targets[0].as_str()]).collect();
    let by_label = json!({"selector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": all}]}});
    let name = random_name("reg");
    let home = json!({"names": [test.home.name]});
    let consent = random_name("policy");
    policy(&test, &consent, home.clone(), by_label.clone()).await?;
    good_source(&test, "src", "the-password").await?;

    // Neither side names them: they are not even meant.
    test.credential(&name, spec_to("src", json!({"namespaces": by_label}))).await?;
    test.wait_ready(&name, 1).await?;
    wait_copy(&test, &targets[0], &name).await?;
    for namespace in system {
        assert!(test.secrets(namespace).get_opt(&name).await?.is_none(), "{namespace}");
    }
    // The credential names them, the policy does not.
    test.credential(&name, spec_to("src", json!({"namespaces": {"names": all}}))).await?;
    test.wait_condition(&name, "Synced", "False", "PartiallySynced").await?;
    assert_eq!(test.status(&name).await?.clusters[0].namespaces.failed, 4);
    // The policy names them, the credential does not; when another one that does has a copy, the policy is known.
    test.credential(&name, spec_to("src", json!({"namespaces": by_label}))).await?;
    test.wait_ready(&name, 1).await?;
    policy(&test, &consent, home.clone(), json!({"names": all})).await?;
    let known = random_name("known");
    test.credential(&known, spec_to("src", json!({"namespaces": {"names": ["kube-public"]}}))).await?;
    wait_copy(&test, "kube-public", &known).await?;
    delete(&test, &known).await?;
    wait_no_credential(&test, &known).await?;
    stays_absent(&test, "kube-public", &name).await?;
    for namespace in system {
        assert!(test.secrets(namespace).get_opt(&name).await?.is_none(), "{namespace}");
    }
    // Both do.
    test.credential(&name, spec_to("src", json!({"namespaces": {"names": all}}))).await?;
    for namespace in all {
        wait_copy(&test, namespace, &name).await?;
    }
    test.wait_ready(&name, 1).await?;
    delete(&test, &name).await?;
    wait_no_credential(&test, &name).await?;
    for namespace in system {
        assert!(test.secrets(namespace).get_opt(&name).await?.is_none(), "{namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn the_own_namespace_needs_no_policy() -> Result<()> {
    let test = Scenario::shared().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential(
        "omitted",
        json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}}),
    )
    .await?;
    test.credential("named", spec_to("src", json!({"namespaces": {"names": [test.home.name]}}))).await?;
    for name in ["omitted", "named"] {
        test.wait_ready(name, 1).await?;
        let copy = wait_copy(&test, &test.home.name, name).await?;
        assert!(copy.metadata.owner_references.is_none(), "foreground deletion would take a copy in use");
    }
    Ok(())
}

#[tokio::test]
async fn consent_follows_the_labels_of_both_namespaces() -> Result<()> {
    let test = Scenario::shared().await?;
    let targets = test.targets(1).await?;
    let labelled = |role: &str| json!({"selector": {"matchLabels": {role: test.mark}}});
    policy(&test, &random_name("policy"), labelled("giver"), labelled("taker")).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "False", "NotPermitted").await?;
    label_namespace(&test, &test.home.name, json!({"giver": test.mark})).await?;
    label_namespace(&test, &targets[0], json!({"taker": test.mark})).await?;
    test.wait_ready("reg", 1).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    merge(&namespaces, &test.home.name, json!({"metadata": {"labels": {"giver": null}}})).await?;
    wait_no_secret(&test, &targets[0], "reg").await?;
    test.wait_condition("reg", "Ready", "False", "NotPermitted").await?;
    Ok(())
}
