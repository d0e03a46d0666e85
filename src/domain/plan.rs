//! From what is wanted and what is seen to what is to be done, for one cluster.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    account_plan::{AccountState, DefaultInputs, Place, plan_accounts},
    attachment::Wanted,
    desired::{DesiredState, SourceState},
    eviction_limiter::Candidate,
    failure::Failure,
    identity::NamespacedName,
    namespace::Namespace,
    outcome::CopyCounts,
    removal::{Disposition, Removal},
    repair_limiter::RepairLimiter,
    snapshot::{ExistingCopy, Snapshot},
    stuck::Stuck,
    stuck_plan::plan_stuck,
    targets::{ClusterTargets, Verdict},
};

/// An object that a change is about. Refusals are keyed by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Secret(NamespacedName),
    ServiceAccount(NamespacedName),
    Pod(NamespacedName),
}

impl Object {
    pub fn namespace(&self) -> &Arc<str> {
        match self {
            Self::Secret(name) | Self::ServiceAccount(name) | Self::Pod(name) => &name.namespace,
        }
    }
}

/// One change of one object. It carries what was seen, by which the write is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub object: Object,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update(ExistingCopy),
    /// `if_unused` asks once more, in the moment of the deletion, whether something uses the Secret.
    Delete {
        copy: ExistingCopy,
        if_unused: bool,
    },
    /// Our marks are taken off and the Secret stays.
    Release(ExistingCopy),
    /// A ServiceAccount comes to name a Secret of ours, or not any more. By what it is guarded is found out in the moment
    /// of the write: several credentials may want something of it at once.
    Edit(Wanted),
    /// A Pod is evicted.
    Evict(Candidate),
}

/// Which namespaces a plan is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    All,
    Namespaces(&'a HashSet<Arc<str>>),
}

/// All that a plan for one credential in one cluster is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub snapshot: &'a Snapshot,
    pub desired: &'a DesiredState,
    /// `None` when the credential wants nothing of the cluster.
    pub targets: Option<&'a ClusterTargets>,
    /// Whether a lack of consent takes copies away by now.
    pub withdraw: bool,
    /// Changes that were refused and are not tried again yet.
    pub refusals: &'a HashMap<Object, Failure>,
    pub repairs: &'a RepairLimiter,
    /// `None` where nothing is attached to ServiceAccounts.
    pub defaults: Option<DefaultInputs<'a>>,
    /// Counts from any one moment, the same as that of `repairs`.
    pub now: Duration,
}

/// How a namespace that should have a copy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetState {
    /// The copy was seen, with the right content.
    Synced,
    /// A change, or something that the copy waits for, is outstanding.
    Pending,
    Failed(Failure),
    /// No policy allows a copy, and the target does not list the namespace: its name is not told to whoever may not write
    /// there.
    Concealed,
}

/// How one namespace stands for one credential, before the changes of the plan are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespaceState {
    /// `None` when it should have no copy.
    pub target: Option<TargetState>,
    pub counts: CopyCounts,
    pub accounts: AccountState,
    pub stuck: Stuck,
    /// Why a copy that should go cannot be deleted.
    pub refused: Option<Failure>,
}

/// What is to be done in one cluster, and how the namespaces in its scope stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub changes: Vec<Change>,
    pub namespaces: Vec<(Arc<str>, NamespaceState)>,
    /// Namespaces in its scope that the target lists and that do not exist.
    pub missing: Vec<Arc<str>>,
    /// Names that are taken, and that the credential waits for.
    pub waits_for: Vec<NamespacedName>,
    /// When a repair that has to wait may be made.
    pub wait: Option<Duration>,
    /// When ServiceAccounts have to be looked at again that somebody else changes back.
    pub account_wait: Option<Duration>,
    /// Stuck Pods that may be evicted.
    pub candidates: Vec<Candidate>,
}

