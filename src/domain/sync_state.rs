//! How one credential stands in one cluster, kept namespace by namespace, so that a change of one namespace costs
//! work on that namespace alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::{Add, Sub},
    sync::Arc,
};

use super::{
    account_state::AccountStates,
    failure::Failure,
    identity::OwnerId,
    outcome::{CopyCounts, FailureGroup, ListedUser},
    plan::{NamespaceState, Plan, TargetState},
    reason::Reason,
    schedule::{MAX_FAILURES, MAX_REFERENCES},
    snapshot::Snapshot,
    stuck::Stuck,
};

/// How one credential stands in one cluster. Counts are kept, not computed.
#[derive(Debug, Default)]
pub(crate) struct SyncState {
    targets: HashSet<Arc<str>>,
    pending: HashSet<Arc<str>>,
    missing: BTreeSet<Arc<str>>,
    /// By reason, the worst first.
    failures: BTreeMap<Reason, BTreeMap<Arc<str>, Failure>>,
    /// Namespaces without consent whose names are not told.
    concealed: HashSet<Arc<str>>,
    /// How many of `failures` should have a copy.
    failed_targets: usize,
    /// Of the namespaces where any of them is not zero.
    counts: BTreeMap<Arc<str>, CopyCounts>,
    sum: CopyCounts,
    pub accounts: AccountStates,
    /// Pods that lack the Secret, of namespaces where there are any.
    stuck: BTreeMap<Arc<str>, Stuck>,
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
        self.missing.append(&mut std::mem::take(&mut plan.missing).into_iter().collect());
    }

    fn clear(&mut self, namespace: &Arc<str>) {
        let was_target = self.targets.remove(namespace);
        self.pending.remove(namespace);
        self.missing.remove(namespace);
        self.concealed.remove(namespace);
        self.accounts.clear(namespace);
        self.stuck.remove(namespace);
        self.failures.retain(|_, namespaces| {
            if namespaces.remove(namespace).is_some() {
                self.failed_targets -= usize::from(was_target);
            }
            !namespaces.is_empty()
        });
        if let Some(counts) = self.counts.remove(namespace) {
            self.sum = self.sum.zip(counts, Sub::sub);
        }
    }

    fn set(&mut self, namespace: Arc<str>, state: NamespaceState) {
        self.accounts.set(&namespace, state.accounts);
        if state.stuck.total > 0 {
            self.stuck.insert(namespace.clone(), state.stuck);
        }
        if state.counts != CopyCounts::default() {
            self.sum = self.sum.zip(state.counts, Add::add);
            self.counts.insert(namespace.clone(), state.counts);
        }
        if state.target.is_some() {
            self.targets.insert(namespace.clone());
        }
        let failure = match state.target {
            Some(TargetState::Failed(failure)) => Some(failure),
            Some(TargetState::Pending) => {
                self.pending.insert(namespace.clone());
                None
            }
            Some(TargetState::Concealed) => {
                self.concealed.insert(namespace.clone());
                None
            }
            Some(TargetState::Synced) | None => state.refused,
        };
        if let Some(failure) = failure {
            self.failed_targets += usize::from(self.targets.contains(&namespace));
            self.failures.entry(failure.reason()).or_default().insert(namespace, failure);
        }
    }

    /// Namespaces that should have a copy.
    pub fn desired(&self) -> usize {
        self.targets.len()
    }

    /// Of these, the ones that have it.
    pub fn synced(&self) -> usize {
        self.targets.len() - self.pending.len() - self.concealed.len() - self.failed_targets
    }

    /// Namespaces where a change is outstanding.
    pub fn pending(&self) -> &HashSet<Arc<str>> {
        &self.pending
    }

    /// Namespaces that the target lists and that do not exist, by name.
    pub fn missing(&self) -> impl Iterator<Item = &Arc<str>> {
        self.missing.iter()
    }

    /// Whether any copy may be written.
    pub fn is_permitted(&self) -> bool {
        let refused = [Reason::NotPermitted, Reason::MetadataNotPermitted];
        let refused = refused.iter().filter_map(|reason| self.failures.get(reason)).map(BTreeMap::len);
        self.targets.len() > refused.sum::<usize>() + self.concealed.len()
    }

    /// Namespaces where the name of the copy is taken.
    pub fn conflicts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.failures.get(&Reason::SecretNameConflict).into_iter().flat_map(BTreeMap::keys)
    }

    /// Pods that lack the Secret.
    pub fn stuck(&self) -> Stuck {
        Stuck::sum(self.stuck.values())
    }

    /// Namespaces with such Pods.
    pub fn stuck_namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.stuck.keys()
    }

    /// Counts over all namespaces.
    pub fn counts(&self) -> CopyCounts {
        self.sum
    }

    /// Namespaces that cannot have their copy, the worst reason first.
    pub fn failures(&self) -> Vec<FailureGroup> {
        let mut groups: Vec<FailureGroup> = Vec::new();
        for (reason, namespaces) in &self.failures {
            let examples = namespaces.iter().take(MAX_FAILURES);
            let examples = examples.map(|(namespace, failure)| (namespace.clone(), failure.clone()));
            groups.push(FailureGroup {
                reason: *reason,
                count: namespaces.len(),
                examples: examples.collect(),
            });
        }
        if !self.concealed.is_empty() {
            let count = self.concealed.len();
            match groups.iter_mut().find(|group| group.reason == Reason::NotPermitted) {
                Some(group) => group.count += count,
                None => {
                    groups.push(FailureGroup { reason: Reason::NotPermitted, count, examples: Vec::new() });
                    groups.sort_by_key(|group| group.reason);
                }
            }
        }
        groups
    }

    /// The first users of the copies, those before all others that hold a deletion: of copies with this name, in namespaces
    /// where something does.
    pub fn users(&self, snapshot: &Snapshot, owner: &OwnerId, secret: &str) -> Vec<ListedUser> {
        let mut users = Vec::new();
        for is_harmless in [false, true] {
            let is_told = |counts: &CopyCounts| is_harmless || counts.blocking > 0;
            let used = self.counts.iter().filter(|(_, counts)| counts.users > 0 && is_told(counts));
            for (namespace, counts) in used {
                let mut here = Vec::new();
                for (copy, _) in snapshot.copies.within(owner, namespace) {
                    let is_held = counts.blocking > 0 && &*copy.name == secret;
                    let all = snapshot.references.of(copy);
                    here.extend(all.filter(|(_, reference)| {
                        is_harmless != (is_held && snapshot.references.blocks(reference.kind))
                    }));
                }
                // In order, so that a status does not change when nothing else does.
                here.sort_unstable();
                users.extend(here.into_iter().take(MAX_REFERENCES - users.len()).map(|(namespace, of)| {
                    let (namespace, name) = (namespace.clone(), of.name.clone());
                    ListedUser { is_harmless, kind: of.kind, namespace, name, field: of.field }
                }));
                if users.len() == MAX_REFERENCES {
                    return users;
                }
            }
        }
        users
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(kind: u8) -> NamespaceState {
        let target = match kind % 6 {
            0 => None,
            1 => Some(TargetState::Synced),
            2 => Some(TargetState::Pending),
            3 => Some(TargetState::Failed(Failure::NotPermitted)),
            4 => Some(TargetState::Concealed),
            _ => Some(TargetState::Failed(Failure::SecretNameConflict("x".into()))),
        };
        let n = usize::from(kind / 6 % 3);
        let counts = CopyCounts { held: n, users: n, blocking: n, ..CopyCounts::default() };
        NamespaceState { target, counts, ..NamespaceState::default() }
    }

    fn plan(namespaces: &[(u8, u8)]) -> Plan {
        let last: BTreeMap<u8, u8> = namespaces.iter().copied().collect();
        let named = |name: u8| -> Arc<str> { format!("n{name}").as_str().into() };
        // A namespace without a state of its own is there or missing.
        let missing = last.iter().filter(|(_, kind)| **kind % 6 == 0 && **kind > 100);
        let missing = missing.map(|(name, _)| named(*name)).collect();
        let namespaces = last.iter().map(|(name, kind)| (named(*name), state(*kind))).collect();
        Plan { namespaces, missing, ..Plan::default() }
    }

    fn summed(states: Vec<(&str, NamespaceState)>) -> SyncState {
        let namespaces = states.into_iter().map(|(name, state)| (name.into(), state)).collect();
        let mut kept = SyncState::default();
        kept.replace(&mut Plan { namespaces, ..Plan::default() });
        kept
    }

    fn target(target: TargetState) -> NamespaceState {
        NamespaceState { target: Some(target), ..NamespaceState::default() }
    }

    #[test]
    fn every_target_is_synced_pending_or_failed() {
        let kept = summed(vec![
            ("a", target(TargetState::Synced)),
            ("b", target(TargetState::Pending)),
            ("c", target(TargetState::Failed(Failure::NotPermitted))),
            (
                "d",
                NamespaceState {
                    counts: CopyCounts { remaining: 1, ..CopyCounts::default() },
                    ..NamespaceState::default()
                },
            ),
        ]);
        assert_eq!((kept.desired(), kept.synced(), kept.pending().len()), (3, 1, 1));
        assert_eq!(kept.failures().len(), 1);
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
    fn of_what_the_target_does_not_list_only_the_number_is_told() {
        let kept = summed(vec![
            ("a", target(TargetState::Concealed)),
            ("b", target(TargetState::Failed(Failure::NotPermitted))),
            ("c", target(TargetState::Concealed)),
            ("d", target(TargetState::Synced)),
        ]);
        assert_eq!((kept.desired(), kept.synced()), (4, 1));
        let [group] = &kept.failures()[..] else { panic!("one group") };
        assert_eq!((group.reason, group.count, group.examples.len()), (Reason::NotPermitted, 3, 1));
        assert!(kept.is_permitted() && !summed(vec![("a", target(TargetState::Concealed))]).is_permitted());
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
            prop_assert_eq!(&kept.missing, &fresh.missing);
            prop_assert_eq!((kept.sum, &kept.counts), (fresh.sum, &fresh.counts));
        }
    }
}
