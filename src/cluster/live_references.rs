//! Asking the API server itself who uses a Secret, in the moment in which one is deleted: two watches know nothing of
//! each other, and the one of Pods may lag behind. kube-controller-manager asks likewise before it lets a
//! PersistentVolumeClaim go.

use std::{collections::HashSet, sync::Arc, time::Instant};

use kube::{Api, Resource, ResourceExt, api::ListParams};
use tokio::sync::Mutex;

use super::{connection::Connection, error::WriteError, object::SlimPod};
use crate::domain::{
    identity::NamespacedName,
    pod_secrets::is_finished,
    schedule::{LIVE_REFERENCES_AGE, PAGE},
};

/// Pods that have come to their end are of no interest, and may be most of them.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Who uses what, as the API server of a cluster says it. All who ask share one answer.
pub(super) struct LiveReferences {
    connection: Arc<Connection>,
    answer: Mutex<Option<Answer>>,
}

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
    /// Whether a Secret is a copy of ours: of others nothing is kept.
    pub is_copy: &'a (dyn Fn(&NamespacedName) -> bool + Sync),
}

impl LiveReferences {
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, answer: Mutex::new(None) }
    }

    /// Whether a Pod that has not come to its end names a Secret.
    ///
    /// # Errors
    /// The API server did not answer, or there is no use in asking on; then nothing is known, and nothing may be
    /// deleted.
    pub async fn is_in_use(
        &self,
        secret: &NamespacedName,
        question: Question<'_>,
    ) -> Result<bool, WriteError> {
        let client = self.connection.client();
        let mut answer = self.answer.lock().await;
        let fresh =
            |answer: &Answer| answer.began >= question.since && answer.began.elapsed() <= LIVE_REFERENCES_AGE;
        if let Some(answer) = answer.as_ref().filter(|answer| fresh(answer)) {
            return Ok(answer.used.contains(secret));
        }
        if !question.many {
            drop(answer);
            let pods = Api::namespaced(client, &secret.namespace);
            return Ok(self.used(pods, question, |name| name == secret).await?.contains(secret));
        }
        let began = Instant::now();
        let used = self.used(Api::all(client), question, question.is_copy).await?;
        let in_use = used.contains(secret);
        *answer = Some(Answer { began, used });
        Ok(in_use)
    }

    async fn used(
        &self,
        pods: Api<SlimPod>,
        question: Question<'_>,
        keep: impl Fn(&NamespacedName) -> bool,
    ) -> Result<HashSet<NamespacedName>, WriteError> {
        let mut used = HashSet::new();
        let mut params = ListParams::default().limit(PAGE).fields(UNFINISHED);
        loop {
            if (question.stop)() {
                return Err(WriteError::Changed);
            }
            let page = pods.list(&params).await.map_err(|error| WriteError::of(&error))?;
            for pod in &page.items {
                let namespace: Arc<str> = pod.namespace().unwrap_or_default().into();
                if is_finished(pod.status.phase.as_deref(), pod.meta().deletion_timestamp.is_some()) {
                    continue;
                }
                pod.spec.visit(|name, _| {
                    let secret = NamespacedName { namespace: namespace.clone(), name: name.into() };
                    if keep(&secret) {
                        used.insert(secret);
                    }
                });
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(used),
            }
        }
    }
}
