//! Asking the API server itself who uses a Secret, in the moment in which one is deleted: watches know nothing of each
//! other, and one of users may lag behind. kube-controller-manager asks likewise before it lets a PersistentVolumeClaim go.

use std::{collections::HashSet, fmt::Display, sync::Arc, time::Instant};

use kube::{Api, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::{
    dynamic::api,
    error::{WriteError, describe},
    object::SlimPod,
    pages::Pages,
    referrer::{Referrer, Refers, Workload},
    shared::Shared,
};
use crate::domain::{
    connectivity::WatchedKind, failure::Failure, identity::NamespacedName, reason::Reason,
    reference_kind::ReferenceKind, schedule::LIVE_REFERENCES_AGE,
};

/// Pods that have come to their end are of no interest, and may be most of them.
pub(crate) const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The copies that something in a cluster holds, as its API server said last. All who ask share one answer.
#[derive(Default)]
pub(super) struct LiveReferences(Mutex<Option<Answer>>);

struct Answer {
    began: Instant,
    used: HashSet<NamespacedName>,
}

/// How to ask.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// Whether so many are to be deleted that one list of the whole cluster takes fewer requests.
    pub many: bool,
    /// An answer from before this moment tells nothing.
    pub since: Instant,
    /// Turns true when the answer is of no use any more.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl LiveReferences {
    /// Whether something that holds what it uses names a copy.
    ///
    /// # Errors
    /// The API server did not answer, or there is no use in asking on; then nothing is known, and nothing may be
    /// deleted.
    pub async fn is_in_use(
        &self,
        copy: &NamespacedName,
        shared: &Shared,
        question: Question<'_>,
    ) -> Result<bool, WriteError> {
        let mut answer = self.0.lock().await;
        let fresh = |answer: &&Answer| {
            answer.began >= question.since && answer.began.elapsed() <= LIVE_REFERENCES_AGE
        };
        if let Some(answer) = answer.as_ref().filter(fresh) {
            return Ok(answer.used.contains(copy));
        }
        if !question.many {
            drop(answer);
            let within = Some(&*copy.namespace);
            return Ok(used(shared, within, question.stop, &|name| name == copy).await?.contains(copy));
        }
        let began = Instant::now();
        let is_copy = |name: &NamespacedName| shared.read().snapshot().copies.get(name).is_some();
        let used = used(shared, None, question.stop, &is_copy).await?;
        let in_use = used.contains(copy);
        *answer = Some(Answer { began, used });
        Ok(in_use)
    }
}

/// Which Secrets are kept of those that are used.
type Keep<'a> = &'a (dyn Fn(&NamespacedName) -> bool + Send + Sync);

/// The Secrets that are used by what holds them, in a namespace or in all.
async fn used(
    shared: &Shared,
    namespace: Option<&str>,
    stop: &(dyn Fn() -> bool + Sync),
    keep: Keep<'_>,
) -> Result<HashSet<NamespacedName>, WriteError> {
    let mut used = HashSet::new();
    let client = || shared.connection.client();
    for kind in shared.options.references.blocking.iter() {
        let watched = WatchedKind::Users(kind);
        let Some(resource) = shared.types.get(watched) else {
            if shared.types.is_known(watched) {
                continue;
            }
            return Err(unlisted(kind, "it is not known whether the cluster has such a type"));
        };
        // Where a namespace lets others use its Secrets, they may be in any.
        let is_open = |within: &&str| {
            kind.grant().is_some() && shared.read().snapshot().references.grants().has(within)
        };
        let namespace = namespace.filter(|within| !is_open(within));
        let mut list = List { kind, shared, stop, keep, used: &mut used };
        let listed = match (kind, namespace) {
            (ReferenceKind::Pod, Some(within)) => {
                list.add(Api::<SlimPod>::namespaced(client(), within)).await
            }
            (ReferenceKind::Pod, None) => list.add(Api::<SlimPod>::all(client())).await,
            _ if kind.template().is_some() => list.add(api::<Workload>(client(), namespace, &resource)).await,
            _ => list.add(api::<Referrer>(client(), namespace, &resource)).await,
        };
        match listed {
            Err(ListFault::Api(error)) => {
                if let Some(error) = list.fault(&error) {
                    return Err(error);
                }
            }
            Err(ListFault::Stopped) => return Err(WriteError::Changed),
            Ok(()) => {}
        }
    }
    Ok(used)
}

/// Nobody can say which objects of a kind use a Secret.
fn unlisted(kind: ReferenceKind, why: impl Display) -> WriteError {
    let message = format!("the {} that may use it cannot be listed: {why}", kind.api().plural);
    WriteError::Refused(Failure::Write { reason: Reason::WriteFailed, message })
}

/// Why a list has not come to its end.
enum ListFault {
    Api(kube::Error),
    Stopped,
}

/// A list of one kind.
struct List<'a> {
    kind: ReferenceKind,
    shared: &'a Shared,
    stop: &'a (dyn Fn() -> bool + Sync),
    keep: Keep<'a>,
    used: &'a mut HashSet<NamespacedName>,
}

impl List<'_> {
    /// Adds what the objects of a list use.
    async fn add<K: Refers + Clone + DeserializeOwned>(&mut self, api: Api<K>) -> Result<(), ListFault> {
        let params = ListParams::default();
        let params = if self.kind == ReferenceKind::Pod { params.fields(UNFINISHED) } else { params };
        let mut pages = Pages::new(&api, params);
        loop {
            if (self.stop)() {
                return Err(ListFault::Stopped);
            }
            let each = |object: K| self.take(&object);
            if pages.next_in_time(each).await.map_err(ListFault::Api)?.is_some() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, object: &impl Refers) {
        let from: Arc<str> = object.meta().namespace.as_deref().unwrap_or_default().into();
        object.visit(self.kind, &mut |namespace, name, _| {
            let namespace = namespace.map_or_else(|| from.clone(), Into::into);
            let secret = NamespacedName { namespace, name: name.into() };
            let is_allowed = |secret: &NamespacedName| {
                let cache = self.shared.read();
                secret.namespace == from
                    || cache.snapshot().references.grants().allow(self.kind, &from, secret)
            };
            if (self.keep)(&secret) && is_allowed(&secret) {
                self.used.insert(secret);
            }
        });
    }

    /// What it means that a list failed: nothing, where the watch has found too that there is none to be had. That of one
    /// type, whose definition may be broken, says nothing of the cluster.
    fn fault(&self, error: &kube::Error) -> Option<WriteError> {
        let kind = WatchedKind::Users(self.kind);
        match error {
            _ if kind.is_required() => Some(WriteError::of_list(error)),
            kube::Error::Api(status) if status.code == 404 => None,
            kube::Error::Api(status) if status.code == 403 && self.shared.types.is_denied(kind) => None,
            kube::Error::Api(status) if status.code != 429 => Some(unlisted(self.kind, describe(error))),
            _ => Some(WriteError::of_list(error)),
        }
    }
}
