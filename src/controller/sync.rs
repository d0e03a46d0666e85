//! The sync loop: brings one credential in line in one cluster, and never looks at another.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Context,
    clusters::Member,
    desired::Published,
    keys::{CredentialKey, Dirty, Memories, SyncKey},
    outcomes::News,
    sweep,
};
use crate::{
    cluster::{Applied, Cluster, Job},
    domain::{
        cluster_condition::ClusterCondition,
        desired::SourceState,
        failure::Failure,
        identity::NamespacedName,
        outcome::ClusterOutcome,
        plan::{Action, Change, Inputs, Plan, Scope, plan},
        schedule::{REFUSAL_RETRY, STALE_RETRY, SYNC_SLICE},
        sync_state::SyncState,
        targets::ClusterTargets,
        withdrawal::Consent,
    },
    queue::Next,
};

/// What is remembered of a credential in a cluster between two syncs.
#[derive(Default)]
pub(super) struct Memory {
    /// The desired state that `state` is about.
    version: u64,
    state: SyncState,
    missing_namespaces: Vec<Arc<str>>,
    /// Namespaces with changes that were not made yet.
    outstanding: HashSet<Arc<str>>,
    /// Changes that were refused, and when they are tried again.
    refusals: HashMap<NamespacedName, Failure>,
    refused: u32,
    retry: Option<Instant>,
    /// Syncs in a row that found the snapshot out of date and got nothing done.
    stale: u32,
    /// The last request for a sync for which the copies were read anew.
    refreshed: Option<String>,
    /// What the sweep knows, while there is no credential.
    pub sweep: sweep::Memory,
}

/// The sync loop.
pub(crate) struct SyncLoop {
    context: Arc<Context>,
    memories: Memories<SyncKey, Memory>,
}

impl SyncLoop {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, memories: Memories::default() }
    }

    /// Syncs one credential in one cluster.
    pub async fn sync(&self, key: SyncKey, dirty: Dirty) -> Next {
        let context = &self.context;
        let mut memory = self.memories.take(&key);
        let Some(published) = context.stores.desired.get(&key.owner) else {
            context.stores.outcomes.remove(&key.owner, &key.cluster);
            let mut memory = Memory { sweep: memory.sweep, ..Memory::default() };
            let next = sweep::sweep(context, &key, &mut memory.sweep).await;
            if next != Next::Done {
                self.memories.put(key, memory);
            }
            return next;
        };
        memory.sweep = sweep::Memory::default();
        let sync = Sync { context, published: &published, key: &key, memory: &mut memory };
        let (next, keep) = sync.run(dirty).await;
        if keep {
            self.memories.put(key, memory);
        }
        next
    }
}

/// One sync.
struct Sync<'a> {
    context: &'a Context,
    published: &'a Published,
    key: &'a SyncKey,
    memory: &'a mut Memory,
}

