//! One token of each identity and registry, however many namespaces and credentials want it.

use std::collections::BTreeSet;

use super::{ACR_HOST, World, acr_by_secret, auths, google_by_account, with_target};
use crate::support::{Result, cloud::Service};
use serde_json::json;

const NAMESPACES: usize = 20;

#[tokio::test]
async fn many_namespaces_and_two_credentials_of_one_identity_cost_one_token() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    world.test.policy().await?;
    let targets = world.test.targets(NAMESPACES).await?;
    let _operator = world.operator()?.start().await?;
    for name in ["one", "two"] {
        let spec = with_target(acr_by_secret(), world.test.selector());
        world.test.credential(name, spec).await?;
    }
    for name in ["one", "two"] {
        world.test.wait_ready(name, 1).await?;
    }
    let newest = world.cloud.newest(Service::Acr).unwrap();
    let mut found = BTreeSet::new();
    for target in &targets {
        for name in ["one", "two"] {
            found.extend(auths(&world.test, target, name).await?);
        }
    }
    assert_eq!(found, BTreeSet::from([(ACR_HOST.to_owned(), newest.user, newest.token)]));
    assert_eq!(
        (world.cloud.count(Service::Entra), world.cloud.count(Service::Acr)),
        (1, 1),
        "{}",
        world.told()
    );
    // Further ones, later, cost nothing either.
    let more = with_target(acr_by_secret(), world.test.selector());
    world.test.credential("three", more).await?;
    world.test.target("late").await?;
    world.test.wait_ready("three", 1).await?;
    assert_eq!(world.cloud.count(Service::Acr), 1, "{}", world.told());
    Ok(())
}

/// Attack: to be given the token of another identity, as what is asked for looks the same.
#[tokio::test]
async fn another_identity_gets_a_token_of_its_own() -> Result<()> {
    let world = World::start().await?;
    for name in ["billing", "web"] {
        world.account(name, json!({})).await?;
    }
    let _operator = world.operator()?.start().await?;
    for name in ["billing", "web"] {
        world.test.credential(name, google_by_account(name)).await?;
        world.test.wait_ready(name, 1).await?;
    }
    let home = &world.test.home.name;
    let (billing, web) = (auths(&world.test, home, "billing").await?, auths(&world.test, home, "web").await?);
    assert_ne!(billing, web);
    assert_eq!(world.cloud.count(Service::GoogleSts), 2, "{}", world.told());
    // A namespace of another tenant has a ServiceAccount of the same name.
    let other = world.lab.scenario().await?;
    super::account(&other.client, &other.home.name, "web", json!({})).await?;
    world.cloud.let_in(&other.home.name, "web");
    other.credential("web", google_by_account("web")).await?;
    other.wait_ready("web", 1).await?;
    let theirs = auths(&other, &other.home.name, "web").await?;
    assert!(theirs != web && theirs != billing);
    assert_eq!(world.cloud.count(Service::GoogleSts), 3, "{}", world.told());
    Ok(())
}
