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
mod probe;
mod reach;
mod secret;
mod users;
mod watch;

pub use access::configuration;
pub use apply::{Applied, Pace};
pub use cache::Cache;
pub use client::{Connector, DeadlineExceeded, Timeouts};
pub use error::{Trouble, describe};
pub use reach::Reach;
pub use secret::Produced;
pub use watch::{Sink, backoff, fault};

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::ListParams};
use tokio::{sync::Semaphore, task::AbortHandle};

use crate::{
    api::{LABEL_MANAGED_BY, LABEL_OWNER, MANAGER},
    domain::{
        contest::Contests,
        fingerprint::FingerprintKey,
        ownership::{Hub, OwnerId},
        plan::Plan,
    },
    telemetry::{Freshness, Metrics},
};

pub use crate::domain::selection::LOCAL;

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
    /// Who we are on our copies.
    pub hub: Arc<Hub>,
    /// How often it is asked whether it is there; `None` for `local`, without which nothing works anyway.
    pub probe: Option<Duration>,
    /// Hashes contents.
    pub fingerprints: Arc<FingerprintKey>,
    /// Is told what changed.
    pub sink: Arc<dyn Sink>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Knows how old answers are.
    pub freshness: Freshness,
    /// How old the last good answer to a watch may be.
    pub stale_after: Duration,
}

/// One live cluster.
pub struct Cluster {
    name: Arc<str>,
    link: RwLock<Link>,
    cache: RwLock<Cache>,
    began: Instant,
    contests: Mutex<Contests>,
    reach: reach::State,
    writes: Semaphore,
    concurrency: usize,
    fingerprints: Arc<FingerprintKey>,
    sink: Arc<dyn Sink>,
    metrics: Arc<Metrics>,
    freshness: Freshness,
    stale_after: Duration,
    probe: Mutex<Option<AbortHandle>>,
}

/// The way to a cluster: it changes with its credentials.
struct Link {
    connector: Connector,
    client: Client,
    watches: Vec<AbortHandle>,
}

impl Link {
    fn stop(&mut self) {
        for watch in self.watches.drain(..) {
            watch.abort();
        }
    }
}

impl Cluster {
    /// Connects, and starts to watch.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration; that the cluster does not answer is
    /// no error, it shows in [`Cluster::reach`].
    pub fn start(name: &str, surroundings: Surroundings) -> Result<Arc<Self>, kube::Error> {
        let Surroundings {
            connector,
            concurrency,
            hub,
            probe,
            fingerprints,
            sink,
            metrics,
            freshness,
            stale_after,
        } = surroundings;
        let cluster = Arc::new(Self {
            name: name.into(),
            link: RwLock::new(Link { client: connector.client(None)?, connector, watches: Vec::new() }),
            cache: RwLock::new(Cache::new(hub)),
            began: Instant::now(),
            contests: Mutex::default(),
            reach: reach::State::new(),
            writes: Semaphore::new(concurrency),
            concurrency,
            fingerprints,
            sink,
            metrics,
            freshness,
            stale_after,
            probe: Mutex::default(),
        });
        cluster.watch_anew()?;
        if let Some(interval) = probe {
            *lock(&cluster.probe) = Some(probe::start(&cluster, interval));
        }
        Ok(cluster)
    }

    /// Goes on with other credentials, or at another address; what is known stays until the new
    /// watches say otherwise. With the same address it counts as up meanwhile, as far as it was.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration.
    pub fn reconnect(self: &Arc<Self>, connector: Connector) -> Result<(), kube::Error> {
        let client = connector.client(None)?;
        let moved = {
            let mut link = write(&self.link);
            link.stop();
            let moved = !link.connector.leads_where(&connector);
            (link.connector, link.client) = (connector, client);
            moved
        };
        if moved || self.reach() != Reach::Up {
            self.reach.begin();
        }
        self.watch_anew()?;
        self.reach.probe_now();
        Ok(())
    }

    /// Starts the watches anew, on new connections: what lists them shows what was missed.
    fn watch_anew(self: &Arc<Self>) -> Result<(), kube::Error> {
        let connector = read(&self.link).connector.clone();
        let (client, watches) = (connector.client(None)?, watch::start(self, &connector)?);
        let mut link = write(&self.link);
        link.stop();
        (link.client, link.watches) = (client, watches);
        Ok(())
    }

    /// Stops the watches of a cluster that does not answer.
    fn rest(&self) {
        write(&self.link).stop();
    }

    /// Ends all that goes on in the background: it is no longer a member.
    pub fn retire(&self) {
        self.rest();
        if let Some(probe) = lock(&self.probe).take() {
            probe.abort();
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the operator runs there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        &*self.name == LOCAL
    }

    /// A client for other requests.
    #[must_use]
    pub fn client(&self) -> Client {
        read(&self.link).client.clone()
    }

    /// The caches, to plan with. Must not be held over an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Cache> {
        read(&self.cache)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        write(&self.cache)
    }

    fn contests(&self) -> MutexGuard<'_, Contests> {
        lock(&self.contests)
    }

    /// The uid of its namespace `kube-system`, by which a cluster is known, once that was seen.
    #[must_use]
    pub fn id(&self) -> Option<Arc<str>> {
        self.read().cluster_id()
    }

    /// Everybody who owns a copy there.
    #[must_use]
    pub fn owners(&self) -> HashSet<OwnerId> {
        self.read().view().copies.owners().cloned().collect()
    }

    /// How many copies of ours are known to be there, and how many of these Pods use.
    #[must_use]
    pub fn copies(&self) -> (usize, usize) {
        let cache = self.read();
        let view = cache.view();
        let used = view.copies.keys().filter(|key| !view.references.of(key).is_empty()).count();
        (view.copies.len(), used)
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
        let api: Api<object::MarkedSecret> = Api::all(self.client());
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

    /// As [`Cluster::refresh`]; that it did not succeed shows in [`Cluster::pause`].
    pub async fn refresh_or_strain(&self, owner: &OwnerId) {
        if let Err(error) = self.refresh(owner).await {
            self.strained(&match Trouble::of(&error) {
                trouble @ (Trouble::Throttled(_) | Trouble::Failing(_) | Trouble::Unreachable(_)) => trouble,
                _ => Trouble::Failing(describe(&error)),
            });
        }
    }

    /// Reads one Secret; `None` when there is none.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error> {
        Api::namespaced(self.client(), namespace).get_opt(name).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.retire();
        self.freshness.remove_cluster(&self.name);
        self.metrics.forget_cluster(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