impl Sync<'_> {
    /// Returns whether there is anything to remember.
    async fn run(mut self, dirty: Dirty) -> (Next, bool) {
        let Some(member) = self.context.clusters.get(&self.key.cluster) else {
            self.leave(None);
            return (Next::Done, false);
        };
        let Some(cluster) = member.seen().cloned() else {
            let condition = member.condition().unwrap_or(ClusterCondition::Connecting);
            self.leave_unseen(&member, condition);
            return (Next::Done, false);
        };
        let condition = self.condition(&member, &cluster);
        let dirty = self.begin(dirty);
        let request = self.published.sync_request.clone();
        if condition.is_none() && request.is_some() && self.memory.refreshed != request {
            cluster.writer.refresh(&self.key.owner).await;
            self.memory.refreshed = request;
        }
        let mut next = Next::Done;
        let (mut changes, wait) = self.plan(&cluster, &dirty);
        next = sooner(next, wait);
        if !changes.is_empty() && cluster.is_blind_to_users() {
            // Who uses what is not known: nothing is deleted on a guess.
            changes.retain(|change| !matches!(change.action, Action::Delete { if_unused: true, .. }));
            next = sooner(next, Some(STALE_RETRY.limit));
        }
        let mut stopped = condition;
        if stopped.is_none() && !changes.is_empty() {
            self.memory.outstanding = changes.iter().map(|change| change.secret.namespace.clone()).collect();
            // How it stands before the changes, for the others; it may take a while.
            self.leave(Some(self.outcome(&cluster, None)));
            let applied = self.apply(&cluster, changes).await;
            stopped.clone_from(&applied.condition);
            next = self.follow_up(&cluster, applied, next);
        } else if stopped.is_some() {
            self.memory.outstanding.extend(changes.iter().map(|change| change.secret.namespace.clone()));
        } else {
            self.memory.stale = 0;
        }
        if let Some(retry) = self.memory.retry {
            next = sooner(next, Some(retry.saturating_duration_since(Instant::now())));
        }
        if let (true, Consent::Settling(left)) =
            (self.memory.state.counts().deferred > 0, self.context.consent(&self.published.id))
        {
            next = sooner(next, Some(left));
        }
        if let Some((left, _)) = cluster.connectivity.pause() {
            // Not all that wait at the same moment.
            next = sooner(next, Some(left.mul_f64(1.0 + rand::random::<f64>())));
        }
        let outcome = self.outcome(&cluster, stopped);
        let keep = self.published.clusters.contains_key(&self.key.cluster) || outcome.is_worth_telling();
        self.leave(keep.then_some(outcome));
        (next, keep)
    }

    /// What prevents writing, as a whole.
    fn condition(&self, member: &Member, cluster: &Cluster) -> Option<ClusterCondition> {
        let paused = || member.settings.paused.then_some(ClusterCondition::Paused);
        let pause = || cluster.connectivity.pause().map(|(_, why)| why);
        member.condition().or_else(paused).or_else(pause)
    }

    /// Whether what has no consent is taken away by now.
    fn withdraws(&self) -> bool {
        self.published.withdraws(self.context.consent(&self.published.id))
    }

    /// What has to be looked at: everything for a new state, else what is dirty or outstanding.
    fn begin(&mut self, mut dirty: Dirty) -> Dirty {
        let withdraws = self.withdraws();
        let memory = &mut *self.memory;
        if memory.version != self.published.version {
            memory.version = self.published.version;
            memory.stale = 0;
            dirty = Dirty::all();
        }
        if memory.retry.is_some_and(|at| at <= Instant::now()) {
            memory.retry = None;
            let refused = memory.refusals.drain().map(|(secret, _)| secret.namespace);
            dirty.namespaces.extend(refused);
        }
        if memory.state.counts().deferred > 0 && withdraws {
            dirty = Dirty::all();
        }
        dirty.namespaces.extend(memory.outstanding.drain());
        dirty
    }

    /// Plans under one lock, and notes how things stand. Returns the changes, and when a repair that has to wait may be
    /// made.
    fn plan(&mut self, cluster: &Cluster, dirty: &Dirty) -> (Vec<Change>, Option<Duration>) {
        let targets = self.published.clusters.get(&self.key.cluster).map(|targets| &**targets);
        let withdraw = self.withdraws();
        let mut plan = {
            let cache = cluster.read();
            let snapshot = cache.snapshot();
            let (repairs, now) = cluster.writer.repairs();
            let inputs = Inputs {
                snapshot,
                desired: self.published,
                targets,
                withdraw,
                refusals: &self.memory.refusals,
                repairs: &repairs,
                now,
            };
            let scope = if dirty.all { Scope::All } else { Scope::Namespaces(&dirty.namespaces) };
            let plan = plan(inputs, scope);
            missing(&mut self.memory.missing_namespaces, targets, dirty, |name| {
                snapshot.namespaces.contains_key(name)
            });
            plan
        };
        if dirty.all {
            self.memory.state.replace(&mut plan);
        } else {
            self.memory.state.update(&mut plan, &dirty.namespaces);
        }
        let Plan { changes, waits_for, wait, .. } = plan;
        let free = !waits_for.is_empty() && cluster.write().wait_for(waits_for, &self.key.owner);
        // A name that became free while it was planned wakes nobody any more.
        let wait = if free { Some(Duration::ZERO) } else { wait };
        if wait.is_some() {
            self.memory.outstanding.extend(self.memory.state.pending().iter().cloned());
            self.memory.outstanding.extend(self.memory.state.conflicts().cloned());
        }
        (changes, wait)
    }

    async fn apply(&self, cluster: &Cluster, changes: Vec<Change>) -> Applied {
        let published = self.published;
        let queue = &self.context.queues.sync;
        let stop = || published.is_replaced() || queue.is_closed();
        let job = Job {
            id: &published.id,
            hub: &self.context.hub,
            secret: published.secret.as_deref(),
            slice: SYNC_SLICE,
            since: published.since,
            stop: &stop,
        };
        cluster.writer.apply(changes, job).await
    }

    /// Takes in what became of the changes, and looks at what they touched.
    fn follow_up(&mut self, cluster: &Cluster, applied: Applied, next: Next) -> Next {
        let progress = applied.done > 0;
        for (secret, failure) in applied.refusals {
            // What is told in the plan itself needs no other try.
            if !failure.is_final() {
                self.memory.refusals.insert(secret, failure);
            }
        }
        if self.memory.refusals.is_empty() {
            (self.memory.refused, self.memory.retry) = (0, None);
        } else if self.memory.retry.is_none() {
            self.memory.refused = self.memory.refused.saturating_add(1);
            let wait = REFUSAL_RETRY.wait(self.memory.refused, rand::random());
            self.memory.retry = Some(Instant::now() + wait);
        }
        for namespace in &applied.touched {
            self.memory.outstanding.remove(namespace);
        }
        let (again, wait) = self.plan(cluster, &Dirty { all: false, namespaces: applied.touched });
        self.memory.outstanding.extend(again.iter().map(|change| change.secret.namespace.clone()));
        let next = sooner(next, wait);
        if applied.condition.is_some() {
            return next;
        }
        if applied.left > 0 || (progress && !again.is_empty()) {
            self.memory.stale = 0;
            return Next::Again;
        }
        if again.is_empty() && !applied.stale {
            self.memory.stale = 0;
            return next;
        }
        if again.is_empty() && self.memory.outstanding.is_empty() {
            return next;
        }
        self.memory.stale = self.memory.stale.saturating_add(1);
        sooner(next, Some(STALE_RETRY.wait(self.memory.stale, rand::random())))
    }

    fn outcome(&self, cluster: &Cluster, condition: Option<ClusterCondition>) -> ClusterOutcome {
        let (memory, owner) = (&*self.memory, &self.key.owner);
        let cache = cluster.read();
        let snapshot = cache.snapshot();
        ClusterOutcome {
            version: self.published.version,
            desired: memory.state.desired(),
            synced: memory.state.synced(),
            failures: memory.state.failures(),
            counts: memory.state.counts(),
            has_copies: snapshot.copies.has(owner),
            in_progress: condition.is_none() && !memory.outstanding.is_empty(),
            users: memory.state.users(snapshot, owner),
            condition,
            missing_namespaces: memory.missing_namespaces.clone(),
            refreshed: memory.refreshed.clone(),
        }
    }

    fn leave_unseen(&self, member: &Member, condition: ClusterCondition) {
        let declared = self.context.stores.credentials.get(&self.key.owner);
        let rows = declared.as_ref().and_then(|declared| declared.status.as_ref());
        let row = rows.and_then(|status| status.clusters.iter().find(|row| row.name == *member.name));
        let wanted = self.published.clusters.contains_key(&self.key.cluster);
        let outcome = ClusterOutcome::unseen(row, condition, self.published.version);
        self.leave((wanted || row.is_some()).then_some(outcome));
    }

    /// Leaves an outcome for the others, and wakes those whom it concerns.
    fn leave(&self, outcome: Option<ClusterOutcome>) {
        let (context, owner) = (self.context, &self.key.owner);
        let permitted = self.memory.state.is_permitted();
        let news = match outcome {
            Some(outcome) => context.stores.outcomes.set(owner, &self.key.cluster, outcome),
            None if context.stores.outcomes.remove(owner, &self.key.cluster) => News::All,
            None => News::None,
        };
        // A deletion is decided by all outcomes, and a source is read once there is somewhere to write to.
        let unread = matches!(self.published.source, SourceState::NotRead) && permitted;
        if (news == News::All && self.published.removal.is_some())
            || (unread && self.published.removal.is_none())
        {
            context.queues.credential(owner);
        }
        match news {
            News::None => {}
            News::Users => {
                let key = CredentialKey(owner.clone());
                context.queues.status.add_after(key, (), Duration::from_millis(500));
            }
            News::All => context.queues.status(owner),
        }
    }
}

/// Keeps the names that the target lists and that do not exist.
fn missing(
    missing: &mut Vec<Arc<str>>,
    targets: Option<&ClusterTargets>,
    dirty: &Dirty,
    exists: impl Fn(&str) -> bool,
) {
    let Some(targets) = targets else { return missing.clear() };
    if dirty.all {
        *missing = targets.names().filter(|name| !exists(name)).cloned().collect();
        missing.sort();
        return;
    }
    missing.retain(|name| !dirty.namespaces.contains(name));
    let gone = dirty.namespaces.iter().filter(|name| targets.lists(name) && !exists(name));
    missing.extend(gone.cloned());
    missing.sort();
}

/// The sooner of a next time and a wait.
fn sooner(next: Next, wait: Option<Duration>) -> Next {
    match (next, wait) {
        (Next::Done, Some(wait)) => Next::After(wait),
        (Next::After(before), Some(wait)) => Next::After(before.min(wait)),
        (next, _) => next,
    }
}
