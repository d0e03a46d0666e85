//! Watches that feed a cluster's cache, and tell who is concerned.

use std::{fmt::Debug, marker::PhantomData, sync::Arc};

use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::{
    cache::{Cache, Changes},
    guard::Guarded,
    object::{MarkedSecret, SecretMetadata, SlimNamespace, SlimPod},
    reflector::{Store, name_of, reflect},
    shared::Shared,
    writer::Writer,
};
use crate::{
    api::{LABEL_MANAGED_BY, MANAGER},
    domain::{
        cluster_condition::ConnectionError,
        connectivity::{Stage, WatchedKind},
        identity::NamespacedName,
        schedule::{MAX_KEPT, MAX_OBJECTS},
    },
};

/// Starts all watches of a cluster, on connections of their own.
///
/// # Errors
/// When a client cannot be made from the cluster's configuration.
pub(super) fn start(shared: &Arc<Shared>, writer: &Arc<Writer>) -> Result<Vec<AbortHandle>, kube::Error> {
    Ok(vec![
        watch::<SlimNamespace>(shared, writer)?,
        watch::<MarkedSecret>(shared, writer)?,
        watch::<SlimPod>(shared, writer)?,
        watch::<SecretMetadata>(shared, writer)?,
    ])
}

fn watch<K: Watched>(shared: &Arc<Shared>, writer: &Arc<Writer>) -> Result<AbortHandle, kube::Error> {
    let kind = K::KIND.name();
    let feed = Feed::<K> {
        shared: shared.clone(),
        writer: writer.clone(),
        kind: PhantomData,
        is_full: false,
        new: Vec::new(),
        told: false,
    };
    let watching = reflect(&shared.connection.connector(), kind, Api::all, params(K::KIND), feed)?;
    let name = format!("watch of {kind} in cluster {}", shared.name);
    Ok(shared.options.supervisor.spawn_endless(name, watching))
}

/// Objects that are watched, and how they go into the cache.
trait Watched: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static {
    const KIND: WatchedKind;

    fn put(self, cache: &mut Cache, listed: bool) -> Changes;
}

impl Watched for SlimNamespace {
    const KIND: WatchedKind = WatchedKind::Namespaces;

    fn put(self, cache: &mut Cache, _: bool) -> Changes {
        cache.set_namespace(self)
    }
}

impl Watched for MarkedSecret {
    const KIND: WatchedKind = WatchedKind::Copies;

    fn put(self, cache: &mut Cache, listed: bool) -> Changes {
        let changes = cache.observe_copy(&self, listed);
        changes.unwrap_or_else(|| cache.observe_foreign(self.meta(), listed))
    }
}

impl Watched for SlimPod {
    const KIND: WatchedKind = WatchedKind::Pods;

    fn put(self, cache: &mut Cache, _: bool) -> Changes {
        cache.set_pod(&self)
    }
}

/// All other Secrets: they may be sources, or be where a copy should. Nothing of them is kept.
impl Watched for SecretMetadata {
    const KIND: WatchedKind = WatchedKind::Secrets;

    fn put(self, cache: &mut Cache, _: bool) -> Changes {
        // A Secret that came or changed may be ours with its labels removed, or no longer taken.
        cache.freed(&name_of(self.meta()))
    }
}

/// Which objects of a kind are watched.
fn params(kind: WatchedKind) -> ListParams {
    let params = ListParams::default();
    match kind {
        WatchedKind::Namespaces | WatchedKind::Pods => params,
        WatchedKind::Copies => params.labels(&format!("{LABEL_MANAGED_BY}={MANAGER}")),
        WatchedKind::Secrets => params
            .labels(&format!("{LABEL_MANAGED_BY}!={MANAGER}"))
            // By far the most Secrets of a usual cluster, never a source, and never in the way.
            .fields("type!=helm.sh/release.v1"),
    }
}

/// Feeds the cache with objects of one kind. Of an object that cannot be read, what is known stays.
struct Feed<K> {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    kind: PhantomData<fn() -> K>,
    is_full: bool,
    /// What the list in progress was the first to show, in a member. It goes again when the list shows too much, or a
    /// member could add as much with each list.
    new: Vec<NamespacedName>,
    /// Whether it was told since the list began that an object cannot be read.
    told: bool,
}