/// Plans for one credential in one cluster.
pub(crate) fn plan(inputs: Inputs<'_>, scope: Scope<'_>) -> Plan {
    let (snapshot, owner) = (inputs.snapshot, &inputs.desired.owner);
    let mut planner = Planner { inputs, plan: Plan::default(), detaches: false };
    let mut here = Vec::new();
    let targets = inputs.targets;
    match scope {
        Scope::Namespaces(names) => {
            for name in names {
                let Some(seen) = snapshot.namespaces.get(name) else {
                    planner
                        .plan
                        .missing
                        .extend(targets.filter(|targets| targets.lists(name)).map(|_| name.clone()));
                    continue;
                };
                here.clear();
                here.extend(snapshot.copies.within(owner, name));
                planner.namespace(name, seen, &here);
            }
        }
        Scope::All => {
            let listed = targets.into_iter().flat_map(ClusterTargets::names);
            let missing = listed.filter(|name| !snapshot.namespaces.contains_key(*name));
            planner.plan.missing.extend(missing.cloned());
            // Both are in the order of the namespaces' names.
            let mut copies = snapshot.copies.of(owner).peekable();
            for (name, seen) in &snapshot.namespaces {
                here.clear();
                while let Some(copy) = copies.next_if(|(copy, _)| copy.namespace <= *name) {
                    if copy.0.namespace == *name {
                        here.push(copy);
                    }
                }
                planner.namespace(name, seen, &here);
            }
        }
    }
    planner.plan
}

/// The copies of a credential in one namespace.
type Copies<'s> = [(&'s NamespacedName, &'s ExistingCopy)];

struct Planner<'a> {
    inputs: Inputs<'a>,
    plan: Plan,
    /// Whether something is being detached in the namespace that is planned for: no Secret goes before.
    detaches: bool,
}

