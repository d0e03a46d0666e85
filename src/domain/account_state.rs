//! How the ServiceAccounts of one cluster stand for one credential, kept namespace by namespace.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::{Add, Sub},
    sync::Arc,
};

use super::{
    account_counts::AccountCounts, account_failure::AccountFailure, account_plan::AccountState,
    outcome::AccountFailureGroup, reason::Reason, schedule::MAX_FAILURES,
};

/// How the ServiceAccounts of one cluster stand for one credential. Counts are kept, not computed.
#[derive(Debug, Default)]
pub(crate) struct AccountStates {
    /// Of the namespaces where any of them is not zero.
    counts: HashMap<Arc<str>, AccountCounts>,
    sum: AccountCounts,
    /// By reason, the worst first.
    failures: BTreeMap<Reason, BTreeMap<Arc<str>, Failures>>,
}

/// Of one namespace, by the name of the ServiceAccount.
type Failures = BTreeMap<Arc<str>, AccountFailure>;

impl AccountStates {
    /// Forgets a namespace.
    pub fn clear(&mut self, namespace: &Arc<str>) {
        if let Some(counts) = self.counts.remove(namespace) {
            self.sum = self.sum.zip(counts, Sub::sub);
        }
        self.failures.retain(|_, namespaces| {
            namespaces.remove(namespace);
            !namespaces.is_empty()
        });
    }

    /// Takes in how a namespace stands that was cleared.
    pub fn set(&mut self, namespace: &Arc<str>, state: AccountState) {
        if state.counts != AccountCounts::default() {
            self.sum = self.sum.zip(state.counts, Add::add);
            self.counts.insert(namespace.clone(), state.counts);
        }
        for (account, failure) in state.failures {
            let of_reason = self.failures.entry(failure.reason()).or_default();
            of_reason.entry(namespace.clone()).or_default().insert(account, failure);
        }
    }

    /// Counts over all namespaces.
    pub fn counts(&self) -> AccountCounts {
        self.sum
    }

    /// Namespaces where somebody else takes off what we attach.
    pub fn reverted(&self) -> HashSet<Arc<str>> {
        self.failures.get(&Reason::Reverted).into_iter().flat_map(|all| all.keys().cloned()).collect()
    }

    /// ServiceAccounts that cannot name the Secret, the worst reason first.
    pub fn failures(&self) -> Vec<AccountFailureGroup> {
        let groups = self.failures.iter().map(|(reason, namespaces)| {
            let each = namespaces.iter().flat_map(|(namespace, accounts)| {
                accounts
                    .iter()
                    .map(move |(account, failure)| (namespace.clone(), account.clone(), failure.clone()))
            });
            let count = namespaces.values().map(BTreeMap::len).sum();
            AccountFailureGroup { reason: *reason, count, examples: each.take(MAX_FAILURES).collect() }
        });
        let mut groups: Vec<_> = groups.collect();
        let concealed = self.sum.concealed as usize;
        if concealed > 0 {
            match groups.iter_mut().find(|group| group.reason == Reason::DefaultNotPermitted) {
                Some(group) => group.count += concealed,
                None => {
                    let (reason, examples) = (Reason::DefaultNotPermitted, Vec::new());
                    groups.push(AccountFailureGroup { reason, count: concealed, examples });
                    groups.sort_by_key(|group| group.reason);
                }
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(attached: u32, failures: &[(&str, AccountFailure)]) -> AccountState {
        let counts = AccountCounts { desired: attached + 1, attached, ..AccountCounts::default() };
        let failures = failures.iter().map(|(name, failure)| ((*name).into(), failure.clone())).collect();
        AccountState { counts, failures }
    }

    #[test]
    fn a_namespace_takes_the_place_of_what_it_was() {
        let mut states = AccountStates::default();
        let (web, db): (Arc<str>, Arc<str>) = ("web".into(), "db".into());
        states.set(&web, state(3, &[("a", AccountFailure::Reverted), ("b", AccountFailure::NotPermitted)]));
        states.set(&db, state(1, &[("a", AccountFailure::Reverted)]));
        assert_eq!((states.counts().desired, states.counts().attached), (6, 4));
        let told: Vec<_> = states.failures().iter().map(|group| (group.reason, group.count)).collect();
        assert_eq!(told, [(Reason::DefaultNotPermitted, 1), (Reason::Reverted, 2)]);
        assert_eq!(states.reverted().len(), 2);
        states.clear(&web);
        states.set(&web, state(1, &[]));
        states.clear(&db);
        assert_eq!((states.counts().desired, states.failures().len()), (2, 0));
        states.clear(&web);
        assert_eq!(states.counts(), AccountCounts::default());
    }

    #[test]
    fn where_nothing_is_permitted_only_the_number_is_told() {
        let mut states = AccountStates::default();
        let counts = AccountCounts { desired: 3, concealed: 3, ..AccountCounts::default() };
        states.set(&"web".into(), AccountState { counts, failures: Vec::new() });
        let [group] = &states.failures()[..] else { panic!("one group") };
        assert_eq!((group.reason, group.count, group.examples.len()), (Reason::DefaultNotPermitted, 3, 0));
    }
}
