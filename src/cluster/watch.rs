//! Watches that feed a cluster's caches, and tell who is concerned.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, utils::Backoff, watcher, watcher::Event},
};
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::{
    Cluster, Connector, Source,
    cache::{Cache, Changes, key_of},
    guard::Guarded,
    object::{MarkedSecret, SlimNamespace, SlimPod},
};
use crate::{
    api::{LABEL_MANAGED_BY, MANAGER},
    domain::{
        ownership::OwnerId,
        trouble::Cause,
        view::{Key, Namespace},
    },
};

/// Who is told what changed in a cluster. Calls must not block.
pub trait Sink: Send + Sync {
    /// Copies of these owners changed by another hand, or a name that they wait for is free.
    fn copies_changed(&self, owners: &HashSet<OwnerId>);
    /// Who uses copies of these owners changed.
    fn users_changed(&self, owners: &HashSet<OwnerId>);
    /// A namespace of a cluster came, changed or went.
    fn namespace_changed(
        &self,
        cluster: &str,
        name: &str,
        before: Option<&Namespace>,
        after: Option<&Namespace>,
    );
    /// A member can be worked with, or no longer can; the owners of the copies there. Or changes were missed.
    fn cluster_changed(&self, cluster: &str, owners: &HashSet<OwnerId>);
    /// A Secret of `local` that may be somebody's source changed or went; its resourceVersion.
    fn secret_changed(&self, key: &Key, resource_version: u64);
    /// Changes of Secrets of `local` may have been missed.
    fn secrets_missed(&self);
}

/// One of a cluster's watches: how its events go into the cache.
trait Feed: Send + 'static {
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static;
    const SOURCE: Source;

    fn config() -> watcher::Config {
        watcher::Config::default()
    }
    fn apply(cluster: &Cluster, object: Self::Object);
    fn delete(cluster: &Cluster, object: &Self::Object);
    /// What the cache holds of this kind, to find what went while nobody watched.
    fn known(cache: &Cache) -> Vec<Key>;
    /// Takes out what went.
    fn forget(cluster: &Cluster, key: &Key);
    /// A list came to its end.
    fn listed(_cluster: &Cluster, _first: bool) {}
}

/// Starts all watches of a cluster.
///
/// # Errors
/// When a client cannot be made from the cluster's configuration.
pub fn start(cluster: &Arc<Cluster>, connector: &Connector) -> Result<Vec<AbortHandle>, kube::Error> {
    Ok(vec![
        spawn::<NamespaceFeed>(cluster, connector)?,
        spawn::<CopyFeed>(cluster, connector)?,
        spawn::<PodFeed>(cluster, connector)?,
        spawn::<SecretFeed>(cluster, connector)?,
    ])
}

fn spawn<F: Feed>(cluster: &Arc<Cluster>, connector: &Connector) -> Result<AbortHandle, kube::Error> {
    let beat = cluster.freshness.register(&cluster.name, F::SOURCE.name());
    let client = connector.client(Some(beat))?;
    let seconds = u32::try_from(connector.timeouts().watch.as_secs()).unwrap_or(60);
    let config = F::config().timeout(seconds);
    let mut first = !cluster.was_listed(F::SOURCE);
    let cluster = Arc::downgrade(cluster);
    let watch = tokio::spawn(async move {
        // A bad object must not end the watch, so each comes in a guard.
        let api: Api<Guarded<F::Object>> = Api::all(client);
        let mut events = watcher(api, config).backoff(backoff()).boxed();
        let mut listed: Option<HashSet<Key>> = None;
        while let Some(event) = events.next().await {
            let Some(cluster) = cluster.upgrade() else { return };
            match event {
                Ok(event) => handle::<F>(&cluster, event, &mut listed, &mut first),
                // Only the kind of fault is told: an error may quote what it could not read.
                Err(error) => {
                    let why = fault(&error);
                    warn!(cluster = &*cluster.name, watch = F::SOURCE.name(), "{why}");
                    let refusal = inner(&error).and_then(|error| super::error::cause(error).refusal);
                    cluster.faulted(Cause { refusal, text: format!("{}: {why}", F::SOURCE.name()) });
                }
            }
        }
    });
    Ok(watch.abort_handle())
}

