//! The verdict on each condition, with its reason and its sentence.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::{
    attached::{attached, needs_person},
    observation::{Observation, counts},
    refreshed::refreshed,
    verified::{is_refused, verified},
};
use crate::{
    api::References,
    domain::{
        cluster_condition::ClusterCondition,
        condition::{self, ConditionStatus, ConditionType, Verdict},
        counted::{counted, listed},
        desired::SourceState,
        failure::Failure,
        outcome::ClusterOutcome,
        reason::Reason,
        removal::{Disposition, Removal},
        schedule::MAX_NAMES,
        selection::LOCAL,
        validity::Validity,
    },
};

use ConditionStatus::{False, True, Unknown};

pub(super) fn conditions(previous: &[Condition], seen: &Observation<'_>, now: Timestamp) -> Vec<Condition> {
    let source = told_before(previous, seen).unwrap_or_else(|| source_resolved(seen));
    let synced = synced(seen);
    let verified = verified(previous, seen.desired);
    let blocked = seen.desired.removal.as_ref().map(|removal| deletion_blocked(seen, removal));
    let refused = verified.as_ref().filter(|_| is_refused(seen.desired));
    let mut ready = ready(seen, &source, refused, &synced, blocked.as_ref());
    let (mut reconciling, mut stalled) = progress(seen, &source, refused, &synced);
    let default = attached(seen);
    if let Some(default) = default.as_ref().filter(|default| needs_person(default.reason))
        && ready.status == True
    {
        // A fault of some namespaces is not a fault of the credential.
        ready = default.clone();
        (reconciling, stalled) = (default.clone(), default.clone());
    }
    let mut verdicts = vec![
        (ConditionType::Ready, ready),
        (ConditionType::Reconciling, reconciling),
        (ConditionType::Stalled, stalled),
        (ConditionType::SourceResolved, source),
        (ConditionType::Synced, synced),
    ];
    verdicts.extend(default.map(|verdict| (ConditionType::Default, verdict)));
    verdicts.extend(verified.map(|verdict| (ConditionType::Verified, verdict)));
    let refreshed = refreshed(seen.desired, now);
    verdicts.extend(refreshed.map(|verdict| (ConditionType::Refreshed, verdict)));
    let certificate = seen.desired.validity.map(|validity| certificate_valid(validity, now));
    verdicts.extend(certificate.map(|verdict| (ConditionType::CertificateValid, verdict)));
    verdicts.extend(blocked.map(|verdict| (ConditionType::DeletionBlocked, verdict)));
    condition::set(previous, verdicts, Some(seen.desired.generation), now)
}

/// What was told of the source of a credential that is being deleted: it is not read any more.
fn told_before(previous: &[Condition], seen: &Observation<'_>) -> Option<Verdict> {
    let unread = seen.desired.removal.is_some() && seen.desired.source == SourceState::NotRead;
    let told = condition::find(previous, ConditionType::SourceResolved).filter(|_| unread)?;
    Some(Verdict::new(ConditionStatus::of(told), Reason::parse(&told.reason)?, told.message.clone()))
}

fn source_resolved(seen: &Observation<'_>) -> Verdict {
    match &seen.desired.source {
        SourceState::Resolved(notes) => {
            let minted = "a valid credential was minted";
            let read = "the source Secret holds a valid credential";
            let mut told = vec![if seen.desired.tokens.is_empty() { read } else { minted }];
            told.extend(notes.iter().map(String::as_str));
            Verdict::new(True, Reason::Resolved, told.join("; "))
        }
        SourceState::Failed(error) if error.is_minting() => {
            Verdict::new(Unknown, Reason::Progressing, format!("{error}; copies stay as they are"))
        }
        SourceState::Failed(error) => {
            let status = if error.is_unreadable() { Unknown } else { False };
            let what = if error.is_partial {
                "that part of the Secrets stays as it is"
            } else {
                "copies stay as they are"
            };
            Verdict::new(status, error.reason, format!("{error}; {what}"))
        }
        SourceState::NotRead => Verdict::new(
            Unknown,
            Reason::NotRead,
            "the source Secret is not read because there is no namespace to write to",
        ),
        SourceState::Hashing { .. } => {
            Verdict::new(Unknown, Reason::Progressing, "passwords are being hashed; copies stay as they are")
        }
        SourceState::UnreadableSpec(error) => unreadable(error),
    }
}

fn unreadable(error: &str) -> Verdict {
    let message = format!(
        "this version of Claviger cannot read the object, and leaves its Secrets as they are: {error}; upgrade Claviger, or fix the spec"
    );
    Verdict::new(Unknown, Reason::UnsupportedSpec, message)
}

