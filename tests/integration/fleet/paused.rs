//! A member that is paused is nobody's fault: it is told in its row, and `Ready` is about the others.

use claviger::api::ClusterState;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::world::{LONG, Member, World};
use crate::{
    checks::good_source,
    support::{Result, wait_for},
};

async fn pause(world: &World, name: &str, paused: bool) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"paused": paused}}));
    world.members().patch(name, &PatchParams::default(), &patch).await?;
    wait_for(LONG, "the operator to know", async || {
        world.members().get(name).await.is_ok_and(|member| {
            member.status.is_some_and(|status| status.observed_generation == member.metadata.generation)
        })
    })
    .await
}

#[tokio::test]
async fn a_paused_member_does_not_count_for_ready_and_is_told_in_its_row() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web", "db"]).await?;
    world.join(&east, json!({})).await?;
    test.credential("reg", world.spec(json!({"names": ["local", "east"]}))).await?;
    test.wait_ready("reg", 1).await?;

    pause(&world, "east", true).await?;
    good_source(test, "src", "another-password").await?;
    let row = world.wait_row("reg", "east", "paused", |row| row.reason.as_deref() == Some("Paused")).await?;
    assert_eq!(row.state, ClusterState::Pending);
    assert!(row.message.as_deref().is_some_and(|message| message.contains("'east'")), "{:?}", row.message);
    test.wait_condition("reg", "Synced", "True", "AllTargetsSynced").await?;
    let status = test.wait_ready("reg", 2).await?;
    let told = |type_: &str| status.conditions.iter().find(|c| c.type_ == type_).map(|c| c.status.clone());
    assert_eq!((told("Stalled").as_deref(), told("Reconciling").as_deref()), (Some("False"), Some("False")));
    east.wait_copy("web", "reg", "1").await?;
    // The row stays what it is while the rest of the status moves.
    good_source(test, "src", "a-third-password").await?;
    test.wait_ready("reg", 3).await?;
    world.wait_row("reg", "east", "paused", |row| row.reason.as_deref() == Some("Paused")).await?;
    east.wait_copy("web", "reg", "1").await?;

    pause(&world, "east", false).await?;
    east.wait_copy("web", "reg", "3").await?;
    east.wait_copy("db", "reg", "3").await?;
    world.wait_row("reg", "east", "synced", |row| row.state == ClusterState::Synced).await?;
    test.wait_ready("reg", 3).await?;
    Ok(())
}
