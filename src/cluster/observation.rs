//! Watches that feed a cluster's cache, and tell who is concerned.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource, runtime::watcher};
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::{
    cache::{Cache, Changes, NamespaceChange, key_of},
    connectivity::Connectivity,
    connector::Connector,
    error::connection_error,
    guard::Guarded,
    handler::EventHandler,
    object::{MarkedSecret, SecretMetadata, SlimNamespace, SlimPod},
    reflector::{self, Store, reflect},
    writer::Writer,
};
use crate::{
    api::{LABEL_MANAGED_BY, MANAGER},
    domain::{
        cluster_condition::ConnectionError, connectivity::WatchedKind, fingerprint::FingerprintKey,
        identity::NamespacedName,
    },
    supervisor::Supervisor,
    telemetry::{Freshness, Metrics},
};

/// What feeds the cache of one cluster.
pub(crate) struct Observation {
    shared: Arc<Shared>,
    supervisor: Supervisor,
    watches: Mutex<Vec<AbortHandle>>,
}

/// What all watches of a cluster work with.
pub(super) struct Shared {
    pub cluster: Arc<str>,
    pub is_local: bool,
    pub cache: Arc<RwLock<Cache>>,
    pub connectivity: Arc<Connectivity>,
    pub writer: Arc<Writer>,
    pub fingerprints: Arc<FingerprintKey>,
    pub handler: Arc<dyn EventHandler>,
    pub metrics: Arc<Metrics>,
    pub freshness: Freshness,
}

impl Observation {
    pub(super) fn new(shared: Arc<Shared>, supervisor: Supervisor) -> Self {
        Self { shared, supervisor, watches: Mutex::default() }
    }

    /// Starts all watches anew, on connections of their own: what lists them shows what was missed.
    ///
    /// # Errors
    /// When a client cannot be made from the cluster's configuration.
    pub fn start(&self, connector: &Connector) -> Result<(), kube::Error> {
        let started = vec![
            self.spawn(connector, Namespaces(self.shared.clone()))?,
            self.spawn(connector, Copies(self.shared.clone()))?,
            self.spawn(connector, Pods(self.shared.clone()))?,
            self.spawn(connector, Secrets(self.shared.clone()))?,
        ];
        self.replace(started);
        Ok(())
    }

    /// Stops all watches.
    pub fn stop(&self) {
        self.replace(Vec::new());
    }

    fn replace(&self, watches: Vec<AbortHandle>) {
        let before =
            std::mem::replace(&mut *self.watches.lock().unwrap_or_else(PoisonError::into_inner), watches);
        for watch in before {
            watch.abort();
        }
    }

    fn spawn<F: Feed>(&self, connector: &Connector, feed: F) -> Result<AbortHandle, kube::Error> {
        let kind = F::KIND;
        let beat = self.shared.freshness.register(&self.shared.cluster, kind.name());
        let api: Api<Guarded<F::Object>> = Api::all(connector.client(Some(beat))?);
        let config = F::config(reflector::config(connector.timeouts().watch));
        let name = format!("watch of {} in cluster {}", kind.name(), self.shared.cluster);
        Ok(self.supervisor.spawn_endless(name, reflect(api, config, Fed { feed, not_shown: Vec::new() })))
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, changes: Changes) {
        if !self.connectivity.is_filled() {
            return;
        }
        for _ in 0..changes.drift {
            self.metrics.drift_repaired(&self.cluster);
        }
        if !changes.touched.is_empty() {
            self.handler.touched(&self.cluster, changes.touched);
        }
    }

    fn tell_namespace(&self, change: Option<NamespaceChange>) {
        if let Some((name, before, after)) = change.filter(|_| self.connectivity.is_filled()) {
            self.handler.namespace_changed(&self.cluster, &name, before.as_ref(), after.as_ref());
        }
    }

    /// Sources are all in `local`.
    fn tell_secret(&self, meta: &ObjectMeta, exists: bool) {
        if self.is_local {
            let version = meta.resource_version.as_deref().filter(|_| exists);
            self.handler.secret_changed(&reflector::name_of(meta), version);
        }
    }

