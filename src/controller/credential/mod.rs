//! The credential loop: from a credential and its source to what it wants, everywhere.

mod claim;
mod removal;
mod secrets;
mod source;
mod tokens;
mod verification;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use tracing::{debug, warn};

use super::{
    Context, Error,
    clusters::Member,
    defaults::Claim,
    keys::{Dirty, HashKey, Memories},
    patch::Target,
};
use crate::{
    cluster::Cluster,
    domain::{
        content::Content,
        credential::CredentialSpec,
        declared::{Declared, Lifecycle},
        desired::{DesiredState, SourceState, accepted},
        fingerprint::Fingerprint,
        hashes::Hashes,
        identity::OwnerId,
        ownership::Metadata,
        read_back,
        rendered::RenderedSecret,
        revision::{CopyDigest, record, revision},
        selection::{NamespaceMatcher, canonical, lists_cluster},
        targets::{ClusterTargets, Verdict},
        validity::Validity,
        verification::Verification,
    },
    queue::Next,
    telemetry::Outcome,
};
use source::{Candidate, Read};
use tokens::Tokens;

/// What is remembered of a credential between two reconciles. All of it can be lost: it saves reads
/// and writes, and nothing depends on it.
#[derive(Default)]
pub(super) struct Memory {
    /// The object that this is about; another one of the same name starts anew.
    uid: String,
    candidate: Option<Candidate>,
    /// The generation, and the number of changes of the sources, for which passwords are being hashed.
    hashing: Option<(i64, u64)>,
    hashes: Hashes,
    /// Whether a source has given a content in this process.
    rendered: bool,
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

