//! Asking the API server itself who uses a Secret, in the moment in which one is deleted: two watches know nothing of
//! each other, and the one of Pods may lag behind. kube-controller-manager asks likewise before it lets a
//! PersistentVolumeClaim go.

use std::{collections::HashSet, sync::Arc, time::Instant};

use kube::{Api, ResourceExt, api::ListParams};
use tokio::sync::Mutex;

use super::{error::WriteError, object::SlimPod, pages::Pages, shared::Shared};
use crate::domain::{identity::NamespacedName, schedule::LIVE_REFERENCES_AGE};

/// Pods that have come to their end are of no interest, and may be most of them.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The copies that the Pods of a cluster use, as its API server said last. All who ask share one answer.
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
    /// Whether a Pod that has not come to its end names a copy.
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
        let client = shared.connection.client();
        let mut answer = self.0.lock().await;
        let fresh = |answer: &&Answer| {
            answer.began >= question.since && answer.began.elapsed() <= LIVE_REFERENCES_AGE
        };
        if let Some(answer) = answer.as_ref().filter(fresh) {
            return Ok(answer.used.contains(copy));
        }
        if !question.many {
            drop(answer);
            let pods = Api::namespaced(client, &copy.namespace);
            return Ok(used(pods, question.stop, |name| name == copy).await?.contains(copy));
        }
        let began = Instant::now();
        let is_copy = |name: &NamespacedName| shared.read().snapshot().copies.get(name).is_some();
        let used = used(Api::all(client), question.stop, is_copy).await?;
        let in_use = used.contains(copy);
        *answer = Some(Answer { began, used });
        Ok(in_use)
    }
}

/// The Secrets that Pods use, of those to `keep`.
async fn used(
    pods: Api<SlimPod>,
    stop: &(dyn Fn() -> bool + Sync),
    keep: impl Fn(&NamespacedName) -> bool + Send,
) -> Result<HashSet<NamespacedName>, WriteError> {
    let mut used = HashSet::new();
    let mut pages = Pages::new(&pods, ListParams::default().fields(UNFINISHED));
    loop {
        if stop() {
            return Err(WriteError::Changed);
        }
        let each = |pod: SlimPod| {
            let namespace: Arc<str> = pod.namespace().unwrap_or_default().into();
            pod.visit_secrets(|name, _| {
                let secret = NamespacedName { namespace: namespace.clone(), name: name.into() };
                if keep(&secret) {
                    used.insert(secret);
                }
            });
        };
        if pages.next_in_time(each).await.map_err(|error| WriteError::of_list(&error))?.is_some() {
            return Ok(used);
        }
    }
}