fn synced(seen: &Observation<'_>) -> Verdict {
    let clusters: Vec<_> = seen.counted().collect();
    let (desired, synced) = (seen.sum(counts, |c| c.desired), seen.sum(counts, |c| c.synced));
    let rest = rest(seen);
    if let (SourceState::UnreadableSpec(error), None) = (&seen.desired.source, &seen.desired.removal) {
        return unreadable(error);
    }
    if clusters.is_empty() && !seen.clusters.is_empty() && seen.concealed == 0 && !seen.is_pending() {
        let paused = quoted(&paused(seen));
        let message = format!("all target clusters are paused, so nothing is written: {paused}");
        return Verdict::new(Unknown, Reason::Paused, message);
    }
    let conditions: Vec<(&str, &ClusterCondition)> =
        clusters.iter().filter_map(|(name, outcome)| Some((&***name, outcome.condition.as_ref()?))).collect();
    if let [(name, condition), ..] = conditions.as_slice()
        && conditions.len() == clusters.len()
        && conditions.iter().all(|(_, condition)| matches!(condition, ClusterCondition::Unreachable(_)))
    {
        return Verdict::new(Unknown, Reason::ClusterUnreachable, condition.message(name));
    }
    let (in_clusters, of_clusters) = match clusters.len() {
        0 | 1 => (String::new(), String::new()),
        n => (format!(" in {n} clusters"), format!(" of {n} clusters")),
    };
    let place = format!("{synced} of {desired} namespaces{in_clusters}");
    let failures = failures(&clusters);
    let missing = missing_namespaces(seen);
    let refused = !failures.is_empty() || !conditions.is_empty() || !missing.is_empty() || seen.concealed > 0;
    if refused && !seen.is_pending() {
        let mut told: Vec<String> =
            conditions.iter().map(|(name, condition)| condition.message(name)).collect();
        told.sort();
        let more = told.len().saturating_sub(MAX_NAMES);
        told.truncate(MAX_NAMES);
        if more > 0 {
            told.push(format!("and {}", counted(more, "more cluster")));
        }
        told.extend(failures.values().map(|failed| failed.sentence(&seen.desired.secret_name)));
        told.extend(not_found(&missing));
        told.extend((seen.concealed > 0).then(|| not_permitted(&counted(seen.concealed, "cluster"))));
        let mut reasons: BTreeSet<Reason> =
            conditions.iter().map(|(_, condition)| condition.reason()).collect();
        reasons.extend(failures.keys());
        reasons.extend((!missing.is_empty()).then_some(Reason::NamespaceNotFound));
        reasons.extend((seen.concealed > 0).then_some(Reason::NotPermitted));
        let reason = match reasons.first() {
            Some(&only) if reasons.len() == 1 && (synced == 0 || only == Reason::NamespaceNotFound) => only,
            _ => Reason::PartiallySynced,
        };
        return Verdict::new(False, reason, format!("{place} have the Secret: {}{rest}", told.join("; ")));
    }
    if synced < desired || seen.is_pending() {
        let why = match (seen.desired.awaits(), &seen.desired.secret) {
            (Some(what), _) => format!(", and {what}"),
            (None, Some(_)) => String::new(),
            (None, None) if is_refused(seen.desired) => ", and the credential is refused".to_owned(),
            (None, None) => ", and there is no valid content to write".to_owned(),
        };
        return Verdict::new(False, Reason::Progressing, format!("{place} have the Secret{why}{rest}"));
    }
    if desired == 0 {
        let nothing = if clusters.is_empty() { "cluster" } else { "namespace" };
        return Verdict::new(True, Reason::NoTargets, format!("no {nothing} is selected{rest}"));
    }
    let name = &seen.desired.secret_name;
    let message = format!("Secret '{name}' is in place in {}{of_clusters}{rest}", namespaces(desired));
    Verdict::new(True, Reason::AllTargetsSynced, message)
}

/// What else is to be told of copies, as the end of a sentence.
fn rest(seen: &Observation<'_>) -> String {
    let mut rest = match seen.sum(|_| true, |c| c.counts.held) {
        0 => String::new(),
        1 => "; 1 Secret that is no longer wanted stays while a Pod or another blocking object uses it"
            .to_owned(),
        n => format!(
            "; {n} Secrets that are no longer wanted stay while Pods or other blocking objects use them"
        ),
    };
    match seen.sum(|_| true, |c| c.counts.deferred) {
        0 => {}
        1 => rest.push_str("; 1 Secret without consent stays until the quiet period ends"),
        n => rest.push_str(&format!("; {n} Secrets without consent stay until the quiet period ends")),
    }
    let paused = paused(seen);
    if !paused.is_empty() {
        rest.push_str(&format!("; paused: {}", quoted(&paused)));
    }
    rest
}

