//! From what was desired and done to the status.

mod conditions;
mod write;

pub(crate) use write::{Writing, when_to_write};

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    cluster_condition::ClusterCondition,
    desired::{DesiredState, SourceState},
    outcome::{ClusterOutcome, Outcomes},
    schedule::{MAX_FAILURES, MAX_FAILURES_IN_ALL, MAX_REFERENCES, MAX_ROW_MESSAGE},
    selection::LOCAL,
};
use crate::api::{
    ClusterState, ClusterStatus, CredentialStatus, NamespaceCounts, Reference, References, Summary,
    SyncStatus, TargetFailure,
};

/// From so many clusters on their rows are told more briefly.
const MANY_CLUSTERS: usize = 100;

/// All that a status is made of.
pub(super) struct Observation<'a> {
    desired: &'a DesiredState,
    /// `local` first, then by name.
    clusters: Vec<(Arc<str>, Arc<ClusterOutcome>)>,
    references: References,
}

/// Computes the status. `previous` gives what only history knows: when conditions flipped, when a
/// cluster was last in sync, which sync request was answered.
pub(crate) fn compute(
    previous: Option<&CredentialStatus>,
    desired: &DesiredState,
    outcomes: &Outcomes,
    now: Timestamp,
) -> CredentialStatus {
    let seen = Observation::new(desired, outcomes);
    let previous = previous.cloned().unwrap_or_default();
    // Answered once: the request stays for a moment, until the status was read back.
    let handled = previous.sync.as_ref().map(|sync| sync.last_handled_request.as_str());
    let answered = seen.answered().filter(|request| handled != Some(*request));
    let mut clusters: Vec<ClusterStatus> = seen
        .clusters
        .iter()
        .map(|(name, outcome)| {
            let before = previous.clusters.iter().find(|row| row.name == **name);
            seen.row(before, name, outcome, answered.is_some(), now)
        })
        .collect();
    let mut room = if clusters.len() > MANY_CLUSTERS { MAX_FAILURES_IN_ALL / 4 } else { MAX_FAILURES_IN_ALL };
    for row in &mut clusters {
        row.failures.truncate(room);
        room -= row.failures.len();
    }
    let in_sync = clusters.iter().filter(|row| row.state == ClusterState::Synced).count();
    let all = |_: &ClusterOutcome| true;
    let (desired_count, synced) = (seen.sum(all, |c| c.desired), seen.sum(all, |c| c.synced));
    // What a cluster that does not answer had is not what it has.
    let proven = seen.sum(|c| c.condition.is_none(), |c| c.synced);
    let resolved = matches!(desired.source, SourceState::Resolved(_));
    CredentialStatus {
        observed_generation: Some(desired.generation),
        revision: desired.revision.or(previous.revision),
        conditions: conditions::conditions(&previous.conditions, &seen, now),
        summary: Some(Summary {
            namespaces: format!("{synced}/{desired_count}"),
            clusters: format!("{in_sync}/{}", clusters.len()),
        }),
        clusters,
        expiration_time: desired
            .validity
            .map(|validity| Time(validity.not_after))
            // What is known of an older content is of no use once there is a new one.
            .or_else(|| previous.expiration_time.clone().filter(|_| !resolved)),
        sync: match answered {
            Some(request) => Some(SyncStatus {
                last_handled_request: request.to_owned(),
                attempted: count(desired_count),
                succeeded: count(proven),
                failed: count(desired_count - proven.min(desired_count)),
            }),
            None => previous.sync.clone(),
        },
        references: Some(seen.references),
    }
}

impl<'a> Observation<'a> {
    fn new(desired: &'a DesiredState, outcomes: &Outcomes) -> Self {
        let unknown = desired.unknown_clusters.iter().map(|name| {
            (name.clone(), Arc::new(ClusterOutcome::unseen(None, ClusterCondition::NotFound, 0)))
        });
        let known = outcomes.iter().map(|(name, outcome)| (name.clone(), outcome.clone()));
        let mut clusters: Vec<_> = known.chain(unknown).collect();
        clusters.sort_by(|(a, _), (b, _)| (&**a != LOCAL, a).cmp(&(&**b != LOCAL, b)));
        let references = references(&clusters);
        Self { desired, clusters, references }
    }

    fn sum(
        &self,
        which: impl Fn(&ClusterOutcome) -> bool,
        value: impl Fn(&ClusterOutcome) -> usize,
    ) -> usize {
        self.clusters.iter().filter(|(_, outcome)| which(outcome)).map(|(_, outcome)| value(outcome)).sum()
    }

