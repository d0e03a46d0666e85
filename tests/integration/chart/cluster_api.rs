//! A cluster that Cluster API made, under the chart's rights: its kubeconfig comes from the Secret that Cluster API
//! keeps, and is renewed there.

use claviger::api::{DistributionPolicy, MemberCluster};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    member::{wait_none, wait_ready},
    rbac,
    release::Release,
};
use crate::{
    checks::{delete, good_source, merge, wait_no_credential},
    scenario::Scenario,
    support::{ControlPlane, Error, Result, TestNamespace, wait::DEADLINE, wait_for},
};

/// Where its clusters are declared.
const CLUSTERS: &str = "machines";

const VALUES: [&str; 5] = [
    "--set=adopt.clusterApi.enabled=true",
    "--set=adopt.clusterApi.namespace=machines",
    "--set=memberProbeInterval=1s",
    // A cluster whose kubeconfig is gone can no longer be reached: it is waited for no longer than this.
    "--set=unreachableGracePeriod=3s",
    "--set=operator.requestTimeout=2s",
];

#[tokio::test]
async fn a_cluster_of_cluster_api_comes_lives_and_goes() -> Result<()> {
    let (hub, blue) = tokio::try_join!(
        ControlPlane::builder().audit(true).start(),
        ControlPlane::builder().audit(true).start()
    )?;
    let release = Release::install(hub, &VALUES).await?;
    let lived = live(&release, &blue).await;
    // First: it may be why the rest went wrong.
    rbac::assert_enough(&release)?;
    lived
}

async fn live(release: &Release, blue: &ControlPlane) -> Result<()> {
    let operator = release.operator("keys-1").await?;
    let test = Scenario::alone(&release.control_plane).await?;
    let elsewhere = TestNamespace::new(test.client.clone(), "elsewhere").await?;
    let clusters: Namespace = serde_json::from_value(json!({"metadata": {"name": CLUSTERS}}))?;
    Api::all(test.client.clone()).create(&PostParams::default(), &clusters).await?;

    // A Secret outside of the namespace that the chart was given must not become a member.
    let admin = kubeconfig(blue, "kubernetes-admin")?;
    create(&test, &elsewhere.name, "green", &admin).await?;
    create(&test, CLUSTERS, "blue", &admin).await?;
    let members = Api::<MemberCluster>::all(test.client.clone());
    wait_ready(&members, "blue").await?;
    let status = members.get("blue").await?.status.unwrap_or_default();
    let namespaces: Api<Namespace> = Api::all(blue.client().await?);
    assert_eq!(status.cluster_id, namespaces.get("kube-system").await?.uid());
    assert_eq!(status.source.as_deref(), Some("ClusterAPI/machines/blue-kubeconfig"));
    assert!(members.get_opt("green").await?.is_none(), "a cluster of another namespace was adopted");

    copies(&test, blue).await?;
    renewal(&test, blue).await?;

    // Cluster API takes its Secret away with the cluster.
    delete(&test, "far").await?;
    wait_no_credential(&test, "far").await?;
    let copy = Api::<Secret>::namespaced(blue.client().await?, "web").get_opt("far").await?;
    assert!(copy.is_none(), "the copy was left behind");
    test.secrets(CLUSTERS).delete("blue-kubeconfig", &DeleteParams::default()).await?;
    wait_none(&members).await?;
    let logs = operator.logs();
    assert!(
        !logs.contains("PRIVATE KEY") && !logs.contains("client-key-data"),
        "the log quotes a kubeconfig"
    );
    operator.check_running()
}

/// As the kubeadm control plane provider writes it: with the certificate of an administrator.
fn kubeconfig(cluster: &ControlPlane, user: &str) -> Result<String> {
    Ok(std::fs::read_to_string(cluster.kubeconfig_by_certificate(user, &["system:masters"])?)?)
}

fn secret(cluster: &str, kubeconfig: &str) -> Value {
    json!({
        "metadata": {"name": format!("{cluster}-kubeconfig"), "labels": {"cluster.x-k8s.io/cluster-name": cluster}},
        "type": "cluster.x-k8s.io/secret", "stringData": {"value": kubeconfig},
    })
}

async fn create(test: &Scenario, namespace: &str, cluster: &str, kubeconfig: &str) -> Result<()> {
    let secret = serde_json::from_value(secret(cluster, kubeconfig))?;
    test.secrets(namespace).create(&PostParams::default(), &secret).await?;
    Ok(())
}

/// A copy is made in the cluster, and made again after somebody deleted it.
async fn copies(test: &Scenario, blue: &ControlPlane) -> Result<()> {
    let there = blue.client().await?;
    let web: Namespace = serde_json::from_value(json!({"metadata": {"name": "web"}}))?;
    Api::all(there.clone()).create(&PostParams::default(), &web).await?;
    let to = json!({"namespaces": {"names": ["web"]}, "clusters": {"names": ["blue"]}});
    let policy: DistributionPolicy = serde_json::from_value(json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "blue"},
        "spec": {"from": {"namespaces": {"names": [test.home.name]}}, "to": to},
    }))?;
    Api::all(test.client.clone()).create(&PostParams::default(), &policy).await?;
    good_source(test, "src", "the-password").await?;
    let spec =
        json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}, "target": to});
    test.credential("far", spec).await?;
    test.wait_ready("far", 1).await?;
    let copies = Api::<Secret>::namespaced(there, "web");
    let made = copies.get("far").await?;
    copies.delete("far", &DeleteParams::default()).await?;
    wait_for(DEADLINE, "the copy to be made again", async || {
        copies.get("far").await.is_ok_and(|copy| copy.uid() != made.uid() && copy.data == made.data)
    })
    .await
}

/// Cluster API renews the certificate before it expires, in the same Secret.
async fn renewal(test: &Scenario, blue: &ControlPlane) -> Result<()> {
    let renewed = kubeconfig(blue, "kubernetes-admin-renewed")?;
    merge(&test.secrets(CLUSTERS), "blue-kubeconfig", json!({"stringData": {"value": renewed}})).await?;
    let writes = || -> Result<Vec<String>> {
        let events = blue.audit_events()?.into_iter().filter(|e| e.resource == "secrets" && e.is_write());
        Ok(events.filter(|e| e.user.starts_with("kubernetes-admin")).map(|e| e.user).collect())
    };
    wait_for(DEADLINE, "watches with the new certificate", async || {
        let events = blue.audit_events().map_err(|error| error.to_string())?;
        let users: Vec<_> = events.into_iter().filter(|e| e.verb == "watch").map(|e| e.user).collect();
        if users.iter().any(|user| user == "kubernetes-admin-renewed") {
            Ok(())
        } else {
            Err(users.join(" "))
        }
    })
    .await?;
    let before = writes()?.len();
    good_source(test, "src", "another-password").await?;
    test.wait_ready("far", 2).await?;
    wait_for(DEADLINE, "the write in the audit log", async || {
        let writes = writes()?;
        if writes.len() > before { Ok(()) } else { Err(Error::new(writes.join(" "))) }
    })
    .await?;
    assert!(writes()?[before..].iter().all(|user| user == "kubernetes-admin-renewed"), "{:?}", writes()?);
    Ok(())
}
