//! A restart while members are frozen.

use std::time::{Duration, Instant};

use kube::{Api, api::DeleteParams};
use serde_json::json;

use super::world::{LONG, Member, World};
use crate::{
    basic_auth::{apply, data, team, wait_ready},
    support::{Error, HttpProxy, Result, http_proxy::Action, wait_for},
};

/// Several members at 10 s each would take longer by far.
const FEW_SECONDS: Duration = Duration::from_secs(8);

/// Members with a namespace for copies, each behind a proxy.
async fn members(world: &World, names: &[&str]) -> Result<Vec<(Member, HttpProxy)>> {
    let mut members = Vec::new();
    for name in names {
        let mut member = Member::bare(name).await?;
        let proxy = member.http_proxy().await?;
        member.namespaces(&world.test, &["web"]).await?;
        world.join(&member, json!({})).await?;
        members.push((member, proxy));
    }
    Ok(members)
}

#[tokio::test]
async fn a_restart_does_not_wait_for_each_frozen_member_in_turn() -> Result<()> {
    let lab = crate::lab::Lab::start().await?;
    // With the usual time-outs: it is about how they add up.
    let operator = lab.operator()?.start().await?;
    let world = World::of(lab, operator).await?;
    world.consent(serde_json::json!({"selector": {}})).await?;
    let test = &world.test;
    let (client, home) = (&test.client, &test.home.name);
    for name in ["web", "db"] {
        test.target(name).await?;
    }
    let members = members(&world, &["east", "north", "west"]).await?;
    test.source("team", json!({"alice": "alice-password", "bob": "bob-password"})).await?;
    let target = super::world::merge(test.selector(), json!({"clusters": {"selector": {}}}));
    let spec = json!({"format": "Htpasswd", "users": team(&["alice", "bob"]), "target": target});
    apply(client, home, "login", spec).await?;
    wait_ready(client, home, "login", 1).await?;
    world.operator.terminate(Duration::from_secs(20)).await?;

    // What holds the hashes now is in members alone, and they can be listed but not asked.
    for namespace in ["web", "db"] {
        test.secrets(namespace).delete("login", &DeleteParams::default()).await?;
    }
    for (_, proxy) in &members {
        proxy.rule(|request| {
            let listed = request.is_list() || request.is_watch();
            if request.resource == "secrets" && !listed { Action::Hold } else { Action::Pass }
        });
    }
    let began = Instant::now();
    let operator = world.lab.operator()?.start().await?;
    let ready = began.elapsed();
    for namespace in ["web", "db"] {
        let what = format!("the copy in {namespace}, {ready:?} after the start");
        wait_for(FEW_SECONDS, &what, async || {
            let copy = data(client, namespace, "login").await?;
            let lines: Vec<_> = copy["auth"].lines().filter_map(|line| line.split_once(':')).collect();
            let users: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
            if users == ["alice", "bob"] && lines.iter().all(|(_, hash)| hash.starts_with("$2y$")) {
                return Ok(());
            }
            Err(Error::new(format!("{} lines", lines.len())))
        })
        .await?;
    }

    // In the end all have the same; what was not asked in time may be written anew.
    for (_, proxy) in &members {
        proxy.pass();
    }
    wait_for(LONG, "the same hashes everywhere", async || {
        let local = data(client, "web", "login").await?;
        for (member, _) in &members {
            if data(&member.admin, "web", "login").await? != local {
                return Err(Error::new(format!("{} has others", member.name)));
            }
        }
        let second = data(client, "db", "login").await?;
        if second == local { Ok(()) } else { Err(Error::new("db has others")) }
    })
    .await?;
    let objects: Api<claviger::api::BasicAuthCredential> = Api::namespaced(client.clone(), home);
    wait_for(LONG, "the credential to be ready", async || {
        let status = objects.get("login").await?.status.unwrap_or_default();
        let ready = status.common.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        if ready { Ok(()) } else { Err(Error::new(serde_json::to_string(&status)?)) }
    })
    .await?;
    operator.check_running()
}
