//! One live cluster: its clients, the caches of what a plan needs, and carrying a plan out.
//!
//! `local`, where the operator runs, is one of them and nothing more.

mod access;
mod apply;
mod cache;
mod client;
mod error;
mod guard;
mod object;
mod secret;
mod watch;

pub use access::configuration;
pub use apply::{Applied, Pace};
pub use cache::Cache;
pub use client::{Connector, DeadlineExceeded, Timeouts};
pub use error::{Trouble, describe};
pub use secret::Produced;
pub use watch::{Sink, backoff, fault};

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::ListParams};
use tokio::{
    sync::{Semaphore, watch as channel},
    task::JoinHandle,
};

use crate::{
    api::{LABEL_MANAGED_BY, LABEL_OWNER, MANAGER},
    domain::{contest::Contests, fingerprint::FingerprintKey, ownership::OwnerId, plan::Plan},
    telemetry::{Freshness, Metrics},
};

/// Name of the cluster that the operator runs in.
pub const LOCAL: &str = "local";

/// How many objects one page of a list has.
const PAGE: u32 = 500;

/// What is watched in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Namespaces.
    Namespaces,
    /// Secrets that carry our mark.
    Copies,
    /// Pods.
    Pods,
    /// All other Secrets, as metadata.
    Secrets,
}

impl Source {
    const ALL: usize = 4;

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Copies => "copies",
            Self::Pods => "pods",
            Self::Secrets => "secrets",
        }
    }
}

/// What a cluster needs of its surroundings.
pub struct Surroundings {
    /// Makes its clients.
    pub connector: Connector,
    /// Writes in flight at once.
    pub concurrency: usize,
    /// Hashes contents.
    pub fingerprints: Arc<FingerprintKey>,
    /// Is told what changed.
    pub sink: Arc<dyn Sink>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Knows how old answers are.
    pub freshness: Freshness,
}

/// One live cluster.
pub struct Cluster {
    name: Arc<str>,
    connector: Connector,
    client: Client,
    cache: RwLock<Cache>,
    began: Instant,
    contests: Mutex<Contests>,
    listed: channel::Sender<HashSet<Source>>,
    writes: Semaphore,
    concurrency: usize,
    fingerprints: Arc<FingerprintKey>,
    sink: Arc<dyn Sink>,
    metrics: Arc<Metrics>,
    freshness: Freshness,
    tasks: RwLock<Vec<JoinHandle<()>>>,
}

impl Cluster {
    /// Connects, and starts to watch.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration; that the cluster does not answer is
    /// no error, it shows in [`Cluster::stale`].
    pub fn start(name: &str, surroundings: Surroundings) -> Result<Arc<Self>, kube::Error> {
        let Surroundings { connector, concurrency, fingerprints, sink, metrics, freshness } = surroundings;
        let cluster = Arc::new(Self {
            name: name.into(),
            client: connector.client(None)?,
            connector,
            cache: RwLock::default(),
            began: Instant::now(),
            contests: Mutex::default(),
            listed: channel::Sender::default(),
            writes: Semaphore::new(concurrency),
            concurrency,
            fingerprints,
            sink,
            metrics,
            freshness,
            tasks: RwLock::default(),
        });
        let tasks = watch::start(&cluster)?;
        *cluster.tasks.write().unwrap_or_else(std::sync::PoisonError::into_inner) = tasks;
        Ok(cluster)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// A client for other requests.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The caches, to plan with. Must not be held over an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn listed(&self, source: Source) {
        self.listed.send_if_modified(|listed| listed.insert(source));
    }

    /// Waits until every cache was filled once.
    pub async fn filled(&self) {
        // The sender lives as long as the cluster, so this ends only when it is so.
        let _ = self.listed.subscribe().wait_for(|listed| listed.len() == Source::ALL).await;
    }

    fn is_filled(&self) -> bool {
        self.listed.borrow().len() == Source::ALL
    }

    fn contests(&self) -> MutexGuard<'_, Contests> {
        self.contests.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes out of a plan the repairs of copies that another hand changes again and again, and that
    /// have to wait. Returns how long.
    pub fn pace_repairs(&self, plan: &mut Plan, revision: i64) -> Option<Duration> {
        let contests = self.contests();
        let now = self.began.elapsed();
        let mut longest = None;
        plan.update.retain(|(key, copy)| {
            let wait = contests.wait(key, now).filter(|_| copy.metadata.revision() == Some(revision));
            longest = longest.max(wait);
            wait.is_none()
        });
        longest
    }

    /// Whether a watch has been without a good answer for longer than `limit`.
    #[must_use]
    pub fn stale(&self, source: Source, limit: Duration) -> bool {
        self.freshness.stale(&self.name, limit).iter().any(|(kind, _)| &**kind == source.name())
    }

    /// Notes that `owner` waits for names that are taken.
    pub fn wait_for(&self, keys: impl IntoIterator<Item = crate::domain::view::Key>, owner: &OwnerId) {
        let mut cache = self.write();
        for key in keys {
            cache.wait_for(key, owner.clone());
        }
    }

    /// Reads the copies of one owner from the API server into the cache, past the watch.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn refresh(&self, owner: &OwnerId) -> Result<(), kube::Error> {
        let api: Api<object::MarkedSecret> = Api::all(self.client.clone());
        let labels = format!("{LABEL_MANAGED_BY}={MANAGER},{LABEL_OWNER}={}", owner.as_str());
        let mut params = ListParams::default().labels(&labels).limit(PAGE);
        let mut seen = HashSet::new();
        let before: Vec<_> = self.read().view().copies.of(owner).map(|(key, _)| key.clone()).collect();
        loop {
            let page = api.list(&params).await?;
            let mut cache = self.write();
            for secret in &page.items {
                if let Some((key, copy)) = cache.read_copy(secret, &self.fingerprints) {
                    seen.insert(key.clone());
                    cache.observe_copy(key, copy);
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        let mut cache = self.write();
        for key in before.iter().filter(|key| !seen.contains(*key)) {
            cache.remove_copy(key, true);
        }
        cache.retry_conflicts();
        Ok(())
    }

    /// Reads one Secret; `None` when there is none.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error> {
        Api::namespaced(self.client.clone(), namespace).get_opt(name).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        for task in tasks.drain(..) {
            task.abort();
        }
        self.freshness.remove_cluster(&self.name);
    }
}
