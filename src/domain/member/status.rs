//! The status of a member.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{MemberState, Origin};
use crate::{
    api::MemberClusterStatus,
    domain::{
        cluster_condition::Denied,
        condition::{self, ConditionStatus, ConditionType, Verdict, same},
        event::{Action, Note},
        reason::Reason,
        schedule::PROBE_NEWS,
    },
};

/// What a pass saw of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Its state.
    pub state: MemberState,
    /// Whether its MemberCluster says to write nothing.
    pub paused: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Until when a deletion waits for a cluster that does not answer.
    pub awaited_until: Option<Timestamp>,
    /// The Secret that says how to reach it.
    pub origin: Option<Origin>,
    /// Its address, when that could be read.
    pub server: Option<String>,
    /// Its id, once that was seen.
    pub id: Option<String>,
    /// Version of its API server, once that was seen.
    pub version: Option<String>,
    /// When its API server was last asked.
    pub probed: Option<Timestamp>,
    /// Since when it does not answer.
    pub down: Option<Timestamp>,
    /// Copies in the cluster and those of them that are in use, when that is known.
    pub copies: Option<(usize, usize)>,
    /// ServiceAccounts in the cluster to which Secrets are attached.
    pub attached: usize,
}

/// The status of a member. What was seen before and cannot be seen now stays.
pub fn status(
    seen: &Observation,
    previous: Option<&MemberClusterStatus>,
    now: Timestamp,
) -> MemberClusterStatus {
    let before = previous.cloned().unwrap_or_default();
    // At another address it may be another cluster.
    let moved = seen.server.is_some() && before.server != seen.server;
    MemberClusterStatus {
        observed_generation: seen.generation,
        conditions: condition::set(&before.conditions, verdicts(seen), seen.generation, now),
        server_version: seen.version.clone().or(before.server_version),
        server: seen.server.clone().or(before.server),
        cluster_id: seen.id.clone().or(before.cluster_id.filter(|_| !moved)),
        source: seen.origin.as_ref().map(Origin::to_string),
        adopted_from: seen.origin.as_ref().and_then(Origin::adopted).cloned(),
        last_probe_time: seen.probed.map(Time).or(before.last_probe_time),
    }
}

/// Whether a status says anything that the last one does not; that it was asked once more is worth it only
/// now and then.
pub fn worth_writing(previous: Option<&MemberClusterStatus>, next: &MemberClusterStatus) -> bool {
    let Some(previous) = previous else { return true };
    let mut next = next.clone();
    if let (Some(Time(before)), Some(Time(after))) = (&previous.last_probe_time, &next.last_probe_time)
        && *after < before.saturating_add(PROBE_NEWS).unwrap_or(Timestamp::MAX)
    {
        next.last_probe_time = previous.last_probe_time.clone();
    }
    *previous != next
}

/// The Event of the step from one status to the next: one for each change of `Ready`.
pub fn note(previous: Option<&MemberClusterStatus>, next: &MemberClusterStatus) -> Option<Note> {
    let ready = |status| condition::find(status, ConditionType::Ready);
    let new = ready(&next.conditions)?;
    let reason = Reason::parse(&new.reason).unwrap_or(Reason::Internal);
    // `Connecting` is not told: what follows it is.
    if previous.and_then(|status| ready(&status.conditions)).is_some_and(|old| same(old, new))
        || reason == Reason::Connecting
    {
        return None;
    }
    let ok = ConditionStatus::of(new) == ConditionStatus::True;
    let warning = !ok && reason != Reason::Deleting;
    let action = if reason == Reason::Deleting { Action::Delete } else { Action::Connect };
    Some(Note { warning, reason, action, note: new.message.clone() })
}

/// Whether the last status tells how the last try to connect to this address ended.
pub(crate) fn told_how_connecting_ended(
    previous: Option<&MemberClusterStatus>,
    generation: Option<i64>,
    server: Option<&str>,
) -> bool {
    use Reason::{Connected, Failing, Forbidden, Paused, Unauthorized, Unreachable};
    previous.is_some_and(|status| {
        let ready = condition::find(&status.conditions, ConditionType::Ready);
        let reason = ready.and_then(|ready| Reason::parse(&ready.reason));
        status.observed_generation == generation
            && status.server.as_deref() == server
            && matches!(reason, Some(Connected | Paused | Unreachable | Unauthorized | Forbidden | Failing))
    })
}

