//! How a member stands, as its status says it.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::MemberError;
use crate::{
    api::MemberClusterStatus,
    domain::{
        cluster_condition::{ConnectionError, Denied},
        condition::{self, ConditionStatus, ConditionType, Verdict, same},
        event::{Action, Note},
        reason::Reason,
        schedule::PROBE_NEWS,
    },
};

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// There is no way to it.
    Invalid(MemberError),
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
    Failing(ConnectionError),
    /// It does not answer; why.
    Down(ConnectionError),
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
    pub state: MemberState,
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

/// The status of a member. What was seen before and cannot be seen now stays.
#[must_use]
pub fn status(
    seen: &Observation,
    previous: Option<&MemberClusterStatus>,
    now: Timestamp,
) -> MemberClusterStatus {
    let old = previous.map_or(&[][..], |status| &status.conditions);
    let conditions = condition::set(old, verdicts(seen), seen.generation, now);
    // At another address it may be another cluster.
    let moved = seen.server.is_some() && previous.is_some_and(|status| status.server != seen.server);
    let kept =
        |get: fn(&MemberClusterStatus) -> &Option<String>| previous.and_then(|status| get(status).clone());
    MemberClusterStatus {
        observed_generation: seen.generation,
        conditions,
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
    let ready =
        |status: &MemberClusterStatus| condition::find(&status.conditions, ConditionType::Ready).cloned();
    let Some(new) = ready(next) else { return Vec::new() };
    let reason = Reason::parse(&new.reason).unwrap_or(Reason::Internal);
    // Connecting is a pause between two words.
    if previous.and_then(ready).is_some_and(|old| same(&old, &new)) || reason == Reason::Connecting {
        return Vec::new();
    }
    let ok = ConditionStatus::of(&new) == ConditionStatus::True;
    let warning = !ok && !matches!(reason, Reason::Paused | Reason::Deleting);
    let action = if reason == Reason::Deleting { Action::Delete } else { Action::Connect };
    vec![Note { warning, reason, action, note: new.message }]
}

/// Whether the last status tells how the last try to connect to this address ended.
pub(crate) fn told_how_connecting_ended(
    previous: Option<&MemberClusterStatus>,
    generation: Option<i64>,
    server: Option<&str>,
) -> bool {
    const ENDS: [Reason; 6] = [
        Reason::Connected,
        Reason::Paused,
        Reason::Unreachable,
        Reason::Unauthorized,
        Reason::Forbidden,
        Reason::Failing,
    ];
    previous.is_some_and(|status| {
        let ready = condition::find(&status.conditions, ConditionType::Ready);
        status.observed_generation == generation
            && status.server.as_deref() == server
            && ready
                .and_then(|ready| Reason::parse(&ready.reason))
                .is_some_and(|reason| ENDS.contains(&reason))
    })
}

fn verdicts(seen: &Observation) -> [(ConditionType, Verdict); 4] {
    use ConditionStatus::{False, True, Unknown};
    let all = |ready, reachable, reconciling, stalled| {
        [
            (ConditionType::Ready, ready),
            (ConditionType::Reachable, reachable),
            (ConditionType::Reconciling, reconciling),
            (ConditionType::Stalled, stalled),
        ]
    };
    let (reason, message, stalled) = told(&seen.state);
    let told = |status| Verdict::new(status, reason, message.clone());
    let reachable = match &seen.state {
        MemberState::Up => Verdict::new(True, Reason::Connected, "its API server answers"),
        MemberState::Failing(_) if seen.version.is_some() => {
            Verdict::new(True, reason, "its API server answers, but not to everything that is asked")
        }
        MemberState::Down(_) => told(False),
        _ => told(Unknown),
    };
    if let Some(deletion) = &seen.deletion {
        let message = deleting(seen, deletion, &message);
        return all(
            Verdict::new(False, Reason::Deleting, message.clone()),
            reachable,
            Verdict::new(True, Reason::Deleting, message),
            Verdict::new(False, Reason::Deleting, "deletion is in progress"),
        );
    }
    let up = seen.state == MemberState::Up;
    if up && seen.paused {
        let message = "nothing is written to the cluster as long as `spec.paused` is true";
        return all(
            Verdict::new(False, Reason::Paused, message),
            reachable,
            Verdict::new(False, Reason::Paused, "waiting for user action"),
            Verdict::new(True, Reason::Paused, message),
        );
    }
    let done = || Verdict::new(False, Reason::Done, "nothing is left to do");
    let (reconciling, stalled) = match (up, stalled) {
        (true, _) => (done(), done()),
        (_, true) => (Verdict::new(False, Reason::Stalled, "waiting for user action"), told(True)),
        (_, false) => (told(True), Verdict::new(False, Reason::Progressing, "reconciliation is in progress")),
    };
    all(told(if up { True } else { False }), reachable, reconciling, stalled)
}

/// Reason and sentence of a state, and whether only a person can fix it.
fn told(state: &MemberState) -> (Reason, String, bool) {
    match state {
        MemberState::Up => (Reason::Connected, "credentials can be pushed there".to_owned(), false),
        MemberState::Connecting => {
            (Reason::Connecting, "the operator is connecting to the cluster".to_owned(), false)
        }
        MemberState::Invalid(error) => (error.reason(), error.to_string(), !error.is_waiting()),
        MemberState::Unusable(why) => (
            Reason::KubeconfigRefused,
            format!("no connection can be made from what the Secret holds: {why}"),
            true,
        ),
        MemberState::Duplicate { of } => (
            Reason::DuplicateCluster,
            format!(
                "it is the same cluster as '{of}', and is not used twice; delete one of the two, or fix the kubeconfig"
            ),
            true,
        ),
        MemberState::Down(why) | MemberState::Failing(why) if why.denied == Some(Denied::Unauthorized) => (
            Reason::Unauthorized,
            format!(
                "its API server does not accept the credentials that the Secret holds: {why}; renew them"
            ),
            true,
        ),
        MemberState::Down(why) => {
            (Reason::Unreachable, format!("its API server does not answer: {why}"), false)
        }
        MemberState::Failing(why) if why.denied == Some(Denied::Forbidden) => (
            Reason::Forbidden,
            format!(
                "the operator may not see what it needs there: {why}; apply what `claviger member-rbac` prints"
            ),
            true,
        ),
        MemberState::Failing(why) => {
            (Reason::Failing, format!("its API server answers, but fails: {why}"), false)
        }
    }
}

fn deleting(seen: &Observation, deletion: &Deletion, state: &str) -> String {
    if let Some(until) = deletion.until {
        let known = match deletion.copies {
            Some((0, _)) => "nothing of ours is left there".to_owned(),
            Some((copies, _)) => format!("what is there stays ({})", secrets(copies)),
            None => "whatever is there stays".to_owned(),
        };
        return format!(
            "{state}; it is waited for until {until:.0}, and then {known}; annotate it with claviger.dev/force-delete: \"true\" to not wait"
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
