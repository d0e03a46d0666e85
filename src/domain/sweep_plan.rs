//! What is to be done about owners whose credential is gone.

use std::sync::Arc;

use super::{
    attachment::Wanted,
    identity::{NamespacedName, OwnerId},
    plan::{Action, Change, Object},
    snapshot::Snapshot,
};

/// Plans for what an owner has attached whose credential is gone; it goes before the copies. Where these are left because it
/// said so, the attachments are, too.
pub(crate) fn plan_sweep_accounts(snapshot: &Snapshot, owner: &OwnerId) -> Vec<Change> {
    let is_left = |name: &NamespacedName| {
        snapshot.copies.get(name).is_some_and(|copy| copy.owner == *owner && copy.marks.orphan)
    };
    let changes = snapshot.accounts.of(owner).filter_map(|(name, account)| {
        let namespace = snapshot.namespaces.get(&name.namespace)?;
        if namespace.terminating || account.terminating {
            return None;
        }
        let secret = |of: &Arc<str>| NamespacedName { namespace: name.namespace.clone(), name: of.clone() };
        let is_left =
            account.marks.iter().filter(|mark| mark.is_of(owner)).all(|mark| is_left(&secret(&mark.secret)));
        let action = Action::Edit(if is_left { Wanted::Released } else { Wanted::Detached });
        Some(Change { object: Object::ServiceAccount(name.clone()), action })
    });
    changes.collect()
}

/// Plans for the copies of an owner whose credential is gone: they go when unused, or are left where it said so.
pub(crate) fn plan_sweep(snapshot: &Snapshot, owner: &OwnerId) -> Vec<Change> {
    let changes = snapshot.copies.of(owner).filter_map(|(name, copy)| {
        let namespace = snapshot.namespaces.get(&name.namespace)?;
        let action = if namespace.terminating {
            return None;
        } else if copy.marks.orphan {
            Action::Release(copy.clone())
        } else if copy.terminating || snapshot.is_in_use(name) {
            return None;
        } else {
            Action::Delete { copy: copy.clone(), if_unused: true }
        };
        Some(Change { object: Object::Secret(name.clone()), action })
    });
    changes.collect()
}
