//! etcd is restored from a backup while the operator runs: resourceVersions begin again where they were then.

use claviger::api::ClusterState;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::{LONG, wait_password};
use crate::{
    checks::{good_source, merge, spec, wait_copy},
    fleet::world::{Member, World},
    lab::Lab,
    support::{Result, wait_for},
};

/// Writes after the backup. All that a test does after the restore takes fewer, so that every resourceVersion it
/// brings about is below those that the operator has seen before.
const GAP: usize = 1500;

/// Makes resourceVersions grow.
pub(crate) async fn grow(client: &Client) -> Result<()> {
    use futures::StreamExt;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let writes = futures::stream::iter(0..GAP).map(|number| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("grow-{}", number % 16)}, "data": {"n": number.to_string()}});
        let (maps, params) = (maps.clone(), PatchParams::apply("test").force());
        async move { maps.patch(&format!("grow-{}", number % 16), &params, &Patch::Apply(map)).await.map(drop) }
    });
    writes.buffer_unordered(16).collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

#[tokio::test]
async fn a_hub_that_was_restored_is_kept_as_before() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let mut targets = test.targets(3).await?;
    let operator = lab.operator()?.arg("--watch-timeout=5s").arg("--request-timeout=2s").start().await?;
    good_source(&test, "src", "password-1").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let backup = lab.control_plane.backup().await?;

    // Every watch sees something of what will never have been.
    grow(&test.client).await?;
    let lost = format!("{}-lost", test.mark);
    test.target(&lost).await?;
    wait_copy(&test, &lost, "reg").await?;
    test.pod(&test.home.name, "lost", "reg").await?;
    good_source(&test, "src", "password-2").await?;
    test.wait_ready("reg", 2).await?;
    lab.control_plane.restore(&backup).await?;
    // The copies may have the second password again already, as the operator has not seen yet that its source went back.
    let source = test.secrets(&test.home.name).get("src").await?.data.unwrap_or_default();
    assert_eq!(source.get("password").map(|value| &*value.0), Some(&b"password-1"[..]));

    good_source(&test, "src", "password-3").await?;
    for namespace in &targets {
        wait_password(&test, namespace, "reg", "password-3", LONG).await?;
    }
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    wait_password(&test, &late, "reg", "password-3", LONG).await?;
    targets.push(late);
    merge(&test.secrets(&targets[0]), "reg", json!({"data": {".dockerconfigjson": "e30="}})).await?;
    test.secrets(&targets[1]).delete("reg", &DeleteParams::default()).await?;
    for namespace in &targets {
        wait_password(&test, namespace, "reg", "password-3", LONG).await?;
    }
    wait_for(LONG, "an honest status", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let told = status.summary.map(|summary| summary.namespaces);
        if ready && told.as_deref() == Some("4/4") { Ok(()) } else { Err(format!("ready {ready}, {told:?}")) }
    })
    .await?;
    // The Pod that used it was never there.
    test.credentials().delete("reg", &DeleteParams::default()).await?;
    crate::checks::wait_no_credential(&test, "reg").await?;
    operator.check_running()
}

#[tokio::test]
async fn a_member_that_was_restored_is_kept_as_before() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web", "db"]).await?;
    world.join(&east, json!({})).await?;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;
    let backup = east.control_plane.backup().await?;

    grow(&east.admin).await?;
    east.namespaces(test, &["lost"]).await?;
    east.pod("db", "lost", "reg").await?;
    good_source(test, "src", "password-2").await?;
    for namespace in ["web", "db", "lost"] {
        east.wait_copy(namespace, "reg", "2").await?;
    }
    test.wait_ready("reg", 2).await?;
    east.control_plane.restore(&backup).await?;

    // Nothing happens in the hub, and the copies are those of the backup: this is drift.
    for namespace in ["web", "db"] {
        east.wait_copy(namespace, "reg", "2").await?;
    }
    good_source(test, "src", "password-3").await?;
    for namespace in ["web", "db"] {
        east.wait_copy(namespace, "reg", "3").await?;
    }
    east.namespaces(test, &["late"]).await?;
    east.wait_copy("late", "reg", "3").await?;
    let before = east.secrets("web").get("reg").await?;
    merge(&east.secrets("web"), "reg", json!({"data": {".dockerconfigjson": "e30="}})).await?;
    wait_for(LONG, "an edit to be healed", async || {
        east.secrets("web").get("reg").await.is_ok_and(|copy| copy.data == before.data)
    })
    .await?;
    east.secrets("db").delete("reg", &DeleteParams::default()).await?;
    east.wait_copy("db", "reg", "3").await?;
    world
        .wait_row("reg", "east", "in sync", |row| {
            row.state == ClusterState::Synced && (row.namespaces.desired, row.namespaces.synced) == (3, 3)
        })
        .await?;
    test.wait_ready("reg", 3).await?;
    world.operator.check_running()
}
