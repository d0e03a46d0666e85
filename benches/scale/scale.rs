//! All measurements at one number of namespaces.

use std::time::{Duration, Instant};

use crate::{
    bare::{self, Times},
    claviger_run::{self, Round},
    latency,
    operator::{Usage, cpu_seconds, settle},
    support::{Operator, Result},
    world::World,
};

const IDLE: Duration = Duration::from_secs(20);

/// What was measured.
pub struct Column {
    pub namespaces: usize,
    /// One more than rounds: before, between and after them.
    pub bare: Vec<Times>,
    pub rounds: Vec<Round>,
    pub latency: Vec<f64>,
    /// Share of one core.
    pub idle: f64,
    pub rss_bytes: u64,
    pub peak_bytes: u64,
    pub restart: Restart,
}

pub struct Restart {
    pub ready: Duration,
    pub usage: Usage,
    pub rss_bytes: u64,
    pub peak_bytes: u64,
}

/// Measures; progress goes to stderr.
pub async fn run(namespaces: usize, rounds: Option<usize>) -> Result<Column> {
    let rounds = rounds.unwrap_or(if namespaces <= 2_000 { 5 } else { 2 });
    eprintln!("{namespaces} namespaces: starting");
    let world = World::new(namespaces).await?;
    // The first run of all warms the server up, and shows what the bare loop has to write.
    let templates = claviger_run::round(&world).await?.templates;
    let mut bare = vec![bare::run(&world, &templates).await?];
    let mut done = Vec::new();
    for number in 1..=rounds {
        let round = claviger_run::round(&world).await?;
        bare.push(bare::run(&world, &templates).await?);
        let [.., before, after] = bare.as_slice() else { continue };
        eprintln!(
            "round {number} of {rounds}: fan-out {:.2} s (bare {:.2} and {:.2}), rotation {:.2} s (bare {:.2} and {:.2})",
            round.fan_out.written.as_secs_f64(),
            before.create.as_secs_f64(),
            after.create.as_secs_f64(),
            round.rotation.written.as_secs_f64(),
            before.update.as_secs_f64(),
            after.update.as_secs_f64(),
        );
        done.push(round);
    }
    stay(world, bare, done).await
}

/// What is measured with everything in place.
async fn stay(world: World, bare: Vec<Times>, rounds: Vec<Round>) -> Result<Column> {
    let client = world.client().await?;
    let operator = world.operator().await?;
    claviger_run::fan_out(&world, &client, &operator).await?;
    settle(&operator).await?;
    let (rss_bytes, peak_bytes) = (operator.rss_bytes()?, operator.peak_rss_bytes()?);
    let idle = idle(&operator).await?;
    let latency = latency::measure(&world, &client).await?;
    settle(&operator).await?;
    operator.terminate(Duration::from_secs(30)).await?;
    let restart = restart(&world).await?;
    Ok(Column {
        namespaces: world.targets.len(),
        bare,
        rounds,
        latency,
        idle,
        rss_bytes,
        peak_bytes,
        restart,
    })
}

async fn idle(operator: &Operator) -> Result<f64> {
    let before = cpu_seconds(operator)?;
    tokio::time::sleep(IDLE).await;
    Ok((cpu_seconds(operator)? - before) / IDLE.as_secs_f64())
}

async fn restart(world: &World) -> Result<Restart> {
    let began = Instant::now();
    let operator = world.operator().await?;
    let ready = began.elapsed();
    settle(&operator).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(Restart {
        ready,
        usage: Usage::of(&operator).await?,
        rss_bytes: operator.rss_bytes()?,
        peak_bytes: operator.peak_rss_bytes()?,
    })
}
