//! What a deletion of a credential does, and what it waits for.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::outcome::{ClusterOutcome, CopyCounts, Outcomes};
use crate::api::{ClusterState, ClusterStatus, DeletionPolicy};

/// What becomes of the copies of a credential that is being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// All stay as they are: so a deletion begins, until all clusters have said who uses what.
    #[default]
    Keep,
    /// All go.
    Remove,
    /// Those go that nothing uses; the others wait for the sweep.
    RemoveUnused,
    /// All stay for good, without our marks.
    Release,
}

/// A deletion in progress, as it was decided last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removal {
    pub disposition: Disposition,
    /// Whether nothing is waited for, not even users.
    pub forced: bool,
    /// Clusters that do not answer and hold the deletion up, and until when at the latest.
    pub awaited: Vec<(Arc<str>, Timestamp)>,
    /// Clusters that are paused and hold the deletion up until they are not.
    pub paused: Vec<Arc<str>>,
    /// Clusters that do not answer, or are paused, and are not waited for.
    pub left_behind: Vec<Arc<str>>,
    /// Clusters that have copies: they have to say that nothing is left.
    pub present: Vec<Arc<str>>,
}

/// What the object says of its deletion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub policy: DeletionPolicy,
    /// Whether the annotation that forces it is there.
    pub annotated: bool,
    /// Whether the namespace of the credential is being deleted, and would wait for us.
    pub namespace_terminating: bool,
    pub deleted: Timestamp,
    /// How long a cluster that does not answer is waited for.
    pub grace: Duration,
}

/// What is known of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterFacts<'a> {
    pub name: Arc<str>,
    /// Whether it can be worked with.
    pub up: bool,
    /// Whether nothing is to be written there.
    pub paused: bool,
    /// Since when it does not answer, as this process knows.
    pub down: Option<Timestamp>,
    /// Whether copies were seen there.
    pub has_copies: bool,
    /// The last outcome, and whether it is one of the present desired state.
    pub outcome: Option<(&'a ClusterOutcome, bool)>,
    /// What the last status said of it.
    pub row: Option<&'a ClusterStatus>,
}

impl Removal {
    /// Decides what becomes of the copies.
    ///
    /// A namespace that is being deleted is never held up: then the copies that are in use are left to
    /// the sweep, which takes them when nothing uses them any more.
    pub fn decide(request: Request, clusters: &[ClusterFacts<'_>], now: Timestamp) -> Self {
        let forced = request.policy == DeletionPolicy::Force || request.annotated;
        let mut removal = Self { forced, ..Self::default() };
        let (mut blocking, mut unknown) = (0, false);
        for cluster in clusters {
            match cluster.presence(now) {
                Presence::None => continue,
                Presence::Up if cluster.paused && (forced || request.namespace_terminating) => {
                    removal.left_behind.push(cluster.name.clone());
                    continue;
                }
                Presence::Up if cluster.paused => removal.paused.push(cluster.name.clone()),
                Presence::Up => {
                    removal.present.push(cluster.name.clone());
                    unknown |=
                        !cluster.outcome.is_some_and(|(outcome, current)| current && !outcome.users_unknown);
                }
                Presence::Down { since } => {
                    let until = request.deleted.max(since).saturating_add(request.grace);
                    let until = until.unwrap_or(Timestamp::MAX);
                    if forced || request.namespace_terminating || until <= now {
                        removal.left_behind.push(cluster.name.clone());
                        continue;
                    }
                    removal.awaited.push((cluster.name.clone(), until));
                }
            }
            blocking += cluster.outcome.map_or(0, |(outcome, _)| outcome.counts.blocking);
        }
        removal.disposition = if request.policy == DeletionPolicy::Orphan {
            Disposition::Release
        } else if forced || (blocking == 0 && !removal.is_waiting() && !unknown) {
            Disposition::Remove
        } else if request.namespace_terminating {
            Disposition::RemoveUnused
        } else {
            Disposition::Keep
        };
        removal
    }

    /// Whether clusters hold the deletion up.
    fn is_waiting(&self) -> bool {
        !(self.awaited.is_empty() && self.paused.is_empty())
    }

    /// Whether the API server itself has to be asked who uses the copies in a cluster: before anything goes there, as
    /// far as its watch shows no user.
    pub fn asks_for_users(&self, counts: CopyCounts) -> bool {
        self.disposition == Disposition::Keep && counts.blocking == 0 && counts.remaining > 0
    }

    /// When it has to be looked at again although nothing happened.
    pub fn next(&self) -> Option<Timestamp> {
        self.awaited.iter().map(|(_, until)| *until).min()
    }

    /// Whether nothing is left to do, so that the credential may go: all clusters that are not left behind have said
    /// so for this very state.
    pub fn is_complete(&self, version: u64, outcomes: &Outcomes) -> bool {
        let is_done = |outcome: &ClusterOutcome| {
            outcome.version == version && outcome.counts.remaining == 0 && !outcome.in_progress
        };
        self.disposition != Disposition::Keep
            && !self.is_waiting()
            && self
                .present
                .iter()
                .all(|cluster| outcomes.get(cluster).is_some_and(|outcome| is_done(outcome)))
            && outcomes
                .iter()
                .all(|(cluster, outcome)| self.left_behind.contains(cluster) || is_done(outcome))
    }
}

/// Whether copies are, or may be, in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    None,
    Up,
    Down { since: Timestamp },
}

impl ClusterFacts<'_> {
    fn presence(&self, now: Timestamp) -> Presence {
        let in_progress = self.outcome.is_some_and(|(outcome, _)| outcome.in_progress);
        if self.up {
            return if self.has_copies || in_progress { Presence::Up } else { Presence::None };
        }
        // Only its row tells what was written after the cluster was last seen.
        let clean =
            self.row.is_none_or(|row| row.state == ClusterState::Synced && row.namespaces.desired == 0);
        if clean && !self.has_copies {
            return Presence::None;
        }
        // The row may be older than this process.
        let told = self.row.filter(|row| row.state == ClusterState::Unreachable);
        let told = told.and_then(|row| row.last_transition_time.as_ref()).map(|time| time.0);
        Presence::Down { since: told.or(self.down).unwrap_or(now) }
    }
}

/// What the Event says of a cluster in which a deletion leaves copies.
pub(crate) fn left_behind(cluster: &str, outcome: Option<&ClusterOutcome>) -> String {
    let count = outcome.map_or(0, |outcome| outcome.synced.max(outcome.counts.remaining));
    let why = outcome.and_then(|outcome| outcome.condition.as_ref());
    let why = why.map_or_else(String::new, |condition| format!(": {}", condition.message(cluster)));
    format!(
        "Secrets were left behind in cluster '{cluster}', in use or not ({count} when last seen){why}; those that nothing uses are removed when Claviger can write there again"
    )
}

#[cfg(test)]
#[path = "removal_tests.rs"]
mod tests;
