//! Lists and watches, as client-go's reflector does: what a complete list does not show is gone, and what it shows
//! holds, whatever was seen before. kube's watcher would hold whole pages of a list in memory.

use std::{collections::HashSet, convert::Infallible, fmt::Debug, time::Instant};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    api::{ListParams, WatchEvent, WatchParams},
    core::Status,
};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{connector::Connector, error::connection_error, list::page};
use crate::domain::{
    cluster_condition::ConnectionError,
    identity::NamespacedName,
    schedule::{PAGE, SHORTEST_WATCH, WATCH_RETRY},
};

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

/// Feeds a store for as long as it is polled. `watch` is the name in metrics and logs, `params` says which objects.
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
    params: ListParams,
    mut store: S,
) -> Result<impl Future<Output = ()> + Send + use<S, A>, kube::Error> {
    let api = api(connector.client(Some(watch))?);
    let timeout = u32::try_from(connector.timeouts.watch.as_secs()).unwrap_or(60);
    let (cluster, watch) = (connector.cluster.clone(), watch.to_owned());
    Ok(async move {
        let (mut failures, mut failed) = (0_u32, Instant::now());
        loop {
            let Err(error) = list_and_watch(&api, &params, timeout, &mut store).await;
            if !error.is_absent() || !store.absent() {
                let why = error.describe();
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

/// Feeds a store from one list, and from watches that go on where the one before was ended by the server.
async fn list_and_watch<S: Store>(
    api: &Api<S::Object>,
    params: &ListParams,
    timeout: u32,
    store: &mut S,
) -> Result<Infallible, WatchError> {
    let mut version = list(api, params, store).await?;
    let params = WatchParams {
        label_selector: params.label_selector.clone(),
        field_selector: params.field_selector.clone(),
        timeout: Some(timeout),
        ..WatchParams::default()
    };
    loop {
        let began = Instant::now();
        let events = api.watch(&params, &version).await.map_err(WatchError::Start)?;
        let mut events = std::pin::pin!(events);
        let mut is_silent = true;
        while let Some(event) = events.next().await {
            is_silent = false;
            let event = event.map_err(WatchError::Broken)?;
            let now = match &event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                    object.meta().resource_version.clone()
                }
                WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version.clone()),
                WatchEvent::Error(status) => return Err(WatchError::Ended(status.clone())),
            };
            version = now.filter(|version| !version.is_empty()).ok_or(WatchError::NoVersion)?;
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => store.upsert(object, false),
                WatchEvent::Deleted(object) => store.remove(object),
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
            }
        }
        if is_silent && began.elapsed() < SHORTEST_WATCH {
            return Err(WatchError::Short);
        }
    }
}

/// Feeds a store from one list. Returns the resourceVersion from which to watch.
async fn list<S: Store>(
    api: &Api<S::Object>,
    params: &ListParams,
    store: &mut S,
) -> Result<String, WatchError> {
    let client = api.clone().into_client();
    let mut params = ListParams { limit: Some(PAGE), ..params.clone() };
    let mut listed = HashSet::new();
    store.begin();
    loop {
        let shown = |object: S::Object| {
            listed.insert(name_of(object.meta()));
            store.upsert(object, true);
        };
        let meta = page(&client, api.resource_url(), &params, shown).await.map_err(WatchError::List)?;
        params.continue_token = meta.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            let known = store.known().into_iter();
            store.complete(known.filter(|name| !listed.contains(name)).collect());
            return meta.resource_version.filter(|version| !version.is_empty()).ok_or(WatchError::NoVersion);
        }
    }
}

/// The namespace, empty where it has none, and name of an object.
pub(crate) fn name_of(meta: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// Why a list or a watch ended.
#[derive(Debug)]
enum WatchError {
    List(kube::Error),
    Start(kube::Error),
    Broken(kube::Error),
    /// The server has said so.
    Ended(Box<Status>),
    Short,
    NoVersion,
}

impl WatchError {
    /// Whether the API server does not know the type.
    fn is_absent(&self) -> bool {
        let (Self::List(error) | Self::Start(error) | Self::Broken(error)) = self else { return false };
        matches!(error, kube::Error::Api(status) if status.is_not_found())
    }

    /// What went wrong, without what was read.
    fn describe(&self) -> ConnectionError {
        let (what, error) = match self {
            Self::List(error) => ("list failed", error),
            Self::Start(error) => ("watch failed", error),
            Self::Broken(error) => ("watch broke", error),
            Self::Ended(status) => {
                return format!("watch ended by the server: {} ({})", status.reason, status.code)
                    .as_str()
                    .into();
            }
            Self::Short => return "the server ended a watch at once".into(),
            Self::NoVersion => return "the server gave no resourceVersion".into(),
        };
        let ConnectionError { denied, message } = connection_error(error);
        ConnectionError { denied, message: format!("{what}: {message}") }
    }
}