impl Planner<'_> {
    fn namespace(&mut self, name: &Arc<str>, seen: &Namespace, copies: &Copies<'_>) {
        let desired = self.inputs.desired;
        let verdict = self.inputs.targets.map_or(Verdict::NotTargeted, |targets| targets.judge(name, seen));
        let mut state = NamespaceState::default();
        // With a spec that cannot be read, any copy may be a target.
        let any = matches!(desired.source, SourceState::UnreadableSpec(_));
        self.detaches = false;
        if !any || desired.removal.is_some() {
            state.accounts = self.accounts(name, seen, verdict);
        }
        // Marks can be forged: where it may not write, no Secret is a copy of it. Consent may be gone for a moment only.
        let may_have_copy = match verdict {
            Verdict::Permitted => true,
            Verdict::NotPermitted => !self.inputs.withdraw,
            Verdict::NotTargeted => false,
        };
        let is_target = |copy: &NamespacedName| any || may_have_copy && copy.name == desired.secret_name;
        for (copy, _) in copies {
            let (users, blocking) = self.inputs.snapshot.references.count(copy);
            state.counts.users += users;
            if is_target(copy) {
                state.counts.blocking += blocking;
            }
        }
        let writable = copies.iter().filter(|_| !seen.terminating);
        match &desired.removal {
            Some(removal) => {
                for &(name, copy) in writable {
                    self.remove(removal, name, copy, is_target(name), &mut state);
                }
            }
            // What it wants is not known, so nothing is taken away.
            None if any => {}
            None => {
                state.target = match verdict {
                    Verdict::NotTargeted => None,
                    Verdict::NotPermitted => Some(self.not_permitted(name, seen)),
                    Verdict::Permitted => Some(self.target(name, copies)),
                };
                for &(name, copy) in writable {
                    if verdict != Verdict::Permitted || name.name != desired.secret_name {
                        self.stray(name, copy, verdict, copies, &mut state);
                    }
                }
            }
        }
        if !any {
            let is_synced = matches!(state.target, Some(TargetState::Synced));
            state.stuck = self.stuck(name, seen, verdict, is_synced);
        }
        if state != NamespaceState::default() {
            self.plan.namespaces.push((name.clone(), state));
        }
    }

    /// The ServiceAccounts of a namespace.
    fn accounts(&mut self, name: &Arc<str>, seen: &Namespace, verdict: Verdict) -> AccountState {
        let Inputs { snapshot, desired, targets, withdraw, refusals, defaults, .. } = self.inputs;
        let Some(defaults) = defaults else { return AccountState::default() };
        let place = Place { name, seen, verdict, targets, withdraw };
        let refused = |name: &NamespacedName| refusals.get(&Object::ServiceAccount(name.clone())).cloned();
        let planned = plan_accounts(&snapshot.accounts, desired, defaults, place, &refused);
        self.detaches = planned.detaches;
        self.plan.account_wait = self.plan.account_wait.into_iter().chain(planned.wait).min();
        let changes = planned.changes.into_iter().map(|(name, wanted)| Change {
            object: Object::ServiceAccount(name),
            action: Action::Edit(wanted),
        });
        self.plan.changes.extend(changes);
        planned.state
    }

    /// The Pods of a namespace that were created too early. What was refused is not tried again yet.
    fn stuck(&mut self, name: &Arc<str>, seen: &Namespace, verdict: Verdict, is_synced: bool) -> Stuck {
        let Inputs { snapshot, desired, targets, withdraw, refusals, defaults, .. } = self.inputs;
        let Some(defaults) = defaults else { return Stuck::default() };
        let place = Place { name, seen, verdict, targets, withdraw };
        let mut planned = plan_stuck(snapshot, desired, defaults.rivals, place, is_synced);
        planned.candidates.retain(|candidate| {
            let refusal = refusals.get(&Object::Pod(candidate.pod.clone()));
            if let Some(refusal) = refusal {
                planned.stuck.refused.get_or_insert_with(|| refusal.clone());
            }
            refusal.is_none()
        });
        self.plan.candidates.append(&mut planned.candidates);
        planned.stuck
    }

    fn not_permitted(&self, namespace: &str, seen: &Namespace) -> TargetState {
        let refused = self.inputs.targets.and_then(|targets| targets.refused_key(namespace, seen));
        if let Some(key) = refused {
            TargetState::Failed(Failure::MetadataNotPermitted(key.to_owned()))
        } else if self.inputs.targets.is_some_and(|targets| targets.names_itself(namespace)) {
            TargetState::Failed(Failure::NotPermitted)
        } else {
            TargetState::Concealed
        }
    }

    /// The copy that a namespace should have.
    fn target(&mut self, namespace: &Arc<str>, copies: &Copies<'_>) -> TargetState {
        let desired = self.inputs.desired;
        let found = copies.iter().find(|(name, _)| name.name == desired.secret_name).map(|(_, copy)| *copy);
        let name = NamespacedName { namespace: namespace.clone(), name: desired.secret_name.clone() };
        match (found, &desired.secret) {
            (Some(copy), _) if self.is_in_line(copy) => TargetState::Synced,
            // It waits: for a source, or for somebody's finalizer.
            (Some(_), None) => TargetState::Pending,
            (Some(copy), _) if copy.terminating => TargetState::Pending,
            (Some(copy), Some(secret)) if copy.type_ != Some(secret.content.type_) => {
                self.replace(name, copy)
            }
            (Some(copy), Some(secret)) if copy.immutable && copy.content != secret.fingerprint => {
                TargetState::Failed(Failure::SecretImmutable)
            }
            (Some(copy), Some(_)) => {
                // Only a repair is held back: a new revision is written at once. A copy that lost its revision was edited.
                let repair = copy.marks.revision.is_none_or(|found| Some(found) >= desired.revision);
                match self.inputs.repairs.wait(&name, self.inputs.now).filter(|_| repair) {
                    Some(wait) => {
                        self.plan.wait = self.plan.wait.into_iter().chain([wait]).min();
                        TargetState::Pending
                    }
                    None => self.write(name, Action::Update(copy.clone())),
                }
            }
            (None, secret) => match self.taken_by(&name) {
                Some(owner) => {
                    self.plan.waits_for.push(name);
                    TargetState::Failed(Failure::SecretNameConflict(owner))
                }
                None if secret.is_some() => self.write(name, Action::Create),
                None => TargetState::Pending,
            },
        }
    }

    /// A copy that is no longer wanted: deleted when nothing uses it, else held. Where the copy only moves to another
    /// name, the old one stays until the new one is in place.
    fn stray(
        &mut self,
        name: &NamespacedName,
        copy: &ExistingCopy,
        verdict: Verdict,
        copies: &Copies<'_>,
        state: &mut NamespaceState,
    ) {
        let desired = self.inputs.desired;
        let is_successor = |name: &NamespacedName, copy: &ExistingCopy| {
            name.name == desired.secret_name
                && !copy.terminating
                && desired.secret.as_ref().is_none_or(|secret| copy.content == secret.fingerprint)
        };
        let moving =
            verdict == Verdict::Permitted && !copies.iter().any(|(name, copy)| is_successor(name, copy));
        if verdict == Verdict::NotPermitted && !self.inputs.withdraw {
            state.counts.deferred += 1;
        } else if moving || self.inputs.snapshot.is_in_use(name) {
            state.counts.held += 1;
        } else if !copy.terminating {
            let action = Action::Delete { copy: copy.clone(), if_unused: true };
            state.refused = self.change(name.clone(), action).err();
        }
    }

    /// A copy of a credential that is being deleted.
    fn remove(
        &mut self,
        removal: &Removal,
        name: &NamespacedName,
        copy: &ExistingCopy,
        is_target: bool,
        state: &mut NamespaceState,
    ) {
        let in_use = self.inputs.snapshot.is_in_use(name);
        let delete = |if_unused| Action::Delete { copy: copy.clone(), if_unused };
        let action = match removal.disposition {
            // A copy that is no longer a target does not hold up the deletion: the sweep removes it when it is unused.
            Disposition::Keep | Disposition::Remove if !is_target && in_use && !removal.forced => {
                state.counts.held += 1;
                return;
            }
            Disposition::Keep => {
                state.counts.remaining += 1;
                state.target = is_target.then_some(TargetState::Synced).or(state.target.take());
                return;
            }
            Disposition::RemoveUnused if in_use => {
                state.counts.held += 1;
                return;
            }
            Disposition::Release => Action::Release(copy.clone()),
            Disposition::Remove | Disposition::RemoveUnused => delete(!removal.forced),
        };
        state.counts.remaining += 1;
        let waits_for_a_finalizer = copy.terminating && !matches!(action, Action::Release(_));
        if !waits_for_a_finalizer {
            state.refused = self.change(name.clone(), action).err();
        }
    }

    /// Makes room for a copy of another type, which no Secret can change: that of a credential that was deleted and made
    /// again in another format while a cluster was away.
    fn replace(&mut self, name: NamespacedName, copy: &ExistingCopy) -> TargetState {
        if self.inputs.snapshot.is_in_use(&name) {
            return TargetState::Failed(Failure::SecretTypeMismatch);
        }
        self.write(name, Action::Delete { copy: copy.clone(), if_unused: true })
    }

    /// Notes a change that brings a namespace its copy.
    fn write(&mut self, name: NamespacedName, action: Action) -> TargetState {
        self.change(name, action).map_or_else(TargetState::Failed, |()| TargetState::Pending)
    }

    /// Notes a change, unless it was refused and is not tried again yet.
    fn change(&mut self, name: NamespacedName, action: Action) -> Result<(), Failure> {
        let object = Object::Secret(name);
        if let Some(refusal) = self.inputs.refusals.get(&object) {
            return Err(refusal.clone());
        }
        // What is attached goes first; then the namespace is planned for again.
        if !(self.detaches && matches!(action, Action::Delete { .. } | Action::Release(_))) {
            self.plan.changes.push(Change { object, action });
        }
        Ok(())
    }

    /// Whether a copy is what is wanted. Without a content, the last revision is the measure.
    fn is_in_line(&self, copy: &ExistingCopy) -> bool {
        let desired = self.inputs.desired;
        if copy.terminating {
            return false;
        }
        match &desired.secret {
            Some(secret) => copy.content == secret.fingerprint && copy.marks.is_in_line(&secret.marks),
            None => desired.revision.is_some() && copy.marks.revision == desired.revision,
        }
    }

    /// Whose the Secret is that is in the way of a copy, as a phrase.
    fn taken_by(&self, name: &NamespacedName) -> Option<String> {
        let snapshot = self.inputs.snapshot;
        match snapshot.copies.get(name) {
            Some(other) => Some(
                other
                    .marks
                    .source
                    .as_ref()
                    .map_or_else(|| "another credential".to_owned(), ToString::to_string),
            ),
            None => snapshot.conflicts.get(name).cloned(),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
