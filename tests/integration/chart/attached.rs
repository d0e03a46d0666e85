//! A release goes and comes back: what it has attached to ServiceAccounts stays, and stays its own.

use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    helm::helm,
    release::{NAME, NAMESPACE, Release},
};
use crate::{
    checks::good_source,
    scenario::Scenario,
    support::{ControlPlane, Result, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_attached_outlives_the_release_and_the_next_one_takes_exactly_that_off() -> Result<()> {
    let control_plane = ControlPlane::builder().start().await?;
    let test = Scenario::alone(&control_plane).await?;
    let consent = format!(
        "--set=distributionPolicy.create=true,distributionPolicy.allowDefault=true,distributionPolicy.fromNamespaces={{{}}}",
        test.home.name
    );
    let quick =
        r#"extraArgs=["--lease-duration=3s","--lease-renew-deadline=2s","--lease-retry-period=500ms"]"#;
    let values = [&*consent, "--set-json", quick];
    let release = Release::install(control_plane, &values).await?;
    let operator = release.operator("keys-1").await?;
    good_source(&test, "src", "the-password").await?;
    let targets = test.targets(2).await?;
    let mut spec = json!({
        "provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}, "target": test.selector(),
        "verification": {"mode": "Off"}, "default": {"enabled": true},
    });
    test.credential("reg", spec.clone()).await?;
    test.wait_told("reg", "Default", "True", "Attached", &["2 ServiceAccounts"]).await?;
    let accounts = |namespace: &str| Api::<ServiceAccount>::namespaced(test.client.clone(), namespace);
    let state = async || -> Result<Vec<(Vec<String>, String)>> {
        let mut all = Vec::new();
        for target in &targets {
            let account = accounts(target).get("default").await?;
            let names = account.image_pull_secrets.iter().flatten().map(|entry| entry.name.clone());
            all.push((names.collect(), account.resource_version().unwrap_or_default()));
        }
        Ok(all)
    };
    let before = state().await?;
    assert!(before.iter().all(|(names, _)| names == &["reg"]), "{before:?}");

    let kubeconfig = release.control_plane.kubeconfig();
    helm(Some(&kubeconfig), &["uninstall", NAME, "--namespace", NAMESPACE]).await?;
    // There is no kubelet to end it.
    let _ = operator.terminate(Duration::from_secs(30)).await;
    operator.kill9()?;
    assert_eq!(state().await?, before, "an uninstall touches nothing");
    // Somebody else adds an entry meanwhile, and the fence is gone with the release.
    let more = Patch::Merge(json!({"imagePullSecrets": [{"name": "reg"}, {"name": "theirs"}]}));
    accounts(&targets[0]).patch("default", &PatchParams::default(), &more).await?;

    let before = state().await?;
    release.helm("install", &values).await?;
    let operator = release.operator("keys-2").await?;
    // It is at work when it has rotated, and by then has looked at everything once.
    good_source(&test, "src", "another-password").await?;
    for target in &targets {
        test.wait_password(target, "reg", "another-password").await?;
    }
    test.wait_told("reg", "Default", "True", "Attached", &["2 ServiceAccounts"]).await?;
    assert_eq!(state().await?, before, "what is attached is not written again");
    spec["default"]["enabled"] = json!(false);
    test.credential("reg", spec).await?;
    wait_for(LONG, "exactly ours to be off", async || {
        let found = state().await.map_err(|error| error.to_string())?;
        let names: Vec<_> = found.into_iter().map(|(names, _)| names).collect();
        if names == [vec!["theirs".to_owned()], Vec::new()] { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await?;
    operator.check_running()
}
