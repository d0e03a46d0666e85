//! Whatever the operator may pull, it pulls for those alone whom a policy names for it.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::json;

use super::{World, acr, auths, consent, ecr, google, policies};
use crate::{
    checks::SOON,
    support::{Result, cloud::Service, stays},
};

const GOOGLE_HOST: &str = "europe-west3-docker.pkg.dev";

#[tokio::test]
async fn without_a_policy_nothing_is_asked_with_the_identity_of_the_operator() -> Result<()> {
    let world = World::start().await?;
    let home = &world.test.home.name;
    let operator = world.operator()?.env("GCE_METADATA_HOST", world.cloud.metadata_host()).start().await?;
    let spec = google(json!({"operatorIdentity": {}}));
    world.test.credential("reg", spec.clone()).await?;
    let told = world.wait_refreshed("reg", "False", "IdentityNotPermitted").await?;
    assert!(told.contains("allowOperatorIdentity"), "{told}");
    // Neither a policy for others is consent, nor one that is about distribution alone.
    consent(&world.test, "others", &["somebody-else"], true).await?;
    consent(&world.test, "distribution", &[home], false).await?;
    stays(Duration::from_secs(3), "nothing asked", async || {
        if world.cloud.asked().is_empty() { Ok(()) } else { Err(world.told()) }
    })
    .await?;
    world.wait_refreshed("reg", "False", "IdentityNotPermitted").await?;
    assert!(auths(&world.test, home, "reg").await?.is_empty());

    consent(&world.test, "identity", &[home], true).await?;
    world.wait_minted("reg", Service::Metadata, GOOGLE_HOST).await?;
    world.test.wait_ready("reg", 1).await?;
    // A restart does not forget that it is asked for, nor ask again.
    let asked = world.cloud.asked().len();
    assert_eq!(operator.terminate(SOON).await?, 0);
    let _operator = world.operator()?.env("GCE_METADATA_HOST", world.cloud.metadata_host()).start().await?;
    // Another tenant has no part in it, though the token is there.
    let other = world.lab.scenario().await?;
    other.credential("reg", spec).await?;
    other.wait_condition("reg", "Refreshed", "False", "IdentityNotPermitted").await?;
    assert!(auths(&other, &other.home.name, "reg").await?.is_empty());
    assert_eq!(world.cloud.asked().len(), asked, "{}", world.told());
    Ok(())
}

#[tokio::test]
async fn once_a_policy_is_gone_no_further_token_is_minted() -> Result<()> {
    let world = World::start().await?;
    world.cloud.life(Duration::from_secs(30));
    consent(&world.test, "identity", &[&world.test.home.name], true).await?;
    let _operator = world.operator()?.env("GCE_METADATA_HOST", world.cloud.metadata_host()).start().await?;
    world.test.credential("reg", google(json!({"operatorIdentity": {}}))).await?;
    world.wait_minted("reg", Service::Metadata, GOOGLE_HOST).await?;
    policies(&world.test.client).delete("identity", &DeleteParams::default()).await?;
    world.wait_refreshed("reg", "False", "IdentityNotPermitted").await?;
    let asked = world.cloud.asked().len();
    // Beyond the time at which it would have been refreshed.
    stays(Duration::from_secs(20), "nothing asked", async || {
        if world.cloud.asked().len() == asked { Ok(()) } else { Err(world.told()) }
    })
    .await?;
    // And with consent again, it goes on.
    consent(&world.test, "identity", &[&world.test.home.name], true).await?;
    world.wait_minted("reg", Service::Metadata, GOOGLE_HOST).await?;
    assert!(world.cloud.asked().len() > asked);
    Ok(())
}

/// Nothing falls through to what else is on a node: its own role, or its metadata.
#[tokio::test]
async fn an_operator_without_an_identity_says_so_and_asks_nobody() -> Result<()> {
    let world = World::start().await?;
    consent(&world.test, "identity", &[&world.test.home.name], true).await?;
    let operator = ["AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AZURE_FEDERATED_TOKEN_FILE"]
        .into_iter()
        .fold(world.operator()?, |operator, name| operator.env(name, ""));
    let _operator = operator.start().await?;
    for (name, spec) in
        [("aws", ecr(json!({"operatorIdentity": {}}))), ("azure", acr(json!({"operatorIdentity": {}})))]
    {
        world.test.credential(name, spec).await?;
        world.wait_refreshed(name, "False", "IdentityMissing").await?;
    }
    assert!(world.cloud.asked().is_empty(), "{}", world.told());
    assert!(world.cloud.proxy.asked().is_empty(), "{:?}", world.cloud.proxy.asked());
    Ok(())
}

/// Without TLS, the token of the operator goes to no other machine, whatever its environment says.
#[tokio::test]
async fn an_agent_outside_of_the_machine_is_not_asked() -> Result<()> {
    let world = World::with_aws().await?;
    consent(&world.test, "identity", &[&world.test.home.name], true).await?;
    let operator = world
        .operator()?
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://agent.example.com/v1/credentials");
    let _operator =
        operator.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/proc/self/cmdline").start().await?;
    world.test.credential("reg", ecr(json!({"operatorIdentity": {}}))).await?;
    let status = crate::support::wait_for(super::SOON, "the condition", async || {
        let conditions = world.test.status("reg").await.map_err(|error| error.to_string())?.conditions;
        let found = conditions.into_iter().find(|c| c.type_ == "Refreshed" && c.status == "False");
        found.ok_or_else(|| "none".to_owned())
    })
    .await?;
    assert!(["IdentityMissing", "CloudUnreachable"].contains(&status.reason.as_str()), "{status:?}");
    assert!(world.cloud.asked().is_empty(), "{}", world.told());
    assert!(
        !world.cloud.proxy.asked().iter().any(|target| target.starts_with("agent.")),
        "{:?}",
        world.cloud.proxy.asked()
    );
    Ok(())
}
