//! `claviger self-test` by hand, beside the operator.

use std::process::{Command, Output};

use claviger::api::RegistryCredential;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{self, Result, operator_binary},
};

const NAME: &str = "claviger-self-test";

/// With the rights of an administrator.
async fn self_test(namespace: &str, args: &[&str]) -> Result<Output> {
    let kubeconfig = support::environment().await?.control_plane.kubeconfig();
    let mut command = Command::new(tokio::task::spawn_blocking(operator_binary).await??);
    command.args(["self-test", "--namespace", namespace]).args(args);
    command.env_remove("POD_NAMESPACE").env("KUBECONFIG", kubeconfig);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Names of the namespace's Secrets and credentials.
async fn there(test: &Scenario) -> Result<Vec<String>> {
    let secrets = test.secrets(&test.home.name).list(&ListParams::default()).await?.items;
    let credentials = test.credentials().list(&ListParams::default()).await?.items;
    let names = secrets.into_iter().map(|one| one.metadata.name);
    Ok(names.chain(credentials.into_iter().map(|one| one.metadata.name)).flatten().collect())
}

fn credential(labels: Value) -> Value {
    json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential",
        "metadata": {"name": NAME, "labels": labels},
        "spec": {"provider": "GitHub", "secretRef": {"name": "somewhere"}},
    })
}

async fn apply(test: &Scenario, object: &Value) -> Result<RegistryCredential> {
    let api: Api<RegistryCredential> = test.credentials();
    Ok(api.patch(NAME, &PatchParams::apply("test"), &Patch::Apply(object)).await?)
}

#[tokio::test]
async fn it_takes_away_what_an_interrupted_one_has_left() -> Result<()> {
    let test = Scenario::shared().await?;
    apply(&test, &credential(json!({"app.kubernetes.io/component": "self-test"}))).await?;
    // With the finalizer of the operator on it.
    test.wait_condition(NAME, "Ready", "False", "SecretNotFound").await?;
    let output = self_test(&test.home.name, &[]).await?;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output).matches("are deleted").count(), 2, "{}", said(&output));
    assert_eq!(there(&test).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn what_is_somebody_elses_it_leaves_alone() -> Result<()> {
    let test = Scenario::shared().await?;
    // A login that somebody has chosen for it.
    test.source(&format!("{NAME}-source"), json!({"username": "me", "password": "my-password"})).await?;
    let output = self_test(&test.home.name, &[]).await?;
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("my-password"), "{}", said(&output));
    assert_eq!(there(&test).await?, [format!("{NAME}-source")]);

    let foreign = apply(&test, &credential(json!({}))).await?;
    let output = self_test(&test.home.name, &[]).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("already exists and was not created by a self-test"), "{}", said(&output));
    assert_eq!(test.credentials().get(NAME).await?.metadata.uid, foreign.metadata.uid);
    let output = self_test(&test.home.name, &["--name=another"]).await?;
    assert!(output.status.success(), "{}", said(&output));

    // The Secret of that name is somebody's: the operator does not touch it, and the test tells so.
    let taken: Secret =
        serde_json::from_value(json!({"metadata": {"name": "taken"}, "stringData": {"a": "b"}}))?;
    let secrets = test.secrets(&test.home.name);
    secrets.create(&kube::api::PostParams::default(), &taken).await?;
    let output = self_test(&test.home.name, &["--name=taken", "--timeout=8s"]).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("SecretNameConflict"), "{}", said(&output));
    assert!(secrets.get_opt("taken").await?.is_some());
    assert!(test.credentials().get_opt("taken").await?.is_none());
    Ok(())
}
