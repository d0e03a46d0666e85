//! Other clusters under the chart's rights, and under those and the fence of `claviger member-rbac`.

use base64::{Engine, engine::general_purpose::STANDARD};
use claviger::{
    api::{DistributionPolicy, MemberCluster},
    cli::member_rbac::{MemberRbacArgs, manifests},
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    rbac,
    release::{NAMESPACE, Release},
};
use crate::{
    member_rbac::token_in_member,
    scenario::Scenario,
    support::{ControlPlane, Error, Result, apply_yaml, reference_types::GROUPS, wait::DEADLINE, wait_for},
};

/// A member that an admin declares, and one that Argo CD knows, under the rights of the chart and those of
/// `claviger member-rbac`.
pub async fn comes_and_goes(release: &Release, test: &Scenario) -> Result<()> {
    let member = ControlPlane::builder().audit(true).start().await?;
    let there = member.client().await?;
    for group in GROUPS {
        group.install(&there).await?;
    }
    apply_yaml(&there, &manifests(&MemberRbacArgs::default())?).await?;
    let token = token_in_member(&there, &MemberRbacArgs::default()).await?;
    let kubeconfig = member.kubeconfig_text(member.server_url(), &token);
    declared(release, test, &there, kubeconfig).await?;
    rbac::assert_minimal_in_member(&member).await?;
    adopted(test, &member, &token).await
}

async fn declared(release: &Release, test: &Scenario, there: &Client, kubeconfig: String) -> Result<()> {
    let secrets = Api::<Secret>::namespaced(release.client().await?, NAMESPACE);
    let secret = json!({"metadata": {"name": "east"}, "stringData": {"kubeconfig": kubeconfig}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let members = Api::<MemberCluster>::all(test.client.clone());
    let east: MemberCluster = serde_json::from_value(json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster", "metadata": {"name": "east"},
        "spec": {"kubeconfigSecretRef": {"name": "east"}},
    }))?;
    members.create(&PostParams::default(), &east).await?;
    wait_ready(&members, "east").await?;
    copy_in_member(test, there).await?;
    members.delete("east", &DeleteParams::default()).await?;
    wait_none(&members).await?;
    let copies = Api::<Secret>::namespaced(there.clone(), "web");
    assert!(copies.get_opt("far").await?.is_none(), "an unused copy was left behind");
    test.credentials().delete("far", &DeleteParams::default()).await?;
    wait_for(DEADLINE, "the credential to be gone", async || {
        test.credentials().get_opt("far").await.is_ok_and(|left| left.is_none())
    })
    .await
}

/// A copy is made in the member, and healed after each thing that somebody does to it.
async fn copy_in_member(test: &Scenario, there: &Client) -> Result<()> {
    let web: Namespace = serde_json::from_value(json!({"metadata": {"name": "web"}}))?;
    Api::all(there.clone()).create(&PostParams::default(), &web).await?;
    let to = json!({"namespaces": {"names": ["web"]}, "clusters": {"names": ["east"]}});
    let policy: DistributionPolicy = serde_json::from_value(json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "east"},
        "spec": {"from": {"namespaces": {"names": [test.home.name]}}, "to": to, "allowDefault": true},
    }))?;
    Api::all(test.client.clone()).create(&PostParams::default(), &policy).await?;
    test.credential("far", json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}, "target": to, "default": {"enabled": true}})).await?;
    let copies = Api::<Secret>::namespaced(there.clone(), "web");
    // The hub may be shown the credential before the namespace in the member.
    let made = wait_for(DEADLINE, "the copy in the member", async || copies.get("far").await).await?;
    test.wait_ready("far", 1).await?;
    test.wait_told("far", "Default", "True", "Attached", &["1 ServiceAccount"]).await?;
    for patch in [json!({"data": {".dockerconfigjson": "e30="}}), json!({"metadata": {"labels": null}})] {
        let what = patch.to_string();
        copies.patch("far", &PatchParams::default(), &Patch::Merge(patch)).await?;
        wait_for(DEADLINE, &format!("the copy in the member healed after {what}"), async || {
            let copy = copies.get("far").await?;
            let healed = copy.data == made.data && copy.metadata.labels == made.metadata.labels;
            if healed { Ok(()) } else { Err(Error::new(format!("{:?}", copy.metadata))) }
        })
        .await?;
    }
    Ok(())
}

async fn adopted(test: &Scenario, member: &ControlPlane, token: &str) -> Result<()> {
    let gitops: Namespace = serde_json::from_value(json!({"metadata": {"name": "gitops"}}))?;
    Api::all(test.client.clone()).create(&PostParams::default(), &gitops).await?;
    let tls = json!({"caData": STANDARD.encode(member.ca_pem())});
    let config = json!({"bearerToken": token, "tlsClientConfig": tls}).to_string();
    let secret = json!({
        "metadata": {"name": "cluster-west", "labels": {"argocd.argoproj.io/secret-type": "cluster"}},
        "stringData": {"name": "west", "server": member.server_url(), "config": config},
    });
    let secrets = test.secrets("gitops");
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let members = Api::<MemberCluster>::all(test.client.clone());
    wait_ready(&members, "west").await?;
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"env": "prod"}}}));
    secrets.patch("cluster-west", &PatchParams::default(), &labelled).await?;
    wait_for(DEADLINE, "the label on the member", async || {
        let labels = members.get("west").await?.metadata.labels.unwrap_or_default();
        if labels.contains_key("env") { Ok(()) } else { Err(Error::new(format!("{labels:?}"))) }
    })
    .await?;
    secrets.delete("cluster-west", &DeleteParams::default()).await?;
    wait_none(&members).await
}

pub async fn wait_ready(members: &Api<MemberCluster>, name: &str) -> Result<()> {
    wait_for(DEADLINE, &format!("member {name} to be ready"), async || {
        let conditions = members.get(name).await?.status.unwrap_or_default().conditions;
        let is_ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        if is_ready { Ok(()) } else { Err(Error::new(serde_json::to_string(&conditions)?)) }
    })
    .await
}

pub async fn wait_none(members: &Api<MemberCluster>) -> Result<()> {
    wait_for(DEADLINE, "no member to be left", async || {
        let left = members.list(&ListParams::default()).await?.items;
        if left.is_empty() { Ok(()) } else { Err(Error::new(format!("{left:?}"))) }
    })
    .await
}
