//! `deletionPolicy: Orphan`, and a member that was away when the credential went.

use claviger::api::ClusterState;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;

use super::world::{LONG, Member, World, merge};
use crate::{
    checks::{MARKS, delete, good_source, wait_no_credential},
    support::{Result, wait_for},
};

const POLICY: &str = "claviger.dev/deletion-policy";

/// A member that is away for four seconds is not waited for any longer; copies are swept each second.
const ARGS: [&str; 2] = ["--unreachable-grace-period=4s", "--sweep-interval=1s"];

async fn ready(world: &World, east: &Member) -> Result<()> {
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web", "db"]).await?;
    world.join(east, json!({})).await?;
    for (name, policy) in [("left", "Orphan"), ("swept", "Protect")] {
        let spec = merge(world.spec(json!({"selector": {}})), json!({"deletionPolicy": policy}));
        test.credential(name, spec).await?;
        test.wait_ready(name, 1).await?;
    }
    for namespace in ["web", "db"] {
        east.wait_copy(namespace, "left", "1").await?;
    }
    Ok(())
}

async fn cut_off(world: &World, east: &Member) -> Result<()> {
    east.proxy.refuse(true).await?;
    east.proxy.reset();
    let dark = |row: &claviger::api::ClusterStatus| row.state == ClusterState::Unreachable;
    for name in ["left", "swept"] {
        world.wait_row(name, "east", "cut off", dark).await?;
    }
    Ok(())
}

/// When the copies of the other credential were swept, those of the first stay, without our marks.
async fn assert_released(east: &Member, before: &[Secret]) -> Result<()> {
    for namespace in ["web", "db"] {
        east.wait_no_copy(namespace, "swept").await?;
    }
    for (namespace, before) in ["web", "db"].into_iter().zip(before) {
        let left = wait_for(LONG, &format!("{namespace}/left without our marks"), async || {
            let left = east.secrets(namespace).get("left").await.map_err(|error| error.to_string())?;
            let keys: Vec<&String> = left.labels().keys().chain(left.annotations().keys()).collect();
            let marks = keys.iter().filter(|key| {
                MARKS.contains(&key.as_str())
                    || ***key == *POLICY
                    || ***key == *"app.kubernetes.io/managed-by"
            });
            if marks.count() == 0 { Ok(left.clone()) } else { Err(format!("{keys:?}")) }
        })
        .await?;
        assert_eq!((left.uid(), left.data), (before.uid(), before.data.clone()), "{namespace}");
    }
    Ok(())
}

async fn copies(east: &Member) -> Result<Vec<Secret>> {
    Ok(vec![east.secrets("web").get("left").await?, east.secrets("db").get("left").await?])
}

#[tokio::test]
async fn copies_in_a_member_that_was_away_stay_when_it_is_back() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&ARGS), Member::start("east"))?;
    ready(&world, &east).await?;
    let before = copies(&east).await?;
    cut_off(&world, &east).await?;
    for name in ["left", "swept"] {
        delete(&world.test, name).await?;
    }
    for name in ["left", "swept"] {
        wait_no_credential(&world.test, name).await?;
    }
    let here = world.test.secrets("web").get("left").await?;
    assert!(!here.labels().contains_key("claviger.dev/owner"), "{:?}", here.labels());
    east.proxy.refuse(false).await?;
    assert_released(&east, &before).await?;
    // Nobody's now: they are left alone by whoever comes later.
    let spec = world.spec(json!({"selector": {}}));
    world.test.credential("left", spec).await?;
    world.wait_row("left", "east", "conflicts", |row| row.namespaces.failed == 2).await?;
    world.operator.check_running()
}

/// Nobody waited, and another process finds what is left.
#[tokio::test]
async fn copies_stay_also_when_the_deletion_was_forced_and_the_operator_restarted() -> Result<()> {
    let (mut world, east) = tokio::try_join!(World::new(&["--sweep-interval=1s"]), Member::start("east"))?;
    ready(&world, &east).await?;
    let before = copies(&east).await?;
    cut_off(&world, &east).await?;
    for name in ["left", "swept"] {
        delete(&world.test, name).await?;
        world.test.annotate(name, "claviger.dev/force-delete", "true").await?;
    }
    for name in ["left", "swept"] {
        wait_no_credential(&world.test, name).await?;
    }
    assert_eq!(world.operator.terminate(LONG).await?, 0);
    world.operator = restart(&world).await?;
    east.proxy.refuse(false).await?;
    assert_released(&east, &before).await
}

/// One that sweeps at once whatever has no owner.
async fn restart(world: &World) -> Result<crate::support::Operator> {
    let quick =
        ["--request-timeout=2s", "--watch-timeout=5s", "--member-probe-interval=1s", "--sweep-interval=1s"];
    let builder = world.lab.operator()?.env("CLAVIGER_SWEEP_GRACE_PERIOD", "0s");
    quick.into_iter().fold(builder, |builder, arg| builder.arg(arg)).start().await
}

/// How a copy is to be left is written on it, and follows the spec.
#[tokio::test]
async fn the_deletion_policy_is_written_on_each_copy_and_is_no_content() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    ready(&world, &east).await?;
    let test = &world.test;
    let marked = async |name: &str, wanted: Option<&str>| {
        for secrets in [test.secrets("web"), east.secrets("web"), east.secrets("db")] {
            wait_for(LONG, &format!("{POLICY}: {wanted:?} on {name}"), async || {
                let copy = secrets.get(name).await.map_err(|error| error.to_string())?;
                let found = copy.annotations().get(POLICY).map(String::as_str);
                if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
            })
            .await?;
        }
        crate::support::Result::Ok(())
    };
    marked("left", Some("Orphan")).await?;
    marked("swept", None).await?;
    let patch = |policy: &str| json!({"spec": {"deletionPolicy": policy}});
    for (name, policy, wanted) in [("left", "Protect", None), ("swept", "Orphan", Some("Orphan"))] {
        crate::checks::merge(&test.credentials(), name, patch(policy)).await?;
        marked(name, wanted).await?;
        test.wait_ready(name, 1).await?;
    }
    // Taken off by hand it is put back, as any mark is.
    let patch = json!({"metadata": {"annotations": {POLICY: null}}});
    crate::checks::merge(&east.secrets("db"), "swept", patch).await?;
    marked("swept", Some("Orphan")).await?;
    good_source(test, "src", "another-password").await?;
    east.wait_copy("db", "swept", "2").await?;
    marked("swept", Some("Orphan")).await
}
