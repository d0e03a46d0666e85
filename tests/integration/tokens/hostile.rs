//! Vendors that answer as they should not, and keys that lead elsewhere: each costs itself alone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ACR_HOST, SOON, World, acr_by_secret, auths, google, quay};
use crate::{
    checks::events,
    fleet::world::{LONG, Member, World as Fleet},
    support::{
        Result,
        cloud::{Cloud, Minted, Service},
        registry::{Answer, FaultyRegistry},
        wait_for,
    },
};

/// What the budget allows.
const MOST_MEMORY: u64 = 128 << 20;

/// What a token may take beside any attack.
const PROMPT: Duration = Duration::from_secs(10);

fn told(body: &Value) -> Answer {
    Answer::status(200).header("content-type", "application/json").body(body.to_string())
}

/// What Entra could answer that is no token: nothing of it is used, quoted or followed, and it ends.
#[tokio::test]
async fn answers_that_are_no_tokens_are_used_by_nobody() -> Result<()> {
    let world = World::start().await?;
    let thief = FaultyRegistry::start(Some(&world.cloud.authority.server(&["evil.example.com"])?)).await?;
    world.cloud.proxy.lead("evil.example.com", thief.address());
    world.azure_secret().await?;
    let operator = world.operator()?.start().await?;
    let long = "x".repeat(2 << 20);
    let canary = "what-only-the-answer-has";
    for (name, answer) in [
        ("garbage", Answer::status(200).body(canary)),
        (
            "page",
            Answer::status(200).header("content-type", "text/html").body(format!("<html>{canary}</html>")),
        ),
        ("empty", told(&json!({}))),
        ("other-type", told(&json!({"access_token": [canary], "expires_in": 60}))),
        ("huge", told(&json!({"access_token": long, "expires_in": 60}))),
        ("endless", Answer::status(200).body("x".repeat(10_000)).repeated(Duration::ZERO)),
        ("reset", Answer::reset()),
        ("redirect", Answer::status(307).header("location", "https://evil.example.com/token")),
        ("broken", told(&json!({"access_token": "a\r\nx-injected: b", "expires_in": 60}))),
    ] {
        world.cloud.answer(Service::Entra, answer);
        world.test.credential(name, acr_by_secret()).await?;
        let message = wait_for(SOON, &format!("{name} to be told of"), async || {
            let conditions = world.test.status(name).await.map_err(|error| error.to_string())?.conditions;
            let found = conditions.iter().find(|c| c.type_ == "Refreshed" && c.status == "False");
            found.map(|c| c.message.clone()).ok_or_else(|| format!("{conditions:?}"))
        })
        .await?;
        assert!(!message.contains(canary) && message.len() < 1_000, "{name}: {message}");
        let told = format!("{:?}", events(&world.test, name).await?);
        assert!(!told.contains(canary), "{name}: {told}");
        assert!(auths(&world.test, &world.test.home.name, name).await?.is_empty(), "{name}");
        // What failed is not asked again at once; without it, the next one is.
        crate::checks::delete(&world.test, name).await?;
        crate::checks::wait_no_credential(&world.test, name).await?;
    }
    assert!(thief.requests().is_empty());
    assert!(operator.peak_rss_bytes()? < MOST_MEMORY, "{} MiB", operator.peak_rss_bytes()? >> 20);
    assert!(!operator.logs().contains(canary));
    Ok(())
}

