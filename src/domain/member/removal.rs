//! When a member that is being deleted may go, and what stays behind.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Deletion, status::secrets};
use crate::{
    api::MemberDeletionPolicy,
    domain::{
        event::{Action, Note},
        reason::Reason,
    },
};

/// What is known of a member that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRemoval {
    /// What is to become of the Secrets there.
    pub policy: MemberDeletionPolicy,
    /// Whether somebody said not to wait.
    pub forced: bool,
    /// Whether nothing is to be written there.
    pub paused: bool,
    /// Whether it is another member's cluster, whose Secrets are not this one's.
    pub duplicate: bool,
    /// Whether it can be worked with.
    pub up: bool,
    /// Copies there and those of them in use, when that is known.
    pub copies: Option<(usize, usize)>,
    /// Whether nothing was left to take back at the last look either.
    pub settled: bool,
    /// When its deletion was asked for.
    pub deleted: Timestamp,
    /// Since when it does not answer.
    pub down: Option<Timestamp>,
    /// How long it is waited for.
    pub grace: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It goes; what to tell.
    Now(Note),
    /// It stays for now.
    Wait(Deletion),
}

impl MemberRemoval {
    /// Whether the cluster is to be emptied of what nothing uses.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        self.policy == MemberDeletionPolicy::RemoveUnused && !self.paused && !self.duplicate && !self.forced
    }

    /// Whether the member may go.
    #[must_use]
    pub fn judge(&self, now: Timestamp) -> Leave {
        if self.duplicate {
            return Leave::Now(note(
                false,
                Reason::Removed,
                "it was the cluster of another member, which keeps its Secrets".to_owned(),
            ));
        }
        let left = self.left();
        if self.policy == MemberDeletionPolicy::Orphan {
            let text = format!("`deletionPolicy: Orphan` leaves in the cluster: {left}");
            return Leave::Now(note(false, Reason::Orphaned, text));
        }
        if self.forced {
            let text = format!("left in the cluster without waiting for it, as the annotation asks: {left}");
            return Leave::Now(note(true, Reason::LeftBehind, text));
        }
        if self.up {
            return match self.copies {
                Some((all, used)) if all <= used && self.settled && !self.paused => {
                    Leave::Now(if used == 0 {
                        note(false, Reason::Removed, "no Secret of ours is left in the cluster".to_owned())
                    } else {
                        note(
                            true,
                            Reason::LeftBehind,
                            format!("left in the cluster, as Pods use them: {left}"),
                        )
                    })
                }
                copies => Leave::Wait(Deletion { copies, until: None }),
            };
        }
        let since = self.down.map_or(self.deleted, |down| down.max(self.deleted));
        let grace = SignedDuration::try_from(self.grace).unwrap_or(SignedDuration::MAX);
        let until = since.checked_add(grace).unwrap_or(Timestamp::MAX);
        if now < until {
            return Leave::Wait(Deletion { copies: self.copies, until: Some(until) });
        }
        let text = format!("left in a cluster that did not answer for {} s: {left}", self.grace.as_secs());
        Leave::Now(note(true, Reason::LeftBehind, text))
    }

    /// What is in the cluster, as far as that is known.
    fn left(&self) -> String {
        match self.copies {
            Some((0, _)) => "nothing".to_owned(),
            Some((all, used)) => format!("{}, {used} of them in use", secrets(all)),
            None => "Secrets, nobody knows how many".to_owned(),
        }
    }
}

fn note(warning: bool, reason: Reason, note: String) -> Note {
    Note { warning, reason, action: Action::Delete, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn removal() -> MemberRemoval {
        MemberRemoval {
            policy: MemberDeletionPolicy::RemoveUnused,
            forced: false,
            paused: false,
            duplicate: false,
            up: true,
            copies: Some((0, 0)),
            settled: true,
            deleted: at(0),
            down: None,
            grace: Duration::from_secs(60),
        }
    }

    fn told(removal: &MemberRemoval, seconds: i64) -> Option<(bool, String)> {
        match removal.judge(at(seconds)) {
            Leave::Now(note) => Some((note.warning, note.note)),
            Leave::Wait(_) => None,
        }
    }

    #[test]
    fn it_goes_when_only_used_secrets_are_left_twice_in_a_row() {
        assert!(told(&removal(), 1).is_some_and(|(warning, _)| !warning));
        assert_eq!(told(&MemberRemoval { settled: false, ..removal() }, 1), None);
        assert_eq!(told(&MemberRemoval { copies: Some((3, 2)), ..removal() }, 1), None);
        let (warning, text) = told(&MemberRemoval { copies: Some((2, 2)), ..removal() }, 1).unwrap();
        assert!(warning && text.contains("2 Secrets, 2 of them in use"), "{text}");
        assert_eq!(told(&MemberRemoval { paused: true, ..removal() }, 9999), None);
        assert!(!MemberRemoval { paused: true, ..removal() }.takes_back());
    }

    #[test]
    fn an_unreachable_cluster_is_waited_for_and_not_for_ever() {
        let unreachable = MemberRemoval { up: false, copies: None, down: Some(at(30)), ..removal() };
        assert_eq!(told(&unreachable, 89), None);
        let (warning, text) = told(&unreachable, 90).unwrap();
        assert!(warning && text.contains("nobody knows"), "{text}");
        let before = MemberRemoval { down: Some(at(-1000)), ..unreachable.clone() };
        assert_eq!(told(&before, 59), None, "the wait begins with the deletion");
        assert!(told(&before, 60).is_some());
        assert!(told(&MemberRemoval { forced: true, ..unreachable.clone() }, 0).is_some());
        assert!(told(&MemberRemoval { policy: MemberDeletionPolicy::Orphan, ..unreachable }, 0).is_some());
    }

    #[test]
    fn what_belongs_to_another_member_is_left_to_it() {
        let duplicate = MemberRemoval { duplicate: true, up: false, copies: None, ..removal() };
        assert!(!duplicate.takes_back() && told(&duplicate, 0).is_some_and(|(warning, _)| !warning));
    }
}
