//! The measure: a loop that makes the same Secrets with the same client library and does nothing else.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

use crate::{
    cpu::CpuClock,
    observer::Observer,
    support::Result,
    world::{CONCURRENCY, REST, SECRET, World},
};

/// What Claviger has made of the source before and after its rotation.
pub struct Templates {
    pub first: Secret,
    pub second: Secret,
}

/// How long the two loops took, and their processor time, with that of the watch beside them.
#[derive(Clone, Copy)]
pub struct Times {
    pub create: Duration,
    pub update: Duration,
    pub create_cpu: f64,
    pub update_cpu: f64,
}

/// Creates a Secret in every namespace, replaces each, and deletes them. No operator is running meanwhile.
pub async fn run(world: &World, templates: &Templates) -> Result<Times> {
    // Claviger's client is new too: connecting is part of the first phase of both.
    let client = world.client().await?;
    let clock = CpuClock::own();
    let began = clock.seconds()?;
    let (create, made) = create(world, &client, &templates.first).await?;
    let between = clock.seconds()?;
    let update = update(world, &client, &templates.second, made).await?;
    let (create_cpu, update_cpu) = (between - began, clock.seconds()? - between);
    delete(world, &client).await?;
    Ok(Times { create, update, create_cpu, update_cpu })
}

async fn create(world: &World, client: &Client, template: &Secret) -> Result<(Duration, Vec<ObjectMeta>)> {
    let seen = Observer::start(world.client().await?).await?.expect(world.targets.len(), 1);
    let secret = stripped(template);
    // As long as the operator rests, after the same preparations.
    tokio::time::sleep(REST).await;
    let began = Instant::now();
    let made = stream::iter(&world.targets)
        .map(|namespace| {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let secret = &secret;
            async move { api.create(&PostParams::default(), secret).await.map(|made| made.metadata) }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok((seen.await?? - began, made))
}

async fn update(
    world: &World,
    client: &Client,
    template: &Secret,
    made: Vec<ObjectMeta>,
) -> Result<Duration> {
    let seen = Observer::start(world.client().await?).await?.expect(world.targets.len(), 2);
    let secret = stripped(template);
    // As long as the operator rests, after the same preparations.
    tokio::time::sleep(REST).await;
    let began = Instant::now();
    stream::iter(made)
        .map(|meta| {
            let namespace = meta.namespace.unwrap_or_default();
            let mut secret = secret.clone();
            secret.metadata.uid = meta.uid;
            secret.metadata.resource_version = meta.resource_version;
            let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
            async move { api.replace(SECRET, &PostParams::default(), &secret).await.map(drop) }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    Ok(seen.await?? - began)
}

async fn delete(world: &World, client: &Client) -> Result<()> {
    stream::iter(&world.targets)
        .map(|namespace| {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            async move { api.delete(SECRET, &DeleteParams::default()).await.map(drop) }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    Ok(())
}

/// As a client sends it: without what the server has added.
fn stripped(template: &Secret) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            labels: template.metadata.labels.clone(),
            annotations: template.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        ..template.clone()
    }
}
