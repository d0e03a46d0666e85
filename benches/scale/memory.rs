//! Resident memory with 100,000 copies and 50,000 Pods.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::{
    operator::{Usage, settle},
    support::{Error, Operator, Result, wait_for},
    world::{CONCURRENCY, World, credentials, is_ready},
};

const CREDENTIALS: usize = 10;
const PODS_PER_NAMESPACE: usize = 5;
const DEADLINE: Duration = Duration::from_secs(3_600);

/// How large it is to be.
pub struct Size {
    pub namespaces: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { namespaces: 10_000 }
    }
}

/// Measures and prints; takes long.
pub async fn run(size: Size) -> Result<()> {
    let (copies, pods) = (size.namespaces * CREDENTIALS, size.namespaces * PODS_PER_NAMESPACE);
    eprintln!("{} namespaces, {pods} Pods: being made", size.namespaces);
    let world = World::new(size.namespaces).await?;
    let client = world.client().await?;
    stream::iter(world.targets.iter().flat_map(|name| (0..PODS_PER_NAMESPACE).map(move |n| (name, n))))
        .map(|(namespace, number)| create_pod(&client, namespace, number))
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    let operator = world.operator().await?;
    settle(&operator).await?;
    println!("| what | budget | {copies} copies, {pods} Pods |\n| --- | --- | --- |");
    println!("| Pods only: resident memory, MiB | | {} |", memory(&operator)?);
    let began = Instant::now();
    for number in 0..CREDENTIALS {
        world.credential(&client, &name(number)).await?;
    }
    for number in 0..CREDENTIALS {
        wait_for(DEADLINE, "a credential to be ready", async || {
            let credential = credentials(&client).get(&name(number)).await?;
            if is_ready(&credential, 1) { Ok(()) } else { Err(Error::new("not ready")) }
        })
        .await?;
    }
    let took = began.elapsed().as_secs_f64();
    let writes = Usage::of(&operator).await?.secret_writes();
    settle(&operator).await?;
    println!("| fan-out of {CREDENTIALS} credentials, s | | {took:.1}, {writes} Secret writes |");
    println!("| resident memory (peak), MiB | < 150 | {} |", memory(&operator)?);
    operator.terminate(Duration::from_secs(30)).await?;
    let began = Instant::now();
    let operator = world.operator().await?;
    println!("| restart until ready, s | | {:.1} |", began.elapsed().as_secs_f64());
    settle(&operator).await?;
    println!("| restart: writes | 0 | {} |", Usage::of(&operator).await?.writes());
    println!("| resident memory after restart (peak), MiB | < 150 | {} |", memory(&operator)?);
    Ok(())
}

fn memory(operator: &Operator) -> Result<String> {
    let mebi = |bytes: u64| bytes as f64 / 1_048_576.0;
    Ok(format!("{:.1} ({:.1})", mebi(operator.rss_bytes()?), mebi(operator.peak_rss_bytes()?)))
}

fn name(number: usize) -> String {
    format!("pull-{number}")
}

async fn create_pod(client: &Client, namespace: &str, number: usize) -> Result<()> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": format!("app-{number}-5d8f7c9b6-x{number}k2p"), "labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "app", "image": "registry.example.com/team/app:1.2.3"}],
            "imagePullSecrets": [{"name": name(number)}],
        },
    }))?;
    Api::<Pod>::namespaced(client.clone(), namespace).create(&PostParams::default(), &pod).await?;
    Ok(())
}
