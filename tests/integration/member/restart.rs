//! A restart of the operator changes nothing, and is told to nobody.

use std::time::Duration;

use serde_json::json;

use super::{Desk, LONG, kubeconfig};
use crate::{
    lab::Lab,
    support::{ControlPlane, Result, wait_for},
};

#[tokio::test]
async fn after_a_restart_members_are_found_as_they_were_without_a_write() -> Result<()> {
    let (lab, east) =
        tokio::try_join!(Lab::start(), ControlPlane::builder().user("member", &["system:masters"]).start())?;
    let desk = Desk { client: lab.control_plane.client().await? };
    let operator = lab.operator()?.arg("--member-probe-interval=1s").start().await?;
    desk.kubeconfig("east", &east.kubeconfig_text(east.server_url(), east.token("member")?)).await?;
    desk.kubeconfig("dark", &kubeconfig("https://127.0.0.1:1", json!({}), json!({"token": "x"}))).await?;
    desk.kubeconfig("refused", &kubeconfig("https://127.0.0.1:1", json!({}), json!({"tokenFile": "x"})))
        .await?;
    for name in ["east", "dark", "refused"] {
        desk.member(name, json!({})).await?;
    }
    desk.wait("east", "Ready", "True", "Connected").await?;
    desk.wait("dark", "Ready", "False", "Unreachable").await?;
    desk.wait("refused", "Ready", "False", "KubeconfigRefused").await?;
    let began = std::time::Instant::now();
    assert_eq!(operator.terminate(Duration::from_secs(20)).await?, 0);
    assert!(began.elapsed().as_secs() < 5, "it took {:?} to stop", began.elapsed());

    let after = lab.requests()?;
    let operator = lab.operator()?.arg("--member-probe-interval=1s").start().await?;
    wait_for(LONG, "both ends to be known", async || {
        let logs = operator.logs();
        logs.contains("\"message\":\"connected\"") && logs.contains("does not answer")
    })
    .await?;
    // When this one is told, whatever was to be said of the others was said before.
    desk.member("late", json!({})).await?;
    desk.wait("late", "Ready", "False", "KubeconfigMissing").await?;
    desk.wait_event("late", "KubeconfigMissing").await?;
    let writes: Vec<_> =
        lab.writes(after)?.into_iter().filter(|write| !write.name.starts_with("late")).collect();
    assert!(writes.is_empty(), "{writes:?}");
    Ok(())
}
