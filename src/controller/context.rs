//! What all loops share.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    clusters::ClusterRegistry, credentials::Credentials, desired::DesiredStates, events::Events,
    keys::Queues, outcomes::Outcomes, policies::Policies,
};
use crate::{
    cluster::{Cluster, Connector},
    domain::{
        fingerprint::FingerprintKey,
        identity::{CredentialId, OwnerId},
        ownership::Hub,
        withdrawal::Consent,
    },
    supervisor::Supervisor,
    telemetry::{Freshness, Metrics},
};

/// The values that loops leave for each other.
pub(crate) struct Stores {
    pub credentials: Credentials,
    pub policies: Policies,
    pub desired: DesiredStates,
    pub outcomes: Outcomes,
    pub finalized: Finalized,
}

/// What all loops share.
pub(crate) struct Context {
    /// The operator's own namespace.
    pub namespace: Arc<str>,
    pub hub: Arc<Hub>,
    /// Makes clients of `local`.
    pub connector: Connector,
    pub clusters: Arc<ClusterRegistry>,
    pub stores: Arc<Stores>,
    pub queues: Arc<Queues>,
    pub fingerprints: Arc<FingerprintKey>,
    pub events: Events,
    pub metrics: Arc<Metrics>,
    pub freshness: Freshness,
    pub supervisor: Supervisor,
    /// Turns true when the members are known that there were at the start, and each was listed or does not answer.
    pub members_known: watch::Sender<bool>,
    pub resync_interval: Duration,
    /// How long a cluster that does not answer holds a deletion up.
    pub unreachable_grace: Duration,
    /// How long an owner must have been missing before its copies are swept.
    pub sweep_grace: Duration,
}

impl Context {
    /// Waits until everything that the loops look at was listed once, but for members that do not answer.
    pub async fn filled(self: Arc<Self>) {
        self.stores.policies.wait_until_listed().await;
        // The sender lives as long as this does.
        let _ = self.members_known.subscribe().wait_for(|known| *known).await;
        self.local().connectivity.filled().await;
    }

    /// Whether a lack of consent takes copies of a credential away by now.
    pub fn consent(&self, id: &CredentialId) -> Consent {
        let own = self.local().read().snapshot().namespaces.get(&id.namespace).cloned();
        self.stores.policies.consent(id.kind, &id.namespace, &own.unwrap_or_default())
    }

    /// The cluster that the operator runs in.
    pub fn local(&self) -> &Arc<Cluster> {
        self.clusters.local()
    }
}

/// Owners whose credential went through our finalizer in this process: what is left of their copies goes without a
/// quiet period.
#[derive(Default)]
pub(crate) struct Finalized(Mutex<HashSet<OwnerId>>);

impl Finalized {
    pub fn insert(&self, owner: OwnerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(owner);
    }

    pub fn contains(&self, owner: &OwnerId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(owner)
    }

    /// The credential is there again, or nothing is left of it.
    pub fn remove(&self, owner: &OwnerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(owner);
    }
}