impl<K: Watched> Feed<K> {
    /// Tells of a Secret that may be a source; sources are all in `local`.
    fn tell_secret(&self, name: &NamespacedName, resource_version: Option<&str>) {
        if self.shared.is_local() && matches!(K::KIND, WatchedKind::Copies | WatchedKind::Secrets) {
            self.shared.options.handler.secret_changed(name, resource_version);
        }
    }

    /// Whether complete lists tell which sources are gone.
    fn lists_sources(&self) -> bool {
        self.shared.is_local() && K::KIND == WatchedKind::Secrets
    }
}

impl<K: Watched> Store for Feed<K> {
    type Object = Guarded<K>;

    fn begin(&mut self) {
        (self.is_full, self.told) = (false, false);
        self.new.clear();
        if K::KIND == WatchedKind::Copies {
            self.shared.write().begin_list();
        }
        if self.lists_sources() {
            self.shared.options.handler.secrets_listing();
        }
    }

    fn upsert(&mut self, object: Guarded<K>, listed: bool) {
        let name = name_of(object.meta());
        match object.0 {
            Ok(object) => {
                self.tell_secret(&name, object.meta().resource_version.as_deref());
                let changes = {
                    let mut cache = self.shared.write();
                    // Of `local`, tenants have no more than its API server lets them have.
                    let kept = if self.shared.is_local() { 0 } else { cache.kept() };
                    if !cache.has(K::KIND, &name) {
                        self.is_full |= cache.count(K::KIND) >= MAX_OBJECTS || kept > MAX_KEPT;
                        if self.is_full {
                            return;
                        }
                        if listed && !self.shared.is_local() {
                            self.new.push(name);
                        }
                    }
                    object.put(&mut cache, listed)
                };
                self.shared.tell(changes);
            }
            // Once for a list: there may be any number of them.
            Err(_) if std::mem::replace(&mut self.told, true) => {}
            Err(_) => {
                let (cluster, watch) = (&*self.shared.name, K::KIND.name());
                let (namespace, name) = (&*name.namespace, &*name.name);
                warn!(cluster, watch, namespace, name, "object cannot be read");
            }
        }
    }

    fn remove(&mut self, object: Guarded<K>) {
        let name = name_of(object.meta());
        self.tell_secret(&name, None);
        let changes = self.shared.write().remove(K::KIND, &name, object.meta().uid.as_deref());
        self.shared.tell(changes);
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.shared.read().known(K::KIND)
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        self.new = Vec::new();
        let (unsure, changes) = self.shared.write().end_list(K::KIND, vanished);
        self.shared.tell(changes);
        self.writer.read_again(unsure);
        let (shared, handler) = (&self.shared, &self.shared.options.handler);
        if self.lists_sources() {
            handler.secrets_listed();
        }
        debug!(cluster = &*shared.name, watch = K::KIND.name(), "listed");
        let again = shared.connectivity.is_filled();
        if shared.connectivity.change(|state| state.listed(K::KIND)) {
            if !shared.is_local() {
                info!(cluster = &*shared.name, "connected");
            }
            shared.tell_connectivity();
        } else if again {
            handler.relisted(&shared.name);
        }
    }

    fn is_full(&self) -> bool {
        self.is_full
    }

    fn absent(&mut self) -> bool {
        if !K::KIND.is_required() && self.shared.connectivity.change(|state| state.listed(K::KIND)) {
            self.shared.tell_connectivity();
        }
        !K::KIND.is_required()
    }

    fn followed(&mut self) {
        if self.shared.connectivity.change(|state| state.followed(K::KIND)) {
            self.shared.tell_connectivity();
        }
    }

    fn failed(&mut self, stage: Stage, why: ConnectionError) {
        let new = std::mem::take(&mut self.new);
        if self.is_full {
            for name in new {
                let changes = self.shared.write().remove(K::KIND, &name, None);
                self.shared.tell(changes);
            }
        }
        let why = ConnectionError { message: format!("{}: {why}", K::KIND.name()), ..why };
        let connectivity = &self.shared.connectivity;
        if self.shared.is_local() {
            connectivity.unconnected(why);
        } else if connectivity.faulted(K::KIND, stage, why) {
            self.shared.tell_connectivity();
        }
    }
}
