//! The status loop: tells how a credential stands, and lets it go when a deletion is complete.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use serde_json::{Map, Value};
use tracing::warn;

use super::{
    Context, Error,
    desired::Published,
    events,
    keys::Memories,
    patch::{self, Target},
};
use crate::{
    api::CredentialStatus,
    domain::{
        content::Content,
        declared::Declared,
        desired::SourceState,
        event::{self, Action, Note},
        identity::OwnerId,
        outcome::{ClusterOutcome, Outcomes},
        reason::Reason,
        removal::{Disposition, Removal, left_behind},
        schedule::{STATUS_ECHO, STATUS_PAUSE, STATUS_REFUSED_PAUSE, STUCK_EVENT_PAUSE},
        status::{Detail, Writing, compute, default_status, stuck_note, when_to_write},
        verification::Verification,
    },
    queue::Next,
    telemetry::Outcome,
};

/// What is remembered of a status between two turns.
#[derive(Default)]
pub(super) struct Memory {
    uid: String,
    written: Option<Arc<Written>>,
    since_news: Option<Instant>,
    /// When the status was written last, and whether work was in progress then.
    last: Option<(Instant, bool)>,
    /// That the last write was refused as a change. The next one is of the whole status: what it is compared with may not
    /// be what the server has.
    is_refused: bool,
    /// When stuck Pods were told of last.
    told_stuck: Option<Instant>,
    /// When our finalizer was taken off.
    released: Option<Instant>,
    /// How much is told since the API server refused more.
    detail: Option<(Detail, Instant)>,
}

/// The status that was written last, until the watch shows it.
struct Written {
    resource_version: String,
    status: Arc<CredentialStatus>,
    details: Map<String, Value>,
    at: Instant,
}

/// The status loop.
pub(crate) struct StatusLoop {
    context: Arc<Context>,
    memories: Memories<OwnerId, Memory>,
}

impl StatusLoop {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, memories: Memories::default() }
    }

    /// Tells how one credential stands.
    pub async fn tell(self: Arc<Self>, owner: OwnerId) -> Next {
        let stores = &self.context.stores;
        let declared = stores.credentials.get(&owner);
        let published = stores.desired.get(&owner);
        let (Some(declared), Some(published)) = (declared, published) else {
            self.memories.forget(&owner);
            return Next::Done;
        };
        if published.uid != declared.uid() {
            // The credential loop will say what the new object wants.
            return Next::Done;
        }
        let mut memory = self.memories.take(&owner);
        if memory.uid != declared.uid() {
            memory = Memory { uid: declared.uid().to_owned(), ..Memory::default() };
        }
        let turn = Turn { context: &self.context, declared: &declared, published: &published };
        let next = match turn.run(&mut memory).await {
            Ok(next) => next,
            Err(error) => {
                let is_refused = memory.is_refused && error.is_refused();
                let reason = if is_refused { Reason::StatusRefused } else { error.reason() };
                let (kind, reason) = (declared.id.kind.name(), reason.as_str());
                self.context.metrics.reconcile_failed(kind, reason);
                self.context.metrics.reconciled(kind, Outcome::Failed, Duration::ZERO);
                warn!(id = %declared.id, reason, "{error}");
                // Whatever the server has now is to be looked at anew.
                memory.written = None;
                if error.is_retryable() { Next::Retry } else { Next::Done }
            }
        };
        self.memories.put(owner, memory);
        next
    }
}

/// One turn of the loop for one credential.
struct Turn<'a> {
    context: &'a Context,
    declared: &'a Declared,
    published: &'a Published,
}

