//! From a new namespace to its Secret.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::{
    observer::Observer,
    support::Result,
    world::{SECRET, World, create_namespace, create_target},
};

const SAMPLES: usize = 200;
/// Between two samples: namespaces that come one by one, not a crowd.
const PAUSE: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(30);

/// Seconds from asking for a namespace until its Secret was seen.
pub struct Latency {
    pub claviger: Vec<f64>,
    /// When the benchmark writes the Secret by itself, as soon as the namespace is there.
    pub bare: Vec<f64>,
}

/// One namespace at a time, by turns for Claviger and for the benchmark itself.
pub async fn measure(world: &World, client: &Client) -> Result<Latency> {
    let mut observer = Observer::start(world.client().await?).await?;
    let mut latency = Latency { claviger: Vec::new(), bare: Vec::new() };
    for number in 0..SAMPLES {
        let name = format!("late-{number:06}");
        let began = Instant::now();
        create_target(client, &name).await?;
        latency.claviger.push((observer.arrival(&name, DEADLINE).await? - began).as_secs_f64());
        tokio::time::sleep(PAUSE).await;

        let name = format!("bare-{number:06}");
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": SECRET},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": "{\"auths\":{}}"},
        }))?;
        let api = Api::namespaced(client.clone(), &name);
        let began = Instant::now();
        create_namespace(client, &name, json!({})).await?;
        api.create(&PostParams::default(), &secret).await?;
        latency.bare.push((observer.arrival(&name, DEADLINE).await? - began).as_secs_f64());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latency)
}
