//! How a member stands, as its status says it.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::Fault;
use crate::{
    api::MemberClusterStatus,
    domain::{
        event::Note,
        trouble::{Cause, Refusal},
    },
};

/// `lastProbeTime` alone is written no more often than this.
const PROBE_NEWS: Duration = Duration::from_secs(300);

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no way to it.
    Broken(Fault),
    /// The way cannot be tried, as with a certificate that no TLS takes; what is wrong.
    Unusable(String),
    /// It is the cluster of another member, or of the operator.
    Duplicate {
        /// Whose: the name of a member, or `local`.
        of: String,
    },
    /// It is being listed for the first time.
    Connecting,
    /// It answers, but does not let everything be listed; what it said.
    Failing(Cause),
    /// It does not answer; why.
    Down(Cause),
    /// All is well.
    Up,
}

/// How far the deletion of a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Copies in the cluster and those of them that are in use, when that is known.
    pub copies: Option<(usize, usize)>,
    /// When it is given up to wait for a cluster that does not answer.
    pub until: Option<Timestamp>,
}

/// What a pass saw of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// How it stands.
    pub standing: Standing,
    /// Whether its MemberCluster says to write nothing.
    pub paused: bool,
    /// Set while it is being deleted.
    pub deletion: Option<Deletion>,
    /// Where it stands how to reach it.
    pub source: String,
    /// Its address, when that could be read.
    pub server: Option<String>,
    /// What it is known by, once that was seen.
    pub id: Option<String>,
    /// Version of its API server, once that was seen.
    pub version: Option<String>,
    /// When its API server was last asked.
    pub probed: Option<Timestamp>,
}

/// Status, reason and message of a condition.
type Verdict = (&'static str, &'static str, String);

/// The status of a member. What was seen before and cannot be seen now stays.
#[must_use]
pub fn status(
    seen: &Observation,
    previous: Option<&MemberClusterStatus>,
    now: Timestamp,
) -> MemberClusterStatus {
    let (ready, reachable, reconciling, stalled) = verdicts(seen);
    let old = previous.map_or(&[][..], |status| &status.conditions);
    let conditions =
        [("Ready", ready), ("Reachable", reachable), ("Reconciling", reconciling), ("Stalled", stalled)].map(
            |(type_, (status, reason, message))| Condition {
                last_transition_time: old
                    .iter()
                    .find(|condition| condition.type_ == type_ && condition.status == status)
                    .map_or(Time(now), |condition| condition.last_transition_time.clone()),
                message,
                observed_generation: seen.generation,
                reason: reason.to_owned(),
                status: status.to_owned(),
                type_: type_.to_owned(),
            },
        );
    // At another address it may be another cluster.
    let moved = seen.server.is_some() && previous.is_some_and(|status| status.server != seen.server);
    let kept =
        |get: fn(&MemberClusterStatus) -> &Option<String>| previous.and_then(|status| get(status).clone());
    MemberClusterStatus {
        observed_generation: seen.generation,
        conditions: conditions.into(),
        server_version: seen.version.clone().or_else(|| kept(|status| &status.server_version)),
        server: seen.server.clone().or_else(|| kept(|status| &status.server)),
        cluster_id: seen.id.clone().or_else(|| kept(|status| &status.cluster_id).filter(|_| !moved)),
        source: Some(seen.source.clone()),
        last_probe_time: seen.probed.map(Time).or_else(|| previous.and_then(|p| p.last_probe_time.clone())),
    }
}

/// Whether a status says anything that the last one does not; that it was asked once more is worth it only
/// now and then.
#[must_use]
pub fn worth_writing(previous: Option<&MemberClusterStatus>, next: &MemberClusterStatus) -> bool {
    let Some(previous) = previous else { return true };
    let timeless =
        |status: &MemberClusterStatus| MemberClusterStatus { last_probe_time: None, ..status.clone() };
    if timeless(previous) != timeless(next) {
        return true;
    }
    match (&previous.last_probe_time, &next.last_probe_time) {
        (Some(Time(before)), Some(Time(after))) => {
            Duration::try_from(after.duration_since(*before)).is_ok_and(|passed| passed >= PROBE_NEWS)
        }
        (before, after) => before != after,
    }
}

/// What is worth telling of the step from one status to the next: each change of `Ready`, once.
#[must_use]
pub fn notes(previous: Option<&MemberClusterStatus>, next: &MemberClusterStatus) -> Vec<Note> {
    let ready = |status: &MemberClusterStatus| status.conditions.iter().find(|c| c.type_ == "Ready").cloned();
    let Some(new) = ready(next) else { return Vec::new() };
    let old = previous.and_then(ready);
    let same = old.as_ref().is_some_and(|old| old.status == new.status && old.reason == new.reason);
    // Connecting is a pause between two words.
    if same || new.reason == "Connecting" {
        return Vec::new();
    }
    let warning = new.status != "True" && !matches!(new.reason.as_str(), "Paused" | "Deleting");
    let action = if new.reason == "Deleting" { "Delete" } else { "Connect" };
    vec![Note { warning, reason: new.reason, action, note: new.message }]
}

