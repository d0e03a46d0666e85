//! Lists and watches, as client-go's reflector does: what a complete list does not show is gone, and what it shows
//! holds, whatever was seen before.

use std::{
    collections::HashSet,
    fmt::Debug,
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::{watcher, watcher::Event},
};
use serde::de::DeserializeOwned;

use super::error::describe;
use crate::domain::{identity::NamespacedName, schedule::WATCH_RETRY};

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

    /// A complete list does not show an object that the store holds.
    fn vanished(&mut self, name: &NamespacedName);

    /// A list is complete.
    fn complete(&mut self);

    /// A list or a watch failed; it is tried again.
    fn failed(&mut self, error: &watcher::Error);
}

/// Feeds a store for as long as it is polled.
///
/// After each failure everything is listed anew. A watch that goes on from its last resourceVersion would never
/// notice that the etcd behind it was restored from an older backup.
pub(crate) async fn reflect<S: Store>(api: Api<S::Object>, config: watcher::Config, mut store: S) {
    let mut retry = Retry::default();
    loop {
        let mut events = watcher(api.clone(), config.clone()).boxed();
        let mut listed = HashSet::new();
        loop {
            match events.next().await {
                Some(Ok(Event::Init)) => {
                    listed.clear();
                    store.begin();
                }
                Some(Ok(Event::InitApply(object))) => {
                    listed.insert(name_of(object.meta()));
                    store.upsert(object, true);
                }
                Some(Ok(Event::InitDone)) => {
                    for name in store.known().into_iter().filter(|name| !listed.contains(name)) {
                        store.vanished(&name);
                    }
                    listed = HashSet::new();
                    store.complete();
                }
                Some(Ok(Event::Apply(object))) => store.upsert(object, false),
                Some(Ok(Event::Delete(object))) => store.remove(object),
                Some(Err(error)) => {
                    store.failed(&error);
                    break;
                }
                None => break,
            }
        }
        drop(events);
        tokio::time::sleep(retry.next()).await;
    }
}

/// Waits between tries; a while without a failure counts as success.
#[derive(Default)]
struct Retry {
    failures: u32,
    last: Option<Instant>,
}

impl Retry {
    fn next(&mut self) -> Duration {
        if self.last.is_some_and(|last| last.elapsed() > 2 * WATCH_RETRY.limit) {
            self.failures = 0;
        }
        self.last = Some(Instant::now());
        self.failures = self.failures.saturating_add(1);
        WATCH_RETRY.wait(self.failures, rand::random())
    }
}

/// The usual configuration of a watch that is renewed after `timeout`.
pub(crate) fn config(timeout: Duration) -> watcher::Config {
    watcher::Config::default().timeout(u32::try_from(timeout.as_secs()).unwrap_or(60))
}

/// The namespace, empty where it has none, and name of an object.
pub(crate) fn name_of(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// What went wrong, without what was read.
pub(crate) fn describe_failure(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("list failed: {}", describe(error)),
        watcher::Error::WatchStartFailed(error) => format!("watch failed: {}", describe(error)),
        watcher::Error::WatchFailed(error) => format!("watch broke: {}", describe(error)),
        watcher::Error::WatchError(status) => {
            format!("watch ended by the server: {} ({})", status.reason, status.code)
        }
        watcher::Error::NoResourceVersion => "the server gave no resourceVersion".to_owned(),
    }
}

/// What kube says of the request, where there was one.
pub(crate) fn request_error(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(error),
        _ => None,
    }
}
