//! A real second cluster: from the first look to its removal.

use base64::Engine as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use super::{ARGOCD, Desk, Hub, LONG};
use crate::{
    canary::Canary,
    checks::{good_source, merge},
    scenario::Scenario,
    support::{ControlPlane, Result, wait_for},
};

const MASTERS: &[&str] = &["system:masters"];

async fn member_named(desk: &Desk, name: &str, east: &ControlPlane, user: &str) -> Result<()> {
    desk.kubeconfig(name, &east.kubeconfig_text(east.server_url(), east.token(user)?)).await?;
    desk.member(name, json!({})).await?;
    Ok(())
}

async fn asked_by(east: &ControlPlane, user: &str) -> Result<()> {
    wait_for(LONG, &format!("requests of {user}"), async || {
        let events = east.audit_events().map_err(|error| error.to_string())?;
        let lists =
            events.iter().filter(|event| event.user == user && event.resource == "namespaces").count();
        if lists > 0 { Ok(()) } else { Err(format!("{} requests of others", events.len())) }
    })
    .await
}

#[tokio::test]
async fn a_member_is_found_lost_and_found_again() -> Result<()> {
    let desk = Hub::shared().await?.desk().await?;
    let east = ControlPlane::builder()
        .audit(true)
        .user("first", MASTERS)
        .user("second", MASTERS)
        .user("stranger", &[])
        .start()
        .await?;
    desk.member("east", json!({})).await?;
    let (message, _) = desk.wait("east", "Ready", "False", "KubeconfigMissing").await?;
    assert!(message.contains("'claviger-system/east'"), "{message}");
    member_named(&desk, "east", &east, "first").await?;
    let (_, status) = desk.wait("east", "Ready", "True", "Connected").await?;
    let namespaces: Api<Namespace> = Api::all(east.client().await?);
    assert_eq!(status.cluster_id, namespaces.get("kube-system").await?.uid());
    assert!(status.server_version.is_some_and(|version| version.starts_with("v1.")));
    assert_eq!(status.server, Some(format!("{}/", east.server_url())));
    assert!(status.last_probe_time.is_some());
    desk.wait("east", "Reachable", "True", "Connected").await?;
    desk.wait_event("east", "Connected").await?;

    // A twin of it, declared later, is not used.
    member_named(&desk, "east-twin", &east, "first").await?;
    let (message, _) = desk.wait("east-twin", "Ready", "False", "DuplicateCluster").await?;
    assert!(message.contains("'east'"), "{message}");

    // Another token takes effect with no restart.
    desk.kubeconfig("east", &east.kubeconfig_text(east.server_url(), east.token("second")?)).await?;
    asked_by(&east, "second").await?;
    desk.wait("east", "Ready", "True", "Connected").await?;
    // So does a certificate.
    let certificate = std::fs::read_to_string(east.kubeconfig_by_certificate("certified", MASTERS)?)?;
    desk.kubeconfig("east", &certificate).await?;
    asked_by(&east, "certified").await?;
    desk.wait("east", "Ready", "True", "Connected").await?;
    desk.kubeconfig("east", &east.kubeconfig_text(east.server_url(), "nobodys-token")).await?;
    let (message, _) = desk.wait("east", "Reachable", "False", "Unauthorized").await?;
    assert!(message.contains("401") && !message.contains("nobodys-token"), "{message}");
    desk.kubeconfig("east", &east.kubeconfig_text(east.server_url(), east.token("stranger")?)).await?;
    let (message, _) = desk.wait("east", "Ready", "False", "Forbidden").await?;
    assert!(message.contains("member-rbac"), "{message}");
    member_named(&desk, "east", &east, "first").await?;
    desk.wait("east", "Ready", "True", "Connected").await?;

    east.stop_apiserver()?;
    let began = std::time::Instant::now();
    desk.wait("east", "Reachable", "False", "Unreachable").await?;
    assert!(began.elapsed().as_secs() < 15, "it took {:?} to notice", began.elapsed());
    east.start_apiserver().await?;
    let began = std::time::Instant::now();
    desk.wait("east", "Ready", "True", "Connected").await?;
    assert!(began.elapsed().as_secs() < 15, "it took {:?} to notice", began.elapsed());

    let paused = merge(&desk.members(), "east", json!({"spec": {"paused": true}})).await;
    let paused: claviger::api::MemberCluster = paused?;
    assert!(paused.spec.paused);
    desk.wait("east", "Ready", "True", "Paused").await?;
    merge(&desk.members(), "east", json!({"spec": {"paused": false}})).await?;
    desk.wait("east", "Ready", "True", "Connected").await?;

    // When the elder goes, the twin takes its place.
    merge(&desk.members(), "east", json!({"spec": {"deletionPolicy": "Orphan"}})).await?;
    desk.delete("east").await?;
    desk.wait_gone("east").await?;
    desk.wait("east-twin", "Ready", "True", "Connected").await?;
    desk.wait_event("east", "Orphaned").await?;
    known_to_argo_cd(&desk, &east).await?;
    emptied(&desk, &east).await?;
    let logs = Hub::shared().await?.operator.logs();
    for user in ["first", "second", "stranger"] {
        let token = Canary::new("the token", east.token(user)?);
        assert!(token.find(&logs).is_none(), "the log quotes the token of {user}");
    }
    assert!(!logs.contains("nobodys-token") && !logs.contains("PRIVATE KEY"));
    Ok(())
}

