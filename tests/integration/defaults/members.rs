//! Defaults in member clusters.

use claviger::cli::member_rbac::{MemberRbacArgs, manifests};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use super::{Accounts, policy, wait_default};
use crate::{
    fleet::world::{LONG, Member, World},
    support::{Result, apply_yaml, wait_for},
};

#[tokio::test]
async fn a_member_gets_it_and_one_that_hides_its_service_accounts_costs_the_default_alone() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    policy(test, true).await?;
    test.target("web").await?;
    east.namespaces(test, &["web"]).await?;
    world.join(&east, json!({})).await?;
    let mut spec = world.spec(json!({"selector": {}}));
    spec["default"] = json!({"enabled": true});
    test.credential("reg", spec.clone()).await?;
    let there = Accounts(east.admin.clone());
    there.wait_names("web", "default", &["reg"]).await?;
    Accounts::of(test).wait_names("web", "default", &["reg"]).await?;
    wait_default(test, "reg", "True", "Attached").await?;

    // The right to read them goes.
    let roles: Api<ClusterRole> = Api::all(east.admin.clone());
    let name = "claviger-system:claviger-member";
    let mut role = roles.get(name).await?;
    for rule in role.rules.iter_mut().flatten() {
        rule.resources.iter_mut().for_each(|all| all.retain(|resource| resource != "serviceaccounts"));
    }
    role.rules
        .iter_mut()
        .for_each(|rules| rules.retain(|rule| rule.resources.iter().flatten().next().is_some()));
    roles.replace(name, &Default::default(), &role).await?;
    wait_for(LONG, "the default to be told as forbidden", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let reason = |type_: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == type_);
            found.map(|condition| (condition.status.clone(), condition.reason.clone()))
        };
        let told = (reason("Default"), reason("Synced"));
        let is = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
        let expected = (is("False", "ServiceAccountsForbidden"), is("True", "AllTargetsSynced"));
        if told == expected { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await?;
    // It comes back, and what was attached meanwhile went on in the hub.
    apply_yaml(&east.admin, &manifests(&MemberRbacArgs::default())?).await?;
    spec["default"]["enabled"] = json!(false);
    test.credential("reg", spec).await?;
    there.wait_names("web", "default", &[]).await?;
    Accounts::of(test).wait_names("web", "default", &[]).await
}

/// The member is let go when what is attached there is off, also where there is no copy to take back.
#[tokio::test]
async fn from_a_member_that_is_removed_it_is_detached_before_the_member_goes() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    policy(test, true).await?;
    let namespaces: Vec<String> = (0..40).map(|n| format!("web-{n}")).collect();
    let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    east.namespaces(test, &names).await?;
    world.join(&east, json!({})).await?;
    let mut spec = world.spec(json!({"names": ["east"]}));
    spec["default"] = json!({"enabled": true});
    // There is no source, so that no copy holds the member.
    spec["secretRef"] = json!({"name": "none"});
    test.credential("reg", spec).await?;
    let there = Accounts(east.admin.clone());
    wait_for(LONG, "it to be attached everywhere", async || {
        there.naming("reg").await.is_ok_and(|count| count == names.len())
    })
    .await?;
    world.members().delete("east", &DeleteParams::default()).await?;
    wait_for(LONG, "the member to be gone", async || {
        world.members().get_opt("east").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    assert_eq!(there.naming("reg").await?, 0, "left behind");
    world.operator.check_running()
}

/// Where the member refuses to have it taken off, that is waited for, and said, and not for ever.
#[tokio::test]
async fn a_member_that_refuses_to_detach_is_let_go_after_the_grace_period() -> Result<()> {
    let (world, east) =
        tokio::try_join!(World::new(&["--unreachable-grace-period=6s"]), Member::start("east"))?;
    let test = &world.test;
    policy(test, true).await?;
    east.namespaces(test, &["web"]).await?;
    world.join(&east, json!({})).await?;
    let mut spec = world.spec(json!({"names": ["east"]}));
    spec["default"] = json!({"enabled": true});
    test.credential("reg", spec).await?;
    let there = Accounts(east.admin.clone());
    there.wait_names("web", "default", &["reg"]).await?;
    // It may read them, and no longer write them.
    let roles: Api<ClusterRole> = Api::all(east.admin.clone());
    let name = "claviger-system:claviger-member";
    let mut role = roles.get(name).await?;
    for rule in role.rules.iter_mut().flatten() {
        if rule.resources.iter().flatten().any(|resource| resource == "serviceaccounts") {
            rule.verbs.retain(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
        }
    }
    roles.replace(name, &Default::default(), &role).await?;
    world.members().delete("east", &DeleteParams::default()).await?;
    wait_for(LONG, "the status to say what it waits for", async || {
        let object = world.members().get("east").await.map_err(|error| error.to_string())?;
        let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
        let told: Vec<_> = conditions.into_iter().map(|condition| condition.message).collect();
        let is_told = |text: &String| text.contains("detached from 1 ServiceAccount");
        if told.iter().any(is_told) { Ok(()) } else { Err(told.join("; ")) }
    })
    .await?;
    wait_for(LONG, "the member to be gone", async || {
        world.members().get_opt("east").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    there.stays_names("web", &["reg"]).await?;
    world.operator.check_running()
}