    /// Clusters that count for `Ready`: a paused one waits for a person, and says so in its row.
    fn counted(&self) -> impl Iterator<Item = (&Arc<str>, &ClusterOutcome)> {
        self.clusters.iter().map(|(name, outcome)| (name, &**outcome)).filter(|(_, outcome)| counts(outcome))
    }

    fn is_pending(&self) -> bool {
        self.counted().any(|(_, outcome)| outcome.is_pending())
    }

    /// Whether a failure may pass by itself.
    fn is_retrying(&self) -> bool {
        self.counted().any(|(_, outcome)| {
            outcome.condition.as_ref().is_some_and(|condition| !condition.is_final())
                || outcome.failures.iter().any(|group| !group.is_final())
        })
    }

    /// The sync request that has come to its end in all clusters.
    fn answered(&self) -> Option<&'a str> {
        let request = self.desired.sync_request.as_deref()?;
        let done = self.clusters.iter().all(|(_, outcome)| {
            outcome.condition.is_some()
                || outcome.refreshed.as_deref() == Some(request) && !outcome.in_progress
        });
        (done && self.desired.removal.is_none() && !self.is_pending()).then_some(request)
    }

    fn row(
        &self,
        previous: Option<&ClusterStatus>,
        name: &str,
        outcome: &ClusterOutcome,
        answered: bool,
        now: Timestamp,
    ) -> ClusterStatus {
        let state = if let Some(condition) = &outcome.condition {
            condition.state()
        } else if !outcome.failures.is_empty() {
            ClusterState::Error
        } else if outcome.is_pending() {
            ClusterState::Pending
        } else {
            ClusterState::Synced
        };
        let namespaces = NamespaceCounts {
            desired: count(outcome.desired),
            synced: count(outcome.synced),
            failed: count(outcome.failed()),
        };
        let synced = state == ClusterState::Synced;
        let revision =
            if synced { self.desired.revision } else { None }.or(previous.and_then(|row| row.revision));
        let unchanged = previous.is_some_and(|row| {
            row.state == state && row.revision == revision && row.namespaces == namespaces
        });
        let longest =
            if self.clusters.len() > MANY_CLUSTERS { MAX_ROW_MESSAGE / 2 } else { MAX_ROW_MESSAGE * 2 };
        ClusterStatus {
            name: name.to_owned(),
            state,
            reason: outcome.condition.as_ref().map(|condition| condition.reason().as_str().to_owned()),
            message: outcome.condition.as_ref().map(|condition| shortened(&condition.message(name), longest)),
            last_transition_time: previous
                .filter(|row| row.state == state)
                .and_then(|row| row.last_transition_time.clone())
                .or(Some(Time(now))),
            revision,
            last_sync_time: if synced && (!unchanged || answered) {
                Some(Time(now))
            } else {
                previous.and_then(|row| row.last_sync_time.clone())
            },
            namespaces,
            failures: outcome
                .failures
                .iter()
                .flat_map(|group| &group.examples)
                .take(MAX_FAILURES)
                .map(|(namespace, failure)| TargetFailure {
                    namespace: namespace.to_string(),
                    reason: failure.reason().as_str().to_owned(),
                    message: shortened(&failure.message(namespace, &self.desired.secret_name), 2 * longest),
                })
                .collect(),
        }
    }
}

fn counts(outcome: &ClusterOutcome) -> bool {
    !matches!(outcome.condition, Some(ClusterCondition::Paused))
}

/// Who uses the copies, in all clusters.
fn references(clusters: &[(Arc<str>, Arc<ClusterOutcome>)]) -> References {
    let items = clusters.iter().flat_map(|(cluster, outcome)| {
        outcome.users.first.iter().map(|(namespace, reference)| Reference {
            cluster: cluster.to_string(),
            kind: reference.kind.name().to_owned(),
            namespace: namespace.to_string(),
            name: reference.name.to_string(),
            field: reference.field.to_owned(),
        })
    });
    let sum =
        |value: fn(&ClusterOutcome) -> usize| count(clusters.iter().map(|(_, outcome)| value(outcome)).sum());
    References {
        total: sum(|outcome| outcome.users.counts.total),
        blocking: sum(|outcome| outcome.users.counts.blocking),
        items: items.take(MAX_REFERENCES).collect(),
    }
}

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().find(|(at, next)| at + next.len_utf8() > longest) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