    /// Reconciles one credential.
    pub async fn reconcile(self: Arc<Self>, owner: OwnerId) -> Next {
        let began = Instant::now();
        let Some(declared) = self.context.stores.credentials.get(&owner) else {
            self.forget(&owner);
            return Next::Done;
        };
        let mut memory = self.memories.take(&owner);
        if memory.uid != declared.uid() {
            memory = Memory { uid: declared.uid().to_owned(), ..Memory::default() };
        }
        let kind = declared.id.kind.name();
        let (outcome, next) = match self.reconcile_declared(&declared, &mut memory).await {
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

    async fn reconcile_declared(&self, declared: &Arc<Declared>, memory: &mut Memory) -> Result<Next, Error> {
        match declared.lifecycle() {
            Lifecycle::Gone => {
                self.forget(&declared.id.owner());
                return Ok(Next::Done);
            }
            Lifecycle::Deleting => return Ok(self.finalize(declared, memory)),
            Lifecycle::New => {
                let client = self.context.local().connection.client();
                Target::credential(client, &declared.id).add_finalizer(&declared.meta).await?;
            }
            Lifecycle::Kept => {}
        }
        match &declared.spec {
            Ok(spec) => Ok(self.update(declared, spec, memory).await),
            Err(_) => {
                self.context.stores.minting.forget(&declared.id.owner());
                self.publish(blank(declared), false);
                Ok(self.resync())
            }
        }
    }

    /// Works out what a credential that stays wants.
    async fn update(&self, declared: &Declared, spec: &Arc<dyn CredentialSpec>, memory: &mut Memory) -> Next {
        let context = &self.context;
        let now = Timestamp::now();
        let id = &declared.id;
        let members = context.clusters.all();
        let (clusters, policies_readable) = self.targets(declared, spec, &members);
        let copies = secrets::copies(&members, id);
        let permitted = is_permitted_anywhere(&members, &clusters);
        let anew = self.resolve_source(declared, spec, memory, permitted, &copies, now).await;
        let mut verification = self.verify(declared, spec, memory, &copies, anew);
        if self.recall(declared, memory, verification.as_ref(), &copies).await {
            verification = self.verify(declared, spec, memory, &copies, false);
        }
        let none = BTreeSet::new();
        let held = match &verification {
            Some(Verification::On { held, .. }) => held,
            _ => &none,
        };
        let result = memory.candidate.as_ref().map(|candidate| &candidate.result);
        let compose =
            |content: &Content, kept: &BTreeSet<&str>, of: &Content| spec.compose(content, kept, of);
        let recorded = declared.status().and_then(|status| status.revision);
        let is_first = recorded.is_none() && copies.is_empty();
        let content = accepted(result, held, memory.last_good.as_ref(), is_first, compose);
        let copies_unreadable = content.is_none() && !is_first && result.is_some_and(Result::is_ok);
        let revision = match &content {
            Some(content) => {
                let fingerprint = context.fingerprints.of(content.type_, &content.data);
                let recorded = record(recorded, fingerprint, &copies);
                let revision = revision(recorded, memory.assigned, fingerprint, &copies);
                memory.assigned = Some((revision, fingerprint));
                Some(revision)
            }
            None => recorded.max(memory.assigned.map(|(revision, _)| revision)),
        };
        let (hub, target, policy) = (&context.hub, spec.target(), declared.deletion_policy);
        let secret = content.clone().zip(memory.assigned).map(|(content, (revision, fingerprint))| {
            let metadata = Arc::new(Metadata::desired(id, &hub.id, revision, target, policy));
            let (id, hub, name) = (id.clone(), hub.clone(), declared.secret_name());
            Arc::new(RenderedSecret::new(id, hub, name, metadata, content, fingerprint))
        });
        let source = match result {
            Some(Ok(content)) => match content.missing.values().next() {
                None => SourceState::Resolved(content.notes.clone()),
                Some(error) => SourceState::Failed(error.clone()),
            },
            Some(Err(error)) => SourceState::Failed(error.clone()),
            None if memory.hashing.is_some() => SourceState::Hashing { first: !memory.rendered },
            None => SourceState::NotRead,
        };
        let unreadable = matches!(&source, SourceState::Failed(error) if error.is_unreadable());
        let tokens = memory.candidate.as_ref().map(|candidate| candidate.tokens.clone());
        let distributed = content.as_ref().map(|content| content.tokens.clone()).unwrap_or_default();
        let end = distributed.values().map(|token| token.expiration_time.0).filter(|end| *end > now).min();
        memory.last_good = content;
        let validity = validity(declared, memory);
        let named = target.clusters.iter().flat_map(|clusters| &clusters.names);
        let unknown = named.filter(|name| context.clusters.get(name).is_none());
        let state = DesiredState {
            revision,
            secret,
            source,
            verification,
            validity,
            tokens: tokens.unwrap_or_default(),
            distributed,
            clusters,
            policies_readable,
            unknown_clusters: unknown.map(|name| canonical(name).into()).collect(),
            default: spec.default().map(Arc::new),
            sync_request: declared.sync_request().map(str::to_owned),
            ..blank(declared)
        };
        let due = memory.resynced.is_none_or(|at| at.elapsed() >= context.resync_interval.mul_f64(0.8));
        if due {
            memory.resynced = Some(Instant::now());
        }
        self.publish(state, due);
        if unreadable || copies_unreadable {
            return Next::Retry;
        }
        let until = memory.candidate.as_ref().and_then(|candidate| candidate.until);
        let changes = validity.and_then(|validity| validity.next_change(now));
        let next = changes.into_iter().chain(until).chain(end).min();
        let wait = next.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        self.resync().or_after(wait)
    }

    /// Reads the source, if there is anywhere to write to and it was not read yet. Returns whether a person has asked for
    /// that.
    async fn resolve_source(
        &self,
        declared: &Declared,
        spec: &Arc<dyn CredentialSpec>,
        memory: &mut Memory,
        permitted: bool,
        copies: &[CopyDigest],
        now: Timestamp,
    ) -> bool {
        let context = &self.context;
        let mut asked_anew = false;
        if !permitted {
            // What may go nowhere is not even read.
            memory.candidate = None;
            self.stop_hashing(declared, memory);
            context.stores.minting.forget(&declared.id.owner());
            if copies.is_empty() {
                // As after a restart: nobody has it any more, and the spec may have changed since.
                memory.last_good = None;
                memory.hashes = Hashes::default();
            }
        } else {
            let changes = context.stores.credentials.source_changes(&declared.source_secrets());
            let asked = declared.sync_request().map(str::to_owned);
            let anew = asked.is_some() && memory.sync_request != asked;
            memory.sync_request = asked;
            asked_anew = anew;
            let holds = |candidate: &Candidate| !anew && candidate.holds(context, declared, changes, now);
            let wanted = Some((declared.generation(), changes));
            let hashed = context.stores.hashing.collect(&declared.id.owner(), &mut memory.hashes);
            let waits = !hashed && !anew && memory.hashing == wanted;
            if !waits && !memory.candidate.as_ref().is_some_and(holds) {
                let existing = match (spec.keeps_existing(), &memory.last_good) {
                    (false, _) => None,
                    // What this process wrote itself is known.
                    (true, Some(content)) => Some(content.data.clone()),
                    (true, None) => {
                        let copy = secrets::read_back(context, &read_back::newest(copies)).await;
                        copy.map(|copy| copy.data)
                    }
                };
                let before = memory.candidate.as_ref().map(|candidate| &candidate.tokens);
                let tokens = Tokens { copies, before, anew };
                let hashes = &mut memory.hashes;
                match source::read(context, declared, spec, existing, hashes, tokens, now).await {
                    Read::Candidate(candidate) => {
                        self.stop_hashing(declared, memory);
                        memory.rendered |= candidate.result.is_ok();
                        memory.candidate = Some(candidate);
                    }
                    Read::Unhashed(unhashed) => {
                        let (owner, namespace) = (declared.id.owner(), declared.id.namespace.clone());
                        context.stores.hashing.begin(HashKey { owner, namespace }, unhashed);
                        (memory.candidate, memory.hashing) = (None, wanted);
                    }
                }
            }
        }
        asked_anew
    }

    /// Reads the last good content back from copies, where it is needed and not known. Returns whether that was so.
    async fn recall(
        &self,
        declared: &Declared,
        memory: &mut Memory,
        verification: Option<&Verification>,
        copies: &[CopyDigest],
    ) -> bool {
        let context = &self.context;
        let is_whole = |content: &Arc<Content>| content.missing.is_empty();
        let is_held = matches!(verification, Some(Verification::On { held, .. }) if !held.is_empty());
        let needed = match &memory.candidate {
            Some(candidate) => is_held || !candidate.result.as_ref().is_ok_and(is_whole),
            None => memory.hashing.is_some(),
        };
        let recalled = needed && memory.last_good.is_none();
        if recalled {
            let recorded = declared.status().and_then(|status| status.revision);
            let mut places = read_back::last_good(copies, recorded, &declared.id.namespace);
            if memory.hashing.is_some() && copies.iter().any(|copy| copy.revision > recorded) {
                // Most likely the one that is being rendered: nothing is to go back for a moment.
                places.clear();
            }
            let copy = secrets::read_back(context, &places).await;
            let tokens = declared.recorded_tokens();
            let content =
                copy.and_then(|copy| Content::from_copy(copy, declared.recorded_validity(), tokens));
            memory.last_good = content.map(Arc::new);
        }
        recalled
    }

    /// No password of the credential is hashed any more.
    fn stop_hashing(&self, declared: &Declared, memory: &mut Memory) {
        if memory.hashing.take().is_some() {
            self.context.stores.hashing.forget(&declared.id.owner());
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
        let own = self.context.own_namespace(id).unwrap_or_default();
        let (covering, readable) = policies.covering(id.kind, &id.namespace, &own);
        let selector = target.namespaces.as_ref();
        let selector =
            selector.map(|selector| Arc::new(NamespaceMatcher::new(selector, &self.context.namespace)));
        let wanted = members.iter().filter(|member| member.is_wanted(target));
        let targets = wanted.map(|member| {
            let covering = covering.iter().map(|policy| &**policy);
            let labels = &member.settings.labels;
            let targets = ClusterTargets::new(
                &id.namespace,
                selector.clone(),
                covering,
                &member.name,
                lists_cluster(target.clusters.as_ref(), &member.name),
                labels,
            );
            (member.name.clone(), Arc::new(targets.with_metadata(target)))
        });
        (targets.collect(), readable)
    }

    /// Leaves a state for the other loops, and wakes those that it concerns: all clusters for a new one, or when `all`
    /// is to be looked at.
    fn publish(&self, state: DesiredState, all: bool) {
        let context = &self.context;
        let owner = state.owner;
        if state.removal.is_none() {
            context.stores.credentials.forget_finalized(&owner);
        }
        let desired = &context.stores.desired;
        let (before, claim) = (desired.get(&owner), Claim::of(&state));
        let is_news = desired.publish(state);
        self.claim(&owner, claim);
        if !is_news && !all {
            // The row of a cluster that is away may still be missing.
            return context.queues.status(&owner);
        }
        let states: Vec<_> = before.into_iter().chain(desired.get(&owner)).collect();
        let declared = context.stores.credentials.get(&owner);
        let told = |name: &str| declared.as_ref().is_some_and(|declared| declared.row(name).is_some());
        let outcomes = context.stores.outcomes.of(&owner);
        for member in context.clusters.all() {
            let name = &member.name;
            let has_copies = |cluster: &Arc<Cluster>| cluster.read().snapshot().has(&owner);
            if states.iter().any(|state| state.clusters.contains_key(name))
                || outcomes.contains_key(name)
                || member.seen().is_some_and(has_copies)
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
            context.metrics.credentials().remove(&published.id);
        }
        context.stores.desired.remove(owner);
        self.claim(owner, None);
        context.stores.outcomes.forget(owner);
        context.stores.hashing.forget(owner);
        context.stores.verifications.forget(owner);
        context.stores.minting.forget(owner);
        // Copies may be left: they are the sweep's now.
        for member in context.clusters.all() {
            context.queues.sync(owner, &member.name, Dirty::all());
        }
        context.queues.status(owner);
    }

    /// Spread, so that not all credentials are looked at in the same second.
    fn resync(&self) -> Next {
        Next::After(self.context.resync_interval.mul_f64(0.9 + 0.2 * rand::random::<f64>()))
    }
}

/// A state that wants nothing yet.
fn blank(declared: &Declared) -> DesiredState {
    let source = match &declared.spec {
        Ok(_) => SourceState::NotRead,
        Err(error) => SourceState::UnreadableSpec(error.clone()),
    };
    DesiredState {
        source,
        uid: declared.uid().to_owned(),
        generation: declared.generation(),
        secret_name: declared.secret_name(),
        revision: declared.status().and_then(|status| status.revision),
        ..DesiredState::blank(declared.id.clone())
    }
}

/// When what the copies have is valid; where nothing was distributed yet, what the source has.
fn validity(declared: &Declared, memory: &Memory) -> Option<Validity> {
    let distributed = match &memory.last_good {
        Some(content) => content.validity,
        None => declared.recorded_validity(),
    };
    distributed.or_else(|| source::validity(&memory.candidate.as_ref()?.result))
}

fn is_permitted_anywhere(members: &[Member], targets: &BTreeMap<Arc<str>, Arc<ClusterTargets>>) -> bool {
    let mut seen = members.iter().filter_map(|member| Some((targets.get(&member.name)?, member.seen()?)));
    seen.any(|(targets, cluster)| {
        let cache = cluster.read();
        let mut namespaces = cache.snapshot().namespaces.iter();
        namespaces.any(|(name, seen)| targets.judge(name, seen) == Verdict::Permitted)
    })
}
