//! Kinds that the operator may not read: they hold nothing, and nobody is less ready for it.

use claviger::cli::{
    Family, Kinds,
    member_rbac::{MemberRbacArgs, manifests},
};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::kinds::ingress;
use crate::{
    checks::{delete, wait_no_credential},
    fleet::world::{LONG, Member, World},
    support::{Result, apply_yaml_in, stays, wait_for},
};

/// The rights that the operator has in a member.
async fn allow(member: &Member, families: &[Family]) -> Result<()> {
    let args = MemberRbacArgs { references: Kinds::of(families), ..MemberRbacArgs::default() };
    let role: Value = serde_saphyr::from_multiple::<Value>(&manifests(&args)?)?
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole")
        .unwrap_or_default();
    let name = role["metadata"]["name"].as_str().unwrap_or_default();
    let roles: Api<ClusterRole> = Api::all(member.admin.clone());
    roles.patch(name, &PatchParams::default(), &Patch::Merge(json!({"rules": role["rules"]}))).await?;
    Ok(())
}

async fn put_ingress(member: &Member, namespace: &str) -> Result<()> {
    let object = serde_json::to_string(&ingress("web", "reg"))?;
    apply_yaml_in(&member.admin, namespace, &object).await.map(drop)
}

async fn take_ingress(member: &Member, namespace: &str) -> Result<()> {
    let api: Api<k8s_openapi::api::networking::v1::Ingress> =
        Api::namespaced(member.admin.clone(), namespace);
    api.delete("web", &DeleteParams::default()).await?;
    Ok(())
}

async fn wait_users(world: &World, blocking: i64) -> Result<()> {
    wait_for(LONG, &format!("{blocking} that hold"), async || {
        let references =
            world.test.status("reg").await.map_err(|error| error.to_string())?.references.unwrap_or_default();
        if references.blocking == blocking { Ok(()) } else { Err(format!("{references:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_member_that_shows_no_ingresses_is_ready_and_they_count_once_it_does() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    allow(&east, &[]).await?;
    east.namespaces(test, &["web"]).await?;
    put_ingress(&east, "web").await?;
    world.join(&east, json!({})).await?;
    test.credential("reg", world.spec(json!({"names": ["east"]}))).await?;
    test.wait_ready("reg", 1).await?;
    world.wait_member("east", "Ready", "True").await?;
    // Told once, for each kind.
    let told = || {
        let logs = world.operator.logs();
        let lines =
            logs.lines().filter(|line| line.contains("may not list and watch") && line.contains("ingresses"));
        lines.filter(|line| line.contains("east")).count()
    };
    assert_eq!(told(), 1, "{}", world.operator.logs());
    assert_eq!(test.status("reg").await?.references.unwrap_or_default().total, 0);

    // The right is given: it is found out without a restart.
    allow(&east, &[Family::Ingresses]).await?;
    wait_users(&world, 1).await?;
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &["Ingress web/web in cluster east"]).await?;
    // The right is taken away: what was seen last goes on holding.
    allow(&east, &[]).await?;
    wait_for(
        LONG,
        "the loss to be noticed",
        async || if told() == 2 { Ok(()) } else { Err(told().to_string()) },
    )
    .await?;
    stays(std::time::Duration::from_secs(2), "a copy that was in use", async || {
        east.secrets("web").get("reg").await.map(drop)
    })
    .await?;
    world.wait_member("east", "Ready", "True").await?;
    take_ingress(&east, "web").await?;
    allow(&east, &[Family::Ingresses]).await?;
    // It is tried again once in 30 s.
    wait_for(LONG, "the credential to go", async || {
        test.credentials().get_opt("reg").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    world.operator.check_running()
}

/// A member whose rights are of an earlier version: deletions go on as they did.
#[tokio::test]
async fn what_may_not_be_read_holds_no_deletion() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    allow(&east, &[]).await?;
    east.namespaces(test, &["web"]).await?;
    put_ingress(&east, "web").await?;
    world.join(&east, json!({})).await?;
    test.credential("reg", world.spec(json!({"names": ["east"]}))).await?;
    test.wait_ready("reg", 1).await?;
    delete(test, "reg").await?;
    wait_no_credential(test, "reg").await?;
    east.wait_no_copy("web", "reg").await?;
    world.operator.check_running()
}
