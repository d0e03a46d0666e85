//! A cluster in trouble costs only its own row.

use std::time::{Duration, Instant};

use claviger::api::{ClusterState, ClusterStatus};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret, ServiceAccount},
    flowcontrol::v1::FlowSchema,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use serde_json::json;

use super::world::{LONG, Member, World};
use crate::{
    checks::good_source,
    support::{ControlPlane, Result, builder::Builder, wait_for},
};

/// How long an answer is waited for. Whoever waits for a cluster in trouble waits for at least this long.
const PATIENCE: &str = "--request-timeout=15s";

/// What a rotation of healthy clusters may take: far more than it does on a busy machine, and far less than
/// [`PATIENCE`]. How much it really takes is measured by the benchmark.
const PROMPT: Duration = Duration::from_secs(8);

const OURS: &str = "app.kubernetes.io/managed-by=claviger";
const REVISION: &str = "claviger.dev/revision";

/// A hub and two members, each with a namespace for copies; the second member is made to order.
async fn start(west: Builder) -> Result<(World, Member, Member)> {
    let world = async {
        let args = [PATIENCE, "--watch-timeout=5s", "--member-probe-interval=1s"];
        let world = World::without_policy(|lab| Ok(lab.operator()?.args(&args))).await?;
        world.consent(json!({"selector": {}})).await?;
        Ok(world)
    };
    let (world, east, west) = tokio::try_join!(world, Member::start("east"), Member::with("west", west))?;
    world.test.target("web").await?;
    for member in [&east, &west] {
        member.namespaces(&world.test, &["web"]).await?;
        world.join(member, json!({})).await?;
    }
    Ok((world, east, west))
}

/// Rotates while a member is in trouble: the healthy clusters have the new password at once.
async fn rotate(world: &World, healthy: &Member, what: &str, revision: i64) -> Result<()> {
    let password = format!("password-{what}");
    let began = Instant::now();
    good_source(&world.test, "src", &password).await?;
    healthy.wait_copy("web", "reg", &revision.to_string()).await?;
    world.test.wait_password("web", "reg", &password).await?;
    let took = began.elapsed();
    assert!(took < PROMPT, "{what}: the healthy clusters took {took:?}");
    Ok(())
}

#[tokio::test]
async fn a_member_that_is_down_slow_or_half_open_holds_nobody_up_and_comes_back() -> Result<()> {
    let (world, east, west) = start(ControlPlane::builder().audit(true)).await?;
    let test = &world.test;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;

    let mut revision = 1;
    for fault in ["slow", "frozen", "refused"] {
        let before = world.wait_row("reg", "west", "synced", |row| row.revision == Some(revision)).await?;
        match fault {
            "slow" => west.proxy.delay(Duration::from_secs(60)),
            "frozen" => west.proxy.freeze(),
            _ => {
                west.proxy.refuse(true).await?;
                west.proxy.reset();
            }
        }
        revision += 1;
        rotate(&world, &east, fault, revision).await?;
        west.wait_copy("web", "reg", &(revision - 1).to_string()).await?;
        let row = world.wait_row("reg", "west", fault, |row| row.state == ClusterState::Unreachable).await?;
        // It has what it had when it was last seen, and says when that was.
        assert_eq!((row.revision, row.namespaces.desired), (Some(revision - 1), 1), "{row:?}");
        assert!(before.last_sync_time.is_some(), "{before:?}");
        assert_eq!(row.last_sync_time, before.last_sync_time, "{row:?}");
        assert!(row.message.is_some_and(|why| why.contains("'west'")));
        world.wait_member("west", "Reachable", "False").await?;
        // The others say that they are in sync, with the new revision.
        for cluster in ["local", "east"] {
            let is_new =
                |row: &ClusterStatus| (row.state, row.revision) == (ClusterState::Synced, Some(revision));
            world.wait_row("reg", cluster, "at the new revision", is_new).await?;
        }
        test.wait_told("reg", "Synced", "False", "PartiallySynced", &["'west'"]).await?;
        let clusters = test.status("reg").await?.summary.map(|summary| summary.clusters);
        assert_eq!(clusters.as_deref(), Some("2/3"), "{fault}");
        assert_eq!(world.operator.healthz().await?, 200);
        west.proxy.delay(Duration::ZERO);
        west.proxy.thaw();
        west.proxy.refuse(false).await?;
        come_back(&world, &west, revision).await?;
    }
    // A connection that breaks is no outage.
    west.proxy.reset();
    good_source(test, "src", "password-reset").await?;
    come_back(&world, &west, revision + 1).await?;
    world.operator.check_running()
}

