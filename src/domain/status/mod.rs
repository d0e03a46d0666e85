//! From what was seen and done to the status.

mod conditions;

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    content::SourceError,
    plan::{Disposition, Failure},
    trouble::ClusterTrouble,
    validity::Validity,
};
use crate::api::{
    ClusterState, ClusterStatus, CredentialStatus, NamespaceCounts, References, Summary, SyncStatus,
    TargetFailure,
};
use conditions::conditions;

/// How many failures of a cluster are told one by one.
const MAX_FAILURES: usize = 10;

/// And of all clusters together, as an object can be no larger than 1.5 MiB.
const MAX_FAILURES_IN_ALL: usize = 200;

/// How things stand with the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It gave the content; what was done to it on the way.
    Resolved(Vec<String>),
    /// It did not.
    Failed(SourceError),
    /// It was not read, as nothing may be written anywhere.
    NotRead,
}

/// How one cluster stands after a pass.
#[derive(Clone, Debug)]
pub struct ClusterOutcome {
    /// Its name.
    pub name: String,
    /// Namespaces that should have a copy.
    pub desired: usize,
    /// Of these, the ones that have it.
    pub synced: usize,
    /// Namespaces that cannot have it.
    pub failures: Vec<(Arc<str>, Failure)>,
    /// Copies that nobody wants any more but Pods use.
    pub held: usize,
    /// What is the matter with the cluster as a whole, when something is.
    pub trouble: Option<ClusterTrouble>,
}

impl ClusterOutcome {
    /// A cluster that was never seen by this process: what the last status said of it still counts.
    #[must_use]
    pub fn unseen(name: &str, before: Option<&ClusterStatus>, trouble: ClusterTrouble) -> Self {
        let counts = before.map(|row| row.namespaces).unwrap_or_default();
        let count = |n: i64| usize::try_from(n).unwrap_or(0);
        Self {
            name: name.to_owned(),
            desired: count(counts.desired),
            synced: count(counts.synced),
            failures: Vec::new(),
            held: 0,
            trouble: Some(trouble),
        }
    }

    /// Whether work is left that goes on.
    fn is_pending(&self) -> bool {
        match &self.trouble {
            Some(trouble) => matches!(trouble, ClusterTrouble::Connecting),
            None => self.synced + self.failures.len() < self.desired,
        }
    }
}

/// All that a status is made of.
#[derive(Clone, Debug)]
pub struct Observation {
    /// `metadata.generation` of the object that was looked at.
    pub generation: i64,
    /// The revision of the content, when there is one.
    pub revision: Option<i64>,
    /// What the copies are called.
    pub secret_name: String,
    /// The source.
    pub source: SourceState,
    /// The clusters, `local` first.
    pub clusters: Vec<ClusterOutcome>,
    /// Who uses the copies.
    pub references: References,
    /// What becomes of the copies, when the credential is being deleted.
    pub deletion: Option<Disposition>,
    /// Clusters that do not answer and hold the deletion up, and until when at the latest.
    pub awaited: Vec<(String, Timestamp)>,
    /// When the content is valid, where it is for a time only.
    pub validity: Option<Validity>,
    /// The sync request that this pass answers.
    pub sync_request: Option<String>,
}

impl Observation {
    fn sum(&self, count: impl Fn(&ClusterOutcome) -> usize) -> usize {
        self.clusters.iter().map(count).sum()
    }

    /// Whether work is left that goes on.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.clusters.iter().any(ClusterOutcome::is_pending)
    }

    /// Whether a failure may pass by itself.
    #[must_use]
    pub fn is_retrying(&self) -> bool {
        self.clusters.iter().any(|c| {
            c.trouble.as_ref().is_some_and(|trouble| !trouble.is_final())
                || c.failures.iter().any(|(_, f)| !f.is_final())
        })
    }
}

