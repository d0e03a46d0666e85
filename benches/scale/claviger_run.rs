//! Claviger at the same work as the bare loop.

use std::time::{Duration, Instant};

use claviger::api::RegistryCredential;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ListParams, WatchParams},
    core::WatchEvent,
};
use tokio::task::JoinHandle;

use crate::{
    bare::Templates,
    observer::Observer,
    operator::{Usage, own_cpu_seconds, settle},
    support::{Error, Operator, Result},
    world::{HOME, SECRET, World, credentials, is_ready},
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

pub struct Round {
    pub fan_out: Phase,
    pub rotation: Phase,
    pub templates: Templates,
    pub peak_bytes: u64,
}

/// Starts an operator, has it fan out and rotate, and clears all away.
pub async fn round(world: &World) -> Result<Round> {
    let client = world.client().await?;
    world.source(&client, "first").await?;
    let operator = world.operator().await?;
    let fan_out = fan_out(world, &client, &operator).await?;
    let first = copy(world, &client).await?;
    settle(&operator).await?;
    let rotation = phase(world, &client, &operator, 2, world.source(&client, "second")).await?;
    let second = copy(world, &client).await?;
    let peak_bytes = operator.peak_rss_bytes()?;
    world.delete_credential(&client, SECRET).await?;
    operator.terminate(Duration::from_secs(30)).await?;
    Ok(Round { fan_out, rotation, templates: Templates { first, second }, peak_bytes })
}

/// Has an idle operator fan a new credential out.
pub async fn fan_out(world: &World, client: &Client, operator: &Operator) -> Result<Phase> {
    settle(operator).await?;
    phase(world, client, operator, 1, world.credential(client, SECRET)).await
}

async fn phase(
    world: &World,
    client: &Client,
    operator: &Operator,
    revision: i64,
    trigger: impl Future<Output = Result<()>>,
) -> Result<Phase> {
    let seen = Observer::start(world.client().await?).await?.expect(world.targets.len(), revision);
    let told = readiness(client, revision).await?;
    let before = Usage::of(operator).await?;
    let watch_before = own_cpu_seconds()?;
    let began = Instant::now();
    trigger.await?;
    let written = seen.await?? - began;
    let ready = told.await?? - began;
    let watch_cpu = own_cpu_seconds()? - watch_before;
    // The Event comes right behind the status.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(Phase { written, ready, usage: Usage::of(operator).await?.since(&before), watch_cpu })
}

/// When the credential is ready at a revision.
async fn readiness(client: &Client, revision: i64) -> Result<JoinHandle<Result<Instant>>> {
    let api = credentials(client);
    let version = api.list_metadata(&ListParams::default()).await?.metadata.resource_version;
    let params = WatchParams::default().fields(&format!("metadata.name={SECRET}")).timeout(290);
    let mut events = api.watch(&params, &version.unwrap_or_default()).await?.boxed();
    Ok(tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let event: WatchEvent<RegistryCredential> = event?;
            if let WatchEvent::Added(credential) | WatchEvent::Modified(credential) = event
                && is_ready(&credential, revision)
            {
                return Ok(Instant::now());
            }
        }
        Err(Error::new(format!("{HOME}/{SECRET} did not become ready")))
    }))
}

async fn copy(world: &World, client: &Client) -> Result<Secret> {
    Ok(Api::namespaced(client.clone(), &world.targets[0]).get(SECRET).await?)
}
