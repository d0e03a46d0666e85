//! What was minted is tried at its registry, as any other login.

use serde_json::json;

use super::{ACR_HOST, World, acr_by_secret};
use crate::support::{
    Result,
    cloud::Service,
    registry::{Answer, FaultyRegistry},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

#[tokio::test]
async fn a_registry_that_cannot_be_asked_holds_no_token_back() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    // The exchange has the name of the registry, and no `/v2/` here.
    let mut spec = acr_by_secret();
    spec["verification"] = json!({"mode": "Enforce"});
    let _operator = world.operator()?.start().await?;
    world.test.credential("reg", spec).await?;
    world.wait_minted("reg", Service::Acr, ACR_HOST).await?;
    let verified = world.test.wait_condition("reg", "Verified", "Unknown", "NotARegistry").await?;
    assert!(!verified.message.is_empty());
    world.test.wait_ready("reg", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_token_that_its_registry_refuses_is_told_and_held_back() -> Result<()> {
    let world = World::start().await?;
    let registry =
        FaultyRegistry::start(Some(&world.cloud.authority.server(&["europe-west3-docker.pkg.dev"])?)).await?;
    world.cloud.proxy.lead("europe-west3-docker.pkg.dev", registry.address());
    let basic = Answer::status(401).header("www-authenticate", "Basic realm=\"x\"");
    let refusing = basic.clone();
    registry.rule(move |_| refusing.clone());
    world.account("puller", json!({})).await?;
    let mut spec = super::google_by_account("puller");
    spec["verification"] = json!({"mode": "Enforce"});
    let _operator = world.operator()?.start().await?;
    world.test.credential("reg", spec).await?;
    world.test.wait_condition("reg", "Verified", "False", "AuthenticationFailed").await?;
    let home = &world.test.home.name;
    assert!(world.test.secrets(home).get_opt("reg").await?.is_none());
    let newest = world.cloud.newest(Service::GoogleSts).unwrap();
    let login = format!("Basic {}", STANDARD.encode(format!("{}:{}", newest.user, newest.token)));
    assert_eq!(registry.authorizations().last(), Some(&login));

    registry.rule(move |request| match &request.authorization {
        None => basic.clone(),
        Some(_) => Answer::status(200).body("{}"),
    });
    world.test.annotate("reg", "claviger.dev/sync-requested-at", "now").await?;
    world.test.wait_condition("reg", "Verified", "True", "Authenticated").await?;
    // Whoever asks for a sync asks for a new token, too: it is the first or the second.
    world.test.wait_condition("reg", "Ready", "True", "AllTargetsSynced").await?;
    assert!(world.test.secrets(home).get_opt("reg").await?.is_some());
    Ok(())
}
