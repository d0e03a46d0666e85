//! One live cluster, made of four parts: the connection, the cache of what a plan needs, the connectivity, and the
//! writer that carries changes out.
//!
//! `local`, where the operator runs, is one of them and nothing more.

mod access;
mod cache;
mod connection;
mod connectivity;
mod connector;
mod error;
mod guard;
mod handler;
mod interner;
mod live_references;
mod object;
mod observation;
mod probe;
pub(crate) mod reflector;
mod writer;
mod writes;

pub(crate) use access::configuration;
pub(crate) use cache::Cache;
pub(crate) use connection::Connection;
pub(crate) use connectivity::Connectivity;
pub(crate) use connector::{Connector, Timeouts};
pub(crate) use error::{WriteError, describe};
pub(crate) use guard::{Guarded, Unreadable};
pub(crate) use handler::{EventHandler, Touched};
pub(crate) use writer::{Applied, Job, Writer};

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::{
    domain::{
        cluster_condition::ConnectionError, connectivity::WatchedKind, fingerprint::FingerprintKey,
        ownership::Hub, selection::LOCAL,
    },
    supervisor::Supervisor,
    telemetry::{Freshness, Metrics, Watch},
};
use observation::{Observation, Shared};
use probe::Probed;

/// What all clusters have in common.
#[derive(Clone)]
pub(crate) struct ClusterOptions {
    /// Writes in flight at once, per cluster.
    pub concurrency: usize,
    /// Whether this process leads, at the very moment.
    pub may_write: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Who we are on our copies.
    pub hub: Arc<Hub>,
    /// How often a member is asked whether it is there.
    pub probe_interval: Duration,
    pub fingerprints: Arc<FingerprintKey>,
    /// Is told what changed.
    pub handler: Arc<dyn EventHandler>,
    pub metrics: Arc<Metrics>,
    pub freshness: Freshness,
    /// How old the last good answer to a watch may be.
    pub stale_after: Duration,
    pub supervisor: Supervisor,
}

/// One live cluster.
pub(crate) struct Cluster {
    name: Arc<str>,
    pub connection: Arc<Connection>,
    pub connectivity: Arc<Connectivity>,
    pub writer: Arc<Writer>,
    cache: Arc<RwLock<Cache>>,
    observation: Observation,
    options: ClusterOptions,
    probe: Mutex<Option<AbortHandle>>,
}

