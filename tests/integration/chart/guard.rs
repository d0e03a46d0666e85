//! The deletion guard: `kubectl delete` of a credential in use is refused, and told by whom.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace, networking::v1::Ingress};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::release::installed;
use crate::{
    references::kinds::{deployment, ingress},
    scenario::Scenario,
    support::{Error, Result, wait::DEADLINE, wait_for},
};

/// A credential with copies in namespaces of the test, used by Pods in the first of them.
async fn in_use(pods: usize, policy: &str) -> Result<(Scenario, Vec<String>)> {
    let test = Scenario::alone(&installed().await?.release.control_plane).await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    test.source("src", json!({"username": "acme+ci", "password": "the-password"})).await?;
    let spec = json!({
        "provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}, "target": test.selector(), "deletionPolicy": policy,
    });
    test.credential("quay", spec).await?;
    test.wait_ready("quay", 1).await?;
    for n in 0..pods {
        test.pod(&targets[0], &format!("app-{n}"), "quay").await?;
    }
    // Who uses it is told once in 30 s.
    wait_for(Duration::from_secs(60), "the users in the status", async || {
        let references = test.status("quay").await?.references.unwrap_or_default();
        if references.blocking == i64::try_from(pods)? {
            Ok(())
        } else {
            Err(Error::new(format!("{references:?}")))
        }
    })
    .await?;
    Ok((test, targets))
}

/// The refusal of a deletion, tried as a dry run.
async fn refusal(test: &Scenario) -> Result<Option<String>> {
    match test.credentials().delete("quay", &DeleteParams::default().dry_run()).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

async fn wait_gone(test: &Scenario) -> Result<()> {
    wait_for(DEADLINE, "the credential to be gone", async || {
        match test.credentials().get_opt("quay").await? {
            None => Ok(()),
            Some(left) => Err(Error::new(format!("{:?}", left.metadata.finalizers))),
        }
    })
    .await
}

#[tokio::test]
async fn deletion_of_a_credential_in_use_is_refused_with_the_names_of_the_users() -> Result<()> {
    let (test, targets) = in_use(2, "Protect").await?;
    let message = wait_for(DEADLINE, "a refusal", async || refusal(&test).await.transpose()).await??;
    let home = &test.home.name;
    for part in [
        format!(
            "RegistryCredential {home}/quay is still in use by Pod {0}/app-0, Pod {0}/app-1. ",
            targets[0]
        ),
        "Stop using its Secret first; or set spec.deletionPolicy to 'Orphan'".to_owned(),
        "or annotate it with claviger.dev/force-delete=true".to_owned(),
    ] {
        assert!(message.contains(&part), "{message}");
    }
    // Neither is there a way around by asking for all of them at once.
    let all = test.credentials().delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert!(matches!(all, Err(kube::Error::Api(status)) if status.code == 403));

    // The users go: so may the credential.
    for pod in ["app-0", "app-1"] {
        test.phase(&targets[0], pod, "Succeeded").await?;
    }
    wait_for(DEADLINE, "the deletion to be accepted", async || {
        test.credentials().delete("quay", &DeleteParams::default()).await
    })
    .await?;
    wait_gone(&test).await?;
    assert!(test.secrets(&targets[0]).get_opt("quay").await?.is_none());
    Ok(())
}

/// An Ingress holds, and a Deployment at zero does not: the one is named, and the other is not in the way.
#[tokio::test]
async fn a_refusal_names_what_holds_of_each_kind() -> Result<()> {
    let (test, targets) = in_use(1, "Protect").await?;
    let home = Api::<Ingress>::namespaced(test.client.clone(), &targets[1]);
    let web: Ingress = serde_json::from_value(ingress("web", "quay"))?;
    home.create(&PostParams::default(), &web).await?;
    let app: Deployment = serde_json::from_value(deployment("quay"))?;
    let apps = Api::<Deployment>::namespaced(test.client.clone(), &targets[0]);
    apps.create(&PostParams::default(), &app).await?;
    wait_for(Duration::from_secs(60), "all users in the status", async || {
        let references = test.status("quay").await?.references.unwrap_or_default();
        if (references.total, references.blocking) == (3, 2) {
            Ok(())
        } else {
            Err(Error::new(format!("{references:?}")))
        }
    })
    .await?;
    let named = format!("is still in use by Pod {}/app-0, Ingress {}/web. ", targets[0], targets[1]);
    let message = wait_for(DEADLINE, "a refusal", async || refusal(&test).await.transpose()).await??;
    assert!(message.contains(&named), "{message}");
    test.phase(&targets[0], "app-0", "Succeeded").await?;
    home.delete("web", &DeleteParams::default()).await?;
    wait_for(DEADLINE, "the deletion to be accepted", async || {
        test.credentials().delete("quay", &DeleteParams::default()).await
    })
    .await?;
    wait_gone(&test).await
}

#[tokio::test]
async fn more_users_than_fit_are_counted() -> Result<()> {
    let (test, _) = in_use(7, "Protect").await?;
    let message = wait_for(DEADLINE, "a refusal", async || refusal(&test).await.transpose()).await??;
    assert!(message.contains("app-4 and 2 more (see status.references). Stop"), "{message}");
    test.annotate("quay", "claviger.dev/force-delete", "false").await?;
    assert!(refusal(&test).await?.is_some(), "`false` forces nothing");
    Ok(())
}

#[tokio::test]
async fn the_annotation_forces_a_deletion() -> Result<()> {
    let (test, targets) = in_use(1, "Protect").await?;
    test.annotate("quay", "claviger.dev/force-delete", "true").await?;
    test.credentials().delete("quay", &DeleteParams::default()).await?;
    wait_gone(&test).await?;
    assert!(test.secrets(&targets[0]).get_opt("quay").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn other_deletion_policies_are_not_held_up() -> Result<()> {
    let (test, targets) = in_use(1, "Force").await?;
    test.credentials().delete("quay", &DeleteParams::default()).await?;
    wait_gone(&test).await?;
    assert!(test.secrets(&targets[0]).get_opt("quay").await?.is_none());

    let (test, targets) = in_use(1, "Protect").await?;
    let patch = Patch::Merge(json!({"spec": {"deletionPolicy": "Orphan"}}));
    test.credentials().patch("quay", &PatchParams::default(), &patch).await?;
    test.credentials().delete("quay", &DeleteParams::default()).await?;
    wait_gone(&test).await?;
    let left = test.secrets(&targets[0]).get("quay").await?;
    assert!(left.metadata.labels.unwrap_or_default().is_empty(), "it still carries our marks");
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_with_a_credential_in_use() -> Result<()> {
    let (test, targets) = in_use(1, "Protect").await?;
    test.home.delete().await?;
    test.home.wait_gone().await?;
    // Its namespace is gone; what is used elsewhere stays until it is not.
    let copies = test.secrets(&targets[0]);
    assert!(copies.get_opt("quay").await?.is_some(), "it was pulled away from a running Pod");
    wait_for(DEADLINE, "the unused copy to go", async || {
        test.secrets(&targets[1]).get_opt("quay").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    test.phase(&targets[0], "app-0", "Failed").await?;
    wait_for(DEADLINE, "the copy to be swept", async || {
        copies.get_opt("quay").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    // So does one that holds the users.
    let namespaces = Api::<Namespace>::all(test.client.clone());
    namespaces.delete(&targets[0], &DeleteParams::default()).await?;
    wait_for(DEADLINE, "a target namespace to go", async || {
        namespaces.get_opt(&targets[0]).await.is_ok_and(|left| left.is_none())
    })
    .await
}
