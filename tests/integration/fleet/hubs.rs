//! Two hubs on one member, and a hub that was built anew.

use std::time::Duration;

use claviger::api::ClusterStatus;
use serde_json::json;

use super::world::{LONG, Member, World, merge, start};
use crate::{
    checks::good_source,
    lab::Lab,
    support::{Result, stays, wait_for},
};

/// Long enough for a write that comes a moment after a status.
const QUIET: Duration = Duration::from_secs(4);

#[tokio::test]
async fn of_two_hubs_the_second_leaves_the_copies_of_the_first_alone() -> Result<()> {
    let (one, two, east) = tokio::try_join!(World::new(&[]), World::new(&[]), Member::start("east"))?;
    east.namespaces(&one.test, &["web"]).await?;
    for world in [&one, &two] {
        world.join(&east, json!({})).await?;
    }
    let everywhere = json!({"names": ["east"]});
    one.test.credential("reg", one.spec(everywhere.clone())).await?;
    one.test.wait_ready("reg", 1).await?;
    let first = east.secrets("web").get("reg").await?;

    // The same namespace, the same name, another hub.
    let spec = merge(two.spec(everywhere), json!({"target": {"namespaces": {"names": ["web"]}}}));
    let policy = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "web"},
        "spec": {"from": {"namespaces": {"names": [two.test.home.name]}}, "to": {"namespaces": {"names": ["web"]}, "clusters": {"selector": {}}}},
    });
    two.test.apply_cluster("DistributionPolicy", "web", policy).await?;
    two.test.credential("reg", spec).await?;
    let row = two.wait_row("reg", "east", "a conflict", is_conflict).await?;
    assert!(row.failures[0].message.contains("another hub"), "{}", row.failures[0].message);
    let now = east.secrets("web").get("reg").await?;
    assert_eq!(now.metadata.resource_version, first.metadata.resource_version, "it was touched");

    // The first goes on, and when it lets go, the second has its turn.
    good_source(&one.test, "src", "another-password").await?;
    east.wait_copy("web", "reg", "2").await?;
    crate::checks::delete(&one.test, "reg").await?;
    two.test.wait_ready("reg", 1).await?;
    Ok(())
}

/// Nobody had thought of an id: the uid of the hub that is gone is told, and given to the new one.
#[tokio::test]
async fn a_hub_that_was_built_anew_without_an_id_is_told_of_the_former_one() -> Result<()> {
    let (first, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    east.namespaces(&first.test, &["web"]).await?;
    first.join(&east, json!({})).await?;
    first.test.credential("reg", first.spec(json!({"names": ["east"]}))).await?;
    first.test.wait_ready("reg", 1).await?;
    good_source(&first.test, "src", "another-password").await?;
    first.test.wait_ready("reg", 2).await?;
    let copy = east.secrets("web").get("reg").await?;
    let (home, mark) = (first.test.home.name.clone(), first.test.mark.clone());
    drop(first);

    let lab = Lab::start().await?;
    let test = lab.scenario_as(&home, &mark).await?;
    let operator = start(&lab, &["--hub-id=heir"]).await?;
    let mut second = World { lab, test, operator };
    furnish(&second, &east, "another-password").await?;
    second.test.credential("reg", second.spec(json!({"names": ["east"]}))).await?;
    let row = second.wait_row("reg", "east", "a conflict", is_conflict).await?;
    let hub = copy.metadata.annotations.as_ref().and_then(|all| all.get("claviger.dev/hub")).cloned();
    let hub = hub.unwrap_or_default();
    let message = &row.failures[0].message;
    assert!(message.contains(&format!("another hub (id '{hub}')")), "{message}");
    let flag = format!("--former-hub-ids={hub}");
    second.operator.terminate(LONG).await?;
    second.operator = start(&second.lab, &["--hub-id=heir", &flag]).await?;
    second.test.wait_ready("reg", 2).await?;
    let taken = east.secrets("web").get("reg").await?;
    assert_eq!((taken.metadata.uid, taken.data), (copy.metadata.uid, copy.data));
    let now = taken.metadata.annotations.as_ref().and_then(|all| all.get("claviger.dev/hub")).cloned();
    assert_eq!(now.as_deref(), Some("heir"));
    Ok(())
}

/// Everything of the hub is lost but what stands in Git: the same objects, with other uids.
#[tokio::test]
async fn a_hub_that_is_built_anew_takes_its_copies_over_without_a_write() -> Result<()> {
    let (lab, east) = tokio::try_join!(Lab::start(), Member::start("east"))?;
    let test = lab.scenario().await?;
    let operator = start(&lab, &["--hub-id=acme-hub"]).await?;
    let first = World { lab, test, operator };
    furnish(&first, &east, "the-password").await?;
    let (home, mark) = (first.test.home.name.clone(), first.test.mark.clone());
    east.namespaces(&first.test, &["web", "db"]).await?;
    first.test.credential("reg", first.spec(json!({"names": ["east"]}))).await?;
    first.test.wait_ready("reg", 1).await?;
    good_source(&first.test, "src", "another-password").await?;
    first.test.wait_ready("reg", 2).await?;
    drop(first.operator);
    drop(first.lab);
    let before = east.requests()?;

    let lab = Lab::start().await?;
    let test = lab.scenario_as(&home, &mark).await?;
    let operator = start(&lab, &["--hub-id=acme-hub"]).await?;
    let second = World { lab, test, operator };
    furnish(&second, &east, "another-password").await?;
    second.test.credential("reg", second.spec(json!({"names": ["east"]}))).await?;
    second.test.wait_ready("reg", 2).await?;
    wait_for(LONG, "the audit log", async || east.requests().is_ok_and(|now| now > before)).await?;
    stays(QUIET, "no write in the member", async || match east.writes(before) {
        Ok(writes) if writes.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
}

fn is_conflict(row: &ClusterStatus) -> bool {
    row.failures.iter().any(|failure| failure.reason == "SecretNameConflict")
}

/// The source, the policy and the member; back when the operator knows all of them.
async fn furnish(world: &World, east: &Member, password: &str) -> Result<()> {
    let test = &world.test;
    good_source(test, "src", password).await?;
    world.consent(json!({"selector": {}})).await?;
    world.join(east, json!({})).await?;
    test.target("known").await?;
    test.credential("known", world.spec(json!({"names": ["local"]}))).await?;
    test.wait_ready("known", 1).await?;
    test.wait_password("known", "known", password).await
}
