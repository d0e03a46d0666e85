//! What all controllers share.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use kube::runtime::reflector::Store;
use tokio::sync::watch;

use super::{Events, Fleet, Lanes, index::Listener, wake::Wakes};
use crate::{
    api::DistributionPolicy,
    cluster::{Cluster, Connector, Sink},
    domain::{
        fingerprint::FingerprintKey,
        ownership::{Hub, OwnerId},
        view::{Key, Namespace},
    },
    telemetry::{Freshness, Metrics},
};

/// What all controllers share.
pub struct Context {
    /// The operator's own namespace.
    pub namespace: String,
    /// Who we are on copies.
    pub hub: Arc<Hub>,
    /// Makes clients of `local`.
    pub connector: Connector,
    /// The clusters.
    pub fleet: Arc<Fleet>,
    /// Work in flight.
    pub lanes: Arc<Lanes>,
    /// All policies.
    pub policies: Store<DistributionPolicy>,
    /// Whether they were listed once. Not the store's own `wait_until_ready`: that one wakes only the last
    /// of several who wait, and the others never.
    pub policies_listed: watch::Receiver<bool>,
    /// Whether the members are known that there were at the start, and each was listed or does not answer.
    pub members_known: watch::Receiver<bool>,
    /// Who is told of changes.
    pub roster: Arc<Roster>,
    /// Hashes contents.
    pub fingerprints: Arc<FingerprintKey>,
    /// Publishes Events.
    pub events: Events,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Knows how old answers are.
    pub freshness: Freshness,
    /// How old an answer may be for a deletion to rely on it.
    pub stale_after: Duration,
    /// How often everything is looked at though nothing happened.
    pub resync_interval: Duration,
    /// How long a cluster that does not answer holds a deletion up.
    pub unreachable_grace: Duration,
}

impl Context {
    /// Waits until everything that a pass looks at was listed once, but for members that do not answer.
    pub async fn filled(&self) {
        // Each ends with an error only when the operator goes down.
        let _ = self.policies_listed.clone().wait_for(|listed| *listed).await;
        let _ = self.members_known.clone().wait_for(|known| *known).await;
        self.local().filled().await;
    }

    /// The cluster that the operator runs in.
    #[must_use]
    pub fn local(&self) -> &Arc<Cluster> {
        self.fleet.local()
    }
}

/// Passes what changed in a cluster to the controllers of all kinds, and to the sweep.
pub struct Roster {
    listeners: OnceLock<Vec<Arc<dyn Listener>>>,
    /// Counts how often copies without a credential may have appeared.
    orphans: watch::Sender<u64>,
    /// Members of which something changed, by name.
    pub members: Arc<Wakes<String>>,
    /// Secrets of `local` that members read, and the members.
    pub kubeconfigs: Mutex<HashMap<Key, HashSet<String>>>,
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            listeners: OnceLock::new(),
            orphans: watch::Sender::default(),
            members: Arc::new(Wakes::new()),
            kubeconfigs: Mutex::default(),
        }
    }
}

impl Roster {
    /// Sets who listens; once, before any cluster starts.
    pub fn register(&self, listeners: Vec<Arc<dyn Listener>>) {
        // A second call would change nothing, and there is none.
        let _ = self.listeners.set(listeners);
    }

    /// Who listens.
    pub fn listeners(&self) -> &[Arc<dyn Listener>] {
        self.listeners.get().map_or(&[], Vec::as_slice)
    }

    /// Asks for a look at every credential.
    pub fn all(&self) {
        for listener in self.listeners() {
            listener.all();
        }
    }

    /// Asks for a look at one credential.
    pub fn owner(&self, owner: &OwnerId) {
        for listener in self.listeners() {
            listener.owner(owner, true);
        }
    }

    /// Asks for a sweep.
    pub fn orphans_appeared(&self) {
        self.orphans.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells when a sweep is asked for.
    pub fn orphans(&self) -> watch::Receiver<u64> {
        self.orphans.subscribe()
    }

    fn owners(&self, owners: &HashSet<OwnerId>, urgent: bool) {
        for owner in owners {
            // All are asked, as an id may be of more than one kind.
            let mut known = false;
            for listener in self.listeners() {
                known |= listener.owner(owner, urgent);
            }
            if !known {
                self.orphans_appeared();
            }
        }
    }
}

impl Sink for Roster {
    fn copies_changed(&self, owners: &HashSet<OwnerId>) {
        self.owners(owners, true);
    }

    fn users_changed(&self, owners: &HashSet<OwnerId>) {
        self.owners(owners, false);
    }

    fn namespace_changed(
        &self,
        cluster: &str,
        name: &str,
        before: Option<&Namespace>,
        after: Option<&Namespace>,
    ) {
        for listener in self.listeners() {
            listener.namespace(cluster, name, before, after);
        }
    }

    fn cluster_changed(&self, cluster: &str, owners: &HashSet<OwnerId>) {
        self.members.now(cluster.to_owned());
        for listener in self.listeners() {
            listener.cluster(cluster);
        }
        self.owners(owners, false);
    }

    fn secret_changed(&self, key: &Key, resource_version: u64) {
        for listener in self.listeners() {
            listener.secret(key, resource_version);
        }
        let kubeconfigs = self.kubeconfigs.lock().unwrap_or_else(PoisonError::into_inner);
        for member in kubeconfigs.get(key).into_iter().flatten() {
            self.members.now(member.clone());
        }
    }

    fn secrets_missed(&self) {
        for listener in self.listeners() {
            listener.secrets_missed();
        }
        let kubeconfigs = self.kubeconfigs.lock().unwrap_or_else(PoisonError::into_inner);
        for member in kubeconfigs.values().flatten() {
            self.members.now(member.clone());
        }
    }
}