/// Clusters that do not count, as somebody has paused them.
fn paused<'a>(seen: &'a Observation<'_>) -> Vec<&'a str> {
    seen.clusters.iter().filter(|(_, outcome)| !counts(outcome)).map(|(name, _)| &**name).collect()
}

/// Namespaces that fail for one reason, over all clusters.
#[derive(Default)]
struct Failed<'a> {
    count: usize,
    examples: Vec<(&'a str, &'a Arc<str>, &'a Failure)>,
}

fn failures<'a>(clusters: &[(&'a Arc<str>, &'a ClusterOutcome)]) -> BTreeMap<Reason, Failed<'a>> {
    let mut failures: BTreeMap<Reason, Failed<'a>> = BTreeMap::new();
    for (cluster, outcome) in clusters {
        for group in &outcome.failures {
            let failed = failures.entry(group.reason).or_default();
            failed.count += group.count;
            let examples = group.examples.iter().map(|(name, failure)| (&***cluster, name, failure));
            let room = MAX_NAMES - failed.examples.len();
            failed.examples.extend(examples.take(room));
        }
    }
    failures
}

impl Failed<'_> {
    /// With the remedy by the example of the first.
    fn sentence(&self, secret_name: &str) -> String {
        let names = self.examples.iter().map(|(cluster, namespace, _)| in_cluster(namespace, cluster));
        let Some((_, namespace, failure)) = self.examples.first() else {
            return not_permitted(&namespaces(self.count));
        };
        let (reason, remedy) = (failure.reason().as_str(), failure.message(namespace, secret_name));
        format!("{reason} in {}: {remedy}", listed(names, self.count))
    }
}

/// Of what the spec does not name, only the number is told.
fn not_permitted(what: &str) -> String {
    format!(
        "NotPermitted in {what}: no DistributionPolicy allows this credential there; ask a cluster administrator for one, or narrow the selector"
    )
}

fn in_cluster(namespace: &str, cluster: &str) -> String {
    match cluster {
        LOCAL => format!("'{namespace}'"),
        cluster => format!("'{namespace}' of cluster '{cluster}'"),
    }
}

/// Namespaces that the target names and that exist in none of its clusters.
fn missing_namespaces<'a>(seen: &'a Observation<'_>) -> Vec<&'a Arc<str>> {
    let mut wanted = seen.clusters.iter().filter(|(name, _)| seen.desired.clusters.contains_key(name));
    let Some((_, first)) = wanted.next() else { return Vec::new() };
    // A cluster that was never seen lists no namespace as missing, as nobody knows which it has.
    let rest: Vec<_> = wanted.collect();
    first
        .missing_namespaces
        .iter()
        .filter(|name| rest.iter().all(|(_, outcome)| outcome.missing_namespaces.contains(name)))
        .collect()
}

fn not_found(missing: &[&Arc<str>]) -> Option<String> {
    let names: Vec<&str> = missing.iter().map(|name| &***name).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!(
            "namespace '{one}' does not exist in any target cluster; create it, or fix `spec.target.namespaces.names`"
        )),
        _ => Some(format!(
            "namespaces {} do not exist in any target cluster; create them, or fix `spec.target.namespaces.names`",
            quoted(&names)
        )),
    }
}

fn certificate_valid(validity: Validity, now: Timestamp) -> Verdict {
    let status = if validity.is_usable(now) { True } else { False };
    Verdict::new(status, validity.at(now), format!("the certificate {}", validity.problem(now)))
}

fn deletion_blocked(seen: &Observation<'_>, removal: &Removal) -> Verdict {
    let users = users(&seen.references);
    let is_waiting = removal.disposition == Disposition::Keep && seen.references.blocking == 0;
    if let Some((cluster, why)) = seen.unlisted().filter(|_| is_waiting) {
        return Verdict::new(
            True,
            Reason::UsersUnknown,
            format!(
                "deletion waits until it is known who uses the Secrets in cluster '{cluster}': {why}; to delete them anyway, set annotation claviger.dev/force-delete to 'true'"
            ),
        );
    }
    match removal.disposition {
        Disposition::Keep if seen.references.blocking > 0 => Verdict::new(
            True,
            Reason::InUse,
            format!(
                "deletion waits for {users}, and then continues by itself; to delete the Secrets although they are in use, set annotation claviger.dev/force-delete to 'true'"
            ),
        ),
        _ if !removal.awaited.is_empty() => {
            let waits = removal.awaited.iter();
            let waits = waits.map(|(name, until)| format!("'{name}' (until {until:.0} at the latest)"));
            let waits = listed(waits, removal.awaited.len());
            Verdict::new(
                True,
                Reason::ClusterUnreachable,
                format!(
                    "deletion waits for clusters that do not answer, because objects there may use the Secrets: {waits}; to leave those Secrets behind now, set annotation claviger.dev/force-delete to 'true'"
                ),
            )
        }
        _ if !removal.paused.is_empty() => Verdict::new(
            True,
            Reason::Paused,
            format!(
                "deletion waits for clusters that are paused, because nothing is written there: {}; set `spec.paused` of the MemberCluster to false, or, to leave the Secrets there behind, set annotation claviger.dev/force-delete to 'true'",
                quoted(&removal.paused)
            ),
        ),
        Disposition::RemoveUnused if seen.references.blocking > 0 => Verdict::new(
            False,
            Reason::NamespaceTerminating,
            format!(
                "the namespace of the credential is being deleted, so the deletion does not wait; Secrets that {users} use are removed later, when nothing uses them"
            ),
        ),
        Disposition::Keep | Disposition::Remove | Disposition::RemoveUnused => {
            Verdict::new(False, Reason::NotInUse, "the Secrets are being deleted")
        }
        Disposition::Release => Verdict::new(
            False,
            Reason::Orphaning,
            "the Secrets stay, and Claviger removes its labels and annotations from them",
        ),
    }
}

