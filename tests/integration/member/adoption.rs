//! Clusters that Argo CD and Cluster API know become members, and cease to be.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{ARGOCD, Desk, Hub, LONG, kubeconfig};
use crate::support::{Error, Result, wait_for};

const SERVER: &str = "https://127.0.0.1:1";

async fn argo(desk: &Desk, secret: &str, name: &str, server: &str, labels: Value) -> Result<()> {
    let mut all = json!({"argocd.argoproj.io/secret-type": "cluster"});
    json_patch::merge(&mut all, &labels);
    let config = json!({"bearerToken": "canary-91cc", "tlsClientConfig": {"insecure": false}}).to_string();
    desk.secret(ARGOCD, secret, &all, json!({"name": name, "server": server, "config": config})).await
}

async fn labels(desk: &Desk, name: &str, wanted: &[(&str, &str)]) -> Result<()> {
    wait_for(LONG, &format!("the labels of {name}"), async || {
        let member = desk.members().get(name).await.map_err(|error| error.to_string())?;
        let found: Vec<_> =
            member.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// By which the operator knows what it has made itself.
const ADOPTED_FROM: &str = "claviger.dev/adopted-from";

const OURS: (&str, &str) = ("app.kubernetes.io/managed-by", "claviger");

#[tokio::test]
async fn clusters_of_argo_cd_come_change_and_go() -> Result<()> {
    let desk = Hub::shared().await?.desk().await?;
    argo(&desk, "cluster-prod", "Prod_EU", SERVER, json!({"env": "prod"})).await?;
    argo(&desk, "cluster-self", "self", "https://kubernetes.default.svc", json!({})).await?;
    let name = wait_for(LONG, "the member", async || {
        let all = desk.members().list(&Default::default()).await.map_err(|error| error.to_string())?;
        let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        names.iter().find(|name| name.starts_with("prod-eu-")).cloned().ok_or_else(|| format!("{names:?}"))
    })
    .await?;
    let (_, status) = desk.wait(&name, "Ready", "False", "Unreachable").await?;
    assert_eq!(status.source.as_deref(), Some("ArgoCD/argocd/cluster-prod"));
    let from = status.adopted_from.ok_or_else(|| Error::new("the status does not say where it is from"))?;
    assert_eq!((&*from.namespace, &*from.name), (ARGOCD, "cluster-prod"));
    assert_eq!(status.server.as_deref(), Some("https://127.0.0.1:1/"));
    labels(&desk, &name, &[OURS, ("env", "prod")]).await?;
    let before = desk.secrets(ARGOCD).get("cluster-prod").await?;
    argo(&desk, "cluster-prod", "Prod_EU", SERVER, json!({"env": "staging"})).await?;
    labels(&desk, &name, &[OURS, ("env", "staging")]).await?;
    assert_eq!(before.annotations(), desk.secrets(ARGOCD).get("cluster-prod").await?.annotations());
    // Deleted by hand it comes again, as its Secret is there.
    let uid = desk.members().get(&name).await?.uid();
    desk.delete(&name).await?;
    wait_for(LONG, "another one", async || {
        desk.members().get(&name).await.is_ok_and(|other| other.uid() != uid)
    })
    .await?;
    desk.secrets(ARGOCD).delete("cluster-prod", &Default::default()).await?;
    desk.wait_gone(&name).await?;
    assert!(desk.members().get_opt("self").await?.is_none(), "the hub was adopted");
    Ok(())
}

#[tokio::test]
async fn clusters_of_cluster_api_are_adopted_by_their_kubeconfig() -> Result<()> {
    let desk = Hub::shared().await?.desk().await?;
    let marks = json!({"cluster.x-k8s.io/cluster-name": "blue"});
    let text = kubeconfig(SERVER, json!({}), json!({"token": "canary-91cc"}));
    desk.secret("team", "blue-ca", &marks, json!({"value": "x"})).await?;
    desk.secret("team", "blue-kubeconfig", &marks, json!({"value": text})).await?;
    // All namespaces are looked at: the name begins with that of the Secret.
    let (_, status) = desk.wait("team.blue", "Ready", "False", "Unreachable").await?;
    assert_eq!(status.source.as_deref(), Some("ClusterAPI/team/blue-kubeconfig"));
    labels(&desk, "team.blue", &[OURS]).await?;
    // Labels are the administrators': those of the Secret do not come, theirs stay.
    let env = json!({"metadata": {"labels": {"env": "test"}}});
    desk.members().patch("team.blue", &PatchParams::default(), &Patch::Merge(env)).await?;
    let labelled = json!({"cluster.x-k8s.io/cluster-name": "blue", "env": "prod", "tier": "x"});
    desk.secret("team", "blue-kubeconfig", &labelled, json!({"value": text})).await?;
    desk.secret(
        "team",
        "last-kubeconfig",
        &json!({"cluster.x-k8s.io/cluster-name": "last"}),
        json!({"value": text}),
    )
    .await?;
    desk.wait("team.last", "Ready", "False", "Unreachable").await?;
    labels(&desk, "team.blue", &[OURS, ("env", "test")]).await?;
    for name in ["blue", "last"] {
        desk.secrets("team").delete(&format!("{name}-kubeconfig"), &Default::default()).await?;
        desk.wait_gone(&format!("team.{name}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_people_wrote_is_left_alone() -> Result<()> {
    let desk = Hub::shared().await?.desk().await?;
    desk.member("mine", json!({})).await?;
    desk.wait("mine", "Ready", "False", "KubeconfigMissing").await?;
    desk.wait("mine", "Reconciling", "True", "KubeconfigMissing").await?;
    argo(&desk, "cluster-mine", "mine", SERVER, json!({})).await?;
    wait_for(LONG, "an Event about the Secret", async || {
        let events =
            desk.events(ARGOCD, "Secret", "cluster-mine").await.map_err(|error| error.to_string())?;
        if events.iter().any(|(reason, note)| reason == "NameTaken" && note.contains("'mine'")) {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await?;
    desk.secrets(ARGOCD).delete("cluster-mine", &Default::default()).await?;
    // One that is skipped by Argo CD is by us too; when this one is there, the other was seen.
    let skipped = json!({"metadata": {"annotations": {"argocd.argoproj.io/skip-reconcile": "true"}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cluster-skipped", "labels": {"argocd.argoproj.io/secret-type": "cluster"}, "annotations": skipped["metadata"]["annotations"]},
        "stringData": {"name": "skipped", "server": SERVER},
    });
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret)?;
    desk.secrets(ARGOCD).create(&Default::default(), &secret).await?;
    argo(&desk, "cluster-last", "last", SERVER, json!({})).await?;
    desk.wait("last", "Ready", "False", "Unreachable").await?;
    assert!(desk.members().get_opt("skipped").await?.is_none(), "it was adopted");
    let mine = desk.members().get("mine").await?;
    assert!(!mine.annotations().contains_key(ADOPTED_FROM));
    assert!(mine.status.is_some_and(|status| status.adopted_from.is_none()));
    // Nobody makes the operator use any Secret of the namespace by writing the annotation by hand.
    desk.secret(
        ARGOCD,
        "no-cluster",
        &json!({}),
        json!({"server": SERVER, "config": "{\"bearerToken\":\"x\"}"}),
    )
    .await?;
    desk.member("by-hand", json!({"kubeconfigSecretRef": null})).await?;
    let (message, _) = desk.wait("by-hand", "Ready", "False", "KubeconfigMissing").await?;
    assert!(message.contains("`spec.kubeconfigSecretRef` is not given"), "{message}");
    let note = json!({"metadata": {"annotations": {(ADOPTED_FROM): format!("ArgoCD/{ARGOCD}/no-cluster")}}});
    desk.members().patch("by-hand", &PatchParams::default(), &Patch::Merge(note)).await?;
    let (message, _) = desk.wait("by-hand", "Ready", "False", "AdoptionNotAllowed").await?;
    assert!(message.contains("argocd.argoproj.io/secret-type"), "{message}");
    for name in ["mine", "by-hand"] {
        desk.delete(name).await?;
        desk.wait_gone(name).await?;
    }
    desk.secrets(ARGOCD).delete("cluster-last", &Default::default()).await?;
    desk.wait_gone("last").await?;
    Ok(())
}
