//! ServiceAccounts in the cache: those that defaults ask for, and those that carry our marks.

use std::{collections::HashSet, sync::Arc};

use super::{account::Account, cache::Cache, changes::Changes, handler::AccountChange, own_writes::Ending};
use crate::domain::{
    attachment::{AccountNames, ExistingAccount, Mark},
    identity::{NamespacedName, OwnerId},
    reference_kind::ReferenceKind,
    schedule::MAX_PULL_SECRETS,
};

impl Cache {
    /// From now on ServiceAccounts of these names are kept, as they are listed.
    pub(super) fn want_accounts(&mut self, names: Arc<AccountNames>) {
        self.snapshot.accounts.wanted = names;
    }

    /// All ServiceAccounts of the names that are wanted are known.
    pub(super) fn listed_accounts(&mut self) {
        self.snapshot.accounts.listed = self.snapshot.accounts.wanted.clone();
        self.account_writes.end_list();
    }

    /// All ServiceAccounts that are known, as users of Secrets or for what is attached to them.
    pub(super) fn known_accounts(&self) -> Vec<NamespacedName> {
        let users = self.snapshot.references.names(ReferenceKind::ServiceAccount);
        let mut known: HashSet<NamespacedName> = users.cloned().collect();
        known.extend(self.snapshot.accounts.names().cloned());
        known.into_iter().collect()
    }

    /// Puts a ServiceAccount in, as a watch, a list or the answer to a write shows it. `listed` tells that it holds
    /// whatever was known.
    pub(super) fn set_account(&mut self, object: &Account, listed: bool) -> Changes {
        let meta = &object.metadata;
        let name = NamespacedName {
            namespace: self.texts.text(meta.namespace.as_deref().unwrap_or_default()),
            name: self.texts.text(meta.name.as_deref().unwrap_or_default()),
        };
        let account = self.read_account(object);
        let known = self.snapshot.accounts.get(&name);
        let is_older = known.is_some_and(|known| {
            known.uid == account.uid && account.resource_version.is_older_than(&known.resource_version)
        });
        // A list is believed whatever was known, but for what was written while it was read.
        if is_older && (!listed || self.account_writes.is_answered(&name)) {
            return Changes::default();
        }
        let is_kept = self.snapshot.accounts.wanted.contains(&name.name) || account.owners().next().is_some();
        if !is_kept {
            return self.remove_account(&name);
        }
        let writer = self.account_writes.get(&name).copied();
        let now = self.clock();
        let accounts = &mut self.snapshot.accounts;
        let before = accounts.insert(name.clone(), account.clone());
        let Some(before) = before.filter(|before| before.uid == account.uid) else {
            return changed(name, true, account.owners(), writer);
        };
        let lost: Vec<OwnerId> = account.lost(&before).filter(|owner| Some(*owner) != writer).collect();
        // What an older state lacks, as after etcd was restored from a backup, was taken off by nobody.
        for owner in lost.iter().filter(|_| !is_older) {
            accounts.reverts.repaired(&(*owner, name.clone()), now);
        }
        // Who has no entry there wants to know when one goes that somebody else had put there.
        let is_less = before.entries.iter().any(|entry| !account.has(entry))
            || before.is_full && !account.is_full
            || before.terminating != account.terminating;
        let same = before.marks == account.marks;
        let owners = before.owners().chain(account.owners()).filter(|_| !same);
        changed(name, is_less, owners.chain(lost), writer)
    }

    /// Takes a ServiceAccount out.
    pub(super) fn remove_account(&mut self, name: &NamespacedName) -> Changes {
        let Some(before) = self.snapshot.accounts.remove(name) else { return Changes::default() };
        changed(name.clone(), true, before.owners(), None)
    }

    /// A write of ours begins: what a watch shows of it is no news for its owner.
    pub(super) fn begin_account(&mut self, name: &NamespacedName, owner: OwnerId) {
        self.account_writes.begin(name, owner);
    }

    /// It ended; [`Self::set_account`] got the answer, if there was one.
    pub(super) fn end_account(&mut self, name: &NamespacedName, ending: Ending) {
        self.account_writes.end(name, ending);
    }

    fn read_account(&mut self, object: &Account) -> ExistingAccount {
        let entries = object.image_pull_secrets.iter().take(MAX_PULL_SECRETS);
        let entries: Arc<[Arc<str>]> = entries.map(|entry| self.texts.text(&entry.name)).collect();
        let marks: Arc<[Mark]> = Mark::parse_all(object.marks(), &self.hub, self.is_local).into();
        let meta = &object.metadata;
        ExistingAccount {
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            entries: self.entries.share(entries),
            is_full: object.image_pull_secrets.len() > MAX_PULL_SECRETS,
            marks: self.attached.share(marks),
            annotated: object.annotated,
            terminating: meta.deletion_timestamp.is_some(),
        }
    }
}

/// Who is told that a ServiceAccount changed: the owners of what changed, and with `by_name` all that ask for one of this
/// name. Not whose write it was.
fn changed(
    name: NamespacedName,
    by_name: bool,
    owners: impl Iterator<Item = OwnerId>,
    writer: Option<OwnerId>,
) -> Changes {
    let touched = owners.filter(|owner| Some(*owner) != writer);
    let touched = touched.map(|owner| (owner, name.namespace.clone())).collect();
    let accounts = by_name.then_some(AccountChange { name, except: writer }).into_iter().collect();
    Changes { touched, accounts, ..Changes::default() }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
