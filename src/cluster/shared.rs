//! What the parts of one cluster have in common.

use std::{
    sync::{Arc, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    cache::{Cache, Changes},
    connection::Connection,
    connectivity::Connectivity,
    connector::Connector,
    handler::EventHandler,
    types::Types,
};
use crate::{
    domain::{
        fingerprint::FingerprintKey, ownership::Hub, reference_kind::ReferencePolicy,
        schedule::OPTIONAL_LISTS, selection::LOCAL,
    },
    lock::Lock,
    supervisor::Supervisor,
    telemetry::{Freshness, Metrics},
};

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
    /// What is looked at for users of Secrets, and which of them hold one.
    pub references: ReferencePolicy,
    /// Is told what changed.
    pub handler: Arc<dyn EventHandler>,
    pub metrics: Arc<Metrics>,
    pub freshness: Freshness,
    /// How old the last good answer to a watch may be.
    pub stale_after: Duration,
    pub supervisor: Supervisor,
}

/// What the watches, the probe and the writer of one cluster work with.
pub(crate) struct Shared {
    pub name: Arc<str>,
    pub connection: Connection,
    pub connectivity: Connectivity,
    pub(super) options: ClusterOptions,
    pub(super) types: Types,
    /// Of lists of optional kinds.
    pub(super) turns: Arc<Semaphore>,
    cache: Lock<Cache>,
}

impl Shared {
    /// # Errors
    /// When a client cannot be made from the configuration.
    pub(super) fn new(
        name: &str,
        connector: Connector,
        options: ClusterOptions,
    ) -> Result<Self, kube::Error> {
        Ok(Self {
            name: name.into(),
            connection: Connection::new(connector)?,
            connectivity: Connectivity::new(options.references.kinds),
            types: Types::default(),
            turns: Arc::new(Semaphore::new(OPTIONAL_LISTS)),
            cache: Lock::new(Cache::new(
                options.hub.clone(),
                options.fingerprints.clone(),
                options.references.blocking,
            )),
            options,
        })
    }

    /// Whether the operator runs there.
    pub fn is_local(&self) -> bool {
        &*self.name == LOCAL
    }

    /// The cache, to plan with. Must not be held over an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read()
    }

    /// The cache, to change it. Must not be held over an await.
    pub fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write()
    }

    /// Tells what changed in the cache, once all of it was listed.
    pub(super) fn tell(&self, changes: Changes) {
        if !self.connectivity.is_filled() {
            return;
        }
        let handler = &self.options.handler;
        for _ in 0..changes.drift {
            self.options.metrics.drift_repaired(&self.name);
        }
        if !changes.touched.is_empty() {
            handler.touched(&self.name, changes.touched);
        }
        for (name, before, after) in changes.namespaces {
            handler.namespace_changed(&self.name, &name, before.as_ref(), after.as_ref());
        }
        for namespace in changes.stuck {
            handler.stuck_changed(&self.name, &namespace);
        }
    }

    /// Tells that it may be possible to work with the cluster, or not any more.
    pub(super) fn tell_connectivity(&self) {
        self.options.metrics.set_cluster_up(&self.name, self.connectivity.is_up());
        self.options.handler.connectivity_changed(&self.name);
    }
}
