//! One pass over one credential, and when the next one is due.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Api, Resource, ResourceExt, runtime::controller::Action};
use tracing::{debug, warn};

use super::{
    Context, Error, Guarded, Index, Retry, dismiss, finalizer, keep,
    memory::{Memories, Memory},
    unreadable,
};
use crate::{
    domain::{Credential, CredentialId, retry::Backoff},
    telemetry::Outcome,
};

/// Waits after passes that met trouble.
pub const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), limit: Duration::from_secs(60) };

/// What the controller of one kind works with.
pub struct KindContext<K: Credential> {
    /// What all kinds share.
    pub shared: Arc<Context>,
    /// This kind's credentials.
    pub index: Arc<Index<K>>,
    memories: Memories,
}

impl<K: Credential> KindContext<K> {
    /// A context with nothing remembered.
    #[must_use]
    pub fn new(shared: Arc<Context>, index: Arc<Index<K>>) -> Self {
        Self { shared, index, memories: Memories::default() }
    }

    /// Forgets a credential that is gone.
    pub fn forget(&self, id: &CredentialId) {
        self.memories.forget(&id.owner());
        self.shared.lanes.forget(&id.owner());
        self.shared.metrics.credentials().remove(id.kind.clone(), &id.namespace, &id.name);
    }
}

/// How pressing the next pass is, least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing is left to do until something happens, or the next resync.
    #[default]
    Settled,
    /// Never: the object is gone.
    Gone,
    /// After a while that grows: something did not work.
    Trouble,
}

/// When the next pass is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    urgency: Urgency,
    within: Option<Duration>,
}

impl From<Urgency> for Next {
    fn from(urgency: Urgency) -> Self {
        Self { urgency, within: None }
    }
}

impl Next {
    /// At least as soon as that.
    #[must_use]
    pub fn sooner(self, urgency: Urgency) -> Self {
        Self { urgency: self.urgency.max(urgency), ..self }
    }

    /// At the latest after that long.
    #[must_use]
    pub fn within(self, wait: Duration) -> Self {
        Self { within: Some(self.within.map_or(wait, |before| before.min(wait))), ..self }
    }

    /// As soon as either of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let next = self.sooner(other.urgency);
        other.within.map_or(next, |wait| next.within(wait))
    }
}

/// Looks at one credential.
///
/// # Errors
/// What made the pass fail; see [`after_error`].
pub async fn reconcile<K: Credential>(
    object: Arc<Guarded<K>>,
    context: Arc<KindContext<K>>,
) -> Result<Action, Error> {
    let began = Instant::now();
    let kind = context.index.kind_name();
    context.shared.filled().await;
    let id = CredentialId::of_kind::<K>(object.meta());
    let mut memory = context.memories.recall(&id.owner(), &object.uid().unwrap_or_default());
    let result = match &object.0 {
        Ok(object) => look(&context, object, &mut memory).await,
        Err(bad) => unreadable::tell::<K>(&context.shared, bad).await,
    };
    let outcome = match &result {
        Ok(Next { urgency: Urgency::Settled | Urgency::Gone, .. }) => Outcome::Synced,
        Ok(_) => Outcome::Waiting,
        Err(_) => Outcome::Failed,
    };
    context.shared.metrics.reconciled(kind, outcome, began.elapsed());
    debug!(%id, ?outcome, took = ?began.elapsed(), "pass");
    let next = match result {
        Ok(next) => next,
        Err(error) => {
            // What was learned on the way holds, such as which revision was given to a content.
            memory.failures = memory.failures.saturating_add(1);
            context.memories.keep(&id.owner(), memory);
            return Err(error);
        }
    };
    if next.urgency == Urgency::Gone {
        return Ok(Action::await_change());
    }
    memory.failures = match next.urgency {
        Urgency::Trouble => memory.failures.saturating_add(1),
        Urgency::Settled | Urgency::Gone => 0,
    };
    let jitter = rand::random::<f64>();
    let wait = match next.urgency {
        Urgency::Trouble => BACKOFF.wait(memory.failures, jitter),
        // Spread, so that not everybody looks in the same second.
        Urgency::Settled | Urgency::Gone => context.shared.resync_interval.mul_f64(0.9 + 0.2 * jitter),
    };
    let wait = next.within.map_or(wait, |within| within.min(wait));
    context.memories.keep(&id.owner(), memory);
    Ok(Action::requeue(wait))
}

async fn look<K: Credential>(
    context: &KindContext<K>,
    object: &K,
    memory: &mut Memory,
) -> Result<Next, Error> {
    let deleting = object.meta().deletion_timestamp.is_some();
    let held = finalizer::is_set(object);
    if deleting && !held {
        context.forget(&CredentialId::of(object));
        return Ok(Urgency::Gone.into());
    }
    if deleting {
        return dismiss::dismiss(context, object, memory).await;
    }
    if !held {
        // Before the first copy, so that none can be left behind.
        let client = context.shared.local().client();
        let api: Api<K> = Api::namespaced(client, &object.namespace().unwrap_or_default());
        finalizer::add(&api, object).await?;
    }
    keep::keep(context, object, memory).await
}

/// When a failed pass is tried again. Here it is reported, once.
pub fn after_error<K: Credential>(
    object: Arc<Guarded<K>>,
    error: &Error,
    context: Arc<KindContext<K>>,
) -> Action {
    let kind = context.index.kind_name();
    context.shared.metrics.reconcile_failed(kind, error.reason());
    let id = CredentialId::of_kind::<K>(object.meta());
    warn!(parent: None, %id, reason = error.reason(), "{error}");
    match error.retry() {
        Retry::Never => Action::requeue(context.shared.resync_interval),
        Retry::Backoff => {
            let failures = context.memories.failures(&id.owner());
            Action::requeue(BACKOFF.wait(failures, rand::random()))
        }
    }
}
