//! The credential loop: from a credential and its source to what it wants, everywhere.

mod removal;
mod source;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use tracing::{debug, warn};

use super::{
    Context, Error,
    clusters::Member,
    keys::{CredentialKey, Dirty, Memories},
    patch::{Finalizers, Target},
};
use crate::{
    domain::{
        content::Content,
        credential::CredentialSpec,
        declared::Declared,
        desired::{DesiredState, SourceState, accepted},
        fingerprint::Fingerprint,
        identity::OwnerId,
        lifecycle::Lifecycle,
        namespace::Namespace,
        ownership::Metadata,
        read_back::{self, ClusterCopies},
        rendered::RenderedSecret,
        revision::{attested, revision},
        selection::{LOCAL, NamespaceMatcher, canonical},
        targets::{ClusterTargets, Verdict},
        validity::Validity,
    },
    queue::Next,
    telemetry::Outcome,
};
use source::Candidate;

/// What is remembered of a credential between two reconciles. All of it can be lost: it saves reads
/// and writes, and nothing depends on it.
#[derive(Default)]
pub(super) struct Memory {
    /// The object that this is about; another one of the same name starts anew.
    uid: String,
    candidate: Option<Candidate>,
    /// The content that was accepted last.
    last_good: Option<Arc<Content>>,
    /// The revision that was given last, and the content that it was given to.
    assigned: Option<(i64, Fingerprint)>,
    /// The last request for a sync for which the source was read anew.
    sync_request: Option<String>,
    /// When everything was looked at last.
    resynced: Option<Instant>,
}

/// The credential loop.
pub(crate) struct CredentialLoop {
    context: Arc<Context>,
    memories: Memories<OwnerId, Memory>,
}