/// Lives that no token has.
#[tokio::test]
async fn a_life_that_cannot_be_is_not_believed() -> Result<()> {
    let world = World::start().await?;
    let file = world.cloud.rsa().google_file().to_string();
    world.test.source("google", json!({"key.json": file})).await?;
    let spec = google(json!({"secretRef": {"name": "google"}}));
    let _operator = world.operator()?.start().await?;
    let answer =
        |life: Value| told(&json!({"access_token": "a-token", "token_type": "Bearer", "expires_in": life}));
    for (name, life) in
        [("past", json!(-60)), ("none", json!(0)), ("text", json!("an hour")), ("missing", Value::Null)]
    {
        world.cloud.answer(Service::GoogleToken, answer(life));
        world.test.credential(name, spec.clone()).await?;
        wait_for(SOON, &format!("{name} to be told of"), async || {
            let conditions = world.test.status(name).await.map_err(|error| error.to_string())?.conditions;
            conditions
                .iter()
                .any(|c| c.type_ == "Refreshed" && c.status == "False")
                .then_some(())
                .ok_or("not yet".to_owned())
        })
        .await?;
        assert!(auths(&world.test, &world.test.home.name, name).await?.is_empty(), "{name}");
        crate::checks::delete(&world.test, name).await?;
        crate::checks::wait_no_credential(&world.test, name).await?;
    }
    // One that never ends is renewed all the same: the status says a time that can be.
    world.cloud.answer(Service::GoogleToken, answer(json!(u64::MAX)));
    world.test.credential("forever", spec).await?;
    let told = wait_for(SOON, "what is told of it", async || {
        let status = super::status(&world.test, "forever").await.map_err(|error| error.to_string())?;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|c| c["type"] == "Refreshed" && c["status"] != "Unknown");
        found.map(|_| status.clone()).ok_or_else(|| status.to_string())
    })
    .await?;
    if let Some(until) = told["expirationTime"].as_str() {
        let until: jiff::Timestamp = until.parse()?;
        assert!(until.as_second() - jiff::Timestamp::now().as_second() <= 24 * 3_600 + 60, "{until}");
    }
    Ok(())
}

/// Attack: a tenant's key file names a server of the tenant's, that would have the signed claim.
#[tokio::test]
async fn a_key_of_google_leads_nowhere_else() -> Result<()> {
    let world = World::start().await?;
    let thief = FaultyRegistry::start(Some(&world.cloud.authority.server(&["evil.example.com"])?)).await?;
    thief.rule(|_| told(&json!({"access_token": "of-a-thief", "token_type": "Bearer", "expires_in": 3600})));
    world.cloud.proxy.lead("evil.example.com", thief.address());
    let _operator = world.operator()?.start().await?;
    for (name, field, value) in [
        ("token", "token_uri", "https://evil.example.com/token"),
        ("plain", "token_uri", "http://169.254.169.254/latest/meta-data/"),
        ("universe", "universe_domain", "evil.example.com"),
    ] {
        let mut file = world.cloud.rsa().google_file();
        file[field] = json!(value);
        world.test.source(name, json!({"key.json": file.to_string()})).await?;
        world.test.credential(name, google(json!({"secretRef": {"name": name}}))).await?;
        // Whether it is refused or not taken for what it says: it is told of.
        wait_for(SOON, &format!("{name} to be told of"), async || {
            let conditions = world.test.status(name).await.map_err(|error| error.to_string())?.conditions;
            let told = conditions.iter().any(|c| {
                (c.type_ == "Refreshed" && c.status == "True")
                    || (c.type_ == "SourceResolved" && c.status == "False")
                    || (c.type_ == "Refreshed" && c.status == "False")
            });
            told.then_some(()).ok_or_else(|| format!("{conditions:?}"))
        })
        .await?;
    }
    assert!(thief.requests().is_empty(), "{:?}", thief.requests());
    let asked = world.cloud.proxy.asked();
    assert!(asked.iter().all(|target| target == "oauth2.googleapis.com:443"), "{asked:?}");
    Ok(())
}