fn handle<F: Feed>(
    cluster: &Cluster,
    event: Event<Guarded<F::Object>>,
    listed: &mut Option<HashSet<Key>>,
    first: &mut bool,
) {
    let read = |object: Guarded<F::Object>| match object.0 {
        Ok(object) => Some(object),
        Err(bad) => {
            let name = bad.name.as_deref().unwrap_or_default();
            let namespace = bad.namespace.as_deref().unwrap_or_default();
            warn!(
                cluster = &*cluster.name,
                watch = F::SOURCE.name(),
                namespace,
                name,
                "object cannot be read"
            );
            None
        }
    };
    match event {
        Event::Init => *listed = Some(HashSet::new()),
        Event::InitApply(object) => {
            if !*first && let Some(listed) = listed {
                listed.insert(key_of(object.meta()));
            }
            if let Some(object) = read(object) {
                F::apply(cluster, object);
            }
        }
        Event::InitDone => {
            let listed = listed.take().unwrap_or_default();
            if !*first {
                let known = F::known(&cluster.read());
                for key in known.into_iter().filter(|key| !listed.contains(key)) {
                    F::forget(cluster, &key);
                }
            }
            F::listed(cluster, *first);
            debug!(cluster = &*cluster.name, watch = F::SOURCE.name(), first = *first, "listed");
            *first = false;
            cluster.listed(F::SOURCE);
        }
        Event::Apply(object) => {
            if let Some(object) = read(object) {
                F::apply(cluster, object);
            }
        }
        Event::Delete(object) => match object.0 {
            Ok(object) => F::delete(cluster, &object),
            Err(bad) => F::forget(cluster, &key_of(&bad)),
        },
    }
}

/// How long a watch that failed waits before it tries again. kube's own back-off grows to a minute, and
/// for that long nobody would notice that the server, or a CRD, is there again.
#[must_use]
pub fn backoff() -> impl Backoff {
    const RETRY: crate::domain::retry::Backoff =
        crate::domain::retry::Backoff { first: Duration::from_millis(500), limit: Duration::from_secs(5) };
    #[derive(Default)]
    struct Waits {
        failures: u32,
        last: Option<Instant>,
    }
    impl Iterator for Waits {
        type Item = Duration;
        fn next(&mut self) -> Option<Duration> {
            if self.last.is_some_and(|last| last.elapsed() > 2 * RETRY.limit) {
                self.failures = 0;
            }
            self.last = Some(Instant::now());
            self.failures = self.failures.saturating_add(1);
            Some(RETRY.wait(self.failures, rand::random()))
        }
    }
    impl Backoff for Waits {
        // Called on every event, also on the one by which a watch says that it begins to list, which
        // comes between any two tries. So only quiet for a while counts as success.
        fn reset(&mut self) {}
    }
    Waits::default()
}

/// What went wrong, without what was read.
#[must_use]
pub fn fault(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("list failed: {}", super::error::describe(error)),
        watcher::Error::WatchStartFailed(error) => format!("watch failed: {}", super::error::describe(error)),
        watcher::Error::WatchFailed(error) => format!("watch broke: {}", super::error::describe(error)),
        watcher::Error::WatchError(status) => {
            format!("watch ended by the server: {} ({})", status.reason, status.code)
        }
        watcher::Error::NoResourceVersion => "the server gave no resourceVersion".to_owned(),
    }
}

/// What kube says of the request, where there was one.
fn inner(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(error),
        _ => None,
    }
}

/// Until every cache was filled once nobody is told anything: the first pass looks at all of it.
impl Cluster {
    fn tell_namespace(&self, name: &str, before: Option<&Namespace>, after: Option<&Namespace>) {
        if self.is_filled() {
            self.sink.namespace_changed(&self.name, name, before, after);
        }
    }

    fn tell(&self, changes: &Changes) {
        if !self.is_filled() {
            return;
        }
        for _ in 0..changes.drift {
            self.metrics.drift_repaired(&self.name);
        }
        if !changes.owners.is_empty() {
            self.sink.copies_changed(&changes.owners);
        }
        if !changes.freed.is_empty() {
            self.sink.copies_changed(&changes.freed);
        }
        if !changes.users.is_empty() {
            self.sink.users_changed(&changes.users);
        }
    }

    /// Tells those who wait for a name that it may be free.
    pub(super) fn tell_freed(&self, changes: &Changes) {
        self.tell(&Changes { freed: changes.freed.clone(), ..Changes::default() });
    }
}

struct NamespaceFeed;

impl Feed for NamespaceFeed {
    type Object = SlimNamespace;
    const SOURCE: Source = Source::Namespaces;

    fn apply(cluster: &Cluster, object: SlimNamespace) {
        let (changed, after) = {
            let mut cache = cluster.write();
            let changed = cache.set_namespace(object);
            let after = changed.as_ref().and_then(|(name, _)| cache.view().namespaces.get(name).cloned());
            (changed, after)
        };
        if let Some((name, before)) = changed {
            cluster.tell_namespace(&name, before.as_ref(), after.as_ref());
        }
    }

