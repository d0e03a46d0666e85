//! From a credential to its copies: targets, rotation, drift.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::{
    scenario::Scenario,
    support::{Result, wait::wait_for},
};

#[tokio::test]
async fn a_credential_reaches_every_selected_namespace_and_rotates_in_place() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(5).await?;
    test.source("src", json!({"username": "acme+ci", "password": "first-password"})).await?;
    test.credential(
        "quay",
        json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}, "target": test.selector()}),
    )
    .await?;
    let status = test.wait_ready("quay", 1).await?;
    assert_eq!(status.summary.as_ref().map(|s| s.namespaces.as_str()), Some("5/5"));
    let mut uids = Vec::new();
    for namespace in &targets {
        let copy = test.secrets(namespace).get("quay").await?;
        assert_eq!(copy.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
        assert!(copy.metadata.owner_references.is_none());
        uids.push(copy.metadata.uid);
        assert_eq!(test.login(namespace, "quay").await?, Some(("acme+ci".into(), "first-password".into())));
    }
    test.source("src", json!({"username": "acme+ci", "password": "second-password"})).await?;
    for (namespace, uid) in targets.iter().zip(uids) {
        test.wait_password(namespace, "quay", "second-password").await?;
        assert_eq!(
            test.secrets(namespace).get("quay").await?.metadata.uid,
            uid,
            "it was replaced, not updated"
        );
    }
    test.wait_ready("quay", 2).await?;
    Ok(())
}

#[tokio::test]
async fn drift_is_healed() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    let secrets = test.secrets(&targets[0]);
    test.source("src", json!({"username": "me", "password": "the-password"})).await?;
    let spec = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}, "target": test.selector()});
    test.credential("reg", spec).await?;
    test.wait_ready("reg", 1).await?;
    let uid = secrets.get("reg").await?.metadata.uid;
    for (what, patch) in [
        ("edited", json!({"data": {".dockerconfigjson": "e30="}})),
        ("labels removed", json!({"metadata": {"labels": null}})),
        ("annotations removed", json!({"metadata": {"annotations": null}})),
        ("owner removed", json!({"metadata": {"labels": {"claviger.dev/owner": null}}})),
        ("key added", json!({"data": {"extra": "e30="}})),
    ] {
        secrets.patch("reg", &PatchParams::default(), &Patch::Merge(patch)).await?;
        wait_for(Duration::from_secs(5), &format!("a copy healed that was {what}"), async || {
            let copy = secrets.get("reg").await.map_err(|e| e.to_string())?;
            let data = copy.data.unwrap_or_default();
            let labels = copy.metadata.labels.unwrap_or_default();
            let notes = copy.metadata.annotations.unwrap_or_default();
            let whole = data.len() == 1
                && data.get(".dockerconfigjson").is_some_and(|value| value.0.len() > 10)
                && labels.contains_key("claviger.dev/owner")
                && labels.contains_key("app.kubernetes.io/managed-by")
                && notes.contains_key("claviger.dev/source");
            if whole { Ok(()) } else { Err(format!("{} keys, {labels:?}, {notes:?}", data.len())) }
        })
        .await?;
        assert_eq!(secrets.get("reg").await?.metadata.uid, uid, "{what}: it was replaced, not updated");
    }
    secrets.delete("reg", &DeleteParams::default()).await?;
    test.wait_password(&targets[0], "reg", "the-password").await?;
    Ok(())
}

#[tokio::test]
async fn a_source_that_changes_faster_than_a_status_is_written() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let spec = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}, "target": test.selector()});
    test.source("src", json!({"username": "me", "password": "password-1"})).await?;
    test.credential("reg", spec).await?;
    for n in 1..=6 {
        let password = format!("password-{n}");
        test.source("src", json!({"username": "me", "password": password})).await?;
        test.wait_password(&targets[0], "reg", &password).await?;
        test.wait_password(&targets[1], "reg", &password).await?;
    }
    // Each content was written, so each has its number.
    test.wait_ready("reg", 6).await?;
    for namespace in &targets {
        let copy = test.secrets(namespace).get("reg").await?;
        let revision =
            copy.metadata.annotations.and_then(|notes| notes.get("claviger.dev/revision").cloned());
        assert_eq!(revision.as_deref(), Some("6"));
    }
    Ok(())
}
