//! The verdict on each condition, with its reason and its sentence.

use std::collections::BTreeMap;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{Observation, SourceState};
use crate::{
    api::References,
    domain::{
        content::SourceError,
        plan::{Disposition, Failure},
        selection::LOCAL,
        trouble::ClusterTrouble,
        validity::Validity,
    },
};

/// How many names a sentence lists.
const MAX_NAMES: usize = 3;

/// Status, reason and message of a condition.
type Verdict = (&'static str, &'static str, String);

pub(super) fn conditions(previous: &[Condition], seen: &Observation, now: Timestamp) -> Vec<Condition> {
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
        .flat_map(|c| {
            c.failures.iter().map(|(namespace, failure)| Failed { cluster: &c.name, namespace, failure })
        })
        .collect();
    let place = if seen.clusters.len() > 1 {
        format!("{synced} of {desired} namespaces in {} clusters", seen.clusters.len())
    } else {
        format!("{synced} of {desired} namespaces")
    };
    if (!failures.is_empty() || !troubles.is_empty()) && !seen.is_pending() {
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
        let reason =
            if synced == 0 && reasons.all(|reason| reason == first) { first } else { "PartiallySynced" };
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
    let more = references.total - i64::try_from(named.len()).unwrap_or(i64::MAX);
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
