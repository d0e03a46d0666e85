//! How one credential stands in one cluster, kept namespace by namespace, so that a change of one namespace costs
//! work on that namespace alone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    failure::Failure,
    identity::OwnerId,
    outcome::{FailureGroup, UserCounts, Users},
    plan::{NamespaceState, Plan, TargetState},
    reason::Reason,
    references::Reference,
    schedule::{MAX_FAILURES, MAX_REFERENCES},
    snapshot::Snapshot,
};

/// How one credential stands in one cluster. Counts are kept, not computed.
#[derive(Debug, Default)]
pub(crate) struct SyncState {
    targets: HashSet<Arc<str>>,
    pending: HashSet<Arc<str>>,
    /// By reason, the worst first.
    failures: BTreeMap<Reason, BTreeMap<Arc<str>, Failure>>,
    failed: HashMap<Arc<str>, Reason>,
    /// How many of these should have a copy.
    failed_targets: usize,
    extras: BTreeMap<Arc<str>, Extra>,
    sum: Extra,
}

/// What few namespaces have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extra {
    held: usize,
    deferred: usize,
    remaining: usize,
    users: usize,
    blocking: usize,
}

impl SyncState {
    /// Takes in a plan for all namespaces.
    pub fn replace(&mut self, plan: &mut Plan) {
        *self = Self::default();
        self.update(plan, []);
    }

    /// Takes in a plan for some namespaces. Those in its scope of which it says nothing have nothing any more.
    pub fn update<'n>(&mut self, plan: &mut Plan, scope: impl IntoIterator<Item = &'n Arc<str>>) {
        for namespace in scope {
            self.clear(namespace);
        }
        for (namespace, state) in std::mem::take(&mut plan.namespaces) {
            self.set(namespace, state);
        }
    }

    fn clear(&mut self, namespace: &Arc<str>) {
        let was_target = self.targets.remove(namespace);
        self.pending.remove(namespace);
        if let Some(reason) = self.failed.remove(namespace)
            && let Some(group) = self.failures.get_mut(&reason)
        {
            group.remove(namespace);
            self.failed_targets -= usize::from(was_target);
            if group.is_empty() {
                self.failures.remove(&reason);
            }
        }
        if let Some(extra) = self.extras.remove(namespace) {
            self.sum = self.sum.minus(extra);
        }
    }

    fn set(&mut self, namespace: Arc<str>, state: NamespaceState) {
        let extra = Extra {
            held: state.held,
            deferred: state.deferred,
            remaining: state.remaining,
            users: state.users,
            blocking: state.blocking,
        };
        if extra != Extra::default() {
            self.sum = self.sum.plus(extra);
            self.extras.insert(namespace.clone(), extra);
        }
        let failure = match state.target {
            Some(target) => {
                self.targets.insert(namespace.clone());
                match target {
                    TargetState::Synced => state.refused,
                    TargetState::Pending => {
                        self.pending.insert(namespace.clone());
                        None
                    }
                    TargetState::Failed(failure) => Some(failure),
                }
            }
            None => state.refused,
        };
        if let Some(failure) = failure {
            let reason = failure.reason();
            self.failed_targets += usize::from(self.targets.contains(&namespace));
            self.failed.insert(namespace.clone(), reason);
            self.failures.entry(reason).or_default().insert(namespace, failure);
        }
    }

    /// Namespaces that should have a copy.
    pub fn desired(&self) -> usize {
        self.targets.len()
    }

    /// Of these, the ones that have it.
    pub fn synced(&self) -> usize {
        self.targets.len() - self.pending.len() - self.failed_targets
    }

    /// Namespaces where a change is outstanding.
    pub fn pending(&self) -> &HashSet<Arc<str>> {
        &self.pending
    }

    /// Whether any copy may be written.
    pub fn is_permitted(&self) -> bool {
        self.targets.len() > self.failures.get(&Reason::NotPermitted).map_or(0, BTreeMap::len)
    }

    /// Namespaces where the name of the copy is taken.
    pub fn conflicts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.failures.get(&Reason::SecretNameConflict).into_iter().flat_map(BTreeMap::keys)
    }

    pub fn held(&self) -> usize {
        self.sum.held
    }

    pub fn deferred(&self) -> usize {
        self.sum.deferred
    }

    pub fn remaining(&self) -> usize {
        self.sum.remaining
    }

    /// Namespaces that cannot have their copy, the worst reason first.
    pub fn failures(&self) -> Vec<FailureGroup> {
        let groups = self.failures.iter().map(|(reason, namespaces)| FailureGroup {
            reason: *reason,
            count: namespaces.len(),
            examples: namespaces
                .iter()
                .take(MAX_FAILURES)
                .map(|(namespace, failure)| (namespace.clone(), failure.clone()))
                .collect(),
        });
        groups.collect()
    }

    /// Who uses the copies: how many, and the first by name.
    pub fn users(&self, snapshot: Snapshot<'_>, owner: &OwnerId) -> Users {
        let mut first = Vec::new();
        for (namespace, _) in self.extras.iter().filter(|(_, extra)| extra.users > 0) {
            let mut here: Vec<Reference> = snapshot
                .copies
                .within(owner, namespace)
                .flat_map(|(copy, _)| snapshot.references.of(copy).iter().cloned())
                .collect();
            // In order, so that a status does not change when nothing else does.
            here.sort_unstable();
            let room = MAX_REFERENCES - first.len();
            first.extend(here.into_iter().take(room).map(|reference| (namespace.clone(), reference)));
            if first.len() == MAX_REFERENCES {
                break;
            }
        }
        Users { counts: UserCounts { total: self.sum.users, blocking: self.sum.blocking }, first }
    }
}

