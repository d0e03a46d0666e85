//! From what was desired and done to the status.

mod attached;
mod conditions;
mod detail;
mod observation;
mod refreshed;
mod stuck;
mod verified;
mod write;

pub(crate) use attached::default_status;
pub(crate) use detail::Detail;
use observation::{Observation, count};
pub(crate) use stuck::stuck_note;
pub(crate) use write::{Writing, when_to_write};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    condition::shortened,
    desired::{DesiredState, SourceState},
    outcome::{ClusterOutcome, Outcomes},
    schedule::{MAX_FAILURES, MAX_FAILURES_IN_ALL, MAX_ROW_MESSAGE},
};
use crate::api::{
    ClusterState, ClusterStatus, CredentialStatus, NamespaceCounts, Summary, SyncStatus, TargetFailure,
};

/// From so many clusters on their rows are told more briefly.
const MANY_CLUSTERS: usize = 100;

/// Computes the status. `previous` gives what only history knows: when conditions flipped, when a
/// cluster was last in sync, which sync request was answered.
pub(crate) fn compute(
    previous: Option<&CredentialStatus>,
    desired: &DesiredState,
    outcomes: &Outcomes,
    now: Timestamp,
) -> CredentialStatus {
    let seen = Observation::new(desired, outcomes);
    let none = CredentialStatus::default();
    let previous = previous.unwrap_or(&none);
    // Answered once: the request stays for a moment, until the status was read back.
    let handled = previous.sync.as_ref().map(|sync| sync.last_handled_request.as_str());
    let answered = seen.answered().filter(|request| handled != Some(*request));
    let mut clusters: Vec<ClusterStatus> = seen
        .clusters
        .iter()
        .enumerate()
        .map(|(at, (name, outcome))| {
            // Mostly it is where it was.
            let same = previous.clusters.get(at).filter(|row| row.name == **name);
            let before = same.or_else(|| previous.clusters.iter().find(|row| row.name == **name));
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
            .map(|validity| validity.not_after)
            .or_else(|| desired.distributed.values().map(|token| token.expiration_time.0).min())
            .map(Time)
            // What is known of an older content is of no use once there is a new one.
            .or_else(|| previous.expiration_time.clone().filter(|_| !resolved)),
        verification: match &desired.verification {
            Some(verification) => verification.status(desired.revision),
            // What is known of the last value that there was.
            None => previous.verification.clone(),
        },
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

impl Observation<'_> {
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

#[cfg(test)]
mod tests;
