//! The harness itself: what other tests take for granted about the control plane and the faults, and that
//! nothing is left behind.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{ConfigMap, Secret, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::support::{
    ControlPlane, Error, FaultProxy, Result, TestNamespace, apply_yaml_in, client_from, kubernetes,
    process::is_alive,
    random_name,
    skips::skipped,
    wait::{DEADLINE, wait_for},
};

/// Says to the holder below that it was started by the test, not by `cargo test -- --ignored`.
pub const HOLDER: &str = "CLAVIGER_TEST_HOLDER";

#[tokio::test]
async fn the_servers_are_of_the_version_that_is_asked_for() -> Result<()> {
    if std::env::var_os("KUBEBUILDER_ASSETS").is_some_and(|path| !path.is_empty()) {
        return skipped("the version of the control plane", "KUBEBUILDER_ASSETS says where it comes from");
    }
    let seen = ControlPlane::shared().await?.client().await?.apiserver_version().await?.git_version;
    let wanted = kubernetes::wanted()?.map_or_else(kubernetes::pinned, Ok)?;
    assert_eq!(seen, format!("v{wanted}"));
    Ok(())
}

async fn create_config_map(client: &Client, namespace: &str, name: &str) -> Result<ConfigMap> {
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    Ok(api.create(&PostParams::default(), &map).await?)
}

#[tokio::test]
async fn namespace_gets_default_service_account_and_is_really_torn_down() -> Result<()> {
    let client = ControlPlane::shared().await?.client().await?;
    let namespace = TestNamespace::new(client.clone(), "teardown").await?;
    create_config_map(&client, &namespace.name, "content").await?;
    namespace.delete().await?;
    namespace.wait_gone().await
}

#[tokio::test]
async fn garbage_collector_follows_owner_references() -> Result<()> {
    let client = ControlPlane::shared().await?.client().await?;
    let namespace = TestNamespace::new(client.clone(), "gc").await?;
    let owner = create_config_map(&client, &namespace.name, "owner").await?;
    let owned: ConfigMap = serde_json::from_value(json!({"metadata": {
        "name": "owned",
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}],
    }}))?;
    let maps = namespace.api::<ConfigMap>();
    maps.create(&PostParams::default(), &owned).await?;
    maps.delete("owner", &Default::default()).await?;
    wait_for(DEADLINE, "the owned object to be collected", async || {
        maps.get_opt("owned").await.is_ok_and(|found| found.is_none())
    })
    .await
}

#[tokio::test]
async fn tokens_of_service_accounts_work_and_have_no_rights_by_themselves() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let client = control_plane.client().await?;
    let namespace = TestNamespace::new(client, "rbac").await?;
    let request: TokenRequest = serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}}))?;
    let token = namespace
        .api::<ServiceAccount>()
        .create_token_request("default", &PostParams::default(), &request)
        .await?
        .status
        .and_then(|status| status.token)
        .ok_or_else(|| Error::new("no token"))?;
    let kubeconfig = control_plane.kubeconfig_with(control_plane.server_url(), &token)?;
    assert_forbidden(client_from(&kubeconfig).await?, &namespace.name).await?;
    let nobody = control_plane.kubeconfig_by_certificate("nobody", &["no-group"])?;
    assert_forbidden(client_from(&nobody).await?, &namespace.name).await
}

async fn assert_forbidden(client: Client, namespace: &str) -> Result<()> {
    let secrets = Api::<Secret>::namespaced(client, namespace);
    match secrets.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(()),
        other => Err(Error::new(format!("not refused: {:?}", other.map(|list| list.items.len())))),
    }
}

#[tokio::test]
async fn manifests_of_several_kinds_are_applied() -> Result<()> {
    let client = ControlPlane::shared().await?.client().await?;
    let namespace = TestNamespace::new(client.clone(), "apply").await?;
    let group = format!("{}.example.com", random_name("g"));
    let manifest = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
         metadata: {{name: widgets.{group}}}\n\
         spec:\n  group: {group}\n  scope: Namespaced\n  names: {{kind: Widget, plural: widgets}}\n\
         \x20 versions:\n  - name: v1\n    served: true\n    storage: true\n\
         \x20   schema: {{openAPIV3Schema: {{type: object}}}}\n\
         ---\napiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\n\
         ---\n# Nothing here.\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: two}}\n"
    );
    let applied = apply_yaml_in(&client, &namespace.name, &manifest).await?;
    assert_eq!(applied.len(), 3);
    assert_eq!(applied[1].metadata.namespace.as_deref(), Some(namespace.name.as_str()));
    Ok(())
}