/// Attack: a tenant's vendors never answer, many at once, to use up what all share.
#[tokio::test]
async fn vendors_that_never_answer_hold_up_no_other_namespace() -> Result<()> {
    const SILENT: usize = 40;
    let world = World::start().await?;
    let hostile = world.lab.scenario().await?;
    let names: Vec<String> = (0..SILENT).map(|n| format!("quay-{n}.evil.example.com")).collect();
    let identity = world.cloud.authority.server(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let silent = FaultyRegistry::start(Some(&identity)).await?;
    silent.rule(|_| Answer::status(200).after(Duration::MAX));
    super::account(&hostile.client, &hostile.home.name, "puller", json!({})).await?;
    world.azure_secret().await?;
    let _operator = world.operator()?.start().await?;
    for (n, name) in names.iter().enumerate() {
        world.cloud.proxy.lead(name, silent.address());
        let mut spec = quay("puller");
        spec["server"] = json!(name);
        hostile.credential(&format!("reg-{n}"), spec).await?;
    }
    wait_for(SOON, "some to wait", async || silent.requests().len() >= 4).await?;
    let began = Instant::now();
    world.test.credential("reg", acr_by_secret()).await?;
    world.wait_minted("reg", Service::Acr, ACR_HOST).await?;
    world.test.wait_ready("reg", 1).await?;
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    Ok(())
}

/// One vendor that is slow holds up no other one, of the same tenant either.
#[tokio::test]
async fn a_slow_vendor_holds_up_no_other_one() -> Result<()> {
    let world = World::start().await?;
    world.azure_secret().await?;
    let file = world.cloud.rsa().google_file().to_string();
    world.test.source("google", json!({"key.json": file})).await?;
    world.cloud.slow_down(Service::GoogleToken, Duration::from_secs(6));
    let _operator = world.operator()?.start().await?;
    world.test.credential("slow", google(json!({"secretRef": {"name": "google"}}))).await?;
    wait_for(SOON, "it to be asked", async || world.cloud.count(Service::GoogleToken) == 1).await?;
    let began = Instant::now();
    world.test.credential("reg", acr_by_secret()).await?;
    world.test.wait_ready("reg", 1).await?;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // And it has its token in the end.
    world.wait_minted("slow", Service::GoogleToken, "europe-west3-docker.pkg.dev").await?;
    Ok(())
}

/// A member that does not answer holds up no token, neither its minting nor what is done with it elsewhere.
#[tokio::test]
async fn a_member_that_does_not_answer_holds_up_no_token() -> Result<()> {
    let lab = crate::lab::Lab::start().await?;
    let cloud = Cloud::start(&lab.control_plane.client().await?).await?;
    cloud.life(Duration::from_secs(40));
    let operator = cloud
        .known_to(lab.operator()?.args(&["--request-timeout=15s", "--watch-timeout=5s"]))
        .start()
        .await?;
    let (fleet, east) = tokio::try_join!(Fleet::of(lab, operator), Member::start("east"))?;
    fleet.consent(json!({"selector": {}})).await?;
    let test = &fleet.test;
    test.target("web").await?;
    east.namespaces(test, &["web"]).await?;
    fleet.join(&east, json!({})).await?;
    test.source("azure", json!({"AZURE_CLIENT_SECRET": cloud.client_secret()})).await?;
    let target = fleet.spec(json!({"selector": {}}))["target"].clone();
    test.credential("acr", super::with_target(acr_by_secret(), target)).await?;
    test.wait_ready("acr", 1).await?;
    east.wait_copy("web", "acr", "1").await?;
    let first = cloud.newest(Service::Acr).unwrap();

    east.proxy.freeze();
    wait_for(LONG, "the next token in the hub", async || {
        let newest = cloud.newest(Service::Acr).filter(|newest| *newest != first).ok_or("none was minted")?;
        let logins = auths(test, "web", "acr").await.map_err(|error| error.to_string())?;
        if logins[0].2 == newest.token { Ok(()) } else { Err("the old one is there".to_owned()) }
    })
    .await?;
    assert!(jiff::Timestamp::now() < first.expires, "the first token has ended");
    east.proxy.thaw();
    wait_for(LONG, "a good token in the member", async || {
        let copy = east.secrets("web").get("acr").await.map_err(|error| error.to_string())?;
        let logins = super::auths_of(&copy).map_err(|error| error.to_string())?;
        let good = |m: &Minted| m.token == logins[0].2 && m.expires > jiff::Timestamp::now() && *m != first;
        if cloud.minted().iter().any(good) { Ok(()) } else { Err("the old one is there".to_owned()) }
    })
    .await?;
    Ok(())
}