    fn listed(&self, kind: WatchedKind) {
        let again = self.connectivity.is_filled();
        let filled = self.connectivity.listed(kind);
        debug!(cluster = &*self.cluster, watch = kind.name(), "listed");
        if filled {
            self.metrics.set_cluster_up(&self.cluster, self.connectivity.is_up());
            if !self.is_local {
                info!(cluster = &*self.cluster, "connected");
            }
            self.handler.connectivity_changed(&self.cluster);
        } else if again {
            self.handler.relisted(&self.cluster);
        }
    }

    fn failed(&self, kind: WatchedKind, error: &watcher::Error) {
        // Only the kind of fault is told: an error may quote what it could not read.
        let why = reflector::describe_failure(error);
        let request = reflector::request_error(error);
        let absent = matches!(request, Some(kube::Error::Api(status)) if status.is_not_found());
        if absent && !kind.is_required() {
            // The cluster does not have this type: there is nothing of it.
            self.connectivity.listed(kind);
            return;
        }
        warn!(cluster = &*self.cluster, watch = kind.name(), "{why}");
        let denied = request.and_then(|error| connection_error(error).denied);
        let message = format!("{}: {why}", kind.name());
        if self.connectivity.faulted(ConnectionError { denied, message }) && !self.is_local {
            self.handler.connectivity_changed(&self.cluster);
        }
    }
}

/// How the objects of one watch go into the cache.
trait Feed: Send + 'static {
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static;
    const KIND: WatchedKind;

    fn shared(&self) -> &Arc<Shared>;
    fn config(config: watcher::Config) -> watcher::Config {
        config
    }
    fn begin(&self) {}
    fn upsert(&self, object: Self::Object, listed: bool);
    /// `uid` is that of the object, where an event brought it.
    fn remove(&self, name: &NamespacedName, uid: Option<&str>);
    fn known(&self) -> Vec<NamespacedName>;
    /// A list is complete; what the cache holds and it did not show.
    fn complete(&self, not_shown: Vec<NamespacedName>) {
        for name in not_shown {
            self.remove(&name, None);
        }
    }
}

/// A feed, as a reflector wants it: unreadable objects are left as they were.
struct Fed<F: Feed> {
    feed: F,
    not_shown: Vec<NamespacedName>,
}

impl<F: Feed> Store for Fed<F> {
    type Object = Guarded<F::Object>;

    fn begin(&mut self) {
        self.not_shown.clear();
        self.feed.begin();
    }

    fn upsert(&mut self, object: Self::Object, listed: bool) {
        match object.0 {
            Ok(object) => self.feed.upsert(object, listed),
            Err(bad) => {
                let name = bad.metadata.name.as_deref().unwrap_or_default();
                let namespace = bad.metadata.namespace.as_deref().unwrap_or_default();
                let cluster = &*self.feed.shared().cluster;
                warn!(cluster, watch = F::KIND.name(), namespace, name, "object cannot be read");
            }
        }
    }

    fn remove(&mut self, object: Self::Object) {
        let uid = object.meta().uid.clone();
        self.feed.remove(&reflector::name_of(object.meta()), uid.as_deref());
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.feed.known()
    }

    fn vanished(&mut self, name: &NamespacedName) {
        self.not_shown.push(name.clone());
    }

    fn complete(&mut self) {
        self.feed.complete(std::mem::take(&mut self.not_shown));
        self.feed.shared().listed(F::KIND);
    }

    fn failed(&mut self, error: &watcher::Error) {
        self.feed.shared().failed(F::KIND, error);
    }
}

struct Namespaces(Arc<Shared>);

impl Feed for Namespaces {
    type Object = SlimNamespace;
    const KIND: WatchedKind = WatchedKind::Namespaces;

    fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    fn upsert(&self, object: SlimNamespace, _: bool) {
        let change = self.0.write().set_namespace(object);
        self.0.tell_namespace(change);
    }

