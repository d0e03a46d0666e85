//! When a member that is being deleted may go, and what stays behind.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{
    MemberState,
    status::{Observation, accounts, secrets},
};
use crate::{
    api::{MemberClusterSpec, MemberDeletionPolicy},
    domain::{
        event::{Action, Note},
        reason::Reason,
    },
};

/// What is known of a member that is being deleted.
#[derive(Clone, Debug)]
pub struct MemberRemoval<'a> {
    /// What its MemberCluster says.
    pub spec: &'a MemberClusterSpec,
    /// Whether somebody said not to wait.
    pub forced: bool,
    /// The member that its cluster is now, when it only changes its name.
    pub successor: Option<&'a str>,
    /// What was seen of it.
    pub seen: &'a Observation,
    /// Whether nothing was left to take back at the last look either.
    pub settled: bool,
    /// When its deletion was asked for.
    pub deleted: Timestamp,
    /// How long it is waited for.
    pub grace: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It goes; what to tell.
    Now(Note),
    /// It stays for now: until when a cluster that does not answer is waited for.
    Wait(Option<Timestamp>),
}

/// Whether the cluster of a member that is being deleted is to be emptied of what nothing uses.
pub fn takes_back(spec: &MemberClusterSpec, forced: bool) -> bool {
    spec.deletion_policy == MemberDeletionPolicy::RemoveUnused && !spec.paused && !forced
}

