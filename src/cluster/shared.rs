//! What the parts of one cluster have in common.

use std::{
    sync::{Arc, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

use super::{
    cache::Cache, changes::Changes, connection::Connection, connectivity::Connectivity, connector::Connector,
    handler::EventHandler, types::Types,
};
use crate::{
    domain::{
        attachment::AccountNames,
        connectivity::WatchedKind,
        fingerprint::FingerprintKey,
        ownership::Hub,
        reference_kind::{Kinds, ReferenceKind, ReferencePolicy},
        schedule::{ACCOUNT_LIST_PAUSE, OPTIONAL_LISTS},
        selection::LOCAL,
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
    /// The names of ServiceAccounts that defaults ask for, once they are known; `None` where nothing is attached to any.
    pub accounts: Option<watch::Receiver<Option<Arc<AccountNames>>>>,
    /// Is told what changed.
    pub handler: Arc<dyn EventHandler>,
    pub metrics: Arc<Metrics>,
    pub freshness: Freshness,
    /// How old the last good answer to a watch may be.
    pub stale_after: Duration,
    pub supervisor: Supervisor,
}

impl ClusterOptions {
    /// The kinds that are watched: those that may use Secrets, and ServiceAccounts where something is attached to them.
    pub(super) fn kinds(&self) -> Kinds {
        let kinds = self.references.kinds;
        if self.accounts.is_some() { kinds.with(ReferenceKind::ServiceAccount) } else { kinds }
    }
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
        let mut cache =
            Cache::new(options.hub.clone(), options.fingerprints.clone(), options.references.blocking);
        cache.is_local = name == LOCAL;
        cache.accounts_are_users = options.references.kinds.contains(ReferenceKind::ServiceAccount);
        Ok(Self {
            name: name.into(),
            connection: Connection::new(connector)?,
            connectivity: Connectivity::new(options.kinds()),
            types: Types::default(),
            turns: Arc::new(Semaphore::new(OPTIONAL_LISTS)),
            cache: Lock::new(cache),
            options,
        })
    }

    /// Whether the operator runs there.
    pub fn is_local(&self) -> bool {
        &*self.name == LOCAL
    }

    /// Whether ServiceAccounts may not be read, as their watch has found.
    pub fn hides_accounts(&self) -> bool {
        self.types.is_denied(WatchedKind::ACCOUNTS)
    }

    /// Returns when ServiceAccounts of other names than these are asked for, the list of these is complete, and it was not begun
    /// just now: whoever may write credentials could have it begun anew for ever.
    pub(super) async fn others_wanted(
        &self,
        wanted: Arc<AccountNames>,
        names: &mut watch::Receiver<Option<Arc<AccountNames>>>,
    ) {
        tokio::time::sleep(ACCOUNT_LIST_PAUSE).await;
        loop {
            let is_listed = self.read().snapshot().accounts.listed == wanted;
            let has_others =
                names.borrow_and_update().as_ref().is_some_and(|names| !names.is_subset(&wanted));
            if is_listed && has_others {
                return;
            }
            // The sender lives as long as the operator does.
            tokio::select! {
                Ok(()) = names.changed() => {}
                () = tokio::time::sleep(ACCOUNT_LIST_PAUSE), if has_others => {}
                else => return std::future::pending().await,
            }
        }
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
        for change in changes.accounts {
            handler.account_changed(&self.name, change);
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