    fn remove(&self, name: &NamespacedName, _: Option<&str>) {
        let change = self.0.write().remove_namespace(&name.name);
        self.0.tell_namespace(change);
    }

    fn known(&self) -> Vec<NamespacedName> {
        let cache = self.0.read();
        let names = cache.snapshot().namespaces.keys();
        names.map(|name| NamespacedName { namespace: "".into(), name: name.clone() }).collect()
    }
}

struct Copies(Arc<Shared>);

impl Feed for Copies {
    type Object = MarkedSecret;
    const KIND: WatchedKind = WatchedKind::Copies;

    fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    fn config(config: watcher::Config) -> watcher::Config {
        config.labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"))
    }

    fn begin(&self) {
        self.0.write().begin_list();
    }

    fn upsert(&self, object: MarkedSecret, listed: bool) {
        // A copy may be the source of another credential.
        self.0.tell_secret(object.meta(), true);
        let changes = {
            let mut cache = self.0.write();
            match cache.read_copy(&object, &self.0.fingerprints) {
                Some((name, copy)) => cache.observe_copy(name, copy, listed),
                // It lost its owner, if it ever had one.
                None => cache.remove_copy(&key_of(&object), object.meta().uid.as_deref()),
            }
        };
        self.0.tell(changes);
    }

    fn remove(&self, name: &NamespacedName, uid: Option<&str>) {
        if self.0.is_local {
            self.0.handler.secret_changed(name, None);
        }
        let changes = self.0.write().remove_copy(name, uid);
        self.0.tell(changes);
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.0.read().snapshot().copies.names().cloned().collect()
    }

    fn complete(&self, not_shown: Vec<NamespacedName>) {
        let (unsure, changes) = self.0.write().end_list(not_shown);
        self.0.tell(changes);
        self.0.writer.read_again(unsure);
    }
}

struct Pods(Arc<Shared>);

impl Feed for Pods {
    type Object = SlimPod;
    const KIND: WatchedKind = WatchedKind::Pods;

    fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    fn upsert(&self, object: SlimPod, _: bool) {
        let changes = self.0.write().set_pod(&object);
        self.0.tell(changes);
    }

    fn remove(&self, name: &NamespacedName, _: Option<&str>) {
        let changes = self.0.write().remove_pod(name);
        self.0.tell(changes);
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.0.read().snapshot().references.pods().cloned().collect()
    }
}

/// All other Secrets, as metadata: they may be sources, or be where a copy should. Nothing of them is kept.
struct Secrets(Arc<Shared>);

impl Feed for Secrets {
    type Object = SecretMetadata;
    const KIND: WatchedKind = WatchedKind::Secrets;

    fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    fn config(config: watcher::Config) -> watcher::Config {
        config
            .labels(&format!("{LABEL_MANAGED_BY}!={MANAGER}"))
            // By far the most Secrets of a usual cluster, never a source, and never in the way.
            .fields("type!=helm.sh/release.v1")
    }

    fn begin(&self) {
        if self.0.is_local {
            self.0.handler.secrets_listing();
        }
    }

    fn upsert(&self, object: SecretMetadata, _: bool) {
        self.0.tell_secret(object.meta(), true);
        // A Secret that came or changed may be ours with its labels removed, or no longer taken.
        let changes = self.0.write().freed(&key_of(&object));
        self.0.tell(changes);
    }

    fn remove(&self, name: &NamespacedName, _: Option<&str>) {
        if self.0.is_local {
            self.0.handler.secret_changed(name, None);
        }
        let changes = self.0.write().freed(name);
        self.0.tell(changes);
    }

    fn known(&self) -> Vec<NamespacedName> {
        Vec::new()
    }

    fn complete(&self, _: Vec<NamespacedName>) {
        let changes = self.0.write().retry_conflicts();
        self.0.tell(changes);
        if self.0.is_local {
            self.0.handler.secrets_listed();
        }
    }
}
