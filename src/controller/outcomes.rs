//! How each credential stands in each cluster, as the sync loop has left it last.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{
        identity::OwnerId,
        outcome::{ClusterOutcome, CopyCounts, Outcomes as OfOne},
    },
    lock::Lock,
};

/// How each credential stands in each cluster.
#[derive(Default)]
pub(crate) struct Outcomes(Lock<HashMap<OwnerId, OfOne>>);

/// What a new outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    None,
    /// Only who uses the copies, and not whether anybody blocks a deletion.
    Users,
    All,
}

impl Outcomes {
    pub fn of(&self, owner: &OwnerId) -> OfOne {
        self.0.read().get(owner).cloned().unwrap_or_default()
    }

    pub fn set(&self, owner: &OwnerId, cluster: &Arc<str>, outcome: ClusterOutcome) -> News {
        let mut all = self.0.write();
        let of_one = all.entry(*owner).or_default();
        let news = of_one.get(cluster).map_or(News::All, |before| compare(before, &outcome));
        if news != News::None {
            of_one.insert(cluster.clone(), Arc::new(outcome));
        }
        news
    }

    /// Owners with an outcome in a cluster.
    pub fn owners_in(&self, cluster: &str) -> Vec<OwnerId> {
        let all = self.0.read();
        let there = all.iter().filter(|(_, of_one)| of_one.contains_key(cluster));
        there.map(|(owner, _)| *owner).collect()
    }

    /// Where copies without consent stay until the quiet period ends.
    pub fn deferred(&self) -> Vec<(OwnerId, Arc<str>)> {
        let all = self.0.read();
        let each = all.iter().flat_map(|(owner, of_one)| of_one.iter().map(move |one| (owner, one)));
        let accounts = |outcome: &ClusterOutcome| outcome.default.as_ref().map_or(0, |of| of.counts.deferred);
        each.filter(|(_, (_, outcome))| outcome.counts.deferred > 0 || accounts(outcome) > 0)
            .map(|(owner, (cluster, _))| (*owner, cluster.clone()))
            .collect()
    }

    /// Removes the outcome of a cluster. Returns whether there was one.
    pub fn remove(&self, owner: &OwnerId, cluster: &str) -> bool {
        let mut all = self.0.write();
        let Some(of_one) = all.get_mut(owner) else { return false };
        let removed = of_one.remove(cluster).is_some();
        if of_one.is_empty() {
            all.remove(owner);
        }
        removed
    }

    /// The credential is gone.
    pub fn forget(&self, owner: &OwnerId) {
        self.0.write().remove(owner);
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
