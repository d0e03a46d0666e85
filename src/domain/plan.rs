//! From what is wanted and what is seen to what is to be done, for one cluster.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    desired::{DesiredState, SourceState},
    failure::Failure,
    identity::{NamespacedName, OwnerId},
    namespace::Namespace,
    ownership::Metadata,
    removal::{Disposition, Removal},
    repair_limiter::RepairLimiter,
    snapshot::{ExistingCopy, Snapshot},
    targets::{ClusterTargets, Verdict},
};
use crate::api::ANNOTATION_SOURCE;

/// An object that a change is about. Refusals are keyed by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Secret(NamespacedName),
}

impl Object {
    pub fn namespace(&self) -> &Arc<str> {
        match self {
            Self::Secret(name) => &name.namespace,
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
    pub snapshot: Snapshot<'a>,
    pub desired: &'a DesiredState,
    /// `None` when the credential wants nothing of the cluster.
    pub targets: Option<&'a ClusterTargets>,
    /// Whether a lack of consent takes copies away by now.
    pub withdraw: bool,
    /// Changes that were refused and are not tried again yet.
    pub refusals: &'a HashMap<Object, Failure>,
    pub repairs: &'a RepairLimiter,
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
}

impl TargetState {
    fn failure(self) -> Option<Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Synced | Self::Pending => None,
        }
    }
}

/// How one namespace stands for one credential, before the changes of the plan are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespaceState {
    /// `None` when it should have no copy.
    pub target: Option<TargetState>,
    /// Copies that are not wanted any more but used: they stay, frozen.
    pub held: usize,
    /// Copies that stay because consent went only a moment ago.
    pub deferred: usize,
    /// Copies that have to go before the credential may.
    pub remaining: usize,
    /// Users of the copies.
    pub users: usize,
    /// Those of them that hold back a deletion of the credential.
    pub blocking: usize,
    /// Why a copy that should go cannot be deleted.
    pub refused: Option<Failure>,
}

/// What is to be done in one cluster, and how the namespaces in its scope stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub changes: Vec<Change>,
    pub namespaces: Vec<(Arc<str>, NamespaceState)>,
    /// Names that are taken, and that the credential waits for.
    pub waits_for: Vec<NamespacedName>,
    /// When a repair that has to wait may be made.
    pub wait: Option<Duration>,
}

/// Plans for one credential in one cluster.
pub(crate) fn plan(inputs: Inputs<'_>, scope: Scope<'_>) -> Plan {
    let owner = &inputs.desired.owner;
    let mut planner = Planner { inputs, in_line: HashMap::new(), plan: Plan::default() };
    each_namespace(inputs.snapshot, owner, scope, |name, seen, copies| planner.namespace(name, seen, copies));
    planner.plan
}

/// Plans for the copies of an owner whose credential is gone: they go when unused, or are left where it said so.
pub(crate) fn plan_sweep(snapshot: Snapshot<'_>, owner: &OwnerId) -> Plan {
    let mut plan = Plan::default();
    each_namespace(snapshot, owner, Scope::All, |namespace, seen, copies| {
        let mut state = NamespaceState::default();
        let writable = seen.is_some_and(|seen| !seen.terminating);
        for (name, copy) in copies.iter().filter(|_| writable) {
            let action = if copy.metadata.is_to_be_orphaned() {
                Action::Release((*copy).clone())
            } else if snapshot.is_in_use(name) {
                state.held += 1;
                continue;
            } else if copy.terminating {
                continue;
            } else {
                Action::Delete { copy: (*copy).clone(), if_unused: true }
            };
            plan.changes.push(Change { object: Object::Secret((*name).clone()), action });
        }
        if state != NamespaceState::default() {
            plan.namespaces.push((namespace.clone(), state));
        }
    });
    plan
}

type Copies<'s> = [(&'s NamespacedName, &'s ExistingCopy)];

fn each_namespace<'s>(
    snapshot: Snapshot<'s>,
    owner: &OwnerId,
    scope: Scope<'_>,
    mut visit: impl FnMut(&Arc<str>, Option<&'s Namespace>, &Copies<'s>),
) {
    let mut here = Vec::new();
    match scope {
        Scope::Namespaces(names) => {
            for name in names.iter().filter(|name| snapshot.namespaces.contains_key(*name)) {
                here.clear();
                here.extend(snapshot.copies.within(owner, name));
                visit(name, snapshot.namespaces.get(name), &here);
            }
        }
        Scope::All => {
            // Both are in the order of the namespaces' names.
            let mut copies = snapshot.copies.of(owner).peekable();
            for (name, seen) in snapshot.namespaces {
                here.clear();
                while let Some(copy) = copies.next_if(|(copy, _)| copy.namespace <= *name) {
                    if copy.0.namespace == *name {
                        here.push(copy);
                    }
                }
                visit(name, Some(seen), &here);
            }
        }
    }
}

struct Planner<'a> {
    inputs: Inputs<'a>,
    /// Which shared metadata was found in line, as thousands of copies share one value.
    in_line: HashMap<*const Metadata, bool>,
    plan: Plan,
}

