//! Names of members that come from Secrets of Cluster API: a tenant takes nobody's, and a member that gets another one keeps
//! what it has.

use claviger::api::ClusterState;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::world::{LONG, Member, World, merge, quick};
use crate::{
    lab::Lab,
    support::{Error, Result, wait_for},
};

/// The Secret by which Cluster API tells of a cluster, written by whoever may write Secrets in the namespace.
async fn declare(world: &World, namespace: &str, name: &str, member: &Member, labels: Value) -> Result<()> {
    let namespaces = Api::<Namespace>::all(world.test.client.clone());
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    namespaces.patch(namespace, &PatchParams::apply("test"), &Patch::Apply(object)).await?;
    let labels = merge(json!({"cluster.x-k8s.io/cluster-name": name}), labels);
    let secret = json!({
        "metadata": {"name": format!("{name}-kubeconfig"), "labels": labels}, "stringData": {"value": member.kubeconfig},
    });
    let secrets = Api::<Secret>::namespaced(world.test.client.clone(), namespace);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}

/// The attack, with `adopt.clusterApi.namespace: "*"`: a tenant makes `other-kubeconfig`, with the labels that policies select
/// by, in a namespace of theirs. That is for a cluster of theirs, which wants what is meant for `other`: before that is there,
/// and when it is.
#[tokio::test]
async fn a_tenant_does_not_get_what_is_meant_for_a_member_of_another() -> Result<()> {
    let (world, thief, other) = tokio::try_join!(
        World::new(&["--adopt-cluster-api=*", "--unreachable-grace-period=2s"]),
        Member::bare("theirs"),
        Member::bare("other")
    )?;
    for member in [&thief, &other] {
        member.namespaces(&world.test, &["web"]).await?;
    }
    let meant = json!({"names": ["other"], "selector": {"matchLabels": {"env": "prod"}}});
    world
        .consent(json!({"names": ["other", "evil.other"], "selector": {"matchLabels": {"env": "prod"}}}))
        .await?;
    world.test.credential("reg", world.spec(meant)).await?;
    let absent = |row: &claviger::api::ClusterStatus| row.reason.as_deref() == Some("ClusterNotFound");
    world.wait_row("reg", "other", "not there", absent).await?;

    // First the thief, then the member.
    declare(&world, "evil", "other", &thief, json!({"env": "prod"})).await?;
    world.wait_member("evil.other", "Ready", "True").await?;
    assert_nothing_comes(&world, &thief, "before the member is there").await?;
    world.wait_row("reg", "other", "still not there", absent).await?;
    world.join(&other, json!({})).await?;
    other.wait_copy("web", "reg", "1").await?;
    assert_nothing_comes(&world, &thief, "when the member is there").await?;

    // And one who comes after the member, with the same cluster.
    let evil = Api::<Secret>::namespaced(world.test.client.clone(), "evil");
    evil.delete("other-kubeconfig", &DeleteParams::default()).await?;
    wait_for(LONG, "evil.other to be gone", async || {
        world.members().get_opt("evil.other").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    declare(&world, "evil-too", "other", &thief, json!({"env": "prod"})).await?;
    world.wait_member("evil-too.other", "Ready", "True").await?;
    world.test.source("src", json!({"username": "acme+ci", "password": "another-password"})).await?;
    other.wait_copy("web", "reg", "2").await?;
    assert_eq!(thief.copies().await?, 0, "the thief got what is meant for another");
    let members: Vec<_> = world
        .members()
        .list(&Default::default())
        .await?
        .iter()
        .map(|m| (m.name_any(), m.labels().len()))
        .collect();
    assert_eq!(members, [("evil-too.other".to_owned(), 1), ("other".to_owned(), 0)]);
    world.operator.check_running()
}

/// What names the thief's cluster gets there, so that the way is open; what means the other does not.
async fn assert_nothing_comes(world: &World, thief: &Member, when: &str) -> Result<()> {
    let named = world.spec(json!({"names": ["evil.other"]}));
    world.test.credential("named", named).await?;
    thief.wait_copy("web", "named", "1").await?;
    let rows = world.test.status("reg").await?.clusters;
    assert!(rows.iter().all(|row| row.name == "other"), "{when}: {rows:?}");
    assert!(thief.secrets("web").get_opt("reg").await?.is_none(), "{when}");
    world.test.credentials().delete("named", &DeleteParams::default()).await?;
    thief.wait_no_copy("web", "named").await
}

/// After an upgrade, or with another scope of adoption, a member gets another name. It is the same cluster: nothing is withdrawn
/// from it to be made anew.
#[tokio::test]
async fn a_member_that_only_changes_its_name_keeps_its_copies() -> Result<()> {
    let (lab, blue) = tokio::try_join!(Lab::start(), Member::start("blue"))?;
    let operator = quick(&lab)?.arg("--adopt-cluster-api=team").start().await?;
    let mut world = World::of(lab, operator).await?;
    blue.namespaces(&world.test, &["web"]).await?;
    let both = json!({"names": ["blue", "team.blue"]});
    world.consent(both.clone()).await?;
    world.test.credential("reg", world.spec(both)).await?;
    declare(&world, "team", "blue", &blue, json!({})).await?;
    let before = blue.wait_copy("web", "reg", "1").await?;
    let writes = blue.requests()?;

    world.operator.kill9()?;
    world.operator = quick(&world.lab)?.arg("--adopt-cluster-api=*").start().await?;
    world.wait_member("team.blue", "Ready", "True").await?;
    wait_for(LONG, "the old name to be gone", async || {
        world.members().get_opt("blue").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    let synced =
        |row: &claviger::api::ClusterStatus| row.state == ClusterState::Synced && row.namespaces.synced == 1;
    world.wait_row("reg", "team.blue", "synced", synced).await?;
    let after = blue.secrets("web").get("reg").await?;
    assert_eq!((after.uid(), after.resource_version()), (before.uid(), before.resource_version()));
    let written = blue.writes(writes)?;
    if written.is_empty() { Ok(()) } else { Err(Error::new(format!("{written:?}"))) }
}
