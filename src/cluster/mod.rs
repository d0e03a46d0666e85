//! One live cluster, made of four parts: the connection, the cache of what a plan needs, the connectivity, and the
//! writer that carries changes out.
//!
//! `local`, where the operator runs, is one of them and nothing more.

mod access;
mod account;
mod accounts;
mod answer;
mod attach;
mod cache;
mod changes;
mod connection;
mod connectivity;
mod connector;
mod discovery;
pub(crate) mod dynamic;
mod error;
mod evictions;
mod guard;
mod handler;
mod interner;
mod kept;
mod live_references;
mod object;
mod observation;
mod own_writes;
mod pages;
mod probe;
mod referrer;
pub(crate) mod reflector;
mod service_account;
mod shared;
mod splitter;
mod stuck;
mod turns;
mod types;
mod users;
mod writer;
mod writes;

pub(crate) use access::configuration;
pub(crate) use connector::{Connector, Timeouts};
pub(crate) use discovery::served_types;
pub(crate) use error::{WriteError, describe};
pub(crate) use guard::{Guarded, Unreadable};
pub(crate) use handler::{AccountChange, EventHandler, Touched};
pub(crate) use live_references::UNFINISHED;
pub(crate) use object::{SecretMetadata, SlimPod};
pub(crate) use referrer::{GrantObject, Referrer, Refers, Workload};
pub(crate) use shared::ClusterOptions;
pub(crate) use writer::{Applied, Job, Writer};
pub(crate) use writes::Unseen;

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use k8s_openapi::jiff::Timestamp;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::{
    domain::{cluster_condition::ConnectionError, connectivity::WatchedKind, schedule::READ_BACK_AGAIN},
    lock::Lock,
    telemetry::Watch,
};
use shared::Shared;

/// One live cluster: what is known of it, and the tasks that keep this up to date.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    pub writer: Arc<Writer>,
    watches: Tasks,
    probe: Tasks,
    retired: AtomicBool,
    pub reads: Reads,
}

/// Whether reads that others wait for are worth a try.
#[derive(Default)]
pub(crate) struct Reads(Lock<Option<Instant>>);

impl Reads {
    /// Whether one was not answered in time a short while ago.
    pub fn is_slow(&self) -> bool {
        self.0.read().is_some_and(|since| since.elapsed() < READ_BACK_AGAIN)
    }

    pub fn was_slow(&self) {
        *self.0.write() = Some(Instant::now());
    }
}

impl Deref for Cluster {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// Tasks in the background, until others take their place.
#[derive(Default)]
struct Tasks(Lock<Vec<AbortHandle>>);

impl Tasks {
    fn replace(&self, tasks: Vec<AbortHandle>) {
        for task in std::mem::replace(&mut *self.0.write(), tasks) {
            task.abort();
        }
    }
}

impl Cluster {
    /// Connects, and starts to watch.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration; that the cluster does not answer is
    /// no error, it shows in its connectivity.
    pub fn start(
        name: &str,
        connector: Connector,
        options: ClusterOptions,
    ) -> Result<Arc<Self>, kube::Error> {
        let shared = Arc::new(Shared::new(name, connector, options)?);
        let writer = Arc::new(Writer::new(shared.clone()));
        let (watches, probe) = (Tasks::default(), Tasks::default());
        let cluster = Arc::new(Self {
            shared,
            writer,
            watches,
            probe,
            retired: AtomicBool::default(),
            reads: Reads::default(),
        });
        cluster.start_watches()?;
        if !cluster.is_local() {
            cluster.start_probing();
        }
        Ok(cluster)
    }

    /// The uid of its namespace `kube-system`, by which a cluster is known, once that was seen.
    pub fn id(&self) -> Option<Arc<str>> {
        self.read().cluster_id.clone()
    }

    /// How many copies of ours are known to be there, and how many of these are in use.
    pub fn copies(&self) -> (usize, usize) {
        let cache = self.read();
        let snapshot = cache.snapshot();
        let used = snapshot.copies.names().filter(|name| snapshot.is_in_use(name)).count();
        (snapshot.copies.len(), used)
    }