impl Turn<'_> {
    async fn run(&self, memory: &mut Memory) -> Result<Next, Error> {
        let owner = &self.published.owner;
        let mut outcomes = self.context.stores.outcomes.of(owner);
        if self.published.clusters.keys().any(|cluster| !outcomes.contains_key(cluster)) {
            // That one will wake this when it has said how it stands.
            return Ok(Next::Done);
        }
        if let Some(removal) = &self.published.removal
            && removal.is_complete(self.published.version, &outcomes)
        {
            // The watch may take a while to show that it is gone.
            if let Some(at) = memory.released
                && at.elapsed() < STATUS_ECHO
            {
                return Ok(Next::After(STATUS_ECHO.saturating_sub(at.elapsed())));
            }
            self.release(removal, &outcomes).await?;
            memory.released = Some(Instant::now());
            return Ok(Next::Done);
        }
        if self.published.source == (SourceState::Hashing { first: true }) && self.declared.is_told() {
            // After a restart: mostly the hashes that stand will be found to hold, and what was told too.
            return Ok(Next::Done);
        }
        for outcome in outcomes.values_mut().filter(|outcome| outcome.version != self.published.version) {
            // It is about what was wanted before.
            *outcome = Arc::new(ClusterOutcome { in_progress: true, ..ClusterOutcome::clone(outcome) });
        }
        self.forget_shown(memory);
        let written = memory.written.clone();
        // The status that the server has.
        let (previous, recorded) = match &written {
            Some(written) => (Some(&*written.status), &written.details),
            None => (self.declared.status(), self.declared.recorded.details()),
        };
        let next = compute(previous, self.published, &outcomes, Timestamp::now());
        let detail = memory.detail.filter(|(_, since)| since.elapsed() < STATUS_REFUSED_PAUSE);
        let (next, details) =
            detail.map_or(Detail::Full, |(detail, _)| detail).of(next, self.details(recorded, &outcomes));
        let next = Arc::new(next);
        self.gauge(next.clone());
        let in_progress = self.published.awaits().is_some()
            || self.published.verification.as_ref().is_some_and(Verification::is_unanswered)
            || outcomes.values().any(|outcome| outcome.is_pending() || outcome.has_unknown_default());
        let writing = Writing {
            since_written: memory.last.map(|(at, _)| at.elapsed()),
            was_in_progress: memory.last.is_some_and(|(_, in_progress)| in_progress),
            in_progress,
            since_news: memory.since_news.map_or(Duration::ZERO, |since| since.elapsed()),
        };
        // Counts of what is attached change with each of many namespaces.
        let pause = STATUS_PAUSE.saturating_sub(writing.since_written.unwrap_or(STATUS_PAUSE));
        let wait =
            when_to_write(previous, &next, writing).or_else(|| (details != *recorded).then_some(pause));
        let Some(wait) = wait else {
            memory.since_news = None;
            return Ok(Next::Done);
        };
        if !wait.is_zero() {
            memory.since_news.get_or_insert_with(Instant::now);
            return Ok(Next::After(wait));
        }
        let before = previous.filter(|_| !memory.is_refused).map(|status| (status, recorded));
        let changes = patch::status(before, (&next, &details))?;
        let mut notes = event::transitions(previous, &next);
        let is_quiet = memory.told_stuck.is_none_or(|at| at.elapsed() >= STUCK_EVENT_PAUSE);
        let stuck = stuck_note(recorded, &details, self.published).filter(|_| is_quiet);
        let tells_stuck = stuck.is_some();
        notes.extend(stuck);
        let rotated = previous.and_then(|status| status.revision) != next.revision;
        let written = match self.target().status(self.declared.uid(), changes).await {
            Err(error) if error.is_refused() => {
                self.refused(memory, &error).await;
                return Err(error);
            }
            written => written?,
        };
        memory.is_refused = false;
        memory.since_news = None;
        if tells_stuck {
            memory.told_stuck = Some(Instant::now());
        }
        memory.last = Some((Instant::now(), in_progress));
        memory.written = written.map(|resource_version| {
            Arc::new(Written { resource_version, status: next, details, at: Instant::now() })
        });
        self.publish(notes, rotated).await;
        Ok(Next::Done)
    }

    /// The API server refused a status. First the same is tried as a whole, then with less detail.
    async fn refused(&self, memory: &mut Memory, error: &Error) {
        if !std::mem::replace(&mut memory.is_refused, true) {
            return;
        }
        let detail = memory.detail.map_or(Detail::Full, |(detail, _)| detail);
        let Some(less) = detail.less() else { return };
        memory.detail = Some((less, Instant::now()));
        if detail == Detail::Full {
            let text = format!("the status has less detail from now on: {error}");
            let note = Note::warning(Reason::StatusRefused, Action::Sync, text);
            self.context.events.publish(&self.about(), &note).await;
        }
    }

    /// Forgets what was written last once the watch shows it or something newer: a patch names what differs from what the
    /// server was thought to have, so only what it shows is certain.
    fn forget_shown(&self, memory: &mut Memory) {
        let number = |version: &str| version.parse::<u64>().ok();
        let is_shown = |written: &Arc<Written>| {
            number(self.declared.resource_version()) >= number(&written.resource_version)
                || written.at.elapsed() > STATUS_ECHO
        };
        if memory.written.as_ref().is_some_and(is_shown) {
            memory.written = None;
        }
    }

    fn details(&self, recorded: &Map<String, Value>, outcomes: &Outcomes) -> Map<String, Value> {
        let Ok(spec) = &self.declared.spec else { return recorded.clone() };
        let mut details = spec.details(self.content(), self.published.verification.as_ref(), recorded);
        let default = default_status(self.published, outcomes);
        let default = default.and_then(|default| serde_json::to_value(default).ok());
        details.extend(default.map(|default| ("default".to_owned(), default)));
        details
    }

    /// The content that was accepted last.
    fn content(&self) -> Option<&Content> {
        self.published.secret.as_ref().map(|secret| &*secret.content)
    }

    /// Takes our finalizer off: nothing is left.
    async fn release(&self, removal: &Removal, outcomes: &Outcomes) -> Result<(), Error> {
        let (context, owner) = (self.context, &self.published.owner);
        context.stores.credentials.finalized(*owner);
        self.target().remove_finalizer(&self.declared.meta).await?;
        let about = self.about();
        for cluster in &removal.left_behind {
            let text = left_behind(cluster, outcomes.get(cluster).map(|outcome| &**outcome));
            let note = Note::warning(Reason::LeftBehind, Action::Delete, text);
            context.events.publish(&about, &note).await;
        }
        let holds = outcomes.values().any(|outcome| outcome.counts.held > 0);
        context.events.publish(&about, &deletion_note(removal.disposition, holds)).await;
        context.queues.credential(owner);
        Ok(())
    }

    async fn publish(&self, notes: Vec<Note>, rotated: bool) {
        let about = self.about();
        let content = self.content().filter(|_| rotated);
        let warnings = content.into_iter().flat_map(|content| &content.warnings);
        let warnings =
            warnings.map(|warning| Note::warning(warning.reason, Action::Resolve, warning.message));
        for note in notes.into_iter().chain(warnings) {
            self.context.events.publish(&about, &note).await;
        }
    }

    fn target(&self) -> Target {
        Target::credential(self.context.local().connection.client(), &self.declared.id)
    }

    fn about(&self) -> ObjectReference {
        events::about(self.declared, &self.declared.id.kind.resource())
    }

    fn gauge(&self, status: Arc<CredentialStatus>) {
        let provider = self.declared.spec.as_ref().map(|spec| spec.provider()).unwrap_or_default();
        self.context.metrics.credentials().set(&self.declared.id, provider, status);
    }
}

/// What the Event says of a deletion that is complete; `holds` tells whether copies stay because something uses them.
fn deletion_note(disposition: Disposition, holds: bool) -> Note {
    let (reason, text) = match disposition {
        Disposition::Release => (Reason::Orphaned, "the Secrets stay, without the marks of Claviger"),
        _ if holds || disposition == Disposition::RemoveUnused => {
            (Reason::Deleted, "unused Secrets were deleted; those in use are deleted when nothing uses them")
        }
        _ => (Reason::Deleted, "all Secrets were deleted"),
    };
    Note::normal(reason, Action::Delete, text)
}
