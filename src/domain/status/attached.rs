//! How a default stands: the condition `Default`, and what the status lists.

use std::collections::BTreeMap;

use super::{
    observation::{Observation, count},
    stuck,
};
use crate::{
    api::{DefaultFailure, DefaultStatus},
    domain::{
        account_counts::AccountCounts,
        condition::{ConditionStatus, Verdict, shortened},
        counted::{counted, listed},
        desired::DesiredState,
        outcome::{AccountFailureGroup, DefaultOutcome, Outcomes},
        reason::Reason,
        schedule::{MAX_FAILURES, MAX_NAMES, MAX_ROW_MESSAGE},
        selection::LOCAL,
    },
};

use ConditionStatus::{False, True};

/// Whether a person has to do something before a default can be what it should.
pub(super) fn needs_person(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DefaultConflict
            | Reason::DefaultNotPermitted
            | Reason::Reverted
            | Reason::TooManyPullSecrets
            | Reason::ServiceAccountsForbidden
            | Reason::Forbidden
    )
}

/// The outcomes of a default, of clusters that count.
fn outcomes<'a>(seen: &'a Observation<'_>) -> Vec<(&'a str, &'a DefaultOutcome)> {
    seen.counted().filter_map(|(name, outcome)| Some((&**name, outcome.default.as_ref()?))).collect()
}

fn sum<'a>(all: impl Iterator<Item = &'a DefaultOutcome>) -> AccountCounts {
    all.fold(AccountCounts::default(), |sum, outcome| sum.zip(outcome.counts, u32::saturating_add))
}

/// The condition of a credential that is to be a default.
pub(super) fn attached(seen: &Observation<'_>) -> Option<Verdict> {
    seen.desired.default.as_ref().filter(|_| seen.desired.removal.is_none())?;
    let all = outcomes(seen);
    let counts = sum(all.iter().map(|(_, outcome)| *outcome));
    let secret = &seen.desired.secret_name;
    let place = format!("{} of {} ServiceAccounts name Secret '{secret}'", counts.attached, counts.desired);
    let mut told: BTreeMap<Reason, String> = BTreeMap::new();
    for reason in [Reason::DefaultsDisabled, Reason::ServiceAccountsForbidden] {
        let clusters = all.iter().filter(|(_, outcome)| outcome.unavailable == Some(reason));
        let names: Vec<String> = clusters.map(|(name, _)| format!("'{name}'")).collect();
        if names.is_empty() {
            continue;
        }
        let total = names.len();
        let names = listed(names.into_iter(), total);
        told.insert(reason, match reason {
            Reason::DefaultsDisabled => "the operator runs with --defaults=false, so nothing is attached; ask its administrator".to_owned(),
            _ => format!("ServiceAccountsForbidden in cluster {names}: the operator may not list and watch ServiceAccounts there; apply what `claviger member-rbac` prints, or the role of the chart"),
        });
    }
    for (reason, failed) in failures(&all) {
        told.insert(reason, failed.sentence(reason, secret));
    }
    let mut rest = String::new();
    if counts.outranked > 0 {
        let accounts = counted(counts.outranked, "ServiceAccount");
        rest = format!("; another default with a higher priority is attached to {accounts}");
    }
    if let Some(stuck) = stuck::sentence(seen) {
        rest.push_str(&format!("; {stuck}"));
    }
    if counts.deferred > 0 {
        let accounts = counted(counts.deferred, "ServiceAccount");
        rest.push_str(&format!("; still attached without consent until the quiet period ends: {accounts}"));
    }
    if let Some(reason) = told.keys().next() {
        let told: Vec<&str> = told.values().map(String::as_str).collect();
        return Some(Verdict::new(False, *reason, format!("{place}: {}{rest}", told.join("; "))));
    }
    let is_unknown = all.iter().any(|(_, outcome)| outcome.is_unknown);
    if counts.attached < counts.desired || is_unknown {
        return Some(Verdict::new(False, Reason::Progressing, format!("{place}{rest}")));
    }
    if counts.desired == 0 && counts.outranked > 0 {
        return Some(Verdict::new(False, Reason::Outranked, format!("{place}{rest}")));
    }
    let text = match counts.desired {
        0 => "none of the ServiceAccounts exists in the target namespaces".to_owned(),
        n => format!("Secret '{secret}' is attached to {}", counted(n, "ServiceAccount")),
    };
    Some(Verdict::new(True, Reason::Attached, format!("{text}{rest}")))
}

