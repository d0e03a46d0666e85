//! Kubeconfigs that are not used, each with a condition that says why and what to do.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Hub, kubeconfig};
use crate::{canary::Canary, support::Result};

const CANARY: &str = "canary-2b41d7";

#[tokio::test]
async fn each_refused_kubeconfig_says_why() -> Result<()> {
    let desk = Hub::shared().await?.desk().await?;
    let token = json!({"token": CANARY});
    let server = "https://127.0.0.1:1";
    let cases: [(&str, String, &str, &str); 9] = [
        (
            "exec",
            kubeconfig(server, json!({}), json!({"exec": {"command": CANARY}})),
            "ExecNotAllowed",
            "`exec`",
        ),
        (
            "provider",
            kubeconfig(server, json!({}), json!({"auth-provider": {"name": CANARY}})),
            "AuthProviderNotAllowed",
            "`auth-provider`",
        ),
        (
            "file",
            kubeconfig(server, json!({"certificate-authority": CANARY}), token.clone()),
            "FileNotAllowed",
            "certificate-authority-data",
        ),
        (
            "token-file",
            kubeconfig(server, json!({}), json!({"tokenFile": CANARY})),
            "FileNotAllowed",
            "`tokenFile`",
        ),
        (
            "insecure",
            kubeconfig(server, json!({"insecure-skip-tls-verify": true}), token.clone()),
            "InsecureNotAllowed",
            "--allow-insecure-members",
        ),
        (
            "http",
            kubeconfig("http://127.0.0.1:1", json!({}), token.clone()),
            "PlainHttpNotAllowed",
            "https://",
        ),
        (
            "user",
            kubeconfig("https://me:canary-2b41d7@127.0.0.1:1", json!({}), token.clone()),
            "CredentialsInServer",
            "`server`",
        ),
        (
            "as",
            kubeconfig(server, json!({}), json!({"token": CANARY, "as": CANARY})),
            "ImpersonationNotAllowed",
            "`as`",
        ),
        ("none", format!("{{{CANARY}"), "Malformed", "YAML"),
    ];
    for (name, text, ..) in &cases {
        desk.kubeconfig(&format!("refused-{name}"), text).await?;
        desk.member(&format!("refused-{name}"), json!({})).await?;
    }
    for (name, _, reason, word) in &cases {
        let name = format!("refused-{name}");
        let (message, status) = desk.wait(&name, "Ready", "False", "KubeconfigRefused").await?;
        assert!(message.starts_with(reason) && message.contains(word), "{name}: {message}");
        desk.wait(&name, "Stalled", "True", "KubeconfigRefused").await?;
        desk.wait(&name, "Reconciling", "False", "Stalled").await?;
        assert_eq!(status.source.as_deref(), Some(&*format!("Kubeconfig/claviger-system/{name}")));
        let event = desk.wait_event(&name, "KubeconfigRefused").await?;
        let shown = format!("{status:?}{event}");
        assert!(Canary::new("the value", CANARY).find(&shown).is_none(), "{name}: {status:?}");
    }
    let logs = Hub::shared().await?.operator.logs();
    assert!(Canary::new("the value", CANARY).find(&logs).is_none(), "the log quotes a kubeconfig");
    // One that was mended is tried at once; and one that is refused holds no deletion up for long.
    desk.kubeconfig("refused-exec", &kubeconfig(server, json!({}), token)).await?;
    desk.wait("refused-exec", "Ready", "False", "Unreachable").await?;
    for (name, ..) in &cases {
        desk.delete(&format!("refused-{name}")).await?;
    }
    for (name, ..) in &cases {
        desk.wait_gone(&format!("refused-{name}")).await?;
    }
    let note = desk.wait_event("refused-exec", "LeftBehind").await?;
    assert!(note.contains("an unknown number of Secrets") && note.contains("10 s"), "{note}");
    Ok(())
}

#[tokio::test]
async fn the_hub_itself_is_no_member() -> Result<()> {
    let hub = Hub::shared().await?;
    let desk = hub.desk().await?;
    let text = std::fs::read_to_string(hub.control_plane.kubeconfig())?;
    desk.kubeconfig("myself", &text).await?;
    desk.member("myself", json!({})).await?;
    let (message, status) = desk.wait("myself", "Ready", "False", "DuplicateCluster").await?;
    assert!(message.contains("'local'"), "{message}");
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(desk.client.clone());
    assert_eq!(status.cluster_id, namespaces.get("kube-system").await?.metadata.uid);
    desk.delete("myself").await?;
    desk.wait_gone("myself").await?;
    Ok(())
}

#[tokio::test]
async fn a_member_in_the_dark_goes_at_once_when_that_is_asked_for() -> Result<()> {
    let desk = Hub::shared().await?.desk().await?;
    desk.kubeconfig("dark", &kubeconfig("https://127.0.0.1:1", json!({}), json!({"token": CANARY}))).await?;
    desk.member("dark", json!({})).await?;
    desk.wait("dark", "Reachable", "False", "Unreachable").await?;
    desk.delete("dark").await?;
    let began = std::time::Instant::now();
    let note = json!({"metadata": {"annotations": {"claviger.dev/force-delete": "true"}}});
    crate::checks::merge::<claviger::api::MemberCluster>(&desk.members(), "dark", Value::clone(&note))
        .await?;
    desk.wait_gone("dark").await?;
    // Without the annotation it takes the 10 s of the grace period.
    assert!(began.elapsed() < Duration::from_secs(7), "it took {:?}", began.elapsed());
    Ok(())
}
