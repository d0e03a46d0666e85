//! What can be wrong with a cluster as a whole.

use thiserror::Error;

use super::reason::Reason;
use crate::api::ClusterState;

/// Why an API server does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct ConnectionError {
    /// How it refuses whoever asks; none when it does not answer, or fails.
    pub denied: Option<Denied>,
    pub message: String,
}

/// How an API server refuses whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It does not know who asks: the credentials are not valid.
    Unauthorized,
    /// Who asks has no right to it.
    Forbidden,
}

impl From<&str> for ConnectionError {
    fn from(message: &str) -> Self {
        Self { denied: None, message: message.to_owned() }
    }
}

/// What is wrong with a cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClusterCondition {
    /// It does not answer, or there is no connection to it; why, as a phrase.
    Unreachable(String),
    /// It is being listed for the first time.
    Connecting,
    /// There is no such member.
    NotFound,
    /// Its MemberCluster says to write nothing.
    Paused,
    /// It takes no more requests at the moment; what it said.
    Throttled(String),
    /// It answers, but fails, as with a full disk; what it said.
    Failing(String),
}

impl ClusterCondition {
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::Unreachable,
            Self::Connecting => Reason::Connecting,
            Self::NotFound => Reason::ClusterNotFound,
            Self::Paused => Reason::Paused,
            Self::Throttled(_) => Reason::Throttled,
            Self::Failing(_) => Reason::ServerError,
        }
    }

    /// What it is, and the remedy where only a person has one.
    pub fn message(&self, cluster: &str) -> String {
        match self {
            Self::Unreachable(why) => format!("cluster '{cluster}' does not answer: {why}"),
            Self::Connecting => format!("the operator is connecting to cluster '{cluster}'"),
            Self::NotFound => format!(
                "there is no cluster '{cluster}'; create a MemberCluster of that name, or remove it from `spec.target.clusters`"
            ),
            Self::Paused => {
                format!("cluster '{cluster}' is paused: `spec.paused` of its MemberCluster stops all writes")
            }
            Self::Throttled(why) => {
                format!("cluster '{cluster}' accepts no more requests at the moment: {why}")
            }
            Self::Failing(why) => format!("cluster '{cluster}' cannot take the Secret at the moment: {why}"),
        }
    }

    /// The same, with what the cluster said changed.
    pub fn map_text(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Unreachable(why) => Self::Unreachable(change(why)),
            Self::Throttled(why) => Self::Throttled(change(why)),
            Self::Failing(why) => Self::Failing(change(why)),
            other @ (Self::Connecting | Self::NotFound | Self::Paused) => other,
        }
    }

    /// How the cluster's row says it.
    pub fn state(&self) -> ClusterState {
        match self {
            Self::Unreachable(_) => ClusterState::Unreachable,
            Self::Connecting | Self::Paused | Self::Throttled(_) => ClusterState::Pending,
            Self::NotFound | Self::Failing(_) => ClusterState::Error,
        }
    }

    /// Whether only a person can fix it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::NotFound | Self::Paused)
    }
}