/// ServiceAccounts that fail for one reason, over all clusters.
#[derive(Default)]
struct Failed<'a> {
    count: usize,
    examples: Vec<(&'a str, &'a AccountFailureGroup, usize)>,
}

fn failures<'a>(all: &[(&'a str, &'a DefaultOutcome)]) -> BTreeMap<Reason, Failed<'a>> {
    let mut failures: BTreeMap<Reason, Failed<'a>> = BTreeMap::new();
    for (cluster, outcome) in all {
        for group in &outcome.failures {
            let failed = failures.entry(group.reason).or_default();
            failed.count += group.count;
            let room = MAX_NAMES - failed.examples.len();
            let examples = (0..group.examples.len()).take(room).map(|at| (*cluster, group, at));
            failed.examples.extend(examples);
        }
    }
    failures
}

impl Failed<'_> {
    /// With the remedy by the example of the first.
    fn sentence(&self, reason: Reason, secret: &str) -> String {
        let mut names = Vec::new();
        let mut remedy = None;
        for (cluster, group, at) in &self.examples {
            let Some((namespace, account, failure)) = group.examples.get(*at) else { continue };
            names.push(match *cluster {
                LOCAL => format!("'{namespace}/{account}'"),
                cluster => format!("'{namespace}/{account}' of cluster '{cluster}'"),
            });
            remedy.get_or_insert_with(|| failure.message(namespace, account, secret));
        }
        match remedy {
            Some(remedy) => {
                format!("{} in {}: {remedy}", reason.as_str(), listed(names.into_iter(), self.count))
            }
            None => format!(
                "{} in {}: no DistributionPolicy allows this credential as a default there; ask a cluster administrator for one with `spec.allowDefault: true`, or narrow the selector",
                reason.as_str(),
                counted(self.count, "ServiceAccount")
            ),
        }
    }
}

/// What the status lists of a credential that is to be a default.
pub(crate) fn default_status(desired: &DesiredState, outcomes: &Outcomes) -> Option<DefaultStatus> {
    desired.default.as_ref()?;
    let seen = Observation::new(desired, outcomes);
    let all: Vec<_> = seen
        .clusters
        .iter()
        .filter_map(|(name, outcome)| Some((&**name, outcome.default.as_ref()?)))
        .collect();
    let counts = sum(all.iter().map(|(_, outcome)| *outcome));
    let groups = || all.iter().flat_map(|(name, outcome)| outcome.failures.iter().map(move |g| (*name, g)));
    let mut worst: Vec<_> = groups().collect();
    worst.sort_by_key(|(_, group)| group.reason);
    let examples = worst.iter().flat_map(|(name, group)| group.examples.iter().map(move |one| (*name, one)));
    let failures =
        examples.take(MAX_FAILURES).map(|(cluster, (namespace, account, failure))| DefaultFailure {
            cluster: cluster.to_owned(),
            namespace: namespace.to_string(),
            service_account: account.to_string(),
            reason: failure.reason().as_str().to_owned(),
            message: shortened(
                &failure.message(namespace, account, &desired.secret_name),
                4 * MAX_ROW_MESSAGE,
            ),
        });
    Some(DefaultStatus {
        desired: counts.desired.into(),
        attached: counts.attached.into(),
        failed: count(groups().map(|(_, group)| group.count).sum()),
        failures: failures.collect(),
        stuck: stuck::listed(&seen),
    })
}
