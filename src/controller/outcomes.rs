//! How each credential stands in each cluster, as the sync loop has left it last.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use crate::domain::{
    identity::OwnerId,
    outcome::{ClusterOutcome, CopyCounts, Outcomes as OfOne},
};

/// How each credential stands in each cluster.
#[derive(Default)]
pub(crate) struct Outcomes(RwLock<HashMap<OwnerId, OfOne>>);

/// What a new outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    None,
    /// Who uses the copies, and not whether anybody does.
    Users,
    All,
}

impl Outcomes {
    pub fn of(&self, owner: &OwnerId) -> OfOne {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(owner).cloned().unwrap_or_default()
    }

    pub fn set(&self, owner: &OwnerId, cluster: &Arc<str>, outcome: ClusterOutcome) -> News {
        let mut all = self.write();
        let of_one = all.entry(owner.clone()).or_default();
        let news = of_one.get(cluster).map_or(News::All, |before| compare(before, &outcome));
        if news != News::None {
            of_one.insert(cluster.clone(), Arc::new(outcome));
        }
        news
    }

    /// Those who have something to tell of a cluster.
    pub fn owners_in(&self, cluster: &str) -> Vec<OwnerId> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter(|(_, of_one)| of_one.contains_key(cluster))
            .map(|(owner, _)| owner.clone())
            .collect()
    }

    /// Where copies without consent stay until policies have settled.
    pub fn deferred(&self) -> Vec<(OwnerId, Arc<str>)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let each = all.iter().flat_map(|(owner, of_one)| of_one.iter().map(move |one| (owner, one)));
        each.filter(|(_, (_, outcome))| outcome.counts.deferred > 0)
            .map(|(owner, (cluster, _))| (owner.clone(), cluster.clone()))
            .collect()
    }

    /// There is nothing to tell of a cluster any more. Returns whether there was.
    pub fn remove(&self, owner: &OwnerId, cluster: &str) -> bool {
        let mut all = self.write();
        let Some(of_one) = all.get_mut(owner) else { return false };
        let removed = of_one.remove(cluster).is_some();
        if of_one.is_empty() {
            all.remove(owner);
        }
        removed
    }

    /// The credential is gone.
    pub fn forget(&self, owner: &OwnerId) {
        self.write().remove(owner);
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<OwnerId, OfOne>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compare(before: &ClusterOutcome, after: &ClusterOutcome) -> News {
    if before == after {
        return News::None;
    }
    let blocks = |outcome: &ClusterOutcome| outcome.counts.blocking > 0;
    let rest = |outcome: &ClusterOutcome| ClusterOutcome {
        counts: CopyCounts { users: 0, blocking: 0, ..outcome.counts },
        users: Vec::new(),
        ..outcome.clone()
    };
    if blocks(before) == blocks(after) && rest(before) == rest(after) { News::Users } else { News::All }
}
