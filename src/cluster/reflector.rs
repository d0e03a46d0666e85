//! Lists and watches, as client-go's reflector does: what a complete list does not show is gone, and what it shows
//! holds, whatever was seen before.

use std::{collections::HashSet, fmt::Debug, time::Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    runtime::{watcher, watcher::Event},
};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{connector::Connector, error::connection_error};
use crate::domain::{cluster_condition::ConnectionError, identity::NamespacedName, schedule::WATCH_RETRY};

/// What is fed by a list and a watch.
pub(crate) trait Store: Send + 'static {
    type Object: Resource + Clone + DeserializeOwned + Debug + Send + 'static;

    /// A list begins.
    fn begin(&mut self) {}

    /// An object is there. `listed` tells that a list shows it, and not an event.
    fn upsert(&mut self, object: Self::Object, listed: bool);

    /// An event shows that an object went.
    fn remove(&mut self, object: Self::Object);

    /// All that the store holds.
    fn known(&self) -> Vec<NamespacedName>;

    /// A list is complete. `vanished` is what the store holds and the list does not show.
    fn complete(&mut self, vanished: Vec<NamespacedName>);

    /// The API server does not know the type. Returns whether that is as good as an empty list.
    fn absent(&mut self) -> bool {
        false
    }

    /// A list or a watch failed; it is tried again.
    fn failed(&mut self, _why: ConnectionError) {}
}

/// Feeds a store for as long as it is polled. `watch` is the name in metrics and logs.
///
/// After each failure everything is listed anew. A watch that goes on from its last resourceVersion would never
/// notice that the etcd behind it was restored from an older backup.
///
/// # Errors
/// When a client cannot be made.
pub(crate) fn reflect<S: Store, A: FnOnce(Client) -> Api<S::Object>>(
    connector: &Connector,
    watch: &str,
    api: A,
    config: watcher::Config,
    mut store: S,
) -> Result<impl Future<Output = ()> + Send + use<S, A>, kube::Error> {
    let api = api(connector.client(Some(watch))?);
    let config = config.timeout(u32::try_from(connector.timeouts.watch.as_secs()).unwrap_or(60));
    let (cluster, watch) = (connector.cluster.clone(), watch.to_owned());
    Ok(async move {
        let (mut failures, mut failed) = (0_u32, Instant::now());
        loop {
            let error = follow(watcher(api.clone(), config.clone()), &mut store).await;
            if let Some(error) = error.filter(|error| !is_absent(error) || !store.absent()) {
                let why = failure(&error);
                warn!(cluster = &*cluster, watch = &*watch, "{why}");
                store.failed(why);
            }
            // A while without a failure counts as success.
            failures = if failed.elapsed() > 2 * WATCH_RETRY.limit { 1 } else { failures.saturating_add(1) };
            failed = Instant::now();
            tokio::time::sleep(WATCH_RETRY.wait(failures, rand::random())).await;
        }
    })
}

/// Feeds a store until the watch ends; why, where it failed.
async fn follow<S: Store>(
    events: impl Stream<Item = watcher::Result<Event<S::Object>>>,
    store: &mut S,
) -> Option<watcher::Error> {
    let mut events = std::pin::pin!(events);
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                listed.clear();
                store.begin();
            }
            Ok(Event::InitApply(object)) => {
                listed.insert(name_of(object.meta()));
                store.upsert(object, true);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                let known = store.known().into_iter();
                store.complete(known.filter(|name| !listed.contains(name)).collect());
            }
            Ok(Event::Apply(object)) => store.upsert(object, false),
            Ok(Event::Delete(object)) => store.remove(object),
            Err(error) => return Some(error),
        }
    }
    None
}

/// The namespace, empty where it has none, and name of an object.
pub(crate) fn name_of(meta: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

fn is_absent(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    let (InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// What went wrong, without what was read.
fn failure(error: &watcher::Error) -> ConnectionError {
    let (what, error) = match error {
        watcher::Error::InitialListFailed(error) => ("list failed", error),
        watcher::Error::WatchStartFailed(error) => ("watch failed", error),
        watcher::Error::WatchFailed(error) => ("watch broke", error),
        watcher::Error::WatchError(status) => {
            return format!("watch ended by the server: {} ({})", status.reason, status.code).as_str().into();
        }
        watcher::Error::NoResourceVersion => return "the server gave no resourceVersion".into(),
    };
    let ConnectionError { denied, message } = connection_error(error);
    ConnectionError { denied, message: format!("{what}: {message}") }
}
