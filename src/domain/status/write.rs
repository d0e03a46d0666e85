//! When a status is worth writing.

use std::time::Duration;

use crate::{
    api::CredentialStatus,
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        schedule::{PROGRESS_PAUSE, REFERENCES_PAUSE, STATUS_PAUSE},
    },
};

/// What is known of the writes of one status.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Writing {
    /// How long ago the status was written last by this process.
    pub since_written: Option<Duration>,
    /// Whether work was in progress then.
    pub was_in_progress: bool,
    /// Whether work is in progress now.
    pub in_progress: bool,
    /// For how long there have been news that were not written.
    pub since_news: Duration,
}

/// How long to wait before `next` is written; `None` when it says nothing new. `previous` is what the server has.
pub(crate) fn when_to_write(
    previous: Option<&CredentialStatus>,
    next: &CredentialStatus,
    writing: Writing,
) -> Option<Duration> {
    // A status that says that work goes on is held back a while: mostly the next one says that it is done.
    let held =
        if writing.in_progress { PROGRESS_PAUSE.saturating_sub(writing.since_news) } else { Duration::ZERO };
    let Some(previous) = previous.filter(|status| !status.conditions.is_empty()) else {
        return Some(held);
    };
    if previous == next {
        return None;
    }
    let Some(age) = writing.since_written else { return Some(held) };
    let paused = |pause: Duration| pause.saturating_sub(age);
    if lags(previous, next) {
        return Some(Duration::ZERO);
    }
    if is_urgent(previous, next) {
        return Some(paused(STATUS_PAUSE));
    }
    // Whoever waits for a deletion wants to know for whom.
    let deleting = condition::find(&next.conditions, ConditionType::DeletionBlocked).is_some();
    if !deleting && only_references(previous, next) {
        return Some(paused(REFERENCES_PAUSE));
    }
    // The end of work that a status has told of is told at once.
    let ended = writing.was_in_progress && !writing.in_progress;
    Some(if ended { Duration::ZERO } else { held.max(paused(STATUS_PAUSE)) })
}

/// The status may be one revision behind the copies, and no more: see domain::revision.
fn lags(previous: &CredentialStatus, next: &CredentialStatus) -> bool {
    next.revision.unwrap_or(0) > previous.revision.unwrap_or(0).saturating_add(1)
}

fn is_urgent(previous: &CredentialStatus, next: &CredentialStatus) -> bool {
    let blocked = |status: &CredentialStatus| {
        condition::find(&status.conditions, ConditionType::DeletionBlocked).map(ConditionStatus::of)
    };
    let in_use =
        |status: &CredentialStatus| status.references.as_ref().is_some_and(|users| users.blocking > 0);
    blocked(previous) != blocked(next) || in_use(previous) != in_use(next)
}

fn only_references(previous: &CredentialStatus, next: &CredentialStatus) -> bool {
    let without = |status: &CredentialStatus| {
        let mut status = CredentialStatus { references: None, ..status.clone() };
        // Its message names users.
        for condition in &mut status.conditions {
            condition.message.clear();
        }
        status
    };
    previous.references != next.references && without(previous) == without(next)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{Condition, Time},
        jiff::Timestamp,
    };

    use super::*;
    use crate::api::References;

    fn status(revision: i64, users: i64) -> CredentialStatus {
        CredentialStatus {
            revision: Some(revision),
            conditions: vec![Condition {
                last_transition_time: Time(Timestamp::UNIX_EPOCH),
                message: String::new(),
                observed_generation: None,
                reason: "R".into(),
                status: "True".into(),
                type_: "Ready".into(),
            }],
            references: Some(References { total: users, blocking: users, items: Vec::new() }),
            ..CredentialStatus::default()
        }
    }

    fn ago(millis: u64) -> Writing {
        Writing { since_written: Some(Duration::from_millis(millis)), ..Writing::default() }
    }

    #[test]
    fn an_equal_status_is_not_written_and_a_first_one_at_once() {
        assert_eq!(when_to_write(Some(&status(1, 0)), &status(1, 0), ago(5)), None);
        assert_eq!(when_to_write(None, &status(1, 0), Writing::default()), Some(Duration::ZERO));
    }

    #[test]
    fn at_most_one_a_second_and_one_in_thirty_for_who_uses_what() {
        let wait = |next: &CredentialStatus, age| when_to_write(Some(&status(1, 3)), next, ago(age));
        assert_eq!(wait(&status(2, 3), 400), Some(Duration::from_millis(600)));
        assert_eq!(wait(&status(2, 3), 1000), Some(Duration::ZERO));
        assert_eq!(wait(&status(1, 4), 1000), Some(Duration::from_secs(29)));
    }

    #[test]
    fn what_holds_a_deletion_is_told_within_a_second_when_it_begins_and_ends() {
        let first = Some(Duration::ZERO);
        assert_eq!(when_to_write(Some(&status(1, 0)), &status(1, 1), ago(1000)), first);
        assert_eq!(when_to_write(Some(&status(1, 1)), &status(1, 0), ago(1000)), first);
        let soon = Some(Duration::from_millis(600));
        assert_eq!(when_to_write(Some(&status(1, 1)), &status(1, 0), ago(400)), soon, "it may flap");
        assert_eq!(when_to_write(Some(&status(1, 0)), &status(3, 0), ago(1)), first, "two revisions behind");
    }

    #[test]
    fn that_work_goes_on_is_told_after_a_while_and_its_end_at_once() {
        let busy = Writing { in_progress: true, ..ago(5000) };
        assert_eq!(when_to_write(Some(&status(1, 0)), &status(2, 0), busy), Some(PROGRESS_PAUSE));
        let waited = Writing { since_news: PROGRESS_PAUSE, ..busy };
        assert_eq!(when_to_write(Some(&status(1, 0)), &status(2, 0), waited), Some(Duration::ZERO));
        let done = Writing { was_in_progress: true, ..ago(5) };
        assert_eq!(when_to_write(Some(&status(1, 0)), &status(2, 0), done), Some(Duration::ZERO));
    }
}
