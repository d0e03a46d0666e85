//! All that a status is made of.

use std::sync::Arc;

use crate::{
    api::{Reference, References},
    domain::{
        cluster_condition::ClusterCondition,
        desired::DesiredState,
        outcome::{ClusterOutcome, Outcomes},
        schedule::MAX_REFERENCES,
        selection::LOCAL,
    },
};

/// All that a status is made of.
pub(super) struct Observation<'a> {
    pub desired: &'a DesiredState,
    /// `local` first, then by name.
    pub clusters: Vec<(Arc<str>, Arc<ClusterOutcome>)>,
    /// How many other clusters are selected, of which nothing is told: without consent, their names and their state are
    /// not for the owner of the credential.
    pub concealed: usize,
    pub references: References,
}

impl<'a> Observation<'a> {
    pub fn new(desired: &'a DesiredState, outcomes: &Outcomes) -> Self {
        let not_found =
            || ClusterOutcome { condition: Some(ClusterCondition::NotFound), ..ClusterOutcome::default() };
        let unknown = desired.unknown_clusters.iter().map(|name| (name.clone(), Arc::new(not_found())));
        let is_concealed = |name: &Arc<str>, outcome: &ClusterOutcome| {
            !outcome.has_copies && desired.clusters.get(name).is_some_and(|targets| targets.is_concealed())
        };
        let (concealed, shown): (Vec<_>, Vec<_>) =
            outcomes.iter().partition(|(name, outcome)| is_concealed(name, outcome));
        let known = shown.into_iter().map(|(name, outcome)| (name.clone(), outcome.clone()));
        let mut clusters: Vec<_> = known.chain(unknown).collect();
        clusters.sort_by(|(a, _), (b, _)| (&**a != LOCAL, a).cmp(&(&**b != LOCAL, b)));
        let references = references(&clusters);
        Self { desired, clusters, concealed: concealed.len(), references }
    }

    pub fn sum(
        &self,
        which: impl Fn(&ClusterOutcome) -> bool,
        value: impl Fn(&ClusterOutcome) -> usize,
    ) -> usize {
        self.clusters.iter().filter(|(_, outcome)| which(outcome)).map(|(_, outcome)| value(outcome)).sum()
    }

    /// Clusters that count for `Ready`: a paused one waits for a person, and says so in its row.
    pub fn counted(&self) -> impl Iterator<Item = (&Arc<str>, &ClusterOutcome)> {
        self.clusters.iter().map(|(name, outcome)| (name, &**outcome)).filter(|(_, outcome)| counts(outcome))
    }

    /// A cluster that does not tell who uses the copies, and why not.
    pub fn unlisted(&self) -> Option<(&Arc<str>, &str)> {
        self.clusters.iter().find_map(|(name, outcome)| Some((name, outcome.unlisted.as_deref()?)))
    }

    pub fn is_pending(&self) -> bool {
        self.desired.awaits().is_some() || self.counted().any(|(_, outcome)| outcome.is_pending())
    }

    /// Whether a failure may pass by itself.
    pub fn is_retrying(&self) -> bool {
        self.counted().any(|(_, outcome)| {
            outcome.condition.as_ref().is_some_and(|condition| !condition.is_final())
                || outcome.failures.iter().any(|group| !group.is_final())
        })
    }

    /// The sync request that has come to its end in all clusters.
    pub fn answered(&self) -> Option<&'a str> {
        let request = self.desired.sync_request.as_deref()?;
        let done = self.clusters.iter().all(|(_, outcome)| {
            outcome.condition.is_some()
                || outcome.refreshed.as_deref() == Some(request) && !outcome.in_progress
        });
        (done && self.desired.removal.is_none() && !self.is_pending()).then_some(request)
    }
}

pub(super) fn counts(outcome: &ClusterOutcome) -> bool {
    !matches!(outcome.condition, Some(ClusterCondition::Paused))
}

/// Who uses the copies, in all clusters: those first that hold a deletion.
fn references(clusters: &[(Arc<str>, Arc<ClusterOutcome>)]) -> References {
    let of = |is_harmless| {
        clusters.iter().flat_map(move |(cluster, outcome)| {
            let users = outcome.users.iter().filter(move |user| user.is_harmless == is_harmless);
            users.map(move |user| Reference {
                cluster: cluster.to_string(),
                kind: user.kind.name().to_owned(),
                namespace: user.namespace.to_string(),
                name: user.name.to_string(),
                field: user.kind.whole_field(user.field),
            })
        })
    };
    let items = of(false).chain(of(true));
    References {
        total: count(clusters.iter().map(|(_, outcome)| outcome.counts.users).sum()),
        blocking: count(clusters.iter().map(|(_, outcome)| outcome.counts.blocking).sum()),
        items: items.take(MAX_REFERENCES).collect(),
    }
}

pub(super) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