impl Extra {
    fn plus(self, other: Self) -> Self {
        Self {
            held: self.held + other.held,
            deferred: self.deferred + other.deferred,
            remaining: self.remaining + other.remaining,
            users: self.users + other.users,
            blocking: self.blocking + other.blocking,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            held: self.held - other.held,
            deferred: self.deferred - other.deferred,
            remaining: self.remaining - other.remaining,
            users: self.users - other.users,
            blocking: self.blocking - other.blocking,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(kind: u8) -> NamespaceState {
        let target = match kind % 5 {
            0 => None,
            1 => Some(TargetState::Synced),
            2 => Some(TargetState::Pending),
            3 => Some(TargetState::Failed(Failure::NotPermitted)),
            _ => Some(TargetState::Failed(Failure::SecretNameConflict("x".into()))),
        };
        let extra = usize::from(kind / 5 % 3);
        NamespaceState { target, held: extra, users: extra, blocking: extra, ..NamespaceState::default() }
    }

    fn plan(namespaces: &[(u8, u8)]) -> Plan {
        let last: BTreeMap<u8, u8> = namespaces.iter().copied().collect();
        let namespaces =
            last.into_iter().map(|(name, kind)| (format!("n{name}").as_str().into(), state(kind))).collect();
        Plan { namespaces, ..Plan::default() }
    }

    fn summed(states: Vec<(&str, NamespaceState)>) -> SyncState {
        let namespaces = states.into_iter().map(|(name, state)| (name.into(), state)).collect();
        let mut kept = SyncState::default();
        kept.replace(&mut Plan { namespaces, ..Plan::default() });
        kept
    }

    fn target(target: TargetState) -> NamespaceState {
        NamespaceState { target: Some(target), permitted: true, ..NamespaceState::default() }
    }

    #[test]
    fn every_target_is_synced_pending_or_failed() {
        let kept = summed(vec![
            ("a", target(TargetState::Synced)),
            ("b", target(TargetState::Pending)),
            ("c", target(TargetState::Failed(Failure::NotPermitted))),
            ("d", NamespaceState { remaining: 1, ..NamespaceState::default() }),
        ]);
        assert_eq!((kept.desired(), kept.synced(), kept.pending().len()), (3, 1, 1));
        assert_eq!(kept.failures().len(), 1);
        assert_eq!(kept.leaving().map(|name| &**name).collect::<Vec<_>>(), ["d"]);
        assert!(kept.is_permitted() && !summed(Vec::new()).is_permitted());
    }

    #[test]
    fn a_deletion_that_was_refused_is_a_failure_too() {
        let refused = || Some(Failure::Write { reason: Reason::Forbidden, message: "no".into() });
        let kept = summed(vec![
            ("a", target(TargetState::Synced)),
            ("b", NamespaceState { refused: refused(), ..target(TargetState::Synced) }),
            ("c", NamespaceState { refused: refused(), ..NamespaceState::default() }),
        ]);
        assert_eq!((kept.desired(), kept.synced()), (2, 1));
        assert_eq!((kept.failures()[0].reason, kept.failures()[0].count), (Reason::Forbidden, 2));
    }

    #[test]
    fn the_worst_failures_come_first_and_few_are_examples() {
        let names: Vec<String> = (0..30).map(|n| format!("n{n:02}")).collect();
        let mut states: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), target(TargetState::Failed(Failure::NotPermitted))))
            .collect();
        states.push(("z", target(TargetState::Failed(Failure::SecretNameConflict("x".into())))));
        let failures = summed(states).failures();
        let counts: Vec<_> =
            failures.iter().map(|group| (group.reason, group.count, group.examples.len())).collect();
        assert_eq!(counts, [(Reason::SecretNameConflict, 1, 1), (Reason::NotPermitted, 30, MAX_FAILURES)]);
        assert_eq!(&*failures[1].examples[0].0, "n00");
    }

    proptest! {
        /// However a state came about, it is that of a full plan of what is.
        #[test]
        fn updates_come_to_the_same_as_a_full_plan(
            first in prop::collection::vec((0_u8..6, any::<u8>()), 0..8),
            later in prop::collection::vec((0_u8..6, any::<u8>()), 0..8),
            gone in prop::collection::vec(0_u8..6, 0..3),
        ) {
            let mut kept = SyncState::default();
            kept.replace(&mut plan(&first));
            let later: Vec<_> = later.into_iter().filter(|(name, _)| !gone.contains(name)).collect();
            let scope: Vec<Arc<str>> =
                later.iter().map(|(name, _)| *name).chain(gone.iter().copied()).map(|n| format!("n{n}").as_str().into()).collect();
            kept.update(&mut plan(&later), &scope);

            let mut all: BTreeMap<u8, u8> = first.into_iter().collect();
            all.extend(later);
            all.retain(|name, _| !gone.contains(name));
            let mut fresh = SyncState::default();
            fresh.replace(&mut plan(&all.into_iter().collect::<Vec<_>>()));
            prop_assert_eq!(kept.desired(), fresh.desired());
            prop_assert_eq!(kept.synced(), fresh.synced());
            prop_assert_eq!(kept.pending(), fresh.pending());
            prop_assert_eq!(kept.failures(), fresh.failures());
            prop_assert_eq!((kept.sum, &kept.extras), (fresh.sum, &fresh.extras));
        }
    }
}
