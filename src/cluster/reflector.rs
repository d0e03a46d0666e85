//! Lists and watches, as client-go's reflector does: what a complete list does not show is gone, and what it shows
//! holds, whatever was seen before. kube's watcher would hold whole pages of a list, and lines of any length.

use std::{
    collections::HashSet,
    fmt::Debug,
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    time::Instant,
};

use futures::{AsyncBufReadExt, StreamExt};
use kube::{
    Api, Client, Resource,
    api::{ListParams, WatchParams},
    core::Request,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tracing::warn;

pub(crate) use super::pages::name_of;
use super::{
    answer::AnswerError,
    connector::Connector,
    error::{connection_error, is_slow},
    pages::{Pages, is_usable, smaller},
    splitter::ListError,
};
use crate::domain::{
    cluster_condition::ConnectionError,
    connectivity::Stage,
    foreign_text::foreign_text,
    identity::NamespacedName,
    schedule::{MAX_MESSAGE, PAGE, WATCH_PAUSE, WATCH_RETRY},
};

/// What is fed by a list and a watch.
pub(crate) trait Store: Send + 'static {
    type Object: Resource + Clone + DeserializeOwned + Debug + Send + 'static;

    /// Where a list waits for its turn.
    fn turns(&self) -> Option<Arc<Semaphore>> {
        None
    }

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

    /// Whether an object was not taken since the list began, as there is no room for it.
    fn is_full(&self) -> bool {
        false
    }

    /// The API server does not know the type, or does not let it be read. Returns whether it is given up.
    fn refused(&mut self, _why: Refusal) -> bool {
        false
    }

    /// A watch brought something, or came to its end as it should.
    fn followed(&mut self) {}

    /// A list or a watch failed; it is tried again.
    fn failed(&mut self, _stage: Stage, _why: ConnectionError) {}
}

/// Why an API server does not show objects of a type at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Absent,
    Denied,
}

/// Feeds a store for as long as it is polled, or until the store gives up. `watch` is the name in metrics and logs.
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
    selected: ListParams,
    mut store: S,
) -> Result<impl Future<Output = ()> + Send + use<S, A>, kube::Error> {
    let api = api(connector.client(Some(watch))?);
    let timeout = u32::try_from(connector.timeouts.watch.as_secs()).unwrap_or(60);
    let (cluster, watch) = (connector.cluster.clone(), watch.to_owned());
    Ok(async move {
        let (mut failures, mut failed, mut page) = (0_u32, Instant::now(), PAGE);
        loop {
            let turns = store.turns();
            let turn = match turns {
                Some(turns) => turns.acquire_owned().await.ok(),
                None => None,
            };
            let listed = list(&api, selected.clone().limit(page), &mut store).await;
            drop(turn);
            let fault = match listed {
                Ok(version) => follow(&api, &selected, timeout, version, &mut store).await,
                Err(fault) => fault,
            };
            if fault.is_slow() {
                page = smaller(page);
            }
            if fault.refusal().is_some_and(|why| store.refused(why)) {
                return;
            }
            let why = fault.told();
            warn!(cluster = &*cluster, watch = &*watch, "{why}");
            store.failed(fault.stage(), why);
            // A while without a failure counts as success.
            failures = if failed.elapsed() > 2 * WATCH_RETRY.limit { 1 } else { failures.saturating_add(1) };
            failed = Instant::now();
            tokio::time::sleep(WATCH_RETRY.wait(failures, rand::random())).await;
        }
    })
}

/// Why a list or a watch ended.
enum Fault {
    List(kube::Error),
    Watch(kube::Error),
    /// The server said so.
    Ended(End),
    NoResourceVersion,
}

/// Feeds a store with a complete list. Returns the resourceVersion from which to go on.
async fn list<S: Store>(api: &Api<S::Object>, params: ListParams, store: &mut S) -> Result<String, Fault> {
    store.begin();
    // Hashes, as a cluster may show far more than is kept of it.
    let (mut listed, hashes) = (HashSet::new(), RandomState::new());
    let mut pages = Pages::new(api, params);
    let version = loop {
        let each = |object: S::Object| {
            listed.insert(hashes.hash_one(name_of(object.meta())));
            store.upsert(object, true);
        };
        let last = pages.next(each).await.map_err(Fault::List)?;
        if store.is_full() {
            return Err(Fault::List(ListError::TooMuch.into()));
        }
        if let Some(version) = last {
            break version;
        }
    };
    if version.is_empty() {
        return Err(Fault::NoResourceVersion);
    }
    let known = store.known().into_iter();
    store.complete(known.filter(|name| !listed.contains(&hashes.hash_one(name))).collect());
    Ok(version)
}

/// Feeds a store with what changes after a list, by one watch after the other.
async fn follow<S: Store>(
    api: &Api<S::Object>,
    selected: &ListParams,
    timeout: u32,
    mut version: String,
    store: &mut S,
) -> Fault {
    let params = WatchParams {
        label_selector: selected.label_selector.clone(),
        field_selector: selected.field_selector.clone(),
        timeout: Some(timeout),
        ..WatchParams::default()
    };
    loop {
        let began = Instant::now();
        if let Err(fault) = watch(api, &params, &mut version, store).await {
            return fault;
        }
        store.followed();
        // A server that ends each one at once is not asked all the time.
        tokio::time::sleep(WATCH_PAUSE.saturating_sub(began.elapsed())).await;
    }
}

