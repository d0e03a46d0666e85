//! What is to be attached to the ServiceAccounts of one namespace, and what is to be taken off.

use std::{sync::Arc, time::Duration};

use super::{
    account_counts::AccountCounts,
    account_failure::AccountFailure,
    attachment::{Accounts, Edit, ExistingAccount, Wanted},
    default::{DefaultWish, Rival, Standing, standing},
    desired::DesiredState,
    failure::Failure,
    identity::NamespacedName,
    namespace::Namespace,
    removal::Disposition,
    targets::{ClusterTargets, Verdict},
};

/// What a plan for ServiceAccounts is made from, besides the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultInputs<'a> {
    /// The id that marks carry.
    pub hub: &'a str,
    /// Defaults for the same registries; `None` while they are not known.
    pub rivals: Option<&'a [Rival]>,
    /// On the clock of the cache.
    pub now: Duration,
}

/// How the ServiceAccounts of one namespace stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountState {
    pub counts: AccountCounts,
    pub failures: Vec<(Arc<str>, AccountFailure)>,
}

/// What is to be done in one namespace.
#[derive(Debug, Default)]
pub(crate) struct AccountPlan {
    pub changes: Vec<(NamespacedName, Wanted)>,
    /// Whether any of them takes something away: it goes before the Secret.
    pub detaches: bool,
    pub state: AccountState,
    /// When it is to be looked at again.
    pub wait: Option<Duration>,
}

/// The namespace that a plan is for.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub name: &'a Arc<str>,
    pub seen: &'a Namespace,
    pub verdict: Verdict,
    pub targets: Option<&'a ClusterTargets>,
    /// Whether a lack of consent takes things away by now.
    pub withdraw: bool,
}

/// Plans for the ServiceAccounts of one namespace. `refused` tells of a write that is not tried again yet.
pub(crate) fn plan_accounts(
    accounts: &Accounts,
    desired: &DesiredState,
    inputs: DefaultInputs<'_>,
    place: Place<'_>,
    refused: &dyn Fn(&NamespacedName) -> Option<Failure>,
) -> AccountPlan {
    let wish = desired.default.as_deref().filter(|_| desired.removal.is_none());
    let mut planner =
        Planner { accounts, desired, wish, inputs, place, refused, plan: AccountPlan::default() };
    if place.seen.terminating || wish.is_none() && !accounts.has(&desired.owner) {
        return planner.plan;
    }
    for account in wish.into_iter().flat_map(|wish| &wish.accounts) {
        let name = NamespacedName { namespace: place.name.clone(), name: account.clone() };
        if let Some(seen) = accounts.get(&name).filter(|seen| !seen.terminating) {
            planner.account(&name, seen);
        }
    }
    for (name, seen) in accounts.within(&desired.owner, place.name) {
        if !seen.terminating && wish.is_none_or(|wish| !wish.accounts.contains(&name.name)) {
            planner.not_wanted(name, seen);
        }
    }
    planner.plan
}

struct Planner<'a> {
    accounts: &'a Accounts,
    desired: &'a DesiredState,
    wish: Option<&'a DefaultWish>,
    inputs: DefaultInputs<'a>,
    place: Place<'a>,
    refused: &'a dyn Fn(&NamespacedName) -> Option<Failure>,
    plan: AccountPlan,
}

impl Planner<'_> {
    /// One that the default names.
    fn account(&mut self, name: &NamespacedName, seen: &ExistingAccount) {
        let Place { name: namespace, seen: labels, verdict, targets, withdraw } = self.place;
        let permits = || targets.is_some_and(|targets| targets.permits_default(namespace, labels));
        let (Some(wish), true) = (self.wish, verdict != Verdict::NotTargeted) else {
            return self.not_wanted(name, seen);
        };
        if !permits() {
            self.plan.state.counts.desired += 1;
            if verdict == Verdict::Permitted {
                self.fail(name, AccountFailure::NotPermitted);
            } else {
                self.plan.state.counts.concealed += 1;
            }
            let is_ours = self.edit(seen, &Wanted::Detached).is_some();
            if is_ours && !withdraw {
                self.plan.state.counts.deferred += 1;
            } else {
                self.not_wanted(name, seen);
            }
            return;
        }
        match standing(wish, &name.name, self.inputs.rivals, (namespace, labels)) {
            Standing::Outranked => {
                self.plan.state.counts.outranked += 1;
                self.not_wanted(name, seen);
            }
            Standing::Tied(rival) => {
                self.plan.state.counts.desired += 1;
                self.fail(name, AccountFailure::Conflict(rival));
            }
            Standing::Unknown => {
                let wanted = Wanted::Attached(self.desired.secret_name.clone());
                self.plan.state.counts.desired += 1;
                self.plan.state.counts.attached += u32::from(self.edit(seen, &wanted).is_none());
            }
            Standing::First => {
                self.plan.state.counts.desired += 1;
                self.attach(name, seen);
            }
        }
    }

    fn attach(&mut self, name: &NamespacedName, seen: &ExistingAccount) {
        let wanted = Wanted::Attached(self.desired.secret_name.clone());
        let edit = self.edit(seen, &wanted);
        let (reverts, now) = (&self.accounts.reverts, self.inputs.now);
        let key = (self.desired.owner, name.clone());
        // One that is put back only now and then is told as what it is, also in the moments in which it is there.
        let calm = reverts.calm(&key, now);
        let Some(edit) = edit else {
            match calm {
                Some(calm) => {
                    self.wait(calm);
                    self.fail(name, AccountFailure::Reverted);
                }
                None => self.plan.state.counts.attached += 1,
            }
            return;
        };
        if calm.is_some() {
            self.fail(name, AccountFailure::Reverted);
        }
        if let Some(wait) = reverts.wait(&key, now).filter(|_| edit.attaches()) {
            return self.wait(wait);
        }
        if edit.attaches() && !seen.has_room() {
            return self.fail(name, AccountFailure::TooMany);
        }
        self.plan.detaches |= edit.detaches();
        self.change(name, wanted);
    }

    /// One that should have nothing of the credential.
    fn not_wanted(&mut self, name: &NamespacedName, seen: &ExistingAccount) {
        let released = self.desired.removal.as_ref().map(|removal| removal.disposition);
        let wanted = match released {
            Some(Disposition::Release) => Wanted::Released,
            _ => Wanted::Detached,
        };
        if self.edit(seen, &wanted).is_some() && self.change(name, wanted) {
            self.plan.detaches = true;
        }
    }

    fn edit(&self, seen: &ExistingAccount, wanted: &Wanted) -> Option<Edit> {
        seen.edit(&self.desired.id, self.inputs.hub, wanted)
    }

    /// Notes a change, unless it was refused and is not tried again yet.
    fn change(&mut self, name: &NamespacedName, wanted: Wanted) -> bool {
        if let Some(failure) = (self.refused)(name) {
            self.fail(name, AccountFailure::Refused(failure));
            return false;
        }
        self.plan.changes.push((name.clone(), wanted));
        true
    }

    fn fail(&mut self, name: &NamespacedName, failure: AccountFailure) {
        let failures = &mut self.plan.state.failures;
        if failures.iter().all(|(account, _)| *account != name.name) {
            failures.push((name.name.clone(), failure));
        }
    }

    fn wait(&mut self, wait: Duration) {
        self.plan.wait = self.plan.wait.into_iter().chain([wait]).min();
    }
}

#[cfg(test)]
#[path = "account_plan_tests.rs"]
mod tests;
