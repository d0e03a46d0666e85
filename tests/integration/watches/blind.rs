//! While it is not known who uses what, nothing is deleted on a guess; and nothing is forgotten.

use std::time::Duration;

use serde_json::json;

use crate::{
    checks::{good_source, label_namespace, spec, wait_no_secret},
    lab::Lab,
    support::{Error, Result, http_proxy::Action, stays, wait_for},
};

/// The watch of Pods falls silent for so long that nobody can know who uses what: what is not wanted any more stays until
/// it speaks again, and goes then.
#[tokio::test]
async fn what_could_not_be_deleted_on_a_guess_is_deleted_when_users_are_known_again() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    let operator = lab.operator_at(&proxy.url())?.arg("--watch-timeout=5s").start().await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    proxy.rule(|request| if request.resource == "pods" { Action::Hold } else { Action::Pass });
    // It is stale after three times the timeout of a watch, and then the process is not healthy any more.
    wait_for(Duration::from_secs(40), "the watch of Pods to be stale", async || {
        let status = operator.healthz().await?;
        if status == 200 { Err(Error::new("healthy")) } else { Ok(()) }
    })
    .await?;
    label_namespace(&test, &targets[0], json!({ "test": null })).await?;
    stays(Duration::from_secs(2), "a copy of which it is not known whether it is in use", async || {
        test.secrets(&targets[0]).get("reg").await.map(drop)
    })
    .await?;
    proxy.rule(|_| Action::Pass);
    wait_no_secret(&test, &targets[0], "reg").await?;
    test.wait_password(&targets[1], "reg", "the-password").await
}