fn verdicts(seen: &Observation) -> [(ConditionType, Verdict); 4] {
    use ConditionStatus::{False, True, Unknown};
    let (reason, message, stalled) = told(&seen.state);
    let told = |status| Verdict::new(status, reason, message.clone());
    let reachable = match &seen.state {
        MemberState::Up => Verdict::new(True, Reason::Connected, "its API server answers"),
        MemberState::Failing(_) if seen.version.is_some() => {
            Verdict::new(True, reason, "its API server answers, but not every request")
        }
        MemberState::Down(_) => told(False),
        _ => told(Unknown),
    };
    let up = seen.state == MemberState::Up;
    let waiting = |reason| Verdict::new(False, reason, "waiting for user action");
    let (ready, reconciling, stalled) = if seen.deleting {
        let is = |status| Verdict::new(status, Reason::Deleting, deletion(seen, &message));
        (is(False), is(True), Verdict::new(False, Reason::Deleting, "deletion is in progress"))
    } else if up && seen.paused {
        // As somebody asked for: neither a fault nor something to wait for.
        let message = "nothing is written to the cluster as long as `spec.paused` is true";
        let is = |status| Verdict::new(status, Reason::Paused, message);
        (is(True), is(False), is(False))
    } else if up {
        let done = Verdict::new(False, Reason::Done, "nothing is left to do");
        (told(True), done.clone(), done)
    } else if stalled {
        (told(False), waiting(Reason::Stalled), told(True))
    } else {
        let going = Verdict::new(False, Reason::Progressing, "reconciliation is in progress");
        (told(False), told(True), going)
    };
    [
        (ConditionType::Ready, ready),
        (ConditionType::Reachable, reachable),
        (ConditionType::Reconciling, reconciling),
        (ConditionType::Stalled, stalled),
    ]
}

/// Reason and sentence of a state, and whether only a person can fix it.
fn told(state: &MemberState) -> (Reason, String, bool) {
    match state {
        MemberState::Up => (Reason::Connected, "credentials can be pushed there".to_owned(), false),
        MemberState::Connecting => {
            (Reason::Connecting, "the operator is connecting to the cluster".to_owned(), false)
        }
        MemberState::Invalid(error) => (error.reason(), error.to_string(), !error.is_waiting()),
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

/// What a deletion waits for.
fn deletion(seen: &Observation, state: &str) -> String {
    if let Some(until) = seen.awaited_until {
        let known = match seen.copies {
            Some((0, _)) => "nothing of Claviger is left there".to_owned(),
            Some((copies, _)) => format!("what is there stays ({})", secrets(copies)),
            None => "whatever is there stays".to_owned(),
        };
        return format!(
            "{state}; the deletion waits for it until {until:.0}, and then {known}; to stop waiting, annotate it with claviger.dev/force-delete: \"true\""
        );
    }
    if seen.paused {
        return "it is paused, so nothing is removed from it; end the pause, or set `deletionPolicy: Orphan`"
            .to_owned();
    }
    if seen.attached > 0 {
        let attached = accounts(seen.attached);
        return format!("Secrets still have to be detached from {attached} there before they are removed");
    }
    match seen.copies {
        Some((copies, used)) => format!(
            "{} still to be removed from it; {} in use there stay",
            secrets(copies.saturating_sub(used)),
            secrets(used)
        ),
        None => "the Secrets that nothing uses are removed from it".to_owned(),
    }
}

/// A number of Secrets.
pub(super) fn secrets(count: usize) -> String {
    if count == 1 { "1 Secret".to_owned() } else { format!("{count} Secrets") }
}

/// A number of ServiceAccounts.
pub(super) fn accounts(count: usize) -> String {
    if count == 1 { "1 ServiceAccount".to_owned() } else { format!("{count} ServiceAccounts") }
}