fn verdicts(seen: &Observation) -> (Verdict, Verdict, Verdict, Verdict) {
    let (reason, message, stuck) = told(&seen.standing);
    let reachable: Verdict = match &seen.standing {
        Standing::Up => ("True", "Connected", "its API server answers".to_owned()),
        Standing::Failing(_) if seen.version.is_some() => {
            ("True", reason, "its API server answers, but not to everything that is asked".to_owned())
        }
        Standing::Down(_) => ("False", reason, message.clone()),
        _ => ("Unknown", reason, message.clone()),
    };
    let done = |reason, text: &str| ("False", reason, text.to_owned());
    if let Some(deletion) = &seen.deletion {
        let message = deleting(seen, deletion, &message);
        return (
            ("False", "Deleting", message.clone()),
            reachable,
            ("True", "Deleting", message),
            done("Deleting", "work goes on"),
        );
    }
    if seen.standing == Standing::Up && seen.paused {
        let message = "nothing is written to the cluster as long as `spec.paused` is true".to_owned();
        return (
            ("False", "Paused", message.clone()),
            reachable,
            done("Paused", "it waits for somebody to act"),
            ("True", "Paused", message),
        );
    }
    let (reconciling, stalled) = match (&seen.standing, stuck) {
        (Standing::Up, _) => (done("Done", "nothing is left to do"), done("Done", "nothing is left to do")),
        (_, true) => (done("Stalled", "it waits for somebody to act"), ("True", reason, message.clone())),
        (_, false) => (("True", reason, message.clone()), done("Progressing", "work goes on")),
    };
    let ready = if seen.standing == Standing::Up { "True" } else { "False" };
    ((ready, reason, message), reachable, reconciling, stalled)
}

/// Reason and sentence of a standing, and whether only a person can mend it.
fn told(standing: &Standing) -> (&'static str, String, bool) {
    match standing {
        Standing::Up => ("Connected", "credentials can be pushed there".to_owned(), false),
        Standing::Connecting => ("Connecting", "the cluster is being connected to".to_owned(), false),
        Standing::Broken(fault) => (fault.reason(), fault.to_string(), !fault.is_waiting()),
        Standing::Unusable(why) => (
            "KubeconfigRefused",
            format!("no connection can be made from what the Secret holds: {why}"),
            true,
        ),
        Standing::Duplicate { of } => (
            "DuplicateCluster",
            format!(
                "it is the same cluster as '{of}', and is not used twice; delete one of the two, or mend the kubeconfig"
            ),
            true,
        ),
        Standing::Down(why) | Standing::Failing(why) if why.refusal == Some(Refusal::Unauthorized) => (
            "Unauthorized",
            format!(
                "its API server does not accept the credentials that the Secret holds: {why}; renew them"
            ),
            true,
        ),
        Standing::Down(why) => ("Unreachable", format!("its API server does not answer: {why}"), false),
        Standing::Failing(why) if why.refusal == Some(Refusal::Forbidden) => (
            "Forbidden",
            format!(
                "the operator may not see what it needs there: {why}; apply what `claviger member-rbac` prints"
            ),
            true,
        ),
        Standing::Failing(why) => ("Failing", format!("its API server answers, but fails: {why}"), false),
    }
}

fn deleting(seen: &Observation, deletion: &Deletion, standing: &str) -> String {
    if let Some(until) = deletion.until {
        let known = match deletion.copies {
            Some((0, _)) => "nothing of ours is left there".to_owned(),
            Some((copies, _)) => format!("what is there stays ({})", secrets(copies)),
            None => "whatever is there stays".to_owned(),
        };
        return format!(
            "{standing}; it is waited for until {until:.0}, and then {known}; annotate it with claviger.dev/force-delete: \"true\" to not wait"
        );
    }
    if seen.paused {
        return "it is paused, so that nothing is taken back from it; end the pause, or set `deletionPolicy: Orphan`".to_owned();
    }
    match deletion.copies {
        Some((copies, used)) => format!(
            "{} to be taken back from it yet; {} in use there stay",
            secrets(copies.saturating_sub(used)),
            secrets(used)
        ),
        None => "the Secrets that nothing uses are taken back from it".to_owned(),
    }
}

/// So many Secrets.
pub(super) fn secrets(count: usize) -> String {
    if count == 1 { "1 Secret".to_owned() } else { format!("{count} Secrets") }
}
