//! When a credential said that it is ready, as a watch of the benchmark's own tells it.

use std::time::Instant;

use claviger::api::RegistryCredential;
use futures::{StreamExt, stream::BoxStream};
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::WatchEvent,
};
use tokio::task::JoinHandle;

use crate::{
    support::{Error, Result},
    world::{credentials, is_ready},
};

/// The longest watch that kube takes.
const WATCH_SECONDS: u32 = 290;

/// Waits beside whatever else goes on; the watch ends when this is dropped.
pub struct Readiness(JoinHandle<Result<Instant>>);

impl Readiness {
    /// Watches from now on, in a client of its own: no connection is taken from whoever makes the change.
    pub async fn watch(client: Client, name: &str, revision: i64) -> Result<Self> {
        let api = credentials(&client);
        let version = api.list_metadata(&ListParams::default().limit(1)).await?.metadata.resource_version;
        let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
        let events = api.watch(&params, &version.unwrap_or_default()).await?.boxed();
        Ok(Self(tokio::spawn(told(events, name.to_owned(), revision))))
    }

    /// When it was told.
    pub async fn told(mut self) -> Result<Instant> {
        (&mut self.0).await?
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn told(
    mut events: BoxStream<'static, kube::Result<WatchEvent<RegistryCredential>>>,
    name: String,
    revision: i64,
) -> Result<Instant> {
    while let Some(event) = events.next().await {
        if let WatchEvent::Added(credential) | WatchEvent::Modified(credential) = event?
            && is_ready(&credential, revision)
        {
            return Ok(Instant::now());
        }
    }
    Err(Error::new(format!("{name} did not become ready within {WATCH_SECONDS} s")))
}
