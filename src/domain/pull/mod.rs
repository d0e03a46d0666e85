//! Why a Pod can, or cannot, pull its images: what kubelet does with the pull Secrets that it has, and what else there is.

mod expiry;
mod explain;
mod judge;
mod offer;

use std::collections::BTreeSet;

use serde::Serialize;

use super::registry::keyring::Given;

pub(crate) use explain::explain;
pub(crate) use offer::{ConsentInputs, Declaration, Offer, offers};

/// A Secret, as far as pulling is concerned.
#[derive(Clone, Debug)]
pub(crate) struct PullSecret {
    pub name: String,
    pub state: State,
}

/// What is known of a Secret.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// There is none of this name.
    Missing,
    /// It could not be read.
    Unknown,
    /// What it gives.
    Known { type_: String, given: Given },
}

/// A container, as far as pulling is concerned.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Container {
    pub name: String,
    #[serde(rename = "type")]
    pub type_: &'static str,
    /// What kubelet says that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Whether its image is on the node.
    pub pulled: bool,
}

/// Why kubelet says that a container waits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Waiting {
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Container {
    /// Whether it waits for an image that could not be pulled.
    fn is_failing(&self) -> bool {
        const FAILING: [&str; 4] =
            ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ErrImageNeverPull"];
        self.waiting.as_ref().is_some_and(|waiting| FAILING.contains(&waiting.reason.as_str()))
    }
}

/// All that is known of a Pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub namespace: String,
    pub pod: String,
    pub service_account: String,
    /// The images, each with the containers that use it.
    pub images: Vec<(String, Vec<Container>)>,
    /// The Secrets that the Pod names, in its order.
    pub attached: Vec<PullSecret>,
    /// Whether they come from its template, so that it takes none of its ServiceAccount.
    pub names_its_own: bool,
    /// Other pull Secrets of the namespace, with whether the ServiceAccount names them today.
    pub others: Vec<(PullSecret, bool)>,
    /// Credentials that want a Secret in the namespace.
    pub offers: Vec<Offer>,
}

/// Whether a Pod names pull Secrets itself, as far as is known: one that its ServiceAccount does not name today.
pub(crate) fn names_its_own(named: &[String], account: Option<&BTreeSet<String>>) -> bool {
    account.is_some_and(|account| named.iter().any(|name| !account.contains(name)))
}

/// What can be said of an image of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    /// An entry matches.
    #[serde(rename = "ok")]
    Ok,
    /// Nothing matches, and as far as is known nothing has to.
    #[serde(rename = "no credential")]
    NoCredential,
    /// What is needed is there, or on its way, but not named by the Pod.
    #[serde(rename = "not attached")]
    NotAttached,
    #[serde(rename = "Secret missing")]
    SecretMissing,
    #[serde(rename = "wrong key")]
    WrongKey,
    #[serde(rename = "expired")]
    Expired,
    #[serde(rename = "no consent")]
    NoConsent,
    /// A Secret of the Pod is such that kubelet pulls nothing for it.
    #[serde(rename = "invalid Secret")]
    InvalidSecret,
    #[serde(rename = "invalid image")]
    InvalidImage,
    /// Kubelet says that it could not pull, although an entry matches or none is known that could.
    #[serde(rename = "pull fails")]
    PullFails,
    /// A Secret could not be read.
    #[serde(rename = "unknown")]
    Unknown,
}

impl Verdict {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoCredential => "no credential",
            Self::NotAttached => "not attached",
            Self::SecretMissing => "Secret missing",
            Self::WrongKey => "wrong key",
            Self::Expired => "expired",
            Self::NoConsent => "no consent",
            Self::InvalidSecret => "invalid Secret",
            Self::InvalidImage => "invalid image",
            Self::PullFails => "pull fails",
            Self::Unknown => "unknown",
        }
    }

    /// Whether there is nothing to do.
    pub const fn is_fine(self) -> bool {
        matches!(self, Self::Ok | Self::NoCredential)
    }
}

/// The answer for a Pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub namespace: String,
    pub pod: String,
    pub service_account: String,
    /// The names of the Secrets that the Pod has, in its order.
    pub image_pull_secrets: Vec<String>,
    pub images: Vec<ImageExplained>,
}

/// The answer for one image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageExplained {
    pub image: String,
    /// What keys are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    pub containers: Vec<Container>,
    pub verdict: Verdict,
    /// The verdict in a sentence, with the remedy.
    pub message: String,
    /// First those that kubelet tries, in its order.
    pub entries: Vec<EntryExplained>,
    /// How many more entries there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One entry of a pull Secret; of a Secret without entries, what is wrong with it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EntryExplained {
    pub secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub matches: bool,
    /// One stable word.
    pub reason: &'static str,
    pub message: String,
}

#[cfg(test)]
mod tests;