impl MemberRemoval<'_> {
    /// Whether the member may go.
    pub fn judge(&self, now: Timestamp) -> Leave {
        let normal = |reason, text| Leave::Now(Note::normal(reason, Action::Delete, text));
        let left_behind = |text| Leave::Now(Note::warning(Reason::LeftBehind, Action::Delete, text));
        if matches!(self.seen.state, MemberState::Duplicate { .. }) {
            let text = "its cluster is also another member, which keeps the Secrets there";
            return normal(Reason::Removed, text.to_owned());
        }
        if let Some(name) = self.successor {
            let text = format!("its cluster is now member '{name}', which takes over the Secrets there");
            return normal(Reason::Removed, text);
        }
        let left = self.left();
        if self.spec.deletion_policy == MemberDeletionPolicy::Orphan {
            let text = format!("left in the cluster because of `deletionPolicy: Orphan`: {left}");
            return normal(Reason::Orphaned, text);
        }
        if self.forced {
            return left_behind(format!(
                "left in the cluster because of the annotation claviger.dev/force-delete: {left}"
            ));
        }
        let grace = |since: Timestamp| since.saturating_add(self.grace).unwrap_or(Timestamp::MAX);
        if self.seen.state == MemberState::Up {
            // Where writes to ServiceAccounts are refused, this does not hold the member for ever.
            let is_detached = self.seen.attached == 0 || now >= grace(self.deleted);
            let is_done = self.settled && is_detached && !self.spec.paused;
            let emptied = self.seen.copies.filter(|(all, used)| all <= used && is_done);
            return match emptied {
                None => Leave::Wait(None),
                Some((_, 0)) if self.seen.attached == 0 => {
                    normal(Reason::Removed, "no Secret of Claviger is left in the cluster".to_owned())
                }
                Some(_) if self.seen.attached == 0 => left_behind(format!(
                    "left in the cluster because Pods or other blocking objects use them: {left}"
                )),
                Some(_) => left_behind(format!(
                    "left in the cluster because they could not be detached from ServiceAccounts for {} s: {left}",
                    self.grace.as_secs()
                )),
            };
        }
        let since = self.seen.down.map_or(self.deleted, |down| down.max(self.deleted));
        let until = grace(since);
        if now < until {
            return Leave::Wait(Some(until));
        }
        left_behind(format!("left in a cluster that did not answer for {} s: {left}", self.grace.as_secs()))
    }

    /// What is in the cluster, as far as that is known.
    fn left(&self) -> String {
        let copies = match self.seen.copies {
            Some((0, _)) => "nothing".to_owned(),
            Some((all, used)) => format!("{}, {used} of them in use", secrets(all)),
            None => "an unknown number of Secrets".to_owned(),
        };
        match (self.seen.attached, self.seen.copies) {
            (0, _) => copies,
            (attached, Some((0, _))) => format!("names of Secrets in {}", accounts(attached)),
            (attached, _) => format!("{copies}, and their names in {}", accounts(attached)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn up(copies: (usize, usize)) -> Observation {
        Observation { state: MemberState::Up, copies: Some(copies), ..Observation::default() }
    }

    fn down(since: i64) -> Observation {
        Observation {
            state: MemberState::Down("gone".into()),
            down: Some(at(since)),
            ..Observation::default()
        }
    }

    fn told(removal: &MemberRemoval<'_>, seconds: i64) -> Option<(bool, String)> {
        match removal.judge(at(seconds)) {
            Leave::Now(note) => Some((note.warning, note.note)),
            Leave::Wait(_) => None,
        }
    }

    /// A removal that was settled at the last look, deleted at 0, with a minute of grace.
    fn removal<'a>(spec: &'a MemberClusterSpec, seen: &'a Observation) -> MemberRemoval<'a> {
        let grace = Duration::from_secs(60);
        MemberRemoval { spec, forced: false, successor: None, seen, settled: true, deleted: at(0), grace }
    }

    #[test]
    fn it_goes_when_only_used_secrets_are_left_twice_in_a_row() {
        let spec = MemberClusterSpec::default();
        assert!(told(&removal(&spec, &up((0, 0))), 1).is_some_and(|(warning, _)| !warning));
        assert_eq!(told(&MemberRemoval { settled: false, ..removal(&spec, &up((0, 0))) }, 1), None);
        assert_eq!(told(&removal(&spec, &up((3, 2))), 1), None);
        let (warning, text) = told(&removal(&spec, &up((2, 2))), 1).unwrap();
        assert!(warning && text.contains("2 Secrets, 2 of them in use"), "{text}");
        let paused = MemberClusterSpec { paused: true, ..spec.clone() };
        assert_eq!(told(&removal(&paused, &up((0, 0))), 9999), None);
        assert!(takes_back(&spec, false) && !takes_back(&paused, false) && !takes_back(&spec, true));
    }

    #[test]
    fn it_waits_for_what_is_attached_and_not_for_ever() {
        let spec = MemberClusterSpec::default();
        let attached = Observation { attached: 2, ..up((0, 0)) };
        let attached = removal(&spec, &attached);
        assert_eq!(told(&attached, 59), None);
        let (warning, text) = told(&attached, 60).unwrap();
        assert!(warning && text.ends_with("for 60 s: names of Secrets in 2 ServiceAccounts"), "{text}");
        assert!(told(&MemberRemoval { forced: true, ..attached.clone() }, 1).is_some());
        let seen = Observation { attached: 1, ..up((1, 1)) };
        let (_, text) = told(&removal(&spec, &seen), 60).unwrap();
        assert!(text.ends_with("1 Secret, 1 of them in use, and their names in 1 ServiceAccount"), "{text}");
    }

    #[test]
    fn an_unreachable_cluster_is_waited_for_and_not_for_ever() {
        let spec = MemberClusterSpec::default();
        let unreachable = down(30);
        let unreachable = removal(&spec, &unreachable);
        assert_eq!(told(&unreachable, 89), None);
        let (warning, text) = told(&unreachable, 90).unwrap();
        assert!(warning && text.contains("an unknown number of Secrets"), "{text}");
        let before = down(-1000);
        assert_eq!(told(&removal(&spec, &before), 59), None, "the wait begins with the deletion");
        assert!(told(&removal(&spec, &before), 60).is_some());
        assert!(told(&MemberRemoval { forced: true, ..unreachable.clone() }, 0).is_some());
        let orphan = MemberClusterSpec { deletion_policy: MemberDeletionPolicy::Orphan, ..spec.clone() };
        assert!(told(&MemberRemoval { spec: &orphan, ..unreachable }, 0).is_some());
    }

    #[test]
    fn a_member_that_changes_its_name_goes_at_once_and_takes_nothing_with_it() {
        let spec = MemberClusterSpec::default();
        for seen in [up((3, 0)), up((3, 2)), down(0), Observation::default()] {
            let removal =
                MemberRemoval { successor: Some("team.east"), settled: false, ..removal(&spec, &seen) };
            let (warning, text) = told(&removal, 0).unwrap();
            assert!(!warning && text.contains("'team.east'"), "{text}");
        }
    }

    #[test]
    fn what_belongs_to_another_member_is_left_to_it() {
        let spec = MemberClusterSpec::default();
        let duplicate = MemberState::Duplicate { of: "east".into() };
        let seen = Observation { state: duplicate, ..Observation::default() };
        assert!(told(&removal(&spec, &seen), 0).is_some_and(|(warning, _)| !warning));
    }
}
