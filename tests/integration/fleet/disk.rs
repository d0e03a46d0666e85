//! A member whose etcd takes no more writes, until an administrator has made room.

use std::time::{Duration, Instant};

use claviger::api::ClusterState;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use super::world::{Member, World};
use crate::{
    checks::good_source,
    support::{ControlPlane, Error, Result, etcd, wait_for},
};

/// The longest that a member may be out of step once it takes writes again: the longest back-off, and some more.
const RECOVERY: Duration = Duration::from_secs(60);

/// Room for little more than the server's own objects.
const QUOTA: &str = "--quota-backend-bytes=12000000";

/// Fills the member's etcd, with what can be deleted again.
async fn fill(member: &Member) -> Result<Api<ConfigMap>> {
    let maps: Api<ConfigMap> = Api::namespaced(member.admin.clone(), "default");
    let filler = "x".repeat(900_000);
    for number in 0..100 {
        let map = json!({"metadata": {"name": format!("filler-{number}"), "labels": {"filler": ""}}, "data": {"x": filler}});
        if maps.create(&PostParams::default(), &serde_json::from_value(map)?).await.is_err() {
            return Ok(maps);
        }
    }
    Err(Error::new("the quota of etcd does not bite"))
}

#[tokio::test]
async fn a_member_whose_disk_was_full_is_in_sync_again_when_there_is_room() -> Result<()> {
    let (world, member) =
        tokio::try_join!(World::new(&[]), Member::with("west", ControlPlane::builder().etcd_arg(QUOTA)))?;
    let (test, etcd) = (&world.test, member.control_plane.etcd_address());
    member.namespaces(test, &["web", "db"]).await?;
    world.join(&member, json!({})).await?;
    test.credential("reg", world.spec(json!({"names": ["west"]}))).await?;
    test.wait_ready("reg", 1).await?;

    let maps = fill(&member).await?;
    wait_for(RECOVERY, "etcd to raise its alarm", async || {
        let raised = etcd::alarms(&etcd).await.map_err(|error| error.to_string())?;
        if raised == ["NOSPACE"] { Ok(()) } else { Err(format!("{raised:?}")) }
    })
    .await?;
    good_source(test, "src", "another-password").await?;
    let row =
        world.wait_row("reg", "west", "failing", |row| row.reason.as_deref() == Some("ServerError")).await?;
    assert_eq!(row.state, ClusterState::Error);
    assert!(row.message.is_some_and(|why| why.contains("space")), "it does not say why");
    // Deletions are taken, but they alone make no room: the quota is about the file.
    maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("filler")).await?;
    member.wait_copy("web", "reg", "1").await?;

    etcd::make_room(&etcd).await?;
    let began = Instant::now();
    assert_eq!(etcd::alarms(&etcd).await?, Vec::<String>::new());
    // Nobody touches the credential, the member, or anything else.
    for namespace in ["web", "db"] {
        member.wait_copy(namespace, "reg", "2").await?;
    }
    let row = world.wait_row("reg", "west", "in sync", |row| row.state == ClusterState::Synced).await?;
    assert!(began.elapsed() < RECOVERY, "it took {:?}", began.elapsed());
    assert_eq!((row.revision, row.namespaces.synced, row.namespaces.failed), (Some(2), 2, 0));
    assert_eq!((row.reason, row.message, row.failures), (None, None, Vec::new()));
    test.wait_ready("reg", 2).await?;
    world.wait_member("west", "Ready", "True").await?;
    world.operator.check_running()
}
