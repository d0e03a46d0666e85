//! A token outlives the operator that has minted it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACR_HOST, World, acr_by_secret, auths, status, with_target};
use crate::{
    checks::{SOON, exact_all, merge},
    policies::Told,
    support::{Result, cloud::Service, stays, wait_for},
};

#[tokio::test]
async fn a_restart_within_the_life_of_a_token_mints_nothing_and_writes_nothing() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    let policy = Told::by(&world.test).await?;
    let targets = world.test.targets(3).await?;
    let operator = world.operator()?.start().await?;
    world.test.credential("reg", with_target(acr_by_secret(), world.test.selector())).await?;
    world.test.wait_ready("reg", 1).await?;
    world.wait_refreshed("reg", "True", "Refreshed").await?;
    policy.wait_count(1).await?;
    // Once as a Pod that is moved, once as one that crashes.
    let mut operator = Some(operator);
    for polite in [true, false] {
        let old = operator.take().unwrap();
        if polite {
            assert_eq!(old.terminate(SOON).await?, 0);
        } else {
            old.kill9()?;
        }
        let copies = exact_all(&world.test, &targets, "reg").await?;
        let told = status(&world.test, "reg").await?;
        let (asked, requests) = (world.cloud.asked().len(), world.lab.requests()?);
        operator = Some(world.operator()?.start().await?);
        stays(Duration::from_secs(5), "all as it was", async || {
            let text = |error: crate::support::Error| error.to_string();
            if world.cloud.asked().len() != asked {
                return Err(world.told());
            }
            if exact_all(&world.test, &targets, "reg").await.map_err(text)? != copies {
                return Err("a copy was written".to_owned());
            }
            let now = status(&world.test, "reg").await.map_err(text)?;
            if now == told { Ok(()) } else { Err(now.to_string()) }
        })
        .await?;
        let written = world.lab.writes(requests)?;
        let written: Vec<_> = written.iter().filter(|event| event.resource != "events").collect();
        assert!(written.is_empty(), "{written:?}");
    }
    Ok(())
}

/// What was minted for an identity that was changed meanwhile is not what is wanted any more.
#[tokio::test]
async fn an_identity_that_was_changed_meanwhile_is_used_after_a_restart() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    let operator = world.operator()?.start().await?;
    world.test.credential("reg", acr_by_secret()).await?;
    let first = world.wait_minted("reg", Service::Acr, ACR_HOST).await?;
    assert_eq!(operator.terminate(SOON).await?, 0);
    let secrets = world.test.secrets(&world.test.home.name);
    merge(&secrets, "azure", json!({"stringData": {"another": "value"}})).await?;
    let _operator = world.operator()?.start().await?;
    wait_for(SOON, "a token for the new Secret", async || world.cloud.count(Service::Acr) == 2).await?;
    let second = world.wait_minted("reg", Service::Acr, ACR_HOST).await?;
    assert_ne!(first.token, second.token);
    Ok(())
}

/// What has a copy hold the login of a thief.
fn forgery() -> Value {
    let login = json!({"username": "thief", "password": "of-a-thief", "auth": "dGhpZWY6b2YtYS10aGllZg=="});
    let file = json!({"auths": {ACR_HOST: login}});
    json!({"stringData": {".dockerconfigjson": file.to_string()}})
}

/// Attack: whoever may write one copy gives it a login of his own while no operator looks, to have it everywhere.
#[tokio::test]
async fn a_copy_that_was_forged_meanwhile_is_read_back_by_nobody() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    world.test.policy().await?;
    let targets = world.test.targets(4).await?;
    let operator = world.operator()?.start().await?;
    world.test.credential("reg", with_target(acr_by_secret(), world.test.selector())).await?;
    world.test.wait_ready("reg", 1).await?;
    assert_eq!(operator.terminate(SOON).await?, 0);
    // The first by name, and all but one.
    for target in &targets[..3] {
        merge(&world.test.secrets(target), "reg", forgery()).await?;
    }
    let _operator = world.operator()?.start().await?;
    let is_good = async |target: &String| -> Result<(), String> {
        let logins = auths(&world.test, target, "reg").await.map_err(|error| error.to_string())?;
        let minted = world.cloud.minted();
        let ours = |(_, user, token): &(String, String, String)| {
            minted.iter().any(|m| m.service == Service::Acr && m.user == *user && m.token == *token)
        };
        if logins.len() == 1 && logins.iter().all(ours) {
            Ok(())
        } else {
            Err(format!("a forged login in {target}"))
        }
    };
    wait_for(SOON, "good tokens everywhere", async || {
        for target in &targets {
            is_good(target).await?;
        }
        Ok::<_, String>(())
    })
    .await?;
    stays(Duration::from_secs(2), "the copy that was good", async || is_good(&targets[3]).await).await?;
    Ok(())
}

/// Attack: of two credentials with one identity, one has its only copy where it is edited.
#[tokio::test]
async fn what_was_forged_in_the_only_copy_of_one_credential_comes_to_no_other() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    world.test.policy().await?;
    let targets = world.test.targets(3).await?;
    let operator = world.operator()?.start().await?;
    let at = |names: &[String]| with_target(acr_by_secret(), json!({"namespaces": {"names": names}}));
    // The first by name is the first that is worked on, mostly.
    world.test.credential("a", at(&targets[..1])).await?;
    world.test.credential("b", at(&targets[1..])).await?;
    for name in ["a", "b"] {
        world.test.wait_ready(name, 1).await?;
        world.wait_refreshed(name, "True", "Refreshed").await?;
    }
    assert_eq!(operator.terminate(SOON).await?, 0);
    merge(&world.test.secrets(&targets[0]), "a", forgery()).await?;
    let copies = exact_all(&world.test, &targets[1..], "b").await?;
    let asked = world.cloud.asked().len();
    let _operator = world.operator()?.start().await?;
    stays(Duration::from_secs(5), "all as it was", async || {
        let now = exact_all(&world.test, &targets[1..], "b").await.map_err(|error| error.to_string())?;
        if now == copies && world.cloud.asked().len() == asked { Ok(()) } else { Err(world.told()) }
    })
    .await
}
