//! How a sync of one credential in one cluster ended: the value that the sync loop leaves for the others.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    account_counts::AccountCounts, account_failure::AccountFailure, cluster_condition::ClusterCondition,
    failure::Failure, reason::Reason, reference_kind::ReferenceKind, stuck::Stuck,
};
use crate::api::ClusterStatus;

/// The outcomes of one credential, by cluster.
pub(crate) type Outcomes = BTreeMap<Arc<str>, Arc<ClusterOutcome>>;

/// How one credential stands in one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterOutcome {
    /// Of the desired state that was synced.
    pub version: u64,
    /// Namespaces that should have a copy.
    pub desired: usize,
    /// Of these, the ones that have it.
    pub synced: usize,
    /// Namespaces that cannot have it, the worst reason first.
    pub failures: Vec<FailureGroup>,
    pub counts: CopyCounts,
    /// Whether copies of the credential are there.
    pub has_copies: bool,
    /// Whether changes are outstanding and go on by themselves.
    pub in_progress: bool,
    /// Whether copies may have users that the watches have not shown yet, so that nothing is to be taken away.
    pub users_unknown: bool,
    /// Why the API server does not tell who uses them, where that is not for the cluster as a whole.
    pub unlisted: Option<String>,
    /// The first users of the copies: those before all others that hold a deletion.
    pub users: Vec<ListedUser>,
    /// What is wrong with the cluster as a whole, when something is.
    pub condition: Option<ClusterCondition>,
    /// Namespaces that the target names and that do not exist there.
    pub missing_namespaces: Vec<Arc<str>>,
    /// The request for a sync for which the copies were read anew.
    pub refreshed: Option<String>,
    /// How its ServiceAccounts stand, where the credential is to be a default.
    pub default: Option<DefaultOutcome>,
}

/// How the ServiceAccounts of a cluster stand for a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DefaultOutcome {
    pub counts: AccountCounts,
    /// Those that cannot name the Secret, the worst reason first.
    pub failures: Vec<AccountFailureGroup>,
    /// Why nothing is attached in the cluster at all.
    pub unavailable: Option<Reason>,
    /// Whether it is not known yet which ServiceAccounts and which other defaults there are.
    pub is_unknown: bool,
    /// Pods that were created too early.
    pub stuck: Stuck,
}

/// ServiceAccounts that fail for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountFailureGroup {
    pub reason: Reason,
    pub count: usize,
    /// The first of them, by namespace and name.
    pub examples: Vec<(Arc<str>, Arc<str>, AccountFailure)>,
}

/// A user of a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListedUser {
    /// Whether it does not hold a deletion.
    pub is_harmless: bool,
    pub kind: ReferenceKind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// Of a kind with a template, within that.
    pub field: &'static str,
}

/// Namespaces that fail for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailureGroup {
    pub reason: Reason,
    pub count: usize,
    /// The first of them.
    pub examples: Vec<(Arc<str>, Failure)>,
}

impl FailureGroup {
    /// Whether only a person can fix it.
    pub fn is_final(&self) -> bool {
        self.examples.iter().all(|(_, failure)| failure.is_final())
    }
}

/// Counts of the copies of one credential, in one namespace or in a whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyCounts {
    /// Copies that are not wanted any more but used: they stay as they are.
    pub held: usize,
    /// Copies that stay because consent went only a moment ago.
    pub deferred: usize,
    /// Copies that have to go before the credential may.
    pub remaining: usize,
    /// Users of the copies.
    pub users: usize,
    /// Those of them that hold back a deletion of the credential.
    pub blocking: usize,
}

impl CopyCounts {
    /// Each count of this one and of another, put together.
    pub fn zip(self, other: Self, with: fn(usize, usize) -> usize) -> Self {
        Self {
            held: with(self.held, other.held),
            deferred: with(self.deferred, other.deferred),
            remaining: with(self.remaining, other.remaining),
            users: with(self.users, other.users),
            blocking: with(self.blocking, other.blocking),
        }
    }
}

impl ClusterOutcome {
    /// A cluster that this process has never seen: what the last status said of it still counts.
    pub fn unseen(row: Option<&ClusterStatus>, condition: ClusterCondition, version: u64) -> Self {
        let counts = row.map(|row| row.namespaces).unwrap_or_default();
        let count = |n: i64| usize::try_from(n).unwrap_or(0);
        Self {
            version,
            desired: count(counts.desired),
            synced: count(counts.synced),
            condition: Some(condition),
            ..Self::default()
        }
    }

    pub fn failed(&self) -> usize {
        self.failures.iter().map(|group| group.count).sum()
    }

    /// Whether work is left that goes on by itself.
    pub fn is_pending(&self) -> bool {
        match &self.condition {
            Some(condition) => *condition == ClusterCondition::Connecting,
            None => self.in_progress || self.synced + self.failed() < self.desired,
        }
    }

    /// Whether it is not known yet how the ServiceAccounts stand, as for a moment after each start.
    pub fn has_unknown_default(&self) -> bool {
        self.default.as_ref().is_some_and(|default| default.is_unknown)
    }

    /// Whether the status has to list the cluster although the credential wants nothing there.
    pub fn is_worth_telling(&self) -> bool {
        self.has_copies
            || self.counts.remaining > 0
            || self.counts.held > 0
            || self.in_progress
            || self.condition.is_some()
    }
}