    /// How many ServiceAccounts are known to carry marks of ours, where the operator takes these away again.
    pub fn attached(&self) -> usize {
        let is_ours = self.options.accounts.is_some();
        if is_ours { self.read().snapshot().accounts.attached() } else { 0 }
    }

    /// Whether a watch of users has been without a good answer for too long to delete anything by it.
    pub fn is_blind_to_users(&self) -> bool {
        let names: Vec<_> =
            self.options.references.blocking.iter().map(|kind| WatchedKind::Users(kind).name()).collect();
        self.stale_watches().iter().any(|watch| names.contains(&&*watch.kind))
    }

    /// Goes on with other credentials, or at another address; what is known stays until the new
    /// watches say otherwise. With the same address it counts as up meanwhile, as far as it was.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration.
    pub fn reconnect(&self, connector: Connector) -> Result<(), kube::Error> {
        let moved = self.connection.swap(connector)?;
        if moved || !self.connectivity.is_up() {
            self.connectivity.begin();
        }
        self.start_watches()?;
        self.connectivity.probe_now();
        Ok(())
    }

    /// Ends all that goes on in the background: it is no longer a member. Another cluster may take its name from here on,
    /// though a sync may still hold this one.
    pub fn retire(&self) {
        self.watches.replace(Vec::new());
        self.probe.replace(Vec::new());
        if !self.retired.swap(true, Ordering::Relaxed) {
            self.options.freshness.remove_cluster(&self.name);
            self.options.metrics.forget_cluster(&self.name);
        }
    }

    /// Starts all watches anew: what lists them shows what was missed.
    fn start_watches(&self) -> Result<(), kube::Error> {
        self.watches.replace(observation::start(&self.shared, &self.writer)?);
        Ok(())
    }

    fn start_probing(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let shared = self.shared.clone();
        let probing = async move {
            while let Some(cluster) = weak.upgrade() {
                cluster.probe_once().await;
                drop(cluster);
                probe::pause(&shared.connectivity, shared.options.probe_interval).await;
            }
        };
        let name = format!("probe of cluster {}", self.name);
        self.probe.replace(vec![self.options.supervisor.spawn(name, probing)]);
    }

    async fn probe_once(&self) {
        let connectivity = &self.connectivity;
        match probe::ask(self.connection.client()).await {
            Ok(version) => {
                let silent = self.silent_watch();
                let mut back = false;
                let changed = connectivity.change(|state| {
                    back = state.is_down();
                    state.answered(version, silent, Timestamp::now())
                });
                if back {
                    info!(cluster = &*self.name, "answers again");
                    let anew = self.connection.renew().and_then(|()| self.start_watches());
                    if let Err(error) = anew {
                        connectivity.unconnected(error::connection_error(&error));
                    }
                }
                if changed {
                    self.tell_connectivity();
                }
            }
            Err(error) => {
                let (why, certain) = (error::connection_error(&error), probe::is_certain(&error));
                let told = why.to_string();
                if connectivity.change(|state| state.unanswered(why, certain, Timestamp::now())) {
                    warn!(cluster = &*self.name, "does not answer: {told}");
                    self.watches.replace(Vec::new());
                    self.tell_connectivity();
                }
            }
        }
    }

    /// Which watch has been without a good answer for too long, though the server answers.
    fn silent_watch(&self) -> Option<ConnectionError> {
        let watch = self.stale_watches().into_iter().find(|watch| watch.is_vital)?;
        let (kind, age) = (watch.kind, watch.age.as_secs());
        Some(format!("the watch of {kind} has had no answer for {age} s").as_str().into())
    }

    fn stale_watches(&self) -> Vec<Watch> {
        self.options.freshness.stale(&self.name, self.options.stale_after, Instant::now())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.retire();
    }
}

#[cfg(test)]
#[path = "../fuzz/frames.rs"]
mod fuzz;
