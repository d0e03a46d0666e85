//! Where a credential goes, and what its status says of each cluster.

use std::time::Duration;

use claviger::api::{ClusterState, ClusterStatus};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::world::{LONG, Member, World, quick};
use crate::{
    checks::good_source,
    support::{Result, stays, wait_for},
};

#[tokio::test]
async fn a_credential_goes_to_the_clusters_that_it_names_or_selects() -> Result<()> {
    let (world, east, west) = tokio::try_join!(
        World::new(&["--cluster-labels=env=hub"]),
        Member::start("east"),
        Member::start("west")
    )?;
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web", "db"]).await?;
    west.namespaces(test, &["web"]).await?;
    world.join(&east, json!({"env": "prod"})).await?;
    world.join(&west, json!({"env": "test"})).await?;

    // By name, Argo CD's own for the hub among them, and by label.
    let spec = world.spec(json!({"names": ["in-cluster"], "selector": {"matchLabels": {"env": "prod"}}}));
    test.credential("reg", spec).await?;
    let status = test.wait_ready("reg", 1).await?;
    let rows: Vec<_> = status.clusters.iter().map(|row| (row.name.as_str(), row.namespaces.synced)).collect();
    assert_eq!(rows, [("local", 1), ("east", 2)]);
    assert!(
        status.clusters.iter().all(|row| row.state == ClusterState::Synced && row.last_sync_time.is_some())
    );
    let summary = status.summary.unwrap_or_default();
    assert_eq!((summary.namespaces.as_str(), summary.clusters.as_str()), ("3/3", "2/2"));
    assert_eq!(west.copies().await?, 0);

    // A rotation arrives everywhere.
    good_source(test, "src", "another-password").await?;
    east.wait_copy("db", "reg", "2").await?;
    test.wait_ready("reg", 2).await?;

    // Drift in a member is healed there, and a namespace that comes gets its copy.
    east.secrets("web").delete("reg", &Default::default()).await?;
    east.wait_copy("web", "reg", "2").await?;
    east.namespaces(test, &["late"]).await?;
    east.wait_copy("late", "reg", "2").await?;

    // Labels of a member move it in and out.
    let label = |env: &str| Patch::Merge(json!({"metadata": {"labels": {"env": env}}}));
    world.members().patch("west", &PatchParams::default(), &label("prod")).await?;
    west.wait_copy("web", "reg", "2").await?;
    world.members().patch("east", &PatchParams::default(), &label("test")).await?;
    east.wait_no_copy("web", "reg").await?;
    world.wait_row("reg", "west", "synced", |row| row.state == ClusterState::Synced).await?;
    let gone = async || {
        Ok::<_, crate::support::Error>(test.status("reg").await?.clusters.iter().all(|r| r.name != "east"))
    };
    wait_for(LONG, "the row of east to go", async || gone().await.unwrap_or(false)).await?;

    // A sync that is asked for reads every cluster, and counts.
    test.annotate("reg", "claviger.dev/sync-requested-at", "now").await?;
    let sync = wait_for(LONG, "the answer", async || {
        test.status("reg").await.ok().and_then(|s| s.sync).filter(|s| s.last_handled_request == "now")
    })
    .await?;
    assert_eq!((sync.attempted, sync.succeeded, sync.failed), (2, 2, 0));
    world.operator.check_running()
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_per_cluster() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web", "taken"]).await?;
    let taken =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "reg"}, "stringData": {"k": "v"}});
    east.secrets("taken").patch("reg", &PatchParams::apply("somebody"), &Patch::Apply(taken)).await?;
    world.join(&east, json!({})).await?;
    test.credential("reg", world.spec(json!({"names": ["local", "east", "esat"]}))).await?;
    test.wait_told("reg", "Synced", "False", "PartiallySynced", &["there is no cluster 'esat'"]).await?;
    let is_half = |row: &ClusterStatus| (row.namespaces.failed, row.namespaces.synced) == (1, 1);
    let row = world.wait_row("reg", "east", "a conflict", is_half).await?;
    assert_eq!(row.state, ClusterState::Error);
    assert_eq!(row.failures[0].reason, "SecretNameConflict");

    // The name is mended; the foreign Secret goes, and ours comes.
    test.credential("reg", world.spec(json!({"names": ["local", "east"]}))).await?;
    east.secrets("taken").delete("reg", &Default::default()).await?;
    east.wait_copy("taken", "reg", "1").await?;
    test.wait_ready("reg", 1).await?;

    // Paused: nothing is written, and it is said.
    let paused = |on: bool| Patch::Merge(json!({"spec": {"paused": on}}));
    world.members().patch("east", &PatchParams::default(), &paused(true)).await?;
    wait_for(LONG, "the pause", async || {
        world.members().get("east").await.is_ok_and(|member| {
            member.status.is_some_and(|s| s.observed_generation == member.metadata.generation)
        })
    })
    .await?;
    good_source(test, "src", "another-password").await?;
    test.wait_password("web", "reg", "another-password").await?;
    let row = world.wait_row("reg", "east", "paused", |row| row.reason.as_deref() == Some("Paused")).await?;
    assert_eq!(row.state, ClusterState::Pending);
    stays(Duration::from_secs(2), "the copy of a paused member", async || {
        let copy = east.secrets("web").get("reg").await.map_err(|error| error.to_string())?;
        let revision = copy.annotations().get("claviger.dev/revision").cloned();
        if revision.as_deref() == Some("1") { Ok(()) } else { Err(format!("{revision:?}")) }
    })
    .await?;
    world.members().patch("east", &PatchParams::default(), &paused(false)).await?;
    east.wait_copy("web", "reg", "2").await?;
    test.wait_ready("reg", 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_cluster_needs_a_policy_that_speaks_of_it() -> Result<()> {
    // What happens when consent is withdrawn is to be seen within seconds.
    let world = World::without_policy(|lab| Ok(quick(lab)?.env("CLAVIGER_CONSENT_GRACE_PERIOD", "1s")));
    let (world, east) = tokio::try_join!(world, Member::start("east"))?;
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web"]).await?;
    world.join(&east, json!({})).await?;
    // The first policy there is, so that there never was one that speaks of other clusters.
    world.consent(json!(null)).await?;
    test.credential("reg", world.spec(json!({"names": ["local", "east"]}))).await?;
    // It is known when the copy in the hub is there.
    test.wait_password("web", "reg", "the-password").await?;
    let row = world.wait_row("reg", "east", "no consent", |row| row.namespaces.failed == 1).await?;
    // A selector finds out no names of namespaces there.
    assert_eq!(row.failures, []);
    test.wait_told("reg", "Synced", "False", "PartiallySynced", &["NotPermitted in 1 namespace"]).await?;
    assert_eq!(east.copies().await?, 0);
    world.consent(json!({"names": ["local", "east"]})).await?;
    east.wait_copy("web", "reg", "1").await?;
    test.wait_ready("reg", 1).await?;
    // Withdrawn: the copy goes.
    world.consent(json!({"names": ["local"]})).await?;
    east.wait_no_copy("web", "reg").await?;
    test.wait_password("web", "reg", "the-password").await
}