/// What Argo CD writes leads there too: so far that it is seen to be a member already.
async fn known_to_argo_cd(desk: &Desk, east: &ControlPlane) -> Result<()> {
    let ca = base64::engine::general_purpose::STANDARD.encode(east.ca_pem());
    let config =
        json!({"bearerToken": east.token("first")?, "tlsClientConfig": {"insecure": false, "caData": ca}});
    let data = json!({"name": "argo-east", "server": east.server_url(), "config": config.to_string()});
    let labels = json!({"argocd.argoproj.io/secret-type": "cluster"});
    desk.secret(ARGOCD, "cluster-argo-east", &labels, data).await?;
    let (message, status) = desk.wait("argo-east", "Ready", "False", "DuplicateCluster").await?;
    assert!(message.contains("'east-twin'") && status.cluster_id.is_some(), "{message}");
    desk.secrets(ARGOCD).delete("cluster-argo-east", &Default::default()).await?;
    desk.wait_gone("argo-east").await
}

/// What nothing uses is taken back when a member goes; what is in use stays, and that is said.
async fn emptied(desk: &Desk, east: &ControlPlane) -> Result<()> {
    let hub = Scenario::alone(&Hub::shared().await?.control_plane).await?;
    let far = Scenario::alone(east).await?;
    let policy = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "to-east"},
        "spec": {
            "from": {"namespaces": {"names": [hub.home.name]}},
            "to": {"namespaces": {"selector": {}}, "clusters": {"names": ["east-twin"]}},
        },
    });
    let policies: Api<claviger::api::DistributionPolicy> = Api::all(desk.client.clone());
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
    let targets = far.targets(2).await?;
    good_source(&hub, "src", "the-password").await?;
    let target = json!({"namespaces": {"names": targets}, "clusters": {"names": ["east-twin"]}});
    hub.credential("reg", crate::checks::spec_to("src", target)).await?;
    for namespace in &targets {
        far.wait_password(namespace, "reg", "the-password").await?;
    }
    // The default ServiceAccount must be there before a Pod can be.
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(far.client.clone(), &targets[0]);
    wait_for(LONG, "the default ServiceAccount", async || {
        accounts.get_opt("default").await.is_ok_and(|a| a.is_some())
    })
    .await?;
    far.pod(&targets[0], "app", "reg").await?;
    // Whether the operator has seen the Pod shows in the credential.
    wait_for(LONG, "the reference to be known", async || {
        let status = hub.status("reg").await.map_err(|error| error.to_string())?;
        if status.references.is_some_and(|references| references.total == 1) {
            Ok(())
        } else {
            Err(format!("{:?}", status.clusters))
        }
    })
    .await?;
    desk.delete("east-twin").await?;
    desk.wait_gone("east-twin").await?;
    let note = desk.wait_event("east-twin", "LeftBehind").await?;
    assert!(note.contains("1 Secret, 1 of them in use"), "{note}");
    let left = far.secrets(&targets[1]).list(&ListParams::default()).await?;
    assert!(left.items.iter().all(|secret| secret.name_any() != "reg"), "an unused copy stayed");
    assert!(far.secrets(&targets[0]).get_opt("reg").await?.is_some(), "a used copy went");
    Ok(())
}
