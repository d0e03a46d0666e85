//! Logins that are tried at registries: all of them after a cold start, and one in the middle of a rotation.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{Client, api::ListParams};
use serde_json::{Value, json};

use crate::{
    numbers::Number,
    observer::Observer,
    options::Options,
    stats::{counted, mebi, median, millis, thousands},
    support::{Error, Result, registry::FaultyRegistry, wait_for},
    world::{CONCURRENCY, HOME, REST, SECRET, World, create_credential, credentials, source, wait_ready},
};

const REGISTRIES: usize = 50;
const LOGINS: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(120);
/// How long a registry takes for an answer where round trips are counted: long beside all else.
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// `GET /v2/` without the login, which tells how to log in, and with it.
const ROUND_TRIPS: u32 = 2;

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let mut numbers = cold_start(options.credentials.unwrap_or(LOGINS)).await?;
    numbers.push(rotation(options.rounds.unwrap_or(options.pick(15, 50))).await?);
    Ok(numbers)
}

fn credential(name: &str, source: &str, secret: &str, server: &str, mode: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential", "metadata": {"name": name},
        "spec": {
            "provider": "Custom", "server": server, "secretRef": {"name": source}, "deletionPolicy": "Force",
            "verification": {"mode": mode}, "target": {"secretName": secret, "namespaces": {"names": [namespace]}},
        },
    })
}

async fn cold_start(logins: usize) -> Result<Vec<Number>> {
    let world = World::new(1).await?;
    let client = world.client().await?;
    let registries: Vec<_> = stream::iter(0..REGISTRIES)
        .then(|_| FaultyRegistry::that_takes_each_login(Duration::ZERO))
        .try_collect()
        .await?;
    eprintln!("{} logins at {REGISTRIES} registries", thousands(logins));
    stream::iter(0..logins)
        .map(|number| {
            let (client, server) = (&client, registries[number % REGISTRIES].address());
            async move {
                let (name, from) = (format!("login-{number}"), format!("source-{number}"));
                source(client, &from, &name).await?;
                create_credential(client, credential(&name, &from, &name, &server, "Enforce", HOME)).await
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    tokio::time::sleep(REST).await;

    let began = Instant::now();
    let operator = world.operator().await?;
    wait_for(DEADLINE, "all logins to be tried", async || {
        let tried: BTreeSet<_> = registries.iter().flat_map(FaultyRegistry::authorizations).collect();
        if tried.len() == logins { Ok(()) } else { Err(Error::new(format!("{} were", tried.len()))) }
    })
    .await?;
    let tried = began.elapsed().as_secs_f64();
    wait_verified(&client, logins).await?;
    let told = began.elapsed().as_secs_f64();
    let used = operator.cpu_seconds()?;
    let fastest = registries.iter().map(FaultyRegistry::most_in_a_second).max().unwrap_or_default();
    let requests: usize = registries.iter().map(|registry| registry.requests().len()).sum();
    println!(
        "\n## {} at {REGISTRIES} registries, from the start of the operator\n",
        counted(logins, "login")
    );
    println!("| what | measured |\n| --- | --- |");
    println!("| the last login is tried, s | {tried:.1} |");
    println!("| every status tells the outcome, s | {told:.1} |");
    println!("| requests to registries, most to one in a second | {requests}, {fastest} |");
    println!("| processor time of the operator, s | {used:.2} |");
    println!("| resident memory (peak), MiB | {} |", operator.memory()?);
    let peak = mebi(operator.peak_rss_bytes()?);
    operator.terminate(DEADLINE).await?;
    Ok(vec![
        Number::at_most(
            format!(
                "{} at {REGISTRIES} registries are verified after a cold start",
                counted(logins, "login")
            ),
            (30.0, "s"),
            told,
            format!("{told:.1} s; peak memory {peak:.1} MiB"),
        ),
        Number::at_most(
            "requests to one registry in a second",
            (20.0, ""),
            fastest as f64,
            fastest.to_string(),
        ),
    ])
}

async fn wait_verified(client: &Client, logins: usize) -> Result<()> {
    wait_for(DEADLINE, "every status to tell of its login", async || {
        let all = credentials(client).list(&ListParams::default()).await?;
        let verified = all.items.iter().filter(|credential| {
            let mut conditions = credential.status.iter().flat_map(|status| &status.common.conditions);
            conditions.any(|condition| condition.type_ == "Verified" && condition.status == "True")
        });
        let count = verified.count();
        if count == logins {
            return Ok(());
        }
        // A list takes its time from the operator.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Err(Error::new(format!("{count} do")))
    })
    .await
}

/// One copy, without verification and with it by turns.
async fn rotation(rounds: usize) -> Result<Number> {
    let world = World::new(2).await?;
    let client = world.client().await?;
    let registry = FaultyRegistry::that_takes_each_login(ROUND_TRIP).await?;
    let operator = world.operator().await?;
    let modes = ["Off", "Enforce"];
    let named = modes.map(str::to_lowercase);
    for ((mode, name), namespace) in modes.iter().zip(&named).zip(&world.targets) {
        source(&client, name, "first").await?;
        create_credential(&client, credential(name, name, SECRET, &registry.address(), mode, namespace))
            .await?;
    }
    wait_ready(&client, &operator, &named, 1, 1).await?;
    eprintln!("{}", counted(rounds, "rotation"));
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for ((name, namespace), taken) in named.iter().zip(&world.targets).zip(&mut taken) {
            // Statuses of the round before are written by then.
            tokio::time::sleep(REST).await;
            let revision = i64::try_from(round)? + 2;
            let seen = Observer::start(client.clone()).await?.expect_in([namespace.clone()].into(), revision);
            let began = Instant::now();
            source(&client, name, &format!("round-{round}")).await?;
            let at =
                tokio::time::timeout(DEADLINE, seen).await.map_err(|_| Error::new("no rotation"))???;
            taken.push((at - began).as_secs_f64());
        }
    }
    operator.terminate(DEADLINE).await?;
    let [off, enforce] = &taken;
    let trips = (ROUND_TRIP * ROUND_TRIPS).as_secs_f64();
    let added = median(enforce) - median(off);
    println!(
        "\n## Rotation of one copy, with a registry that takes {} ms for an answer\n",
        ROUND_TRIP.as_millis()
    );
    println!("| what | ms |\n| --- | --- |");
    println!("| without verification | {} |", millis(off, 1));
    println!("| with it | {} |", millis(enforce, 1));
    println!("| {ROUND_TRIPS} round trips | {:.1} |", trips * 1e3);
    Ok(Number::at_most(
        "what verification adds to a rotation, beside its round trips",
        (1.15, ""),
        added / trips,
        format!(
            "{:.2}: {:.1} ms, {ROUND_TRIPS} round trips of {} ms",
            added / trips,
            added * 1e3,
            ROUND_TRIP.as_millis()
        ),
    ))
}
