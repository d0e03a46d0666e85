//! When the last Secret was there, as the API server tells it: a watch of the benchmark's own, metadata only.
//!
//! It costs time on the same two cores, so it runs beside the bare loop just as beside Claviger.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ListParams, WatchParams},
    core::{PartialObjectMeta, WatchEvent},
};
use tokio::task::JoinHandle;

use crate::{
    support::{Error, Result},
    world::SECRET,
};

const REVISION: &str = "claviger.dev/revision";
/// The longest watch that kube takes.
const WATCH_SECONDS: u32 = 290;

pub struct Observer {
    events: BoxStream<'static, kube::Result<WatchEvent<PartialObjectMeta<Secret>>>>,
}

impl Observer {
    /// Watches from now on, in a client of its own.
    pub async fn start(client: Client) -> Result<Self> {
        let api: Api<Secret> = Api::all(client);
        let fields = format!("metadata.name={SECRET}");
        let params = ListParams::default().fields(&fields).limit(1);
        let version = api.list_metadata(&params).await?.metadata.resource_version.unwrap_or_default();
        let params = WatchParams::default().fields(&fields).timeout(WATCH_SECONDS);
        let events = api.watch_metadata(&params, &version).await?.boxed();
        Ok(Self { events })
    }

    /// When `count` namespaces had a Secret of this revision, seen beside whatever else goes on.
    pub fn expect(mut self, count: usize, revision: i64) -> JoinHandle<Result<Instant>> {
        tokio::spawn(async move {
            let revision = revision.to_string();
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let namespace = self.next(Some(&revision)).await?;
                seen.insert(namespace);
            }
            Ok(Instant::now())
        })
    }

    /// When all of these namespaces had a Secret of this revision.
    pub fn expect_in(
        mut self,
        mut namespaces: HashSet<String>,
        revision: i64,
    ) -> JoinHandle<Result<Instant>> {
        tokio::spawn(async move {
            let revision = revision.to_string();
            while !namespaces.is_empty() {
                let namespace = self.next(Some(&revision)).await?;
                namespaces.remove(&namespace);
            }
            Ok(Instant::now())
        })
    }

    /// When the Secret came to one namespace.
    pub async fn arrival(&mut self, namespace: &str, deadline: Duration) -> Result<Instant> {
        tokio::time::timeout(deadline, async {
            while self.next(None).await? != namespace {}
            Ok(Instant::now())
        })
        .await
        .map_err(|_| Error::new(format!("no Secret in {namespace} after {deadline:?}")))?
    }

    /// The namespace of the next Secret that is there, at a revision.
    async fn next(&mut self, revision: Option<&str>) -> Result<String> {
        loop {
            let event = self.events.next().await.ok_or_else(|| Error::new("the watch ended too soon"))??;
            let (WatchEvent::Added(secret) | WatchEvent::Modified(secret)) = event else {
                if let WatchEvent::Error(status) = event {
                    return Err(Error::new(format!("watch: {}", status.message)));
                }
                continue;
            };
            let found = secret.metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
            if revision.is_none_or(|wanted| found.is_some_and(|found| found == wanted)) {
                return Ok(secret.metadata.namespace.unwrap_or_default());
            }
        }
    }
}
