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
    keys::{Dirty, Memories, SyncKey},
    outcomes::News,
    sweep,
};
use crate::{
    cluster::{Applied, Cluster, Job, Unseen},
    domain::{
        account_plan::DefaultInputs,
        cluster_condition::ClusterCondition,
        desired::SourceState,
        eviction_limiter::Candidate,
        failure::Failure,
        outcome::ClusterOutcome,
        plan::{Action, Change, Inputs, Object, Plan, Scope, plan},
        removal::Removal,
        rendered::RenderedSecret,
        schedule::{EVICTION_PAUSE, REFUSAL_RETRY, STALE_RETRY, UNSEEN_USERS_AGE},
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
    /// The content that was wanted last, and another one before it.
    secret: Option<Arc<RenderedSecret>>,
    before: Option<Arc<RenderedSecret>>,
    state: SyncState,
    /// Namespaces with changes that were not made yet.
    outstanding: HashSet<Arc<str>>,
    /// Namespaces with deletions that wait until it is known again who uses what.
    postponed: HashSet<Arc<str>>,
    /// Changes that were refused, and when they are tried again.
    refusals: HashMap<Object, Failure>,
    refused: u32,
    retry: Option<Instant>,
    /// Syncs in a row that found the snapshot out of date and got nothing done.
    stale: u32,
    /// Whether a deletion has to wait until it is known who uses the copies.
    users_unknown: bool,
    /// Why it is not, where objects of a kind cannot be listed.
    unlisted: Option<String>,
    /// Namespaces with ServiceAccounts that somebody else changes back, and when they are looked at again.
    reverted: HashSet<Arc<str>>,
    reverted_until: Option<Instant>,
    /// When stuck Pods are looked at again that are not to be evicted yet.
    stuck_until: Option<Instant>,
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
    pub async fn sync(self: Arc<Self>, key: SyncKey, dirty: Dirty) -> Next {
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
        let sync =
            Sync { context, published: &published, key: &key, memory: &mut memory, candidates: Vec::new() };
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
    /// Stuck Pods that the last plan would have evicted.
    candidates: Vec<Candidate>,
}

impl Sync<'_> {
    /// Returns whether there is anything to remember.
    async fn run(mut self, dirty: Dirty) -> (Next, bool) {
        let Some(member) = self.context.clusters.get(&self.key.cluster) else {
            self.leave(None);
            return (Next::Done, false);
        };
        let Some(cluster) = member.seen().cloned() else {
            self.leave_unseen(&member);
            return (Next::Done, false);
        };
        let condition = self.condition(&member, &cluster);
        let dirty = self.begin(dirty);
        let request = self.published.sync_request.clone();
        if condition.is_none() && request.is_some() && self.memory.refreshed != request {
            cluster.writer.refresh(&self.key.owner).await;
            self.memory.refreshed = request;
        }
        let (mut changes, wait) = self.plan(&cluster, &dirty);
        if condition.is_none() {
            let (evictions, wait) = cluster.writer.evictions(std::mem::take(&mut self.candidates));
            changes.extend(evictions);
            self.look_at_stuck_after(wait);
        }
        let mut next = Next::Done.or_after(wait);
        let unseen = self.unseen_users(&cluster, condition.as_ref()).await;
        self.memory.users_unknown = !matches!(unseen, Unseen::None);
        self.memory.unlisted = if let Unseen::Unknown(why) = unseen { Some(why) } else { None };
        if self.memory.users_unknown {
            next = next.or_after(Some(UNSEEN_USERS_AGE));
        }
        if !changes.is_empty() && cluster.is_blind_to_users() {
            // Who uses what is not known: nothing is deleted on a guess.
            let is_guess = |change: &Change| matches!(change.action, Action::Delete { if_unused: true, .. });
            let (postponed, sure) = changes.into_iter().partition::<Vec<_>, _>(is_guess);
            self.memory.postponed = namespaces(&postponed).collect();
            changes = sure;
            next = next.or_after(Some(STALE_RETRY.limit));
        }
        let mut stopped = condition;
        if stopped.is_none() && !changes.is_empty() {
            self.memory.outstanding = namespaces(&changes).collect();
            // How it stands before the changes, for the others; it may take a while.
            self.leave(Some(self.outcome(&cluster, None)));
            let applied = self.apply(&cluster, changes).await;
            stopped.clone_from(&applied.condition);
            next = self.follow_up(&cluster, applied, next);
        } else if stopped.is_some() {
            self.memory.outstanding.extend(namespaces(&changes));
        } else {
            self.memory.stale = 0;
        }
        for at in
            [self.memory.retry, self.memory.reverted_until, self.memory.stuck_until].into_iter().flatten()
        {
            next = next.or_after(Some(at.saturating_duration_since(Instant::now())));
        }
        if self.is_deferred()
            && let Consent::Settling(left) = self.context.consent(&self.published.id)
        {
            next = next.or_after(Some(left));
        }
        // Not all that wait at the same moment.
        let pause = cluster.connectivity.pause().map(|(left, _)| left.mul_f64(1.0 + rand::random::<f64>()));
        next = next.or_after(pause);
        let outcome = self.outcome(&cluster, stopped);
        let keep = self.targets().is_some() || outcome.is_worth_telling();
        self.leave(keep.then_some(outcome));
        (next, keep)
    }

    /// Whether a deletion has to wait until it is known who uses the copies. The API server says so also where nothing
    /// may be written.
    async fn unseen_users(&self, cluster: &Cluster, condition: Option<&ClusterCondition>) -> Unseen {
        let published = self.published;
        let asks = |removal: &Removal| removal.asks_for_users(self.memory.state.counts());
        if !published.removal.as_ref().is_some_and(asks) {
            return Unseen::None;
        }
        if condition.is_some_and(|condition| *condition != ClusterCondition::Paused) {
            return Unseen::Some;
        }
        let stop = || self.is_stopped();
        let since =
            Instant::now().checked_sub(UNSEEN_USERS_AGE).unwrap_or(published.since).max(published.since);
        cluster.writer.unseen_users(&self.key.owner, since, &stop).await
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
        let withdraws = self.is_deferred() && self.withdraws();
        let memory = &mut *self.memory;
        if memory.version != self.published.version {
            memory.version = self.published.version;
            memory.stale = 0;
            let wanted = self.published.secret.as_ref().map(|secret| secret.fingerprint);
            if memory.secret.as_ref().map(|secret| secret.fingerprint) != wanted {
                memory.before = memory.secret.take();
            }
            memory.secret.clone_from(&self.published.secret);
            dirty = Dirty::all();
        }
        if memory.retry.is_some_and(|at| at <= Instant::now()) {
            memory.retry = None;
            let refused = memory.refusals.drain().map(|(object, _)| object.namespace().clone());
            dirty.namespaces.extend(refused);
        }
        if withdraws {
            dirty = Dirty::all();
        }
        if memory.reverted_until.is_some_and(|at| at <= Instant::now()) {
            memory.reverted_until = None;
            dirty.namespaces.extend(memory.reverted.drain());
        }
        if memory.stuck_until.is_some_and(|at| at <= Instant::now()) {
            memory.stuck_until = None;
            dirty.namespaces.extend(memory.state.stuck_namespaces().cloned());
        }
        dirty.namespaces.extend(memory.outstanding.drain());
        dirty.namespaces.extend(memory.postponed.drain());
        dirty
    }

    fn look_at_stuck_after(&mut self, wait: Option<Duration>) {
        let until = wait.map(|wait| Instant::now() + wait);
        self.memory.stuck_until = self.memory.stuck_until.into_iter().chain(until).min();
    }

    /// Whether something stays because consent went only a moment ago.
    fn is_deferred(&self) -> bool {
        let state = &self.memory.state;
        state.counts().deferred > 0 || state.accounts.counts().deferred > 0
    }

    /// Plans under one lock, and notes how things stand. Returns the changes, and when a repair that has to wait may be
    /// made.
    fn plan(&mut self, cluster: &Cluster, dirty: &Dirty) -> (Vec<Change>, Option<Duration>) {
        let withdraw = self.withdraws();
        let wish = self.published.default.as_deref().filter(|_| self.published.removal.is_none());
        let defaults = &self.context.stores.defaults;
        let rivals = wish.map(|wish| defaults.rivals(&self.key.owner, wish, &self.key.cluster));
        let mut plan = {
            let cache = cluster.read();
            let (repairs, now) = cluster.writer.repairs();
            let inputs = Inputs {
                snapshot: cache.snapshot(),
                desired: self.published,
                targets: self.targets(),
                withdraw,
                refusals: &self.memory.refusals,
                repairs: &repairs,
                defaults: defaults.enabled.then(|| DefaultInputs {
                    hub: &self.context.hub.id,
                    rivals: rivals.as_ref().and_then(|rivals| rivals.as_deref()).filter(|_| {
                        let accounts = &cache.snapshot().accounts;
                        wish.is_none_or(|wish| wish.accounts.is_subset(&accounts.listed))
                    }),
                    now: cache.clock(),
                }),
                now,
            };
            let scope = if dirty.all { Scope::All } else { Scope::Namespaces(&dirty.namespaces) };
            plan(inputs, scope)
        };
        if dirty.all {
            self.memory.state.replace(&mut plan);
        } else {
            self.memory.state.update(&mut plan, &dirty.namespaces);
        }
        let Plan { changes, waits_for, wait, account_wait, candidates, .. } = plan;
        self.candidates = candidates;
        self.memory.reverted = self.memory.state.accounts.reverted();
        let until = account_wait.map(|wait| Instant::now() + wait);
        self.memory.reverted_until = self.memory.reverted_until.into_iter().chain(until).min();
        let free = !waits_for.is_empty() && cluster.write().wait_for(waits_for, &self.key.owner);
        // A name that became free while it was planned wakes nobody any more.
        let wait = if free { Some(Duration::ZERO) } else { wait };
        if wait.is_some() {
            self.memory.outstanding.extend(self.memory.state.pending().iter().cloned());
            self.memory.outstanding.extend(self.memory.state.conflicts().cloned());
        }
        (changes, wait)
    }

    /// What the credential wants of the cluster, if anything.
    fn targets(&self) -> Option<&ClusterTargets> {
        self.published.clusters.get(&self.key.cluster).map(|targets| &**targets)
    }

    /// From when on an answer to "who uses what" counts.
    fn since(&self) -> Instant {
        let since = self.published.since;
        // A deletion has asked before it began to take copies away.
        let asked = self.published.removal.as_ref().and_then(|_| since.checked_sub(UNSEEN_USERS_AGE));
        asked.unwrap_or(since)
    }

    /// Whether there is no use in going on.
    fn is_stopped(&self) -> bool {
        self.published.is_replaced() || self.context.queues.sync.is_closed()
    }

    async fn apply(&self, cluster: &Cluster, changes: Vec<Change>) -> Applied {
        let published = self.published;
        let stop = || self.is_stopped();
        let job = Job {
            id: &published.id,
            secret: published.secret.as_deref(),
            before: self.memory.before.as_deref(),
            since: self.since(),
            stop: &stop,
        };
        cluster.writer.apply(changes, job).await
    }

    /// Takes in what became of the changes, and looks at what they touched.
    fn follow_up(&mut self, cluster: &Cluster, applied: Applied, next: Next) -> Next {
        for (object, failure) in applied.refusals {
            // What is told in the plan itself needs no other try.
            if !failure.is_final() {
                self.memory.refusals.insert(object, failure);
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
        self.memory.outstanding.extend(namespaces(&again));
        // Those that a copy has only waited for.
        self.look_at_stuck_after((!self.candidates.is_empty()).then_some(EVICTION_PAUSE));
        let next = next.or_after(wait);
        if applied.condition.is_some() {
            return next;
        }
        if applied.left > 0 || (applied.done > 0 && !again.is_empty()) {
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
        next.or_after(Some(STALE_RETRY.wait(self.memory.stale, rand::random())))
    }

    fn outcome(&self, cluster: &Cluster, condition: Option<ClusterCondition>) -> ClusterOutcome {
        let (memory, owner) = (&*self.memory, &self.key.owner);
        let cache = cluster.read();
        let snapshot = cache.snapshot();
        let wish = self.published.default.as_deref().filter(|_| self.published.removal.is_none());
        ClusterOutcome {
            version: self.published.version,
            desired: memory.state.desired(),
            synced: memory.state.synced(),
            failures: memory.state.failures(),
            counts: memory.state.counts(),
            has_copies: snapshot.has(owner),
            in_progress: condition.is_none() && !memory.outstanding.is_empty(),
            users_unknown: memory.users_unknown,
            unlisted: memory.unlisted.clone(),
            users: memory.state.users(snapshot, owner, &self.published.secret_name),
            condition,
            missing_namespaces: memory.state.missing().cloned().collect(),
            refreshed: memory.refreshed.clone(),
            default: wish.map(|wish| {
                let defaults = &self.context.stores.defaults;
                defaults.outcome(wish, &memory.state, &snapshot.accounts, cluster.hides_accounts())
            }),
        }
    }

    fn leave_unseen(&self, member: &Member) {
        let condition = member.condition().unwrap_or(ClusterCondition::Connecting);
        let declared = self.context.stores.credentials.get(&self.key.owner);
        let row = declared.as_ref().and_then(|declared| declared.row(&member.name));
        let outcome = ClusterOutcome::unseen(row, condition, self.published.version);
        self.leave((self.targets().is_some() || row.is_some()).then_some(outcome));
    }

    /// Leaves an outcome for the others, and wakes those whom it concerns.
    fn leave(&self, outcome: Option<ClusterOutcome>) {
        let (context, owner) = (self.context, &self.key.owner);
        let news = match outcome {
            Some(outcome) => context.stores.outcomes.set(owner, &self.key.cluster, outcome),
            None if context.stores.outcomes.remove(owner, &self.key.cluster) => News::All,
            None => News::None,
        };
        // A deletion is decided by all outcomes, and a source is read once there is somewhere to write to.
        let concerned = match self.published.removal {
            Some(_) => news == News::All,
            None => self.published.source == SourceState::NotRead && self.memory.state.is_permitted(),
        };
        if concerned {
            context.queues.credential(owner);
        }
        match news {
            News::None => {}
            News::Users => {
                context.queues.status.add_after(*owner, (), Duration::from_millis(500));
            }
            News::All => context.queues.status(owner),
        }
    }
}

fn namespaces(changes: &[Change]) -> impl Iterator<Item = Arc<str>> {
    changes.iter().map(|change| change.object.namespace().clone())
}
