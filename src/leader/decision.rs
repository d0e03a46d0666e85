//! Who leads, as a pure function of what was seen. Clocks of other machines are never read: a
//! holder's time is up when its record has not changed for the lease's duration on our clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Timing;

/// A lease as it was seen, and since when, on our clock, its record has not changed.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: LeaseSpec,
    pub(super) since: Instant,
}

/// What one round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Ours, by a write that began then.
    Held(Instant),
    /// It is another's for at least this long.
    Wait(Duration),
    /// We led and do not any more.
    Lost,
}

/// Returns `None` when it is ours, or nobody holds it: then we write ourselves in. `renewed` is the start of our last
/// write that went through; none for a candidate.
pub(super) fn decide(
    seen: Option<&Seen>,
    identity: &str,
    renewed: Option<Instant>,
    now: Instant,
    timing: &Timing,
) -> Option<Round> {
    if renewed.is_some_and(|renewed| now.saturating_duration_since(renewed) >= timing.renew_deadline) {
        return Some(Round::Lost);
    }
    // There is none, or it was deleted under us.
    let seen = seen?;
    match seen.spec.holder_identity.as_deref() {
        None | Some("") => None,
        // Also for a candidate: its container was started anew in the same Pod.
        Some(holder) if holder == identity => None,
        Some(_) if renewed.is_some() => Some(Round::Lost),
        Some(_) => {
            let held = now.saturating_duration_since(seen.since);
            let left = duration_of(&seen.spec, timing).saturating_sub(held);
            (!left.is_zero()).then_some(Round::Wait(left))
        }
    }
}

/// The record to write when we take the lease or renew it.
pub(super) fn held_by_us(
    previous: Option<&LeaseSpec>,
    identity: &str,
    now: Timestamp,
    timing: &Timing,
) -> LeaseSpec {
    let mut spec = previous.cloned().unwrap_or_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.acquire_time = Some(MicroTime(now));
        spec.lease_transitions =
            Some(previous.map_or(0, |previous| previous.lease_transitions.unwrap_or(0).saturating_add(1)));
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds =
        Some(i32::try_from(timing.lease_duration.as_secs()).unwrap_or(i32::MAX).max(1));
    spec.renew_time = Some(MicroTime(now));
    spec
}

/// The record that gives the lease up, as client-go writes it.
pub(super) fn released(previous: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..previous.clone()
    }
}

/// As its holder wrote it: operators of different versions may differ.
fn duration_of(spec: &LeaseSpec, timing: &Timing) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
    seconds.filter(|s| *s > 0).map_or(timing.lease_duration, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn spec(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    fn seen(spec: &LeaseSpec, since: Instant) -> Seen {
        Seen { metadata: ObjectMeta::default(), spec: spec.clone(), since }
    }

    fn candidate(spec: &LeaseSpec, held: Duration) -> Option<Round> {
        let since = Instant::now();
        decide(Some(&seen(spec, since)), "me", None, since + held, &Timing::default())
    }

    #[test]
    fn a_candidate_takes_what_nobody_holds() {
        let now = Instant::now();
        let decision = decide(None, "me", None, now, &Timing::default());
        assert_eq!(decision, None);
        assert_eq!(candidate(&spec(""), Duration::ZERO), None);
        assert_eq!(candidate(&LeaseSpec::default(), Duration::ZERO), None);
    }

    #[test]
    fn a_candidate_waits_as_long_as_the_record_was_seen_unchanged_for_less_than_its_duration() {
        assert_eq!(candidate(&spec("other"), Duration::ZERO), Some(Round::Wait(15 * SECOND)));
        assert_eq!(candidate(&spec("other"), 14 * SECOND), Some(Round::Wait(SECOND)));
        assert_eq!(candidate(&spec("other"), 15 * SECOND), None);
        let longer = LeaseSpec { lease_duration_seconds: Some(60), ..spec("other") };
        assert_eq!(candidate(&longer, 15 * SECOND), Some(Round::Wait(45 * SECOND)));
        for broken in [None, Some(0), Some(-5)] {
            let broken = LeaseSpec { lease_duration_seconds: broken, ..spec("other") };
            assert_eq!(candidate(&broken, 10 * SECOND), Some(Round::Wait(5 * SECOND)));
        }
    }

    #[test]
    fn remote_clocks_are_not_looked_at() {
        let ancient = Some(MicroTime(Timestamp::UNIX_EPOCH));
        let stale = LeaseSpec { renew_time: ancient.clone(), acquire_time: ancient, ..spec("other") };
        assert_eq!(candidate(&stale, SECOND), Some(Round::Wait(14 * SECOND)));
    }

    #[test]
    fn a_leader_renews_until_another_holds_it_or_its_deadline_passes() {
        let renewed = Instant::now();
        let leader = |spec: Option<&LeaseSpec>, after: Duration| {
            let seen = spec.map(|spec| seen(spec, renewed));
            decide(seen.as_ref(), "me", Some(renewed), renewed + after, &Timing::default())
        };
        assert_eq!(leader(Some(&spec("me")), 9 * SECOND), None);
        assert_eq!(leader(Some(&spec("me")), 10 * SECOND), Some(Round::Lost));
        assert_eq!(leader(Some(&spec("other")), SECOND), Some(Round::Lost));
        assert_eq!(leader(None, SECOND), None, "deleted under us: made anew");
        assert_eq!(leader(None, 10 * SECOND), Some(Round::Lost));
    }

    #[test]
    fn a_restart_under_the_same_name_resumes() {
        assert_eq!(candidate(&spec("me"), Duration::ZERO), None);
    }

    #[test]
    fn transitions_count_changes_of_holder_only() {
        let now = Timestamp::UNIX_EPOCH;
        let timing = Timing::default();
        let first = held_by_us(None, "me", now, &timing);
        assert_eq!(first.lease_transitions, Some(0));
        assert_eq!(first.lease_duration_seconds, Some(15));
        let taken = held_by_us(Some(&spec("other")), "me", now, &timing);
        assert_eq!(taken.lease_transitions, Some(4));
        let later = now + k8s_openapi::jiff::SignedDuration::from_secs(2);
        let renewed = held_by_us(Some(&taken), "me", later, &timing);
        assert_eq!(renewed.lease_transitions, Some(4));
        assert_eq!(renewed.acquire_time, Some(MicroTime(now)));
        assert_eq!(renewed.renew_time, Some(MicroTime(later)));
        let given_up = released(&renewed, later);
        assert_eq!(given_up.holder_identity.as_deref(), Some(""));
        assert_eq!(given_up.lease_duration_seconds, Some(1));
        assert_eq!(held_by_us(Some(&given_up), "you", later, &timing).lease_transitions, Some(5));
    }
}
