//! From a new namespace to a ServiceAccount that names the Secret of a default.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use claviger::api::{DistributionPolicy, RegistryCredential};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;

use super::Latency;
use crate::{
    operator::Measured,
    support::{Error, Result},
    world::{SECRET, World, create_namespace, create_target, credentials},
};

const SAMPLES: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes the credential a default, which it stays, and measures: one namespace at a time, by turns for Claviger and for the
/// benchmark itself. The ServiceAccount is made as soon as the namespace is there, as no controller does it here.
pub async fn measure(world: &World, client: &Client, operator: &Measured) -> Result<Latency> {
    let params = PatchParams::default();
    let policies: Api<DistributionPolicy> = Api::all(client.clone());
    policies.patch("bench", &params, &Patch::Merge(json!({"spec": {"allowDefault": true}}))).await?;
    let default = Patch::Merge(json!({"spec": {"default": {"enabled": true}}}));
    let _: RegistryCredential = credentials(client).patch(SECRET, &params, &default).await?;
    operator.settle().await?;
    let watching: Api<ServiceAccount> = Api::all(world.client().await?);
    let version = watching.list_metadata(&ListParams::default().limit(1)).await?;
    let version = version.metadata.resource_version.unwrap_or_default();
    let mut events = pin!(watching.watch(&WatchParams::default().timeout(290), &version).await?);
    let mut latency = Latency { claviger: Vec::new(), bare: Vec::new() };
    for number in 0..SAMPLES {
        let name = format!("attached-{number:06}");
        let began = Instant::now();
        create_target(client, &name).await?;
        create_account(client, &name).await?;
        latency.claviger.push((named(&mut events, &name).await? - began).as_secs_f64());
        tokio::time::sleep(PAUSE).await;

        let name = format!("bare-attached-{number:06}");
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
        let began = Instant::now();
        create_namespace(client, &name, json!({})).await?;
        create_account(client, &name).await?;
        let entry = Patch::Merge(json!({"imagePullSecrets": [{"name": SECRET}]}));
        api.patch("default", &params, &entry).await?;
        latency.bare.push((named(&mut events, &name).await? - began).as_secs_f64());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latency)
}

async fn create_account(client: &Client, namespace: &str) -> Result<()> {
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "default"}}))?;
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &account).await?;
    Ok(())
}

/// When the ServiceAccount of a namespace was seen with the name of the Secret.
async fn named(
    events: &mut (impl Stream<Item = kube::Result<WatchEvent<ServiceAccount>>> + Unpin),
    namespace: &str,
) -> Result<Instant> {
    let seen = async {
        loop {
            let event = events.next().await.ok_or_else(|| Error::new("the watch ended too soon"))??;
            let (WatchEvent::Added(account) | WatchEvent::Modified(account)) = event else { continue };
            let is_named = account.image_pull_secrets.iter().flatten().any(|entry| entry.name == SECRET);
            if is_named && account.metadata.namespace.as_deref() == Some(namespace) {
                return Ok(Instant::now());
            }
        }
    };
    let waited = tokio::time::timeout(DEADLINE, seen).await;
    waited.map_err(|_| Error::new(format!("nothing attached in {namespace} after {DEADLINE:?}")))?
}
