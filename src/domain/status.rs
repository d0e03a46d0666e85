//! From what was seen and done to the status.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    content::SourceError,
    plan::{Disposition, Failure},
    selection::LOCAL,
    trouble::ClusterTrouble,
    validity::Validity,
};
use crate::api::{
    ClusterState, ClusterStatus, CredentialStatus, NamespaceCounts, References, Summary, SyncStatus,
    TargetFailure,
};

/// How many failures of a cluster are told one by one.
const MAX_FAILURES: usize = 10;

/// How many names a sentence lists.
const MAX_NAMES: usize = 3;

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
    let clusters: Vec<ClusterStatus> = seen
        .clusters
        .iter()
        .map(|cluster| row(previous.clusters.iter().find(|row| row.name == cluster.name), cluster, seen, now))
        .collect();
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

/// Status, reason and message of a condition.
type Verdict = (&'static str, &'static str, String);

fn conditions(previous: &[Condition], seen: &Observation, now: Timestamp) -> Vec<Condition> {
    let source = source_resolved(seen);
    let synced = synced(seen);
    let blocked = seen.deletion.map(|disposition| deletion_blocked(seen, disposition));
    let ready = ready(seen, &source, &synced, blocked.as_ref());
    let (reconciling, stalled) = progress(seen, &source, &synced);
    let mut verdicts = vec![("Ready", ready), ("Reconciling", reconciling), ("Stalled", stalled)];
    verdicts.extend([("SourceResolved", source), ("Synced", synced)]);
    verdicts.extend(seen.validity.map(|validity| ("CertificateValid", certificate_valid(validity, now))));
    verdicts.extend(blocked.map(|verdict| ("DeletionBlocked", verdict)));
    verdicts
        .into_iter()
        .map(|(type_, (status, reason, message))| Condition {
            last_transition_time: previous
                .iter()
                .find(|condition| condition.type_ == type_ && condition.status == status)
                .map_or(Time(now), |condition| condition.last_transition_time.clone()),
            observed_generation: Some(seen.generation),
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
        })
        .collect()
}

fn source_resolved(seen: &Observation) -> Verdict {
    match &seen.source {
        SourceState::Resolved(notes) => {
            let mut message = "the source Secret gave a valid credential".to_owned();
            for note in notes {
                message.push_str("; ");
                message.push_str(note);
            }
            ("True", "Resolved", message)
        }
        SourceState::Failed(error @ SourceError::Unreadable { .. }) => {
            ("Unknown", error.reason(), format!("{error}; copies stay as they are, and it is tried again"))
        }
        SourceState::Failed(error) => ("False", error.reason(), format!("{error}; copies stay as they are")),
        SourceState::NotRead => (
            "Unknown",
            "NotRead",
            "the source Secret is not read as long as there is nowhere to write to".to_owned(),
        ),
    }
}

fn synced(seen: &Observation) -> Verdict {
    let (desired, synced) = (seen.sum(|c| c.desired), seen.sum(|c| c.synced));
    let held = seen.sum(|c| c.held);
    let rest = match held {
        0 => String::new(),
        1 => "; 1 Secret that is no longer wanted stays while a Pod uses it".to_owned(),
        n => format!("; {n} Secrets that are no longer wanted stay while Pods use them"),
    };
    let troubles: Vec<(&str, &ClusterTrouble)> =
        seen.clusters.iter().filter_map(|c| Some((c.name.as_str(), c.trouble.as_ref()?))).collect();
    let dark = |trouble: &ClusterTrouble| matches!(trouble, ClusterTrouble::Unreachable(_));
    if let [(name, trouble), ..] = troubles.as_slice()
        && troubles.len() == seen.clusters.len()
        && troubles.iter().all(|(_, trouble)| dark(trouble))
    {
        return ("Unknown", "ClusterUnreachable", trouble.message(name));
    }
    if desired == 0 && troubles.is_empty() {
        let nothing = if seen.clusters.is_empty() { "cluster" } else { "namespace" };
        return ("True", "NoTargets", format!("no {nothing} is selected{rest}"));
    }
    let failures: Vec<Failed<'_>> = seen
        .clusters
        .iter()
        .flat_map(|c| c.failures.iter().map(|(namespace, failure)| Failed { cluster: &c.name, namespace, failure }))
        .collect();
    let place = if seen.clusters.len() > 1 {
        format!("{synced} of {desired} namespaces in {} clusters", seen.clusters.len())
    } else {
        format!("{synced} of {desired} namespaces")
    };
    if !(failures.is_empty() && troubles.is_empty()) && !seen.is_pending() {
        let mut told: Vec<String> = troubles.iter().map(|(name, trouble)| trouble.message(name)).collect();
        told.sort();
        let more = told.len().saturating_sub(MAX_NAMES);
        told.truncate(MAX_NAMES);
        if more > 0 {
            told.push(format!("and {more} more clusters"));
        }
        told.extend(sentences(&failures, &seen.secret_name));
        let mut reasons = troubles
            .iter()
            .map(|(_, trouble)| trouble.reason())
            .chain(failures.iter().map(|failed| failed.failure.reason()));
        let first = reasons.next().unwrap_or_default();
        let reason = if synced == 0 && reasons.all(|reason| reason == first) { first } else { "PartiallySynced" };
        return ("False", reason, format!("{place} have the Secret: {}{rest}", told.join("; ")));
    }
    if synced < desired || seen.is_pending() {
        let why = if matches!(seen.source, SourceState::Resolved(_)) {
            ""
        } else {
            ", and the source gives nothing to write"
        };
        return ("False", "Progressing", format!("{place} have the Secret{why}{rest}"));
    }
    let clusters = match seen.clusters.len() {
        0 | 1 => String::new(),
        n => format!(" of {n} clusters"),
    };
    (
        "True",
        "AllTargetsSynced",
        format!("Secret '{}' is in place in {}{clusters}{rest}", seen.secret_name, namespaces(desired)),
    )
}