/// Waits until a member that is well again has caught up: after what was asked of it meanwhile has timed out, and the
/// longest pause between two tries is over.
async fn come_back(world: &World, west: &Member, revision: i64) -> Result<()> {
    let began = Instant::now();
    west.wait_copy("web", "reg", &revision.to_string()).await?;
    world.wait_row("reg", "west", "in sync again", |row| row.revision == Some(revision)).await?;
    world.test.wait_ready("reg", revision).await?;
    assert!(began.elapsed() < Duration::from_secs(40), "back after {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_member_that_throttles_is_told_so_and_waited_for() -> Result<()> {
    let (world, east, west) = start(ControlPlane::builder().audit(true)).await?;
    let test = &world.test;
    let more: Vec<String> = (0..60).map(|number| format!("more-{number}")).collect();
    west.namespaces(test, &more.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;

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
    let mut config =
        Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&west.kubeconfig)?, &Default::default()).await?;
    config.default_retry = false;
    let secrets: Api<Secret> = Api::namespaced(Client::try_from(config)?, "web");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "throttled"}}))?;
    wait_for(LONG, "the schema to be in force", async || {
        // There is one seat for all of them, so that one alone would get through.
        let tries = futures::future::join_all((0..16).map(|_| secrets.create(&dry_run, &secret))).await;
        tries.iter().any(|answer| matches!(answer, Err(kube::Error::Api(status)) if status.code == 429))
    })
    .await?;
    rotate(&world, &east, "throttled", 2).await?;
    // A few get through, one at a time.
    let all = Api::<Secret>::all(west.admin.clone()).list(&ListParams::default().labels(OURS)).await?;
    let is_old = |copy: &&Secret| copy.annotations().get(REVISION).is_some_and(|revision| revision == "1");
    let behind = all.iter().filter(is_old).count();
    assert!(behind > 0, "nothing was throttled");
    let row =
        world.wait_row("reg", "west", "throttled", |row| row.reason.as_deref() == Some("Throttled")).await?;
    assert_eq!(row.state, ClusterState::Pending);
    world.wait_member("west", "Reachable", "True").await?;
    schemas.delete("nothing-for-claviger", &DeleteParams::default()).await?;
    come_back(&world, &west, 2).await
}

#[tokio::test]
async fn a_member_whose_disk_is_full_or_whose_token_is_void_is_told_so() -> Result<()> {
    // Room for little more than the server's own objects.
    let small = ControlPlane::builder().etcd_arg("--quota-backend-bytes=12000000");
    let (world, east, west) = start(small).await?;
    let test = &world.test;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;

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
    rotate(&world, &east, "full", 2).await?;
    west.wait_copy("web", "reg", "1").await?;
    let row =
        world.wait_row("reg", "west", "failing", |row| row.reason.as_deref() == Some("ServerError")).await?;
    assert_eq!(row.state, ClusterState::Error);
    assert!(row.message.is_some_and(|why| why.contains("space")), "it says why");
    test.wait_told("reg", "Synced", "False", "PartiallySynced", &["'west'"]).await?;

    // A token whose ServiceAccount is gone. East has room; its identity goes.
    let accounts: Api<ServiceAccount> = Api::namespaced(east.admin.clone(), "claviger-system");
    accounts.delete("claviger-member", &DeleteParams::default()).await?;
    world.wait_member("east", "Reachable", "False").await?;
    let row = world.wait_row("reg", "east", "no entry", |row| row.state == ClusterState::Unreachable).await?;
    assert!(row.message.is_some_and(|why| why.contains("401")), "it says why");
    // Kubernetes takes the old token away too; a new one in the Secret is all that it takes then.
    let secrets = east.secrets("claviger-system");
    wait_for(LONG, "the old token to go", async || {
        secrets.get_opt("claviger-member").await.is_ok_and(|found| found.is_none())
    })
    .await?;
    let args = claviger::cli::member_rbac::MemberRbacArgs::default();
    crate::support::apply_yaml(&east.admin, &claviger::cli::member_rbac::manifests(&args)?).await?;
    let token = crate::member_rbac::token_in_member(&east.admin, &args).await?;
    let kubeconfig = east.control_plane.kubeconfig_text(east.proxy.url(), &token);
    let patch = Patch::Merge(json!({"stringData": {"kubeconfig": kubeconfig}}));
    let secrets: Api<Secret> =
        Api::namespaced(test.client.clone(), crate::support::environment::OPERATOR_NAMESPACE);
    secrets.patch("east", &PatchParams::default(), &patch).await?;
    world.wait_row("reg", "east", "in sync again", |row| row.state == ClusterState::Synced).await?;
    world.operator.check_running()
}
