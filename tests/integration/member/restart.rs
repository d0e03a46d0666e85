//! A restart of the operator changes nothing, and is told to nobody.

use std::time::Duration;

use claviger::api::MemberCluster;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Desk, LONG, kubeconfig};
use crate::{
    checks::merge,
    lab::Lab,
    support::{ControlPlane, Error, Result, stays, wait_for},
};

/// Several probes of each member.
const QUIET: Duration = Duration::from_secs(4);

/// Of a member that there is no connection to.
const REFUSED: &str = "claviger_cluster_up{cluster=\"refused\"}";

#[tokio::test]
async fn after_a_restart_members_are_found_as_they_were_without_a_write() -> Result<()> {
    let (lab, east) =
        tokio::try_join!(Lab::start(), ControlPlane::builder().user("member", &["system:masters"]).start())?;
    let desk = Desk { client: lab.control_plane.client().await? };
    let operator = lab.operator()?.arg("--member-probe-interval=1s").start().await?;
    desk.kubeconfig("east", &east.kubeconfig_text(east.server_url(), east.token("member")?)).await?;
    desk.kubeconfig("dark", &kubeconfig("https://127.0.0.1:1", json!({}), json!({"token": "x"}))).await?;
    desk.kubeconfig("refused", &kubeconfig("https://127.0.0.1:1", json!({}), json!({"tokenFile": "x"})))
        .await?;
    for name in ["east", "dark", "refused"] {
        desk.member(name, json!({})).await?;
    }
    desk.wait("east", "Ready", "True", "Connected").await?;
    desk.wait("dark", "Ready", "False", "Unreachable").await?;
    desk.wait("refused", "Ready", "False", "KubeconfigRefused").await?;
    let began = std::time::Instant::now();
    assert_eq!(operator.terminate(Duration::from_secs(20)).await?, 0);
    assert!(began.elapsed().as_secs() < 5, "it took {:?} to stop", began.elapsed());

    let after = lab.requests()?;
    let operator = lab.operator()?.arg("--member-probe-interval=1s").start().await?;
    wait_for(LONG, "both ends to be known", async || -> Result<()> {
        let up = operator.metric("claviger_cluster_up{cluster=\"east\"}").await?;
        let dark = operator.metric("claviger_cluster_up{cluster=\"dark\"}").await?;
        let refused = operator.metric(REFUSED).await?;
        if (up, dark, refused) == (Some(1.0), Some(0.0), Some(0.0)) {
            return Ok(());
        }
        Err(Error::new(format!("{up:?} {dark:?} {refused:?}")))
    })
    .await?;
    // This one is told, and nothing is said of the others, neither before nor while they are probed again.
    desk.member("late", json!({})).await?;
    desk.wait("late", "Ready", "False", "KubeconfigMissing").await?;
    desk.wait_event("late", "KubeconfigMissing").await?;
    stays(QUIET, "no write about the others", async || {
        let writes = lab.writes(after).map_err(|error| error.to_string())?;
        let others: Vec<_> = writes.into_iter().filter(|write| !write.name.starts_with("late")).collect();
        if others.is_empty() { Ok(()) } else { Err(format!("{others:#?}")) }
    })
    .await?;
    later_version(&lab, &desk).await?;
    // What is not a member any more is not down. It cannot be reached, so somebody helps its deletion on.
    let members = Api::<MemberCluster>::all(desk.client.clone());
    members.delete("refused", &DeleteParams::default()).await?;
    merge(&members, "refused", json!({"metadata": {"finalizers": null}})).await?;
    wait_for(LONG, "nothing to be told of the one that is gone", async || {
        match operator.metric(REFUSED).await? {
            None => Ok(()),
            Some(value) => Err(Error::new(value.to_string())),
        }
    })
    .await?;
    operator.check_running()
}

/// A member with a value of a later version stays a member, and says why nothing of it is followed.
async fn later_version(lab: &Lab, desk: &Desk) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.control_plane.client().await?);
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/deletionPolicy/enum/-";
    let patch = serde_json::from_value(json!([{"op": "add", "path": path, "value": "Future"}]))?;
    crds.patch("memberclusters.claviger.dev", &PatchParams::default(), &Patch::Json::<()>(patch)).await?;
    let untyped: Api<DynamicObject> =
        Api::all_with(desk.client.clone(), &ApiResource::erase::<MemberCluster>(&()));
    wait_for(LONG, "the API server to take the policy", async || {
        merge(&untyped, "east", json!({"spec": {"deletionPolicy": "Future"}})).await
    })
    .await?;
    wait_for(LONG, "the condition", async || {
        let object = untyped.get("east").await.map_err(|error| error.to_string())?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let told = conditions
            .iter()
            .any(|c| c["type"] == "Stalled" && c["status"] == "True" && c["reason"] == "UnsupportedSpec");
        if told { Ok(()) } else { Err(Value::from(conditions).to_string()) }
    })
    .await?;
    merge(&untyped, "east", json!({"spec": {"deletionPolicy": "Orphan"}})).await?;
    desk.wait("east", "Ready", "True", "Connected").await?;
    Ok(())
}
