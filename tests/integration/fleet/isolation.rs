//! A cluster in trouble costs only its own row.

use std::time::{Duration, Instant};

use claviger::api::ClusterState;
use k8s_openapi::api::{
    core::v1::{ConfigMap, ServiceAccount},
    flowcontrol::v1::FlowSchema,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::world::{LONG, Member, World};
use crate::{
    looks::good_source,
    support::{ControlPlane, Result, builder::Builder, wait_for},
};

/// Of what a rotation takes alone; in a test beside others no finer measure holds. The benchmark has one.
const SLACK: Duration = Duration::from_secs(1);

/// A hub and two members, each with a namespace for copies; the second member is made to order.
async fn start(west: Builder) -> Result<(World, Member, Member)> {
    let (world, east, west) =
        tokio::try_join!(World::new(&[]), Member::start("east"), Member::with("west", west))?;
    world.test.target("web").await?;
    for member in [&east, &west] {
        member.namespaces(&world.test, &["web"]).await?;
        world.join(member, json!({})).await?;
    }
    Ok((world, east, west))
}

/// Rotates, and tells how long the healthy clusters took.
async fn rotate(world: &World, healthy: &Member, password: &str, revision: &str) -> Result<Duration> {
    let began = Instant::now();
    good_source(&world.test, "src", password).await?;
    healthy.wait_copy("web", "reg", revision).await?;
    world.test.wait_password("web", "reg", password).await?;
    Ok(began.elapsed())
}

#[tokio::test]
async fn a_member_that_is_down_slow_or_half_open_holds_nobody_up_and_comes_back() -> Result<()> {
    let (world, east, west) = start(ControlPlane::builder().audit(true)).await?;
    let test = &world.test;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;
    let alone = rotate(&world, &east, "password-alone", "2").await?;
    west.wait_copy("web", "reg", "2").await?;

    let mut revision = 2;
    for fault in ["slow", "frozen", "refused", "reset"] {
        match fault {
            "slow" => west.proxy.delay(Duration::from_secs(30)),
            "frozen" => west.proxy.freeze(),
            "refused" => {
                west.proxy.refuse(true).await?;
                west.proxy.reset();
            }
            _ => west.proxy.reset(),
        }
        revision += 1;
        let took = rotate(&world, &east, &format!("password-{fault}"), &revision.to_string()).await?;
        assert!(took < alone * 2 + SLACK, "{fault}: {took:?}, alone {alone:?}");
        if fault != "reset" {
            let row =
                world.wait_row("reg", "west", fault, |row| row.state == ClusterState::Unreachable).await?;
            assert_eq!(row.namespaces.synced, row.namespaces.desired.min(row.namespaces.synced), "{row:?}");
            assert!(row.message.is_some_and(|why| why.contains("'west'")));
            world.wait_member("west", "Reachable", "False").await?;
            // The others say that they are in sync, with the new revision.
            let wanted = i64::from(revision);
            for cluster in ["local", "east"] {
                world
                    .wait_row("reg", cluster, "at the new revision", |row| row.revision == Some(wanted))
                    .await?;
            }
            let synced = test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;
            assert!(synced.message.contains("'west'"), "{}", synced.message);
            // The operator is well, and at rest.
            assert_eq!(world.operator.healthz().await?, 200);
        }
        west.proxy.delay(Duration::ZERO);
        west.proxy.thaw();
        west.proxy.refuse(false).await?;
        let back = Instant::now();
        west.wait_copy("web", "reg", &revision.to_string()).await?;
        test.wait_ready("reg", i64::from(revision)).await?;
        assert!(back.elapsed() < Duration::from_secs(15), "{fault}: back after {:?}", back.elapsed());
    }
    world.operator.check_running()
}

#[tokio::test]
async fn a_member_that_throttles_is_told_so_and_waited_for() -> Result<()> {
    let (world, east, west) = start(ControlPlane::builder().audit(true)).await?;
    let test = &world.test;
    let more: Vec<String> = (0..60).map(|number| format!("more-{number}")).collect();
    west.namespaces(test, &more.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;
    let alone = rotate(&world, &east, "password-alone", "2").await?;
    west.wait_copy("web", "reg", "2").await?;

    // The API server itself refuses our writes with 429: one seat for all of them, and no queue.
    let flow = "flowcontrol.apiserver.k8s.io/v1";
    let level = json!({
        "apiVersion": flow, "kind": "PriorityLevelConfiguration", "metadata": {"name": "nothing"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"}}},
    });
    let schema = json!({
        "apiVersion": flow, "kind": "FlowSchema", "metadata": {"name": "nothing-for-claviger"},
        "spec": {"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "nothing"}, "rules": [{
            "subjects": [{"kind": "Group", "group": {"name": "system:serviceaccounts"}}],
            "resourceRules": [{"verbs": ["create", "update", "delete"], "apiGroups": [""], "resources": ["secrets"],
                "namespaces": ["*"]}],
        }]},
    });
    crate::support::apply_yaml(&west.admin, &format!("{level}\n---\n{schema}\n")).await?;
    let schemas: Api<FlowSchema> = Api::all(west.admin.clone());
    wait_for(LONG, "the schema to be in force", async || {
        let conditions = schemas.get("nothing-for-claviger").await.ok()?.status?.conditions?;
        conditions.iter().find(|c| c.type_ == "Dangling" && c.status.as_deref() == Some("False")).map(drop)
    })
    .await?;
    let took = rotate(&world, &east, "password-throttled", "3").await?;
    assert!(took < alone * 2 + SLACK, "{took:?}, alone {alone:?}");
    let row =
        world.wait_row("reg", "west", "throttled", |row| row.reason.as_deref() == Some("Throttled")).await?;
    assert_eq!(row.state, ClusterState::Pending);
    world.wait_member("west", "Reachable", "True").await?;
    schemas.delete("nothing-for-claviger", &DeleteParams::default()).await?;
    west.wait_copy("web", "reg", "3").await?;
    test.wait_ready("reg", 3).await?;
    Ok(())
}

#[tokio::test]
async fn a_member_whose_disk_is_full_or_whose_token_is_void_is_told_so() -> Result<()> {
    // Room for little more than the server's own objects.
    let small = ControlPlane::builder().etcd_arg("--quota-backend-bytes=12000000");
    let (world, east, west) = start(small).await?;
    let test = &world.test;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;
    let alone = rotate(&world, &east, "password-alone", "2").await?;
    west.wait_copy("web", "reg", "2").await?;

    let maps: Api<ConfigMap> = Api::namespaced(west.admin.clone(), "default");
    let filler = "x".repeat(900_000);
    for number in 0.. {
        let map = serde_json::from_value(
            json!({"metadata": {"name": format!("filler-{number}")}, "data": {"x": filler}}),
        )?;
        if maps.create(&PostParams::default(), &map).await.is_err() {
            break;
        }
        assert!(number < 100, "the quota of etcd does not bite");
    }
    let took = rotate(&world, &east, "password-full", "3").await?;
    assert!(took < alone * 2 + SLACK, "{took:?}, alone {alone:?}");
    let row =
        world.wait_row("reg", "west", "failing", |row| row.reason.as_deref() == Some("ServerError")).await?;
    assert_eq!(row.state, ClusterState::Error);
    assert!(row.message.is_some_and(|why| why.contains("space")), "it says why");
    test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;

    // A token whose ServiceAccount is gone. East has room; its identity goes.
    let accounts: Api<ServiceAccount> = Api::namespaced(east.admin.clone(), "claviger-system");
    accounts.delete("claviger-member", &DeleteParams::default()).await?;
    world.wait_member("east", "Reachable", "False").await?;
    let row = world.wait_row("reg", "east", "no entry", |row| row.state == ClusterState::Unreachable).await?;
    assert!(row.message.is_some_and(|why| why.contains("401")), "it says why");
    // A new token in the Secret is all that it takes.
    let args = claviger::cli::member_rbac::MemberRbacArgs::default();
    crate::support::apply_yaml(&east.admin, &claviger::cli::member_rbac::manifests(&args)?).await?;
    let secret = east.secrets("claviger-system");
    wait_for(LONG, "the old token to go", async || {
        secret.get_opt("claviger-member").await.is_ok_and(|found| found.is_none())
    })
    .await
    .ok();
    crate::support::apply_yaml(&east.admin, &claviger::cli::member_rbac::manifests(&args)?).await?;
    let token = crate::member_rbac::token_in_member(&east.admin, &args).await?;
    let kubeconfig = east.control_plane.kubeconfig_text(east.proxy.url(), &token);
    let patch = Patch::Merge(json!({"stringData": {"kubeconfig": kubeconfig}}));
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(test.client.clone(), crate::support::environment::OPERATOR_NAMESPACE);
    secrets.patch("east", &PatchParams::default(), &patch).await?;
    world.wait_row("reg", "east", "in sync again", |row| row.state == ClusterState::Synced).await?;
    world.operator.check_running()
}