impl CredentialLoop {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, memories: Memories::default() }
    }

    /// Looks at one credential.
    pub async fn reconcile(&self, CredentialKey(owner): CredentialKey) -> Next {
        let began = Instant::now();
        let Some(declared) = self.context.stores.credentials.get(&owner) else {
            self.forget(&owner);
            return Next::Done;
        };
        let mut memory = self.memories.take(&owner);
        if memory.uid != declared.uid() {
            memory = Memory { uid: declared.uid().to_owned(), ..Memory::default() };
        }
        let result = self.look(&declared, &mut memory).await;
        let kind = declared.id.kind.name();
        let (outcome, next) = match result {
            Ok(next @ Next::Done) => (Outcome::Synced, next),
            Ok(Next::Retry) => (Outcome::Waiting, Next::Retry),
            Ok(next) => (Outcome::Synced, next),
            Err(error) => {
                let reason = error.reason().as_str();
                self.context.metrics.reconcile_failed(kind, reason);
                warn!(id = %declared.id, reason, "{error}");
                let again = if error.is_retryable() { Next::Retry } else { self.resync() };
                (Outcome::Failed, again)
            }
        };
        self.context.metrics.reconciled(kind, outcome, began.elapsed());
        debug!(id = %declared.id, ?outcome, took = ?began.elapsed(), "credential");
        self.memories.put(owner, memory);
        next
    }

    async fn look(&self, declared: &Arc<Declared>, memory: &mut Memory) -> Result<Next, Error> {
        match Lifecycle::of(declared) {
            Lifecycle::Gone => {
                self.forget(&declared.id.owner());
                return Ok(Next::Done);
            }
            Lifecycle::Deleting => return Ok(self.remove(declared, memory)),
            Lifecycle::New => {
                let client = self.context.local().connection.client();
                let id = &declared.id;
                let list = declared.meta.finalizers.as_deref().unwrap_or_default();
                let finalizers = Finalizers { list, resource_version: declared.resource_version() };
                let target = Target::new(client, &id.kind.resource(), &id.namespace, &id.name);
                target.add_finalizer(finalizers).await?;
            }
            Lifecycle::Kept => {}
        }
        match &declared.spec {
            Ok(spec) => Ok(self.keep(declared, spec, memory).await),
            Err(unreadable) => {
                let mut state = blank(declared);
                state.source = SourceState::UnreadableSpec(unreadable.error.clone());
                self.publish(state, false);
                Ok(self.resync())
            }
        }
    }

    /// Works out what a credential that stays wants.
    async fn keep(&self, declared: &Declared, spec: &Arc<dyn CredentialSpec>, memory: &mut Memory) -> Next {
        let context = &self.context;
        let now = Timestamp::now();
        let id = &declared.id;
        let owner = id.owner();
        let members = context.clusters.all();
        let (targets, policies_readable) = self.targets(declared, spec, &members);
        let copies = self.copies(&members, &owner, &id.namespace);
        let request = declared.sync_request();
        self.resolve(declared, spec, memory, &members, &targets, &copies, now).await;

        let candidate = memory.candidate.as_ref();
        let content = accepted(candidate.map(|candidate| &candidate.result), memory.last_good.as_ref());
        memory.last_good.clone_from(&content);
        let recorded = declared.status.as_ref().and_then(|status| status.revision);
        let fingerprint =
            content.as_ref().map(|content| context.fingerprints.of(content.type_, &content.data));
        let revision = match fingerprint {
            Some(fingerprint) => {
                let revision = number(&copies, recorded, memory.assigned, fingerprint);
                memory.assigned = Some((revision, fingerprint));
                Some(revision)
            }
            None => recorded.max(memory.assigned.map(|(revision, _)| revision)),
        };
        let hub = &context.hub;
        let metadata = Arc::new(Metadata::desired(
            id,
            hub.id(),
            revision.unwrap_or(0),
            spec.target(),
            spec.deletion_policy(),
        ));
        let secret_name = declared.secret_name();
        let secret = content.as_ref().zip(fingerprint).map(|(content, fingerprint)| {
            Arc::new(RenderedSecret::new(
                id.clone(),
                hub.clone(),
                secret_name.clone(),
                metadata.clone(),
                content.clone(),
                fingerprint,
            ))
        });
        let source = match candidate.map(|candidate| &candidate.result) {
            Some(Ok(content)) => SourceState::Resolved(content.notes.clone()),
            Some(Err(error)) => SourceState::Failed(error.clone()),
            None => SourceState::NotRead,
        };
        let unreadable = matches!(&source, SourceState::Failed(error) if error.is_unreadable());
        let validity = validity(declared, memory);
        let named = spec.target().clusters.iter().flat_map(|clusters| &clusters.names);
        let unknown = named.filter(|name| context.clusters.get(name).is_none());
        let state = DesiredState {
            revision,
            metadata,
            secret,
            source,
            content,
            validity,
            clusters: targets,
            policies_readable,
            unknown_clusters: unknown.map(|name| canonical(name).into()).collect(),
            sync_request: request.map(str::to_owned),
            ..blank(declared)
        };
        let due = memory.resynced.is_none_or(|at| at.elapsed() >= context.resync_interval.mul_f64(0.8));
        if due {
            memory.resynced = Some(Instant::now());
        }
        self.publish(state, due);
        if unreadable {
            return Next::Retry;
        }
        let until = memory.candidate.as_ref().and_then(|candidate| candidate.until);
        let changes = validity.and_then(|validity| validity.next_change(now));
        let next = changes.into_iter().chain(until).min();
        let wait = next.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        match (self.resync(), wait) {
            (Next::After(resync), Some(wait)) => Next::After(resync.min(wait)),
            (next, _) => next,
        }
    }

    /// Reads the source, if there is anywhere to write to and it was not read yet.
    #[allow(clippy::too_many_arguments)]
    async fn resolve(
        &self,
        declared: &Declared,
        spec: &Arc<dyn CredentialSpec>,
        memory: &mut Memory,
        members: &[Member],
        targets: &BTreeMap<Arc<str>, Arc<ClusterTargets>>,
        copies: &[ClusterCopies],
        now: Timestamp,
    ) {
        let context = &self.context;
        // What may go nowhere is not even read.
        if !is_permitted_anywhere(members, targets) {
            memory.candidate = None;
        } else {
            let changes = context.stores.credentials.source_changes(&declared.source_secrets());
            let asked = declared.sync_request().map(str::to_owned);
            let anew = asked.is_some() && memory.sync_request != asked;
            memory.sync_request = asked;
            let holds = |candidate: &Candidate| !anew && candidate.holds(declared, changes, now);
            if !memory.candidate.as_ref().is_some_and(holds) {
                let existing = match (spec.keeps_existing(), &memory.last_good) {
                    (false, _) => None,
                    // What this process wrote itself is known.
                    (true, Some(content)) => Some(content.data.clone()),
                    (true, None) => {
                        let copy = source::read_back(context, &read_back::newest(copies)).await;
                        copy.map(|copy| copy.data)
                    }
                };
                let candidate = source::read(context, declared, spec, existing, now).await;
                memory.candidate = Some(candidate);
            }
        }
        let failed = memory.candidate.as_ref().is_some_and(|candidate| candidate.result.is_err());
        if failed && memory.last_good.is_none() {
            let recorded = declared.status.as_ref().and_then(|status| status.revision);
            let places = read_back::last_good(copies, recorded);
            let copy = source::read_back(context, &places).await;
            let content = copy.and_then(|copy| Content::from_copy(copy, declared.recorded_validity()));
            memory.last_good = content.map(Arc::new);
        }
    }

    /// What the credential wants of each cluster, and may have there; and whether all policies could be read.
    fn targets(
        &self,
        declared: &Declared,
        spec: &Arc<dyn CredentialSpec>,
        members: &[Member],
    ) -> (BTreeMap<Arc<str>, Arc<ClusterTargets>>, bool) {
        let (id, target) = (&declared.id, spec.target());
        let policies = &self.context.stores.policies;
        let own = self.own_namespace(declared).unwrap_or_default();
        let (covering, readable) = policies.covering(id.kind, &id.namespace, &own);
        let selector = target.namespaces.as_ref();
        let selector =
            selector.map(|selector| Arc::new(NamespaceMatcher::new(selector, policies.operator_namespace())));
        let wanted = members.iter().filter(|member| member.is_wanted(target));
        let targets = wanted.map(|member| {
            let covering = covering.iter().map(|policy| &**policy);
            let labels = &member.settings.labels;
            let targets =
                ClusterTargets::new(&id.namespace, selector.clone(), covering, &member.name, labels);
            (member.name.clone(), Arc::new(targets))
        });
        (targets.collect(), readable)
    }

    fn own_namespace(&self, declared: &Declared) -> Option<Namespace> {
        let cache = self.context.local().read();
        cache.snapshot().namespaces.get(&declared.id.namespace).cloned()
    }

    /// What the clusters have of the credential. One lock at a time.
    fn copies(&self, members: &[Member], owner: &OwnerId, home: &str) -> Vec<ClusterCopies> {
        let seen = members.iter().filter_map(|member| Some((member, member.seen()?)));
        seen.map(|(member, cluster)| ClusterCopies::of(&member.name, cluster.read().snapshot(), owner, home))
            .filter(|copies| !copies.digests.is_empty())
            .collect()
    }

    /// Leaves a state for the other loops, and wakes those that it concerns: all clusters for a new one, or when `all`
    /// is to be looked at.
    fn publish(&self, state: DesiredState, all: bool) {
        let context = &self.context;
        let owner = state.owner.clone();
        if state.removal.is_none() {
            context.stores.finalized.remove(&owner);
        }
        let wanted: Vec<Arc<str>> = state.clusters.keys().cloned().collect();
        let published = context.stores.desired.publish(state);
        if published.is_none() && !all {
            // The row of a cluster that is away may still be missing.
            return context.queues.status(&owner);
        }
        let before = published.flatten().map(|before| before.clusters.keys().cloned().collect::<Vec<_>>());
        let rows = context.stores.credentials.get(&owner).and_then(|declared| declared.status.clone());
        let told = |name: &str| {
            rows.as_ref().is_some_and(|status| status.clusters.iter().any(|row| row.name == *name))
        };
        for member in context.clusters.all() {
            let name = &member.name;
            let has_copies = |member: &Member| {
                member.seen().is_some_and(|cluster| cluster.read().snapshot().copies.has(&owner))
            };
            if wanted.contains(name)
                || before.iter().flatten().any(|before| before == name)
                || has_copies(&member)
                || context.stores.outcomes.of(&owner).contains_key(name)
                || (told(name) && member.up().is_none())
            {
                context.queues.sync(&owner, name, Dirty::all());
            }
        }
        context.queues.status(&owner);
    }

    /// A credential is gone.
    fn forget(&self, owner: &OwnerId) {
        let context = &self.context;
        self.memories.forget(owner);
        if let Some(published) = context.stores.desired.get(owner) {
            let id = &published.id;
            context.metrics.credentials().remove(id.kind.name(), &id.namespace, &id.name);
        }
        context.stores.desired.remove(owner);
        context.stores.outcomes.forget(owner);
        // Copies may be left: they are the sweep's now.
        for member in context.clusters.all() {
            context.queues.sync(owner, &member.name, Dirty::all());
        }
        context.queues.status(owner);
    }

    /// Spread, so that not everybody looks in the same second.
    fn resync(&self) -> Next {
        Next::After(self.context.resync_interval.mul_f64(0.9 + 0.2 * rand::random::<f64>()))
    }
}