impl Planner<'_> {
    fn namespace(&mut self, name: &Arc<str>, seen: Option<&Namespace>, copies: &Copies<'_>) {
        let (desired, snapshot) = (self.inputs.desired, self.inputs.snapshot);
        let verdict = match (self.inputs.targets, seen) {
            (Some(targets), Some(seen)) => targets.judge(name, seen),
            _ => Verdict::NotTargeted,
        };
        let mut state = NamespaceState::default();
        // What was a target of a spec that cannot be read is not known.
        let any = matches!(desired.source, SourceState::UnreadableSpec(_));
        let is_target = |copy: &NamespacedName| {
            any || verdict != Verdict::NotTargeted && copy.name == desired.secret_name
        };
        for (copy, _) in copies {
            state.users += snapshot.references.of(copy).len();
            if is_target(copy) {
                state.blocking += snapshot.references.blocking(copy);
            }
        }
        match &desired.removal {
            Some(removal) => {
                for &(copy, seen_copy) in copies.iter().filter(|_| snapshot.is_writable(name)) {
                    self.remove(removal, copy, seen_copy, is_target(copy), &mut state);
                }
            }
            // What it wants is not known, so nothing is taken away.
            None if any => {}
            None => {
                match verdict {
                    Verdict::NotTargeted => {}
                    Verdict::NotPermitted => {
                        state.target = Some(TargetState::Failed(Failure::NotPermitted));
                    }
                    Verdict::Permitted => state.target = Some(self.target(name, copies)),
                }
                for &(copy, seen_copy) in copies.iter().filter(|_| snapshot.is_writable(name)) {
                    if verdict != Verdict::Permitted || copy.name != desired.secret_name {
                        self.stray(copy, seen_copy, verdict, copies, &mut state);
                    }
                }
            }
        }
        if state != NamespaceState::default() {
            self.plan.namespaces.push((name.clone(), state));
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
            (Some(copy), Some(secret)) if copy.immutable && copy.content != secret.fingerprint => {
                TargetState::Failed(Failure::SecretImmutable)
            }
            (Some(copy), Some(_)) => {
                // Only a repair is held back: a new revision is written at once. A copy that lost its revision was edited.
                let repair = copy.metadata.revision().is_none_or(|found| Some(found) >= desired.revision);
                match self.inputs.repairs.wait(&name, self.inputs.now).filter(|_| repair) {
                    Some(wait) => {
                        self.plan.wait = Some(self.plan.wait.map_or(wait, |before| before.min(wait)));
                        TargetState::Pending
                    }
                    None => self.change(name, Action::Update(copy.clone())),
                }
            }
            (None, secret) => match self.taken_by(&name) {
                Some(owner) => {
                    self.plan.waits_for.push(name);
                    TargetState::Failed(Failure::SecretNameConflict(owner))
                }
                None if secret.is_some() => self.change(name, Action::Create),
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
        let successor = || copies.iter().find(|(other, _)| other.name == self.inputs.desired.secret_name);
        let moving = verdict == Verdict::Permitted
            && !successor().is_some_and(|&(_, new)| {
                // In line, by the same measure as of any copy.
                self.inputs.desired.secret.as_ref().is_none_or(|secret| new.content == secret.fingerprint)
                    && !new.terminating
            });
        if verdict == Verdict::NotPermitted && !self.inputs.withdraw {
            state.deferred += 1;
        } else if moving || self.inputs.snapshot.is_in_use(name) {
            state.held += 1;
        } else if !copy.terminating {
            let action = Action::Delete { copy: copy.clone(), if_unused: true };
            state.refused = self.change(name.clone(), action).failure();
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
            // What is no target any more holds nobody up: the sweep takes it when it is unused.
            Disposition::Keep | Disposition::Remove if !is_target && in_use && !removal.forced => {
                state.held += 1;
                return;
            }
            Disposition::Keep => {
                state.remaining += 1;
                state.target = is_target.then_some(TargetState::Synced).or(state.target.take());
                return;
            }
            Disposition::RemoveUnused if in_use => {
                state.held += 1;
                return;
            }
            Disposition::Release => Action::Release(copy.clone()),
            Disposition::Remove | Disposition::RemoveUnused => delete(!removal.forced),
        };
        state.remaining += 1;
        let waits_for_a_finalizer = copy.terminating && !matches!(action, Action::Release(_));
        if !waits_for_a_finalizer {
            state.refused = self.change(name.clone(), action).failure();
        }
    }

    /// Notes a change, unless it was refused and is not tried again yet.
    fn change(&mut self, name: NamespacedName, action: Action) -> TargetState {
        let object = Object::Secret(name);
        if let Some(refusal) = self.inputs.refusals.get(&object) {
            return TargetState::Failed(refusal.clone());
        }
        self.plan.changes.push(Change { object, action });
        TargetState::Pending
    }

    /// Whether a copy is what is wanted. Without a content, the last revision is the measure.
    fn is_in_line(&mut self, copy: &ExistingCopy) -> bool {
        let desired = self.inputs.desired;
        if copy.terminating {
            return false;
        }
        match &desired.secret {
            Some(secret) => {
                copy.content == secret.fingerprint
                    && *self
                        .in_line
                        .entry(Arc::as_ptr(&copy.metadata))
                        .or_insert_with(|| copy.metadata.merged(&desired.metadata) == *copy.metadata)
            }
            None => desired.revision.is_some() && copy.metadata.revision() == desired.revision,
        }
    }

    /// Whose the Secret is that is in the way of a copy, as a phrase.
    fn taken_by(&self, name: &NamespacedName) -> Option<String> {
        let snapshot = self.inputs.snapshot;
        if let Some(other) = snapshot.copies.get(name) {
            let source = other.metadata.annotations.get(ANNOTATION_SOURCE);
            return Some(source.map_or_else(|| "another credential".to_owned(), Clone::clone));
        }
        snapshot.conflicts.get(name).cloned()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
