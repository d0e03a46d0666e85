//! Pods in any cluster hold a credential, and so does a cluster that cannot be asked, for a while.

use claviger::api::ClusterState;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::json;

use super::world::{LONG, Member, World};
use crate::{
    checks::{delete, wait_no_credential},
    support::{Result, wait_for},
};

async fn ready(world: &World, east: &Member) -> Result<()> {
    world.test.target("web").await?;
    east.namespaces(&world.test, &["web", "db"]).await?;
    world.join(east, json!({})).await?;
    world.test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    world.test.wait_ready("reg", 1).await?;
    Ok(())
}

/// Waits until the status tells of a user.
async fn wait_used(world: &World) -> Result<()> {
    wait_for(LONG, "the Pod to be seen", async || {
        world.test.status("reg").await.is_ok_and(|s| s.references.is_some_and(|r| r.total == 1))
    })
    .await
}

async fn wait_event(world: &World, reason: &str) -> Result<String> {
    let events: Api<Event> = Api::namespaced(world.test.client.clone(), &world.test.home.name);
    wait_for(LONG, &format!("event {reason}"), async || {
        let list = events.list(&ListParams::default()).await.ok()?;
        list.items
            .into_iter()
            .find(|event| event.reason.as_deref() == Some(reason))
            .and_then(|event| event.note)
    })
    .await
}

#[tokio::test]
async fn a_pod_in_a_member_holds_the_credential_everywhere() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    ready(&world, &east).await?;
    let test = &world.test;
    east.pod("web", "app", "reg").await?;
    delete(test, "reg").await?;
    let blocked = test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    assert!(blocked.message.contains("web/app in cluster east"), "{}", blocked.message);
    assert!(test.secrets("web").get_opt("reg").await?.is_some(), "everything stays in place");
    assert_eq!(east.copies().await?, 2);
    east.delete_pod("web", "app").await?;
    wait_no_credential(test, "reg").await?;
    assert_eq!(east.copies().await?, 0);
    assert!(test.secrets("web").get_opt("reg").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_member_in_the_dark_holds_a_deletion_for_the_grace_period_and_is_swept_when_it_is_back()
-> Result<()> {
    let (world, east) =
        tokio::try_join!(World::new(&["--unreachable-grace-period=8s"]), Member::start("east"))?;
    ready(&world, &east).await?;
    let test = &world.test;
    east.proxy.refuse(true).await?;
    east.proxy.reset();
    world.wait_row("reg", "east", "in the dark", |row| row.state == ClusterState::Unreachable).await?;
    delete(test, "reg").await?;
    let blocked = test.wait_condition("reg", "DeletionBlocked", "True", "ClusterUnreachable").await?;
    assert!(blocked.message.contains("'east' (until 20") && blocked.message.contains("force-delete"));
    assert!(test.secrets("web").get_opt("reg").await?.is_some(), "a Pod there may use it");
    wait_no_credential(test, "reg").await?;
    let note = wait_event(&world, "LeftBehind").await?;
    assert!(note.contains("'east'") && note.contains("(2 when last seen)"), "{note}");
    assert_eq!(east.copies().await?, 2);
    east.proxy.refuse(false).await?;
    east.wait_no_copy("web", "reg").await?;
    east.wait_no_copy("db", "reg").await
}

#[tokio::test]
async fn who_cannot_wait_says_so_and_nothing_that_is_used_is_swept() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    ready(&world, &east).await?;
    let test = &world.test;
    east.pod("web", "app", "reg").await?;
    wait_used(&world).await?;
    east.proxy.freeze();
    world.wait_row("reg", "east", "in the dark", |row| row.state == ClusterState::Unreachable).await?;
    delete(test, "reg").await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    test.annotate("reg", "claviger.dev/force-delete", "true").await?;
    wait_no_credential(test, "reg").await?;
    wait_event(&world, "LeftBehind").await?;
    east.proxy.thaw();
    east.wait_no_copy("db", "reg").await?;
    assert!(east.secrets("web").get_opt("reg").await?.is_some(), "a Pod uses it");
    east.delete_pod("web", "app").await?;
    east.wait_no_copy("web", "reg").await
}

#[tokio::test]
async fn a_member_that_is_removed_gives_back_what_is_unused() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    ready(&world, &east).await?;
    let test = &world.test;
    east.pod("web", "app", "reg").await?;
    wait_used(&world).await?;
    world.members().delete("east", &Default::default()).await?;
    wait_for(LONG, "the member to go", async || {
        world.members().get_opt("east").await.is_ok_and(|found| found.is_none())
    })
    .await?;
    assert!(east.secrets("db").get_opt("reg").await?.is_none(), "nobody used it");
    assert!(east.secrets("web").get_opt("reg").await?.is_some(), "a Pod uses it");
    wait_for(LONG, "the row of east to go", async || {
        let rows = test.status("reg").await.map_err(|error| error.to_string())?.clusters;
        if rows.len() == 1 { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await?;
    test.wait_ready("reg", 1).await?;

    // Once more a member, it is as if it had never left; and with `Orphan` all stays.
    world.join(&east, json!({})).await?;
    east.wait_copy("db", "reg", "1").await?;
    let orphan = kube::api::Patch::Merge(json!({"spec": {"deletionPolicy": "Orphan"}}));
    world.members().patch("east", &Default::default(), &orphan).await?;
    world.members().delete("east", &Default::default()).await?;
    wait_for(LONG, "the member to go", async || {
        world.members().get_opt("east").await.is_ok_and(|found| found.is_none())
    })
    .await?;
    assert_eq!(east.copies().await?, 2);
    Ok(())
}