/// A state that wants nothing yet.
fn blank(declared: &Declared) -> DesiredState {
    DesiredState {
        uid: declared.uid().to_owned(),
        generation: declared.generation(),
        secret_name: declared.secret_name(),
        revision: declared.status.as_ref().and_then(|status| status.revision),
        ..DesiredState::blank(declared.id.clone())
    }
}

/// When what the copies have is valid; where nothing was distributed yet, what the source has.
fn validity(declared: &Declared, memory: &Memory) -> Option<Validity> {
    let distributed = match &memory.last_good {
        Some(content) => content.validity,
        None => declared.recorded_validity(),
    };
    let of_source = || match &memory.candidate.as_ref()?.result {
        Ok(content) => content.validity,
        Err(error) => error.validity(),
    };
    distributed.or_else(of_source)
}

fn is_permitted_anywhere(members: &[Member], targets: &BTreeMap<Arc<str>, Arc<ClusterTargets>>) -> bool {
    members.iter().any(|member| {
        let (Some(targets), Some(cluster)) = (targets.get(&member.name), member.seen()) else {
            return false;
        };
        let cache = cluster.read();
        let mut namespaces = cache.snapshot().namespaces.iter();
        namespaces.any(|(name, seen)| targets.judge(name, seen) == Verdict::Permitted)
    })
}

/// The revision of a content.
fn number(
    copies: &[ClusterCopies],
    recorded: Option<i64>,
    assigned: Option<(i64, Fingerprint)>,
    content: Fingerprint,
) -> i64 {
    let members = copies.iter().filter(|copies| &*copies.cluster != LOCAL);
    let attested = members.filter_map(|copies| attested(content, &copies.digests));
    let recorded = recorded.into_iter().chain(attested).max();
    revision(recorded, assigned, content, copies.iter().flat_map(|copies| &copies.digests))
}