#[tokio::test]
async fn own_control_plane_has_users_an_audit_log_and_survives_its_api_server() -> Result<()> {
    let control_plane = ControlPlane::builder().audit(true).user("alice", &["team"]).start().await?;
    let client = control_plane.client().await?;
    assert_forbidden(control_plane.client_for("alice").await?, "default").await?;
    create_config_map(&client, "default", "kept").await?;
    let seen = |user: &str, verb: &str, resource: &str, code: u16| {
        control_plane.audit_events().map(|events| {
            events.iter().any(|event| {
                (event.user.as_str(), event.verb.as_str(), event.resource.as_str(), event.code)
                    == (user, verb, resource, code)
            })
        })
    };
    wait_for(DEADLINE, "both requests in the audit log", async || -> Result<()> {
        if seen("alice", "list", "secrets", 403)? && seen("admin", "create", "configmaps", 201)? {
            return Ok(());
        }
        Err(Error::new("not both there"))
    })
    .await?;

    control_plane.stop_apiserver()?;
    let maps = Api::<ConfigMap>::namespaced(client, "default");
    assert!(maps.get("kept").await.is_err(), "the API server still answers");
    control_plane.start_apiserver().await?;
    maps.get("kept").await?;
    // The controllers are back too.
    TestNamespace::new(control_plane.client().await?, "after").await?;

    let (pids, dir) = (control_plane.pids(), control_plane.dir().to_owned());
    assert_eq!(pids.len(), 3);
    drop(control_plane);
    assert_gone(&pids, &dir).await
}

#[tokio::test]
async fn frozen_connections_are_silent_and_recover() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let proxy = FaultProxy::start(control_plane.address()).await?;
    let kubeconfig = control_plane.kubeconfig_with(proxy.url(), control_plane.admin_token()?)?;
    let through = client_from(&kubeconfig).await?;
    through.apiserver_version().await?;

    proxy.freeze();
    let (accepted, bytes) = (proxy.accepted(), proxy.bytes());
    let patience = Duration::from_millis(300);
    let waiting = tokio::spawn(async move { through.apiserver_version().await });
    let fresh = client_from(&kubeconfig).await?;
    assert!(tokio::time::timeout(patience, fresh.apiserver_version()).await.is_err());
    assert!(!waiting.is_finished(), "a request came through");
    assert!(proxy.accepted() > accepted, "the new connection was not accepted");
    assert_eq!(proxy.bytes(), bytes);

    proxy.thaw();
    tokio::time::timeout(DEADLINE, waiting).await???;
    fresh.apiserver_version().await?;
    Ok(())
}

#[tokio::test]
async fn faults_reset_refuse_and_delay() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let proxy = FaultProxy::start(control_plane.address()).await?;
    let kubeconfig = control_plane.kubeconfig_with(proxy.url(), control_plane.admin_token()?)?;
    let client = client_from(&kubeconfig).await?;
    client.apiserver_version().await?;

    proxy.freeze();
    let cut = tokio::spawn({
        let client = client.clone();
        async move { client.apiserver_version().await }
    });
    proxy.reset();
    assert!(tokio::time::timeout(DEADLINE, cut).await??.is_err(), "the connection was not cut");
    proxy.thaw();
    client.apiserver_version().await?;

    proxy.refuse(true).await?;
    proxy.reset();
    wait_for(DEADLINE, "all connections to be cut", async || proxy.open() == 0).await?;
    let start = Instant::now();
    assert!(client.apiserver_version().await.is_err(), "the connection was not refused");
    assert!(start.elapsed() < Duration::from_secs(2));
    proxy.refuse(false).await?;
    client.apiserver_version().await?;

    let delay = Duration::from_millis(250);
    proxy.delay(delay);
    let start = Instant::now();
    client.apiserver_version().await?;
    assert!(start.elapsed() >= delay);
    Ok(())
}

#[tokio::test]
async fn nothing_survives_a_killed_test_process() -> Result<()> {
    let mut holder = Command::new(std::env::current_exe()?)
        .args(["--exact", "control_plane::holder", "--ignored", "--nocapture"])
        .env(HOLDER, "1")
        .env_remove("CLAVIGER_KEEP")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = holder.stdout.take().ok_or_else(|| Error::new("no stdout"))?;
    // A line comes, or the holder's own deadlines end it.
    let line = tokio::task::spawn_blocking(move || {
        BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("holding ").map(|(_, held)| held.to_owned()))
    })
    .await?
    .ok_or_else(|| Error::new("the holder did not get that far"))?;
    let (pids, dir) = line.split_once(' ').ok_or_else(|| Error::new("no directory"))?;
    let pids = pids.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    assert_eq!(pids.len(), 3);
    for &pid in &pids {
        assert!(is_alive(pid)?);
    }
    holder.kill()?;
    holder.wait()?;
    assert_gone(&pids, Path::new(dir)).await
}

#[tokio::test]
#[ignore = "the process that nothing_survives_a_killed_test_process kills"]
async fn holder() -> Result<()> {
    if std::env::var_os(HOLDER).is_none() {
        return Ok(());
    }
    let control_plane = ControlPlane::builder().start().await?;
    let pids: Vec<String> = control_plane.pids().iter().map(u32::to_string).collect();
    println!("\nholding {} {}", pids.join(","), control_plane.dir().display());
    // Until killed; should the test have died instead, its end of stdin is closed.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

async fn assert_gone(pids: &[u32], dir: &Path) -> Result<()> {
    wait_for(DEADLINE, "processes and directory to be gone", async || -> Result<()> {
        for &pid in pids {
            if is_alive(pid)? {
                return Err(Error::new(format!("process {pid} lives")));
            }
        }
        if dir.exists() {
            return Err(Error::new(format!("{} exists", dir.display())));
        }
        Ok(())
    })
    .await
}
