//! What can be the matter with a cluster as a whole.

use std::fmt;

use crate::api::ClusterState;

/// Why an API server does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// How it refuses whoever asks; none when it does not answer, or fails.
    pub refusal: Option<Refusal>,
    /// The phrase.
    pub text: String,
}

/// How an API server refuses whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not know who asks: the credentials are void.
    Unauthorized,
    /// Who asks has no right to it.
    Forbidden,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self { refusal: None, text: text.to_owned() }
    }
}

/// What is the matter with a cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterTrouble {
    /// It does not answer, or there is no way to it; why, as a phrase.
    Unreachable(String),
    /// It is being listed for the first time.
    Connecting,
    /// There is no such member.
    NotFound,
    /// Its MemberCluster says to write nothing.
    Paused,
    /// It takes no more requests just now; what it said.
    Throttled(String),
    /// It answers, but fails, as with a full disk; what it said.
    Failing(String),
}

impl ClusterTrouble {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Unreachable",
            Self::Connecting => "Connecting",
            Self::NotFound => "ClusterNotFound",
            Self::Paused => "Paused",
            Self::Throttled(_) => "Throttled",
            Self::Failing(_) => "ServerError",
        }
    }

    /// What it is, and the remedy where only a person has one.
    #[must_use]
    pub fn message(&self, cluster: &str) -> String {
        match self {
            Self::Unreachable(why) => format!("cluster '{cluster}' does not answer: {why}"),
            Self::Connecting => format!("cluster '{cluster}' is being connected to"),
            Self::NotFound => format!(
                "there is no cluster '{cluster}'; create a MemberCluster of that name, or take it out of `spec.target.clusters`"
            ),
            Self::Paused => {
                format!("cluster '{cluster}' is paused: `spec.paused` of its MemberCluster stops all writes")
            }
            Self::Throttled(why) => format!("cluster '{cluster}' takes no more requests just now: {why}"),
            Self::Failing(why) => format!("cluster '{cluster}' cannot take the Secret just now: {why}"),
        }
    }

    /// How the cluster's row says it.
    #[must_use]
    pub fn state(&self) -> ClusterState {
        match self {
            Self::Unreachable(_) => ClusterState::Unreachable,
            Self::Connecting | Self::Paused | Self::Throttled(_) => ClusterState::Pending,
            Self::NotFound | Self::Failing(_) => ClusterState::Error,
        }
    }

    /// Whether only a person can mend it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::NotFound | Self::Paused)
    }
}
