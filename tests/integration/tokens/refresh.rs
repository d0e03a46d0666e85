//! A token is renewed before it ends, and stays as long as it is good.

use std::time::Duration;

use jiff::Timestamp;

use super::{ACR_HOST, World, acr_by_secret, auths, expiration, with_target};
use crate::{
    checks::wait_events,
    support::{Error, Result, cloud::Service, registry::Answer, stays, wait_for},
};

#[tokio::test]
async fn no_copy_ever_holds_a_token_that_has_ended() -> Result<()> {
    const LIFE: Duration = Duration::from_secs(24);
    let world = World::start().await?;
    world.cloud.life(LIFE);
    world.azure_secret().await?;
    world.test.policy().await?;
    let targets = world.test.targets(3).await?;
    let _operator = world.operator()?.start().await?;
    world.test.credential("reg", with_target(acr_by_secret(), world.test.selector())).await?;
    world.test.wait_ready("reg", 1).await?;
    let mut told = expiration(&world.test, "reg").await?;
    stays(Duration::from_secs(60), "tokens that are good", async || {
        for target in &targets {
            let logins = auths(&world.test, target, "reg").await.map_err(|error| error.to_string())?;
            let now = Timestamp::now();
            let minted = world.cloud.minted();
            let found = minted.iter().find(|m| m.service == Service::Acr && m.token == logins[0].2);
            let found = found.ok_or("a token of nobody")?;
            if found.expires <= now {
                return Err(format!("{target}: it ended at {}, and it is {now}", found.expires));
            }
        }
        let until = expiration(&world.test, "reg").await.map_err(|error| error.to_string())?;
        if until < told {
            return Err(format!("the status went back from {told} to {until}"));
        }
        told = until;
        Ok(())
    })
    .await?;
    // At half of its life, more or less: neither too late nor all the time.
    let asked: Vec<_> = world.cloud.asked_of(Service::Acr).iter().map(|asked| asked.at).collect();
    assert!((5..=8).contains(&asked.len()), "{}", world.told());
    for pair in asked.windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart > LIFE.mul_f64(0.4) && apart < LIFE.mul_f64(0.75), "{apart:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_leaves_the_old_token_for_as_long_as_it_is_good() -> Result<()> {
    let world = World::start().await?;
    world.cloud.life(Duration::from_secs(30));
    world.azure_secret().await?;
    let _operator = world.operator()?.start().await?;
    world.test.credential("reg", acr_by_secret()).await?;
    let first = world.wait_minted("reg", Service::Acr, ACR_HOST).await?;
    world.test.wait_ready("reg", 1).await?;
    world.cloud.refuse(Service::Entra);
    let told = world.wait_refreshed("reg", "False", "TokenRefused").await?;
    assert!(told.contains("login.microsoftonline.com") || told.contains("Entra"), "{told}");
    wait_events(&world.test, "reg", "TokenRefused", 1).await?;
    let home = &world.test.home.name;
    let ready = async || -> Result<String> {
        let conditions = world.test.status("reg").await?.conditions;
        Ok(conditions.into_iter().find(|c| c.type_ == "Ready").map(|c| c.status).unwrap_or_default())
    };
    // Until a moment before its end.
    let left = Duration::try_from(first.expires.duration_since(Timestamp::now()))?;
    stays(left.saturating_sub(Duration::from_secs(2)), "the old token, and ready", async || {
        let text = |error: Error| error.to_string();
        let (ready, logins) =
            (ready().await.map_err(text)?, auths(&world.test, home, "reg").await.map_err(text)?);
        let same = logins.iter().all(|(_, _, token)| *token == first.token);
        if ready == "True" && logins.len() == 1 && same {
            Ok(())
        } else {
            Err(format!("ready: {ready}, {same}"))
        }
    })
    .await?;
    wait_for(Duration::from_secs(20), "what has ended not to be called ready", async || {
        let ready = ready().await.map_err(|error| error.to_string())?;
        if ready == "False" { Ok(()) } else { Err(ready) }
    })
    .await?;
    world.cloud.restore(Service::Entra);
    // After several refusals the next try is minutes away, unless somebody asks for it.
    world.test.annotate("reg", "claviger.dev/sync-requested-at", "now").await?;
    let second = world.wait_minted("reg", Service::Acr, ACR_HOST).await?;
    assert_ne!(first.token, second.token);
    world.test.wait_condition("reg", "Ready", "True", "AllTargetsSynced").await?;
    Ok(())
}

#[tokio::test]
async fn a_vendor_that_is_down_is_asked_again_and_not_all_the_time() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    world.cloud.answer(Service::Entra, Answer::status(503).body("{}"));
    let _operator = world.operator()?.start().await?;
    world.test.credential("reg", acr_by_secret()).await?;
    world.wait_refreshed("reg", "False", "CloudUnreachable").await?;
    let asked = world.cloud.count(Service::Entra);
    assert!(asked <= 3, "{}", world.told());
    assert_eq!(world.cloud.count(Service::Acr), 0);
    world.cloud.restore(Service::Entra);
    world.wait_minted("reg", Service::Acr, ACR_HOST).await?;
    world.test.wait_ready("reg", 1).await?;
    Ok(())
}

/// One that throttles is left alone for as long as it asks, by that identity: what a tenant has used up is no matter of the
/// others.
#[tokio::test]
async fn a_vendor_that_asks_for_a_pause_gets_it() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    let busy = Answer::status(429).header("retry-after", "3600").body("{}");
    world.cloud.answer(Service::Entra, busy);
    let _operator = world.operator()?.start().await?;
    for n in 0..5 {
        let data = serde_json::json!({"AZURE_CLIENT_SECRET": format!("{}-{n}", world.cloud.client_secret())});
        world.test.source(&format!("azure-{n}"), data).await?;
        let mut spec = acr_by_secret();
        spec["acr"]["auth"]["secretRef"]["name"] = serde_json::json!(format!("azure-{n}"));
        world.test.credential(&format!("reg-{n}"), spec).await?;
    }
    for n in 0..5 {
        world.wait_refreshed(&format!("reg-{n}"), "False", "RateLimited").await?;
    }
    let asked = world.cloud.count(Service::Entra);
    assert_eq!(asked, 5, "{}", world.told());
    stays(Duration::from_secs(15), "the pause", async || {
        if world.cloud.count(Service::Entra) == asked { Ok(()) } else { Err(world.told()) }
    })
    .await
}