/// A namespace that cannot have its copy.
struct Failed<'a> {
    cluster: &'a str,
    namespace: &'a str,
    failure: &'a Failure,
}

/// One sentence for each kind of failure, with the remedy by the example of the first.
fn sentences(failures: &[Failed<'_>], secret_name: &str) -> Vec<String> {
    let mut kinds: BTreeMap<&str, Vec<&Failed<'_>>> = BTreeMap::new();
    for failed in failures {
        kinds.entry(failed.failure.reason()).or_default().push(failed);
    }
    kinds
        .iter()
        .map(|(reason, those)| {
            let names: Vec<String> = those.iter().map(|failed| failed.place()).collect();
            let remedy = those.first().map(|failed| failed.failure.message(failed.namespace, secret_name));
            format!("{reason} in {}: {}", list(&names), remedy.unwrap_or_default())
        })
        .collect()
}

impl Failed<'_> {
    fn place(&self) -> String {
        match self.cluster {
            LOCAL => format!("'{}'", self.namespace),
            cluster => format!("'{}' of cluster '{cluster}'", self.namespace),
        }
    }
}

fn certificate_valid(validity: Validity, now: Timestamp) -> Verdict {
    let phase = validity.at(now);
    (
        if phase.is_usable() { "True" } else { "False" },
        phase.reason(),
        format!("the certificate {}", validity.problem(now)),
    )
}

fn deletion_blocked(seen: &Observation, disposition: Disposition) -> Verdict {
    match disposition {
        Disposition::Keep if seen.references.blocking > 0 => (
            "True",
            "InUse",
            format!(
                "deletion waits for {}, and then goes on by itself; to delete the Secrets although they are in use, set annotation claviger.dev/force-delete to 'true'",
                users(&seen.references),
            ),
        ),
        _ if !seen.awaited.is_empty() => {
            let waits: Vec<String> = seen
                .awaited
                .iter()
                .take(MAX_NAMES)
                .map(|(name, until)| format!("'{name}' (until {until:.0} at the latest)"))
                .collect();
            (
                "True",
                "ClusterUnreachable",
                format!(
                    "deletion waits for clusters that do not answer, as Pods there may use the Secrets: {}; to leave the Secrets there behind now, set annotation claviger.dev/force-delete to 'true'",
                    waits.join(", "),
                ),
            )
        }
        Disposition::RemoveUnused if seen.references.blocking > 0 => (
            "False",
            "NamespaceTerminating",
            format!(
                "the namespace of the credential is being deleted, so nothing is held up; Secrets that {} use are removed afterwards, when unused",
                users(&seen.references),
            ),
        ),
        Disposition::Keep | Disposition::Remove | Disposition::RemoveUnused => {
            ("False", "NotInUse", "the Secrets are being deleted".to_owned())
        }
        Disposition::Release => (
            "False",
            "Orphaning",
            "the Secrets stay, and the marks of Claviger are taken off them".to_owned(),
        ),
    }
}

/// Who uses the Secrets, as a phrase: the first few by name, the rest as a number.
fn users(references: &References) -> String {
    let named: Vec<String> = references
        .items
        .iter()
        .take(MAX_NAMES)
        .map(|item| {
            let place = match &*item.cluster {
                LOCAL => String::new(),
                cluster => format!(" in cluster {cluster}"),
            };
            format!("{} {}/{}{place}", item.kind, item.namespace, item.name)
        })
        .collect();
    let more = references.total - count(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

fn ready(seen: &Observation, source: &Verdict, synced: &Verdict, blocked: Option<&Verdict>) -> Verdict {
    if let Some((status, _, message)) = blocked {
        let reason = if *status == "True" { "DeletionBlocked" } else { "Deleting" };
        return ("False", reason, message.clone());
    }
    match &seen.source {
        SourceState::Failed(_) => ("False", source.1, source.2.clone()),
        // An unknown is not ready; and with nothing to write to, the source can spoil nothing.
        _ => (if synced.0 == "True" { "True" } else { "False" }, synced.1, synced.2.clone()),
    }
}

/// `Reconciling` and `Stalled`, never both true.
fn progress(seen: &Observation, source: &Verdict, synced: &Verdict) -> (Verdict, Verdict) {
    let busy = |reason, message: String| {
        (("True", reason, message), ("False", "Progressing", "work goes on".to_owned()))
    };
    let stuck = |reason, message: String| {
        (("False", "Stalled", "it waits for somebody to act".to_owned()), ("True", reason, message))
    };
    if seen.deletion.is_some() {
        return busy("Deleting", "the credential is being deleted".to_owned());
    }
    match &seen.source {
        SourceState::Failed(error) if error.is_waiting() => return busy(source.1, source.2.clone()),
        SourceState::Failed(_) => return stuck(source.1, source.2.clone()),
        _ => {}
    }
    if seen.is_pending() || seen.is_retrying() {
        return busy(if seen.is_pending() { "Progressing" } else { "Retrying" }, synced.2.clone());
    }
    if synced.0 != "True" {
        return stuck(synced.1, synced.2.clone());
    }
    let done = "nothing is left to do".to_owned();
    (("False", "Done", done.clone()), ("False", "Done", done))
}

fn namespaces(n: usize) -> String {
    if n == 1 { "1 namespace".to_owned() } else { format!("{n} namespaces") }
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
