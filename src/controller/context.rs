//! What all controllers share.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use kube::runtime::reflector::Store;
use tokio::sync::{Notify, watch};

use super::{Events, index::Listener};
use crate::{
    api::DistributionPolicy,
    cluster::{Cluster, Connector, Sink},
    domain::{
        fingerprint::FingerprintKey,
        ownership::OwnerId,
        view::{Key, Namespace},
    },
    telemetry::{Freshness, Metrics},
};

/// What all controllers share.
pub struct Context {
    /// The operator's own namespace.
    pub namespace: String,
    /// Makes clients of `local`.
    pub connector: Connector,
    /// The clusters, `local` first.
    pub clusters: RwLock<Vec<Arc<Cluster>>>,
    /// All policies.
    pub policies: Store<DistributionPolicy>,
    /// Whether they were listed once. Not the store's own `wait_until_ready`: that one wakes only the last
    /// of several who wait, and the others never.
    pub policies_listed: watch::Receiver<bool>,
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
}

impl Context {
    /// The clusters, `local` first.
    #[must_use]
    pub fn clusters(&self) -> Vec<Arc<Cluster>> {
        read(&self.clusters).clone()
    }

    /// Waits until everything that a pass over `local` looks at was listed once.
    pub async fn filled(&self) {
        // Ends with an error only when the operator goes down.
        let _ = self.policies_listed.clone().wait_for(|listed| *listed).await;
        if let Ok(local) = self.local() {
            local.filled().await;
        }
    }

    /// The cluster that the operator runs in.
    ///
    /// # Errors
    /// Never once the operator has started.
    pub fn local(&self) -> Result<Arc<Cluster>, super::Error> {
        read(&self.clusters).first().cloned().ok_or(super::Error::NotStarted)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Passes what changed in a cluster to the controllers of all kinds, and to the sweep.
#[derive(Default)]
pub struct Roster {
    listeners: OnceLock<Vec<Arc<dyn Listener>>>,
    /// Woken when copies without a credential may be there.
    pub orphans: Notify,
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

    fn owners(&self, owners: &HashSet<OwnerId>, urgent: bool) {
        for owner in owners {
            // All are asked, as an id may be of more than one kind.
            let mut known = false;
            for listener in self.listeners() {
                known |= listener.owner(owner, urgent);
            }
            if !known {
                self.orphans.notify_one();
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

    fn namespace_changed(&self, name: &str, before: Option<&Namespace>, after: Option<&Namespace>) {
        for listener in self.listeners() {
            listener.namespace(name, before, after);
        }
    }

    fn secret_changed(&self, key: &Key, resource_version: u64) {
        for listener in self.listeners() {
            listener.secret(key, resource_version);
        }
    }

    fn secrets_missed(&self) {
        for listener in self.listeners() {
            listener.secrets_missed();
        }
    }
}