/// Feeds a store until one watch ends.
async fn watch<S: Store>(
    api: &Api<S::Object>,
    params: &WatchParams,
    version: &mut String,
    store: &mut S,
) -> Result<(), Fault> {
    let (client, request) = (api.clone().into_client(), Request::new(api.resource_url()));
    let request = if S::Object::metadata_api() {
        request.watch_metadata(params, version)
    } else {
        request.watch(params, version)
    };
    let request = request.map_err(|error| Fault::Watch(kube::Error::BuildRequest(error)))?;
    let mut lines = client.request_stream(request).await.map_err(Fault::Watch)?.lines();
    let mut followed = false;
    while let Some(line) = lines.next().await {
        let line = match line {
            Ok(line) => line,
            // It goes on from where it was, as after one that the server ended.
            Err(error) if is_end(&error) => return Ok(()),
            Err(error) => return Err(Fault::Watch(kube::Error::ReadEvents(error))),
        };
        match Event::read(&line) {
            Ok(Event::Change { object, gone }) => {
                let now: &S::Object = &object;
                if !is_usable(now.meta()) {
                    continue;
                }
                match now.meta().resource_version.as_ref().filter(|version| !version.is_empty()) {
                    Some(now) => version.clone_from(now),
                    None => return Err(Fault::NoResourceVersion),
                }
                if gone {
                    store.remove(object);
                } else {
                    store.upsert(object, false);
                }
                if store.is_full() {
                    return Err(Fault::Watch(ListError::TooMuch.into()));
                }
            }
            Ok(Event::Bookmark(now)) => *version = now,
            Ok(Event::Ended(end)) => return Err(Fault::Ended(end)),
            // The connection broke in the middle of it.
            Err(error) if error.is_eof() => {}
            Err(error) => return Err(Fault::Watch(kube::Error::SerdeError(error))),
        }
        if !std::mem::replace(&mut followed, true) {
            store.followed();
        }
    }
    Ok(())
}

/// One line of a watch.
enum Event<K> {
    Change { object: K, gone: bool },
    Bookmark(String),
    Ended(End),
}

/// What a server says when it ends a watch.
#[derive(Default, Deserialize)]
#[serde(default)]
struct End {
    code: u16,
    reason: String,
}

impl<K: DeserializeOwned> Event<K> {
    /// Reads no more than is needed, as a whole may be many times larger in memory than its text.
    fn read(line: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(rename = "type")]
            type_: &'a str,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Bookmark {
            metadata: Meta,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Meta {
            resource_version: String,
        }
        let Line { type_, object } = serde_json::from_str(line)?;
        let object = object.get();
        Ok(match type_ {
            "ADDED" | "MODIFIED" => Self::Change { object: serde_json::from_str(object)?, gone: false },
            "DELETED" => Self::Change { object: serde_json::from_str(object)?, gone: true },
            "BOOKMARK" => Self::Bookmark(serde_json::from_str::<Bookmark>(object)?.metadata.resource_version),
            _ => Self::Ended(serde_json::from_str(object)?),
        })
    }
}

/// Whether a watch ended as servers and networks end them.
fn is_end(error: &io::Error) -> bool {
    let ended =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::TimedOut);
    let of = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref().is_some_and(ended)
            || matches!(cause.downcast_ref(), Some(AnswerError::TooSlow(_)))
    };
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source()).any(of)
}

impl Fault {
    fn error(&self) -> Option<&kube::Error> {
        match self {
            Self::List(error) | Self::Watch(error) => Some(error),
            Self::Ended(_) | Self::NoResourceVersion => None,
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        match self.error() {
            Some(kube::Error::Api(status)) if status.code == 404 => Some(Refusal::Absent),
            Some(kube::Error::Api(status)) if status.code == 403 => Some(Refusal::Denied),
            _ => None,
        }
    }

    fn stage(&self) -> Stage {
        match self {
            Self::List(_) | Self::NoResourceVersion => Stage::List,
            Self::Watch(_) | Self::Ended(_) => Stage::Watch,
        }
    }

    /// Whether a list came too slowly, so that pages should be smaller.
    fn is_slow(&self) -> bool {
        matches!(self, Self::List(error) if is_slow(error))
    }

    /// What went wrong, without what was read.
    fn told(&self) -> ConnectionError {
        let (what, error) = match self {
            Self::List(error) => ("list failed", error),
            Self::Watch(error) => ("watch failed", error),
            Self::Ended(End { code, reason }) => {
                let reason = foreign_text(reason, MAX_MESSAGE);
                return format!("watch ended by the server: {reason} ({code})").as_str().into();
            }
            Self::NoResourceVersion => return "the server gave no resourceVersion".into(),
        };
        let ConnectionError { denied, message } = connection_error(error);
        ConnectionError { denied, message: format!("{what}: {message}") }
    }
}
