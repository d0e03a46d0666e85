//! The rights that the chart gives to people, and the standard that its Pods meet.

use claviger::api::{DistributionPolicy, MemberCluster, RegistryCredential};
use k8s_openapi::api::{
    core::v1::Pod,
    rbac::v1::{RoleBinding, Subject},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::release::{EDITOR, FULL_NAME, NAMESPACE, VIEWER, installed};
use crate::support::{Error, Result, TestNamespace, random_name, wait::DEADLINE, wait_for};

/// Binds a user to a built-in role in a namespace, and waits until the role has taken in what the chart adds.
async fn bound(user: &str, role: &str, namespace: &TestNamespace) -> Result<Client> {
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    }))?;
    let subject = Subject { kind: "User".into(), name: user.into(), ..Subject::default() };
    let binding = RoleBinding { subjects: Some(vec![subject]), ..binding };
    namespace.api::<RoleBinding>().create(&PostParams::default(), &binding).await?;
    let client = installed().await?.release.control_plane.client_for(user).await?;
    let credentials = Api::<RegistryCredential>::namespaced(client.clone(), &namespace.name);
    wait_for(DEADLINE, &format!("{user} to be a {role}"), async || {
        credentials.list(&ListParams::default()).await
    })
    .await?;
    Ok(client)
}

fn credential() -> Result<RegistryCredential> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential", "metadata": {"name": random_name("reg")},
        "spec": {"provider": "Custom", "server": "registry.example.com", "secretRef": {"name": "src"}},
    }))?)
}

fn is_forbidden<T>(answer: kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
async fn editors_write_credentials_and_never_consent() -> Result<()> {
    let admin = installed().await?.release.client().await?;
    let namespace = TestNamespace::new(admin.clone(), "edit").await?;
    let client = bound(EDITOR, "edit", &namespace).await?;
    let own = Api::<RegistryCredential>::namespaced(client.clone(), &namespace.name);
    let params = PostParams::default();
    let made = wait_for(DEADLINE, "an editor to create", async || {
        own.create(&params, &credential()?).await.map_err(Error::from)
    })
    .await?;
    let name = made.metadata.name.unwrap_or_default();
    let patch = Patch::Merge(json!({"spec": {"displayName": "x"}}));
    own.patch(&name, &PatchParams::default(), &patch).await?;
    let status = Patch::Merge(json!({"status": {"references": {"total": 0, "blocking": 0}}}));
    assert!(
        is_forbidden(own.patch_status(&name, &PatchParams::default(), &status).await),
        "the guard reads it"
    );
    own.delete(&name, &DeleteParams::default()).await?;
    own.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;

    let other = Api::<RegistryCredential>::namespaced(client.clone(), "default");
    assert!(is_forbidden(other.create(&params, &credential()?).await));
    let policies = Api::<DistributionPolicy>::all(client.clone());
    let policy: DistributionPolicy = serde_json::from_value(json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "mine"},
        "spec": {"from": {"namespaces": {"names": [namespace.name]}}, "to": {"namespaces": {"selector": {}}}},
    }))?;
    assert!(is_forbidden(policies.create(&params, &policy).await), "an editor gave consent");
    let member: MemberCluster = serde_json::from_value(json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster", "metadata": {"name": "mine"},
        "spec": {"kubeconfigSecretRef": {"name": "mine"}},
    }))?;
    let members = Api::<MemberCluster>::all(client);
    assert!(is_forbidden(members.create(&params, &member).await), "an editor took a cluster in");
    Ok(())
}

#[tokio::test]
async fn viewers_read() -> Result<()> {
    let namespace = TestNamespace::new(installed().await?.release.client().await?, "view").await?;
    let client = bound(VIEWER, "view", &namespace).await?;
    let own = Api::<RegistryCredential>::namespaced(client.clone(), &namespace.name);
    assert_eq!(own.list(&ListParams::default()).await?.items.len(), 0);
    assert!(is_forbidden(own.create(&PostParams::default(), &credential()?).await));
    let other = Api::<RegistryCredential>::namespaced(client, "default");
    assert!(is_forbidden(other.list(&ListParams::default()).await));
    Ok(())
}

#[tokio::test]
async fn pods_are_admitted_under_the_restricted_standard() -> Result<()> {
    // The release's namespace enforces it.
    let pods = Api::<Pod>::namespaced(installed().await?.release.client().await?, NAMESPACE);
    let params = ListParams::default().labels("app.kubernetes.io/name=claviger");
    let made = wait_for(DEADLINE, "two Pods", async || {
        let found = pods.list(&params).await?.items;
        if found.len() == 2 { Ok(found) } else { Err(Error::new(format!("{} Pods", found.len()))) }
    })
    .await?;
    for pod in made {
        let spec = pod.spec.unwrap_or_default();
        assert_eq!(spec.service_account_name.as_deref(), Some(FULL_NAME));
        let mounts = spec.containers[0].volume_mounts.clone().unwrap_or_default();
        assert!(mounts.iter().any(|mount| mount.mount_path.ends_with("/serviceaccount")), "no token");
    }
    let root: Pod = serde_json::from_value(json!({
        "metadata": {"name": "root"}, "spec": {"containers": [{"name": "x", "image": "x"}]},
    }))?;
    assert!(is_forbidden(pods.create(&PostParams::default(), &root).await), "nothing is enforced there");
    Ok(())
}
