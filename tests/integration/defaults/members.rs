//! Defaults in member clusters.

use claviger::cli::member_rbac::{MemberRbacArgs, manifests};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
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