impl Cluster {
    /// Connects, and starts to watch.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration; that the cluster does not answer is
    /// no error, it shows in [`Connectivity::reach`].
    pub fn start(
        name: &str,
        connector: Connector,
        options: ClusterOptions,
    ) -> Result<Arc<Self>, kube::Error> {
        let name: Arc<str> = name.into();
        let connection = Arc::new(Connection::new(connector.clone())?);
        let connectivity = Arc::new(Connectivity::new());
        let cache = Arc::new(RwLock::new(Cache::new(options.hub.clone())));
        let writer = Arc::new(Writer::new(writer::Parts {
            cluster: name.clone(),
            connection: connection.clone(),
            cache: cache.clone(),
            connectivity: connectivity.clone(),
            fingerprints: options.fingerprints.clone(),
            handler: options.handler.clone(),
            metrics: options.metrics.clone(),
            supervisor: options.supervisor.clone(),
            concurrency: options.concurrency,
            may_write: options.may_write.clone(),
        }));
        let shared = Shared {
            cluster: name.clone(),
            is_local: &*name == LOCAL,
            cache: cache.clone(),
            connectivity: connectivity.clone(),
            writer: writer.clone(),
            fingerprints: options.fingerprints.clone(),
            handler: options.handler.clone(),
            metrics: options.metrics.clone(),
            freshness: options.freshness.clone(),
        };
        let observation = Observation::new(Arc::new(shared), options.supervisor.clone());
        observation.start(&connector)?;
        let cluster = Arc::new(Self {
            name,
            connection,
            connectivity,
            writer,
            cache,
            observation,
            options,
            probe: Mutex::default(),
        });
        if !cluster.is_local() {
            cluster.start_probing();
        }
        Ok(cluster)
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the operator runs there.
    pub fn is_local(&self) -> bool {
        &*self.name == LOCAL
    }

    /// The cache, to plan with. Must not be held over an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache, to note who waits for what. Must not be held over an await.
    pub fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The uid of its namespace `kube-system`, by which a cluster is known, once that was seen.
    pub fn id(&self) -> Option<Arc<str>> {
        self.read().cluster_id()
    }

    /// How many copies of ours are known to be there, and how many of these are in use.
    pub fn copies(&self) -> (usize, usize) {
        let cache = self.read();
        let snapshot = cache.snapshot();
        let used = snapshot.copies.names().filter(|name| snapshot.is_in_use(name)).count();
        (snapshot.copies.len(), used)
    }

    /// Whether the watch of Pods has been without a good answer for too long to delete anything by it.
    pub fn is_blind_to_users(&self) -> bool {
        self.stale_watches().iter().any(|watch| &*watch.kind == WatchedKind::Pods.name())
    }

    /// Goes on with other credentials, or at another address; what is known stays until the new
    /// watches say otherwise. With the same address it counts as up meanwhile, as far as it was.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration.
    pub fn reconnect(&self, connector: Connector) -> Result<(), kube::Error> {
        let moved = self.connection.swap(connector.clone())?;
        if moved || !self.connectivity.is_up() {
            self.connectivity.begin();
        }
        self.observation.start(&connector)?;
        self.connectivity.probe_now();
        Ok(())
    }

    /// Ends all that goes on in the background: it is no longer a member.
    pub fn retire(&self) {
        self.observation.stop();
        if let Some(probe) = self.probe.lock().unwrap_or_else(PoisonError::into_inner).take() {
            probe.abort();
        }
    }

    fn start_probing(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let interval = self.options.probe_interval;
        let name = format!("probe of cluster {}", self.name);
        let probing = self.options.supervisor.spawn(name, async move {
            while let Some(cluster) = weak.upgrade() {
                let failures = cluster.probe_once().await;
                let connectivity = cluster.connectivity.clone();
                drop(cluster);
                probe::pause(&connectivity, interval, failures).await;
            }
        });
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = Some(probing);
    }

    /// Returns how many probes in a row were not answered.
    async fn probe_once(&self) -> u32 {
        match probe::probe(&self.connection, &self.connectivity, || self.silent_watch()).await {
            Probed::Answered(answered) => {
                if answered.back {
                    info!(cluster = &*self.name, "answers again");
                    let anew = self.connection.renew();
                    let anew = anew.and_then(|()| self.observation.start(&self.connection.connector()));
                    if let Err(error) = anew {
                        self.connectivity.faulted(error::connection_error(&error));
                    }
                }
                if answered.changed {
                    self.connectivity_changed();
                }
                0
            }
            Probed::Unanswered(unanswered, why) => {
                if unanswered.fell {
                    warn!(cluster = &*self.name, "does not answer: {why}");
                    self.observation.stop();
                    self.connectivity_changed();
                }
                unanswered.failures
            }
        }
    }

    /// Which watch has been without a good answer for too long, though the server answers.
    fn silent_watch(&self) -> Option<ConnectionError> {
        let watch = self.stale_watches().into_iter().next()?;
        let (kind, age) = (watch.kind, watch.age.as_secs());
        Some(format!("the watch of {kind} has had no answer for {age} s").as_str().into())
    }

    fn stale_watches(&self) -> Vec<Watch> {
        self.options.freshness.stale(&self.name, self.options.stale_after, Instant::now())
    }

    fn connectivity_changed(&self) {
        self.options.metrics.set_cluster_up(&self.name, self.connectivity.is_up());
        self.options.handler.connectivity_changed(&self.name);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.retire();
        self.options.freshness.remove_cluster(&self.name);
        self.options.metrics.forget_cluster(&self.name);
    }
}
