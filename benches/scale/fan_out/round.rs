//! Claviger at the same work as the bare loop.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::bare::Templates;
use crate::{
    cpu::CpuClock,
    observer::Observer,
    operator::{Measured, Usage},
    readiness::Readiness,
    support::Result,
    world::{REST, SECRET, SOURCE, World, create_credential, credential, source},
};

/// One fan-out or one rotation.
pub struct Phase {
    /// Until the last Secret was there.
    pub written: Duration,
    /// Until the credential said so.
    pub ready: Duration,
    pub usage: Usage,
    /// Of the benchmark, which only watches meanwhile.
    pub watch_cpu: f64,
}

impl Phase {
    /// What the status adds: from the last Secret until the credential said so.
    pub fn wait(&self) -> f64 {
        self.ready.as_secs_f64() - self.written.as_secs_f64()
    }
}

pub struct Round {
    pub fan_out: Phase,
    pub rotation: Phase,
    pub templates: Templates,
    pub peak_bytes: u64,
}

/// Starts an operator, has it fan out and rotate, and clears all away.
pub async fn run(world: &World) -> Result<Round> {
    let client = world.client().await?;
    source(&client, SOURCE, "first").await?;
    let operator = world.operator().await?;
    let fan_out = fan_out(world, &client, &operator).await?;
    let first = copy(world, &client).await?;
    operator.settle().await?;
    let rotation = phase(world, &operator, 2, source(&client, SOURCE, "second")).await?;
    let second = copy(world, &client).await?;
    let peak_bytes = operator.peak_rss_bytes()?;
    world.delete_credentials(&client, &[SECRET.to_owned()]).await?;
    operator.terminate(Duration::from_secs(30)).await?;
    Ok(Round { fan_out, rotation, templates: Templates { first, second }, peak_bytes })
}

/// Has an idle operator fan a new credential out.
pub async fn fan_out(world: &World, client: &Client, operator: &Measured) -> Result<Phase> {
    operator.settle().await?;
    phase(world, operator, 1, create_credential(client, credential(SECRET))).await
}

async fn phase(
    world: &World,
    operator: &Measured,
    revision: i64,
    trigger: impl Future<Output = Result<()>>,
) -> Result<Phase> {
    let seen = Observer::start(world.client().await?).await?.expect(world.targets.len(), revision);
    let readiness = Readiness::watch(world.client().await?, SECRET, revision).await?;
    let before = operator.usage().await?;
    let own = CpuClock::own();
    let own_before = own.seconds()?;
    // As long as the bare loop rests, after the same preparations.
    tokio::time::sleep(REST).await;
    let began = Instant::now();
    trigger.await?;
    let written = seen.await?? - began;
    let ready = readiness.told().await? - began;
    let watch_cpu = own.seconds()? - own_before;
    // The Event comes right behind the status.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(Phase { written, ready, usage: operator.usage().await?.since(&before), watch_cpu })
}

async fn copy(world: &World, client: &Client) -> Result<Secret> {
    let first = world.targets.first().map_or("", String::as_str);
    Ok(Api::namespaced(client.clone(), first).get(SECRET).await?)
}
