//! What the administrator of a member can make a hub believe: nothing of another member, and nothing of another hub.

use std::time::Duration;

use claviger::api::MemberCluster;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::world::{LONG, Member, World, quick};
use crate::{
    checks::{good_source, merge},
    support::{Result, http_proxy::Action, stays, wait_for},
};

const QUIET: Duration = Duration::from_secs(3);

async fn cluster_id(member: &Member) -> Result<String> {
    let system = Api::<Namespace>::all(member.admin.clone()).get("kube-system").await?;
    Ok(system.metadata.uid.unwrap_or_default())
}

fn ready(member: &MemberCluster) -> Option<(String, String)> {
    let conditions = &member.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((ready.status.clone(), ready.reason.clone()))
}

/// The attack: an older member says of itself that it is another's cluster, to have that one disconnected.
#[tokio::test]
async fn a_member_that_claims_the_id_of_another_evicts_itself() -> Result<()> {
    let (mut world, mut evil, east) =
        tokio::try_join!(World::without_policy(quick), Member::bare("evil"), Member::start("east"))?;
    let proxy = evil.http_proxy().await?;
    world.consent(json!({"selector": {}})).await?;
    world.join(&evil, json!({})).await?;
    world.join(&east, json!({})).await?;
    east.namespaces(&world.test, &["web"]).await?;
    world.test.credential("reg", world.spec(json!({"names": ["east"]}))).await?;
    world.test.wait_ready("reg", 1).await?;

    let (own, claimed) = (cluster_id(&evil).await?, cluster_id(&east).await?);
    let (own, claimed): (&'static str, &'static str) = (own.leak(), claimed.leak());
    let lies = move |request: &crate::support::http_proxy::Request| {
        let _ = request;
        Action::Replace(own, claimed)
    };
    // Each connection anew, so that it is listed.
    proxy.rule(|_| Action::Cut);
    world.wait_member("evil", "Reachable", "False").await?;
    proxy.rule(lies);
    for restarted in [false, true] {
        if restarted {
            world.operator.terminate(LONG).await?;
            world.operator = quick(&world.lab)?.start().await?;
        }
        wait_for(LONG, "the one that changed to be condemned", async || {
            let found = world.members().get("evil").await.map(|member| ready(&member)).ok().flatten();
            let duplicate = found.as_ref().is_some_and(|(_, reason)| reason == "DuplicateCluster");
            if duplicate { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await?;
        let password = if restarted { "after-the-restart" } else { "another-password" };
        good_source(&world.test, "src", password).await?;
        east.wait_copy("web", "reg", if restarted { "3" } else { "2" }).await?;
        stays(QUIET, "the other member connected", async || {
            let found = world.members().get("east").await.map_err(|error| error.to_string())?;
            match ready(&found) {
                Some((status, _)) if status == "True" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    Ok(())
}

/// The attack: whoever removes the id of the hub from a copy has every other hub take it for a copy of its own that no
/// credential wants any more.
#[tokio::test]
async fn a_copy_without_the_id_of_its_hub_is_swept_by_nobody() -> Result<()> {
    let sweeping = |lab: &crate::lab::Lab| {
        let operator = lab.operator()?.args(&["--hub-id=two", "--sweep-interval=1s"]);
        Ok(operator.env("CLAVIGER_SWEEP_GRACE_PERIOD", "1s"))
    };
    let (one, two, east) =
        tokio::try_join!(World::new(&[]), World::without_policy(sweeping), Member::start("east"))?;
    east.namespaces(&one.test, &["web"]).await?;
    one.join(&east, json!({})).await?;
    one.test.credential("reg", one.spec(json!({"names": ["east"]}))).await?;
    one.test.wait_ready("reg", 1).await?;
    // It would put the id back.
    one.operator.terminate(LONG).await?;
    let edit = |name: &'static str, hub: Value| {
        let secrets = east.secrets("web");
        async move { merge(&secrets, name, json!({"metadata": {"annotations": {"claviger.dev/hub": hub}}})).await }
    };
    edit("reg", Value::Null).await?;
    // One that really is an orphan of the second hub shows that this sweeps.
    let copy = east.secrets("web").get("reg").await?;
    let orphan: Value = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orphan", "labels": copy.metadata.labels, "annotations": copy.metadata.annotations},
        "type": copy.type_, "data": copy.data,
    });
    let params = PatchParams::apply("test");
    let _: Secret = east.secrets("web").patch("orphan", &params, &Patch::Apply(orphan)).await?;
    edit("orphan", json!("two")).await?;
    two.join(&east, json!({})).await?;
    east.wait_no_copy("web", "orphan").await?;
    stays(QUIET, "the copy of the other hub", async || {
        east.secrets("web").get("reg").await.map(drop).map_err(|error| error.to_string())
    })
    .await
}
