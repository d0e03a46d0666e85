//! The state of a member, from what is known of it.

use super::MemberError;
use crate::domain::{cluster_condition::ConnectionError, connectivity::Reach};

/// For a cluster without `kube-system`, as some virtual clusters are.
const NAMELESS: &str = "it shows no namespace kube-system, whose uid identifies the cluster";

/// The state of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// Nothing usable says how to reach it.
    Invalid(MemberError),
    /// It is the cluster of another member, or of the operator.
    Duplicate {
        /// The name of that member, or `local`.
        of: String,
    },
    /// It is being listed for the first time.
    #[default]
    Connecting,
    /// It answers, but does not let everything be listed; what it said.
    Failing(ConnectionError),
    /// It does not answer; why.
    Down(ConnectionError),
    /// All is well.
    Up,
}

impl MemberState {
    /// Why there is to be no connection, as a phrase. `None`: one that there is stays as it is, as when the hub does
    /// not answer.
    pub fn breaks_connection(&self, is_connected: bool) -> Option<String> {
        match self {
            Self::Invalid(MemberError::Unreadable { .. }) if is_connected => None,
            Self::Invalid(error) => Some(error.to_string()),
            Self::Duplicate { of } => Some(format!("it is the same cluster as '{of}'")),
            _ => None,
        }
    }
}

/// The id of a cluster: the one that was seen now, else the one that was seen before at the same address.
pub(crate) fn identity(
    seen_now: Option<&str>,
    seen_before: Option<&str>,
    seen_at: Option<&str>,
    server: Option<&str>,
) -> Option<String> {
    seen_now.or(seen_before.filter(|_| seen_at == server)).map(str::to_owned)
}

/// The state of a connected member.
pub(crate) fn connected(reach: &Reach, was_probed: bool, identified: bool, shows_id: bool) -> MemberState {
    match reach {
        Reach::Up if identified => MemberState::Up,
        // It was listed while this was decided; its id will be seen in the next look.
        Reach::Up if shows_id => MemberState::Connecting,
        Reach::Up => MemberState::Failing(NAMELESS.into()),
        Reach::Connecting(None) => MemberState::Connecting,
        // Only the probe, which is in progress, can tell that it does not answer at all.
        Reach::Connecting(Some(_)) if !was_probed => MemberState::Connecting,
        Reach::Connecting(Some(why)) => MemberState::Failing(why.clone()),
        Reach::Down { why, .. } => MemberState::Down(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn at_the_same_address_it_is_the_same_cluster_until_something_else_is_seen() {
        assert_eq!(identity(None, Some("a"), Some("x"), Some("x")).as_deref(), Some("a"));
        assert_eq!(identity(None, Some("a"), Some("x"), Some("y")), None);
        assert_eq!(identity(Some("b"), Some("a"), Some("x"), Some("x")).as_deref(), Some("b"));
    }

    #[test]
    fn only_a_hub_that_does_not_answer_leaves_a_connection_as_it_is() {
        let unreadable =
            MemberState::Invalid(MemberError::Unreadable { secret: "s".into(), problem: "p".into() });
        assert_eq!(unreadable.breaks_connection(true), None);
        assert!(unreadable.breaks_connection(false).is_some());
        let missing = MemberState::Invalid(MemberError::SecretMissing { secret: "s".into() });
        assert!(missing.breaks_connection(true).is_some());
        let duplicate = MemberState::Duplicate { of: "east".into() };
        assert!(duplicate.breaks_connection(true).is_some_and(|why| why.contains("east")));
    }

    #[test]
    fn it_is_up_once_it_is_known_who_it_is() {
        assert_eq!(connected(&Reach::Up, true, true, true), MemberState::Up);
        assert_eq!(connected(&Reach::Up, true, false, true), MemberState::Connecting);
        assert!(matches!(connected(&Reach::Up, true, false, false), MemberState::Failing(_)));
        let failing = Reach::Connecting(Some("forbidden".into()));
        assert_eq!(connected(&failing, false, true, true), MemberState::Connecting);
        assert_eq!(connected(&failing, true, true, true), MemberState::Failing("forbidden".into()));
        let down = Reach::Down { why: "x".into(), since: Timestamp::UNIX_EPOCH };
        assert_eq!(connected(&down, true, true, true), MemberState::Down("x".into()));
    }
}
