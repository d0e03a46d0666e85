//! Which Pods of a namespace are stuck for lack of a default, and which of them may be evicted.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    account_plan::Place,
    attachment::ExistingAccount,
    default::{Rival, Standing, standing},
    desired::DesiredState,
    eviction_limiter::Candidate,
    identity::NamespacedName,
    registry::kubelet::Key,
    snapshot::Snapshot,
    stuck::Stuck,
};

/// The Pods of one namespace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StuckPlan {
    pub stuck: Stuck,
    /// Those of them that would come back with the Secret.
    pub candidates: Vec<Candidate>,
}

/// Plans for the Pods of one namespace. `is_synced` tells that the copy is there, with the right content.
pub(crate) fn plan_stuck(
    snapshot: &Snapshot,
    desired: &DesiredState,
    rivals: Option<&[Rival]>,
    place: Place<'_>,
    is_synced: bool,
) -> StuckPlan {
    let Place { name: namespace, seen, targets, .. } = place;
    let mut pods = snapshot.stuck.within(namespace).peekable();
    let wish = desired.default.as_deref().filter(|_| desired.removal.is_none());
    let is_permitted = || targets.is_some_and(|targets| targets.permits_default(namespace, seen));
    let (Some(wish), true) = (wish, pods.peek().is_some() && is_permitted()) else {
        return StuckPlan::default();
    };
    let mut accounts: BTreeMap<&Arc<str>, &ExistingAccount> = BTreeMap::new();
    for account in &wish.accounts {
        let name = NamespacedName { namespace: namespace.clone(), name: account.clone() };
        if standing(wish, account, rivals, (namespace, seen)) == Standing::First
            && let Some(found) = snapshot.accounts.get(&name)
        {
            accounts.insert(account, found);
        }
    }
    let keys: Vec<Key> = wish.keys.iter().map(|key| Key::new(key)).collect();
    let secret = &*desired.secret_name;
    let (mut stuck, mut candidates) = (Vec::new(), Vec::new());
    for (name, pod) in pods {
        let Some(account) = accounts.get(&pod.service_account) else { continue };
        if !pod.lacks(secret, &account.entries, &keys) {
            continue;
        }
        stuck.push((name, pod));
        let controller = pod.controller.clone().filter(|_| wish.restart_stuck_pods);
        if let Some(controller) = controller.filter(|_| is_synced && account.has(secret)) {
            let pod_name = NamespacedName { namespace: namespace.clone(), name: name.clone() };
            let (uid, resource_version) = (pod.uid.clone(), pod.resource_version.clone());
            candidates.push(Candidate { pod: pod_name, uid, resource_version, controller });
        }
    }
    StuckPlan { stuck: Stuck::of(namespace, stuck), candidates }
}

#[cfg(test)]
#[path = "stuck_plan_tests.rs"]
mod tests;
