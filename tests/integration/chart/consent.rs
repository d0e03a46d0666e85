//! The release's own DistributionPolicy comes and goes with the release: that takes nothing away from anybody.

use std::time::Duration;

use kube::{Api, api::DeleteParams};
use serde_json::json;

use super::{
    helm::helm,
    release::{NAME, NAMESPACE, Release},
};
use crate::{
    checks::{exact_all, good_source, spec, spec_to, wait_copy_within, wait_no_secret},
    scenario::Scenario,
    support::{ControlPlane, Operator, Result, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

struct Stage {
    release: Release,
    test: Scenario,
    targets: Vec<String>,
    operator: Operator,
    /// What the release is installed and upgraded with.
    values: [String; 6],
}

impl Stage {
    /// A release with a policy, and a credential that lives by it.
    async fn new(environment: &serde_json::Value) -> Result<Self> {
        let control_plane = ControlPlane::builder().start().await?;
        let test = Scenario::alone(&control_plane).await?;
        let values = [
            "--set".to_owned(),
            format!(
                "distributionPolicy.create=true,distributionPolicy.fromNamespaces={{{}}}",
                test.home.name
            ),
            "--set-json".to_owned(),
            format!("extraEnv={environment}"),
            "--set-json".to_owned(),
            r#"extraArgs=["--lease-duration=3s","--lease-renew-deadline=2s","--lease-retry-period=500ms"]"#
                .to_owned(),
        ];
        let release = Release::install(control_plane, &values.each_ref().map(String::as_str)).await?;
        let operator = release.operator("keys-1").await?;
        let targets = test.targets(3).await?;
        good_source(&test, "src", "the-password").await?;
        test.credential("reg", spec(&test, "src")).await?;
        test.wait_ready("reg", 1).await?;
        Ok(Self { release, test, targets, operator, values })
    }

    async fn upgrade(&self) -> Result<()> {
        self.release.helm("upgrade", &self.values.each_ref().map(String::as_str)).await.map(drop)
    }

    async fn helm(&self, args: &[&str]) -> Result<()> {
        let namespace = format!("--namespace={NAMESPACE}");
        let args = [args, &[&*namespace]].concat();
        helm(Some(&self.release.control_plane.kubeconfig()), &args).await.map(drop)
    }
}

/// At first Helm removes the policy by a hook, before anything else.
#[tokio::test]
async fn an_uninstall_leaves_every_copy_where_it_is() -> Result<()> {
    uninstalled(Stage::new(&json!([])).await?).await
}

/// From the second revision on the policy goes with the rest.
#[tokio::test]
async fn an_uninstall_after_an_upgrade_does_too() -> Result<()> {
    let stage = Stage::new(&json!([])).await?;
    stage.upgrade().await?;
    uninstalled(stage).await
}

async fn uninstalled(stage: Stage) -> Result<()> {
    let before = exact_all(&stage.test, &stage.targets, "reg").await?;
    stage.helm(&["uninstall", NAME]).await?;
    // There is no kubelet to end it; without its lease it ends by itself, which may be sooner.
    let _ = stage.operator.terminate(Duration::from_secs(30)).await;
    stage.operator.kill9()?;
    assert_eq!(exact_all(&stage.test, &stage.targets, "reg").await?, before, "a copy was touched");

    // Installed again, it finds everything as it was.
    stage.release.helm("install", &stage.values.each_ref().map(String::as_str)).await?;
    let operator = stage.release.operator("keys-2").await?;
    good_source(&stage.test, "src", "another-password").await?;
    for (namespace, before) in stage.targets.iter().zip(&before) {
        stage.test.wait_password(namespace, "reg", "another-password").await?;
        let uid = stage.test.secrets(namespace).get("reg").await?.metadata.uid;
        assert_eq!(uid.as_ref(), Some(&before.0), "it was replaced");
    }
    operator.check_running()
}

/// To the very first revision, in which the policy is a hook's: it is deleted, and made anew in the end.
#[tokio::test]
async fn a_rollback_leaves_every_copy_where_it_is() -> Result<()> {
    let stage = Stage::new(&json!([{"name": "CLAVIGER_CONSENT_GRACE_PERIOD", "value": "15s"}])).await?;
    let test = &stage.test;
    stage.upgrade().await?;
    // By a policy of its own: when its copy has gone, the quiet period is over for all that was before.
    let policies: Api<claviger::api::DistributionPolicy> = Api::all(test.client.clone());
    let witness = format!("{}-witness", test.mark);
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(test.client.clone());
    namespaces
        .create(&Default::default(), &serde_json::from_value(json!({"metadata": {"name": witness}}))?)
        .await?;
    let other = Scenario::alone(&stage.release.control_plane).await?;
    let policy = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "witness"},
        "spec": {"from": {"namespaces": {"names": [other.home.name]}}, "to": {"namespaces": {"names": [witness]}}},
    });
    test.apply_cluster("DistributionPolicy", "witness", policy).await?;
    good_source(&other, "src", "the-password").await?;
    other.credential("witness", spec_to("src", json!({"namespaces": {"names": [witness]}}))).await?;
    wait_copy_within(LONG, &other, &witness, "witness").await?;
    test.wait_ready("reg", 1).await?;
    let before = exact_all(test, &stage.targets, "reg").await?;

    stage.helm(&["rollback", NAME, "1"]).await?;
    policies.delete("witness", &DeleteParams::default()).await?;
    wait_for(LONG, "the quiet period to end", async || {
        other.secrets(&witness).get_opt("witness").await.is_ok_and(|found| found.is_none())
    })
    .await?;
    wait_no_secret(&other, &witness, "witness").await?;
    assert_eq!(exact_all(test, &stage.targets, "reg").await?, before, "a copy was touched");
    test.wait_ready("reg", 1).await?;
    stage.operator.check_running()
}
