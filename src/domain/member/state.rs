//! How a member stands, from what is known of it.

use super::{MemberError, MemberState};
use crate::domain::connectivity::Reach;

/// Of a cluster that shows no `kube-system`, as some that are made of others do not.
const NAMELESS: &str = "it shows no namespace kube-system, by whose uid clusters are told apart";

/// What is to be done about the connection to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connect {
    /// It stays as it is: it is the hub that does not answer.
    Keep,
    /// There is none; why, as a phrase.
    Break(String),
    /// To what the Secret says. Nothing is written to a cluster of which nobody knows yet whether it is another
    /// member's too.
    To { identified: bool },
}

/// By what a cluster is known: what was seen now, else what was seen before at the same address.
pub(crate) fn identity(
    seen_now: Option<&str>,
    seen_before: Option<&str>,
    seen_at: Option<&str>,
    server: Option<&str>,
) -> Option<String> {
    seen_now.or(seen_before.filter(|_| seen_at == server)).map(str::to_owned)
}

/// Decides about the connection. `duplicate` is whose cluster it is besides.
pub(crate) fn connect(
    access: Result<(), &MemberError>,
    duplicate: Option<&str>,
    is_connected: bool,
    identified: bool,
) -> Connect {
    match (access, duplicate) {
        (Err(MemberError::Unreadable { .. }), _) if is_connected => Connect::Keep,
        (Err(error), _) => Connect::Break(error.to_string()),
        (Ok(()), Some(of)) => Connect::Break(format!("it is the same cluster as '{of}'")),
        (Ok(()), None) => Connect::To { identified },
    }
}

/// How a connected member stands.
pub(crate) fn connected(reach: &Reach, was_probed: bool, identified: bool, shows_id: bool) -> MemberState {
    match reach {
        Reach::Up if identified => MemberState::Up,
        // It was listed while this was decided; who it is will be seen in the next look.
        Reach::Up if shows_id => MemberState::Connecting,
        Reach::Up => MemberState::Failing(NAMELESS.into()),
        Reach::Connecting(None) => MemberState::Connecting,
        // Whether it does not answer at all is for the probe to tell, which is on its way.
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
        let unreadable = MemberError::Unreadable { secret: "s".into(), problem: "p".into() };
        assert_eq!(connect(Err(&unreadable), None, true, true), Connect::Keep);
        assert!(matches!(connect(Err(&unreadable), None, false, true), Connect::Break(_)));
        let missing = MemberError::SecretMissing { secret: "s".into() };
        assert!(matches!(connect(Err(&missing), None, true, true), Connect::Break(_)));
        assert!(
            matches!(connect(Ok(()), Some("east"), true, true), Connect::Break(why) if why.contains("east"))
        );
        assert_eq!(connect(Ok(()), None, false, false), Connect::To { identified: false });
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