/// Computes the status. `previous` gives what only history knows: when conditions flipped, when a
/// cluster was last in sync, which sync request was answered.
#[must_use]
pub fn compute(previous: Option<&CredentialStatus>, seen: &Observation, now: Timestamp) -> CredentialStatus {
    let previous = previous.cloned().unwrap_or_default();
    let mut clusters: Vec<ClusterStatus> = seen
        .clusters
        .iter()
        .map(|cluster| row(previous.clusters.iter().find(|row| row.name == cluster.name), cluster, seen, now))
        .collect();
    let mut room = MAX_FAILURES_IN_ALL;
    for row in &mut clusters {
        row.failures.truncate(room);
        room -= row.failures.len();
    }
    let in_sync = clusters.iter().filter(|row| row.state == ClusterState::Synced).count();
    let (desired, synced) = (seen.sum(|c| c.desired), seen.sum(|c| c.synced));
    // What a cluster that does not answer had is not what it has.
    let proven = seen.sum(|c| if c.trouble.is_none() { c.synced } else { 0 });
    CredentialStatus {
        observed_generation: Some(seen.generation),
        revision: seen.revision.or(previous.revision),
        conditions: conditions(&previous.conditions, seen, now),
        summary: Some(Summary {
            namespaces: format!("{synced}/{desired}"),
            clusters: format!("{in_sync}/{}", clusters.len()),
        }),
        clusters,
        references: Some(seen.references.clone()),
        expiration_time: seen
            .validity
            .map(|validity| Time(validity.not_after))
            .or_else(|| previous.expiration_time.clone().filter(|_| !gave(&seen.source))),
        sync: match &seen.sync_request {
            Some(request) => Some(SyncStatus {
                last_handled_request: request.clone(),
                attempted: count(desired),
                succeeded: count(proven),
                failed: count(desired - proven.min(desired)),
            }),
            None => previous.sync,
        },
    }
}

/// Whether a source gave a content, so that what is known of an older one is of no use.
fn gave(source: &SourceState) -> bool {
    matches!(source, SourceState::Resolved(_))
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn row(
    previous: Option<&ClusterStatus>,
    cluster: &ClusterOutcome,
    seen: &Observation,
    now: Timestamp,
) -> ClusterStatus {
    let state = if let Some(trouble) = &cluster.trouble {
        trouble.state()
    } else if !cluster.failures.is_empty() {
        ClusterState::Error
    } else if cluster.synced < cluster.desired {
        ClusterState::Pending
    } else {
        ClusterState::Synced
    };
    let mut worst: Vec<&(Arc<str>, Failure)> = cluster.failures.iter().collect();
    worst.sort_by(|(a, x), (b, y)| (x, a).cmp(&(y, b)));
    let namespaces = NamespaceCounts {
        desired: count(cluster.desired),
        synced: count(cluster.synced),
        failed: count(cluster.failures.len()),
    };
    let synced = state == ClusterState::Synced;
    let revision = if synced { seen.revision } else { None }.or(previous.and_then(|row| row.revision));
    let unchanged = previous
        .is_some_and(|row| row.state == state && row.revision == revision && row.namespaces == namespaces);
    ClusterStatus {
        name: cluster.name.clone(),
        state,
        reason: cluster.trouble.as_ref().map(|trouble| trouble.reason().to_owned()),
        message: cluster.trouble.as_ref().map(|trouble| trouble.message(&cluster.name)),
        last_transition_time: previous
            .filter(|row| row.state == state)
            .and_then(|row| row.last_transition_time.clone())
            .or(Some(Time(now))),
        revision,
        last_sync_time: if synced && (!unchanged || seen.sync_request.is_some()) {
            Some(Time(now))
        } else {
            previous.and_then(|row| row.last_sync_time.clone())
        },
        namespaces,
        failures: worst
            .into_iter()
            .take(MAX_FAILURES)
            .map(|(namespace, failure)| TargetFailure {
                namespace: namespace.to_string(),
                reason: failure.reason().to_owned(),
                message: failure.message(namespace, &seen.secret_name),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