    fn delete(cluster: &Cluster, object: &SlimNamespace) {
        Self::forget(cluster, &key_of(object.meta()));
    }

    fn known(cache: &Cache) -> Vec<Key> {
        cache.namespace_names().map(|name| Key { namespace: "".into(), name: name.clone() }).collect()
    }

    fn forget(cluster: &Cluster, key: &Key) {
        let removed = cluster.write().remove_namespace(&key.name);
        if let Some((name, before)) = removed {
            cluster.tell_namespace(&name, before.as_ref(), None);
        }
    }
}

struct CopyFeed;

impl Feed for CopyFeed {
    type Object = MarkedSecret;
    const SOURCE: Source = Source::Copies;

    fn config() -> watcher::Config {
        watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"))
    }

    fn apply(cluster: &Cluster, object: MarkedSecret) {
        // A copy may be the source of another credential.
        tell_secret(cluster, &object);
        let changes = {
            let mut cache = cluster.write();
            match cache.read_copy(&object, &cluster.fingerprints) {
                Some((key, copy)) => cache.observe_copy(key, copy),
                // It lost its owner, if it ever had one.
                None => cache.remove_copy(&key_of(object.meta()), false),
            }
        };
        cluster.tell(&changes);
    }

    fn delete(cluster: &Cluster, object: &MarkedSecret) {
        tell_secret(cluster, object);
        Self::forget(cluster, &key_of(object.meta()));
    }

    fn known(cache: &Cache) -> Vec<Key> {
        cache.copy_keys().cloned().collect()
    }

    fn forget(cluster: &Cluster, key: &Key) {
        let changes = cluster.write().remove_copy(key, false);
        cluster.tell(&changes);
    }

    fn listed(cluster: &Cluster, _first: bool) {
        cluster.write().compact();
    }
}

struct PodFeed;

impl Feed for PodFeed {
    type Object = SlimPod;
    const SOURCE: Source = Source::Pods;

    fn apply(cluster: &Cluster, object: SlimPod) {
        let changes = cluster.write().set_pod(&object);
        cluster.tell(&changes);
    }

    fn delete(cluster: &Cluster, object: &SlimPod) {
        Self::forget(cluster, &key_of(object.meta()));
    }

    fn known(cache: &Cache) -> Vec<Key> {
        cache.pods().cloned().collect()
    }

    fn forget(cluster: &Cluster, key: &Key) {
        let changes = cluster.write().remove_pod(key);
        cluster.tell(&changes);
    }
}

/// All other Secrets, as metadata: they may be sources, or stand where a copy should. Nothing of
/// them is kept.
struct SecretFeed;

impl Feed for SecretFeed {
    type Object = PartialObjectMeta<Secret>;
    const SOURCE: Source = Source::Secrets;

    fn config() -> watcher::Config {
        watcher::Config::default()
            .labels(&format!("{LABEL_MANAGED_BY}!={MANAGER}"))
            // By far the most Secrets of a usual cluster, never a source, and never in the way.
            .fields("type!=helm.sh/release.v1")
    }

    fn apply(cluster: &Cluster, object: Self::Object) {
        tell_secret(cluster, &object);
        // A Secret that came or changed may be ours with its labels removed, or no longer taken.
        let changes = cluster.write().freed(&key_of(object.meta()));
        cluster.tell(&changes);
    }

    fn delete(cluster: &Cluster, object: &Self::Object) {
        tell_secret(cluster, object);
        Self::forget(cluster, &key_of(object.meta()));
    }

    fn known(_: &Cache) -> Vec<Key> {
        Vec::new()
    }

    fn forget(cluster: &Cluster, key: &Key) {
        let changes = cluster.write().freed(key);
        cluster.tell(&changes);
    }

    fn listed(cluster: &Cluster, first: bool) {
        if !first {
            cluster.write().retry_conflicts();
            if cluster.is_local() {
                cluster.sink.secrets_missed();
            } else if cluster.is_filled() {
                cluster.tell_reach();
            }
        }
    }
}

/// Sources are all in `local`.
fn tell_secret<K: Resource<DynamicType = ()>>(cluster: &Cluster, object: &K) {
    if !cluster.is_local() || !cluster.is_filled() {
        return;
    }
    let version = object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX);
    cluster.sink.secret_changed(&key_of(object.meta()), version);
}