/// Who holds the Secrets, as a phrase: the first few by name, the rest as a number.
fn users(references: &References) -> String {
    let blocking = usize::try_from(references.blocking).unwrap_or(usize::MAX);
    let named = references.items.iter().take(blocking).map(|item| {
        let place = match &*item.cluster {
            LOCAL => String::new(),
            cluster => format!(" in cluster {cluster}"),
        };
        format!("{} {}/{}{place}", item.kind, item.namespace, item.name)
    });
    listed(named, blocking)
}

fn ready(
    seen: &Observation<'_>,
    source: &Verdict,
    refused: Option<&Verdict>,
    synced: &Verdict,
    blocked: Option<&Verdict>,
) -> Verdict {
    if let Some(blocked) = blocked {
        let reason = if blocked.status == True { Reason::DeletionBlocked } else { Reason::Deleting };
        return Verdict::new(False, reason, blocked.message.clone());
    }
    match (&seen.desired.source, refused) {
        (SourceState::Failed(_), _) => Verdict { status: False, ..source.clone() },
        (_, Some(refused)) => refused.clone(),
        // Unknown is not ready. A source that was not read does not count, as there is nothing to write to.
        _ if synced.status == True => synced.clone(),
        // A paused cluster does not count, and there is no other.
        _ if synced.reason == Reason::Paused => Verdict { status: True, ..synced.clone() },
        _ => Verdict { status: False, ..synced.clone() },
    }
}

/// `Reconciling` and `Stalled`, never both true.
fn progress(
    seen: &Observation<'_>,
    source: &Verdict,
    refused: Option<&Verdict>,
    synced: &Verdict,
) -> (Verdict, Verdict) {
    let busy = |reason, message: &str| {
        (
            Verdict::new(True, reason, message),
            Verdict::new(False, Reason::Progressing, "reconciliation is in progress"),
        )
    };
    let stalled = |reason, message: &str| {
        (Verdict::new(False, Reason::Stalled, "waiting for user action"), Verdict::new(True, reason, message))
    };
    if seen.desired.removal.is_some() {
        return busy(Reason::Deleting, "the credential is being deleted");
    }
    match &seen.desired.source {
        SourceState::Failed(error) if error.is_waiting() => return busy(source.reason, &source.message),
        SourceState::Failed(_) | SourceState::UnreadableSpec(_) => {
            return stalled(source.reason, &source.message);
        }
        SourceState::Resolved(_) | SourceState::NotRead | SourceState::Hashing { .. } => {}
    }
    if let Some(refused) = refused {
        return stalled(refused.reason, &refused.message);
    }
    if seen.is_pending() {
        return busy(Reason::Progressing, &synced.message);
    }
    if seen.is_retrying() {
        return busy(Reason::Retrying, &synced.message);
    }
    match (synced.status, synced.reason) {
        (True, _) => {
            let done = || Verdict::new(False, Reason::Done, "nothing is left to do");
            (done(), done())
        }
        // The namespace may well be created a moment later.
        (_, Reason::NamespaceNotFound) => busy(Reason::NamespaceNotFound, &synced.message),
        // A fault of some targets is not a fault of the credential.
        _ if seen.sum(counts, |c| c.synced) > 0 || seen.counted().next().is_none() && seen.concealed == 0 => {
            let told = || Verdict { status: False, ..synced.clone() };
            (told(), told())
        }
        (_, reason) => stalled(reason, &synced.message),
    }
}

fn namespaces(n: usize) -> String {
    counted(n, "namespace")
}

fn quoted<S: Display>(names: &[S]) -> String {
    listed(names.iter().map(|name| format!("'{name}'")), names.len())
}
