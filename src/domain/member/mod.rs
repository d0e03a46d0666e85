//! Members: how to reach one, and what its status says.

mod origin;
mod removal;
mod state;
mod status;

pub(crate) use origin::Origin;
pub(crate) use removal::{Leave, MemberRemoval, takes_back};
pub(crate) use state::{MemberState, connected, identity};
pub(crate) use status::{Observation, note, status, told_how_connecting_ended, worth_writing};

use std::collections::BTreeMap;

use thiserror::Error;

use super::{
    access::{self, Access, AccessError},
    adoption::Adopt,
    content::ReadSecret,
    identity::NamespacedName,
    reason::Reason,
};
use crate::api::{AdoptedFrom, ClusterTool};

/// Label of Argo CD's cluster Secrets; its value is [`ARGOCD_CLUSTER`].
pub const ARGOCD_LABEL: &str = "argocd.argoproj.io/secret-type";

/// Value of [`ARGOCD_LABEL`].
pub const ARGOCD_CLUSTER: &str = "cluster";

/// Label of Cluster API's Secrets: the name of the cluster.
pub const CLUSTER_API_LABEL: &str = "cluster.x-k8s.io/cluster-name";

/// How Cluster API's kubeconfig Secrets end, after the name of the cluster.
pub const CLUSTER_API_SUFFIX: &str = "-kubeconfig";

/// Keys of a kubeconfig when none is named, in the order in which they are tried.
const KEYS: [&str; 2] = ["value", "kubeconfig"];

/// Why there is no connection to a member. `secret` is namespace and name of the Secret that says how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MemberError {
    /// The MemberCluster names no Secret.
    #[error("`spec.kubeconfigSecretRef` is not given; name the Secret with the kubeconfig there")]
    SourceMissing,
    /// The Secret does not exist.
    #[error("Secret '{secret}' does not exist; create it")]
    SecretMissing { secret: String },
    /// The Secret does not have the key, or any of the keys, which are quoted.
    #[error("Secret '{secret}' has no key {key}; put the kubeconfig there")]
    KeyMissing { secret: String, key: String },
    /// The Secret holds what cannot be used; `what` names the Secret and its key.
    #[error("{}: {what} {problem}", .problem.reason())]
    Refused { what: String, problem: AccessError },
    /// The operator was not told to use Secrets of that tool, or of that namespace.
    #[error(
        "the operator does not adopt clusters of {tool} from namespace '{namespace}'; start it with {flag}={namespace}, or write a MemberCluster with `kubeconfigSecretRef`"
    )]
    AdoptionOff { tool: &'static str, namespace: String, flag: &'static str },
    /// The Secret lacks what marks the clusters of the tool.
    #[error("Secret '{secret}' is not one of {tool}'s clusters: it lacks {mark}")]
    NotTheirs { secret: String, tool: &'static str, mark: String },
    /// No connection can be tried, as with a certificate that TLS does not take; what is wrong.
    #[error("no connection can be made with the content of the Secret: {0}")]
    Unusable(String),
    /// The API server of the hub does not let the operator read the Secret, or the like.
    #[error("Secret '{secret}' cannot be read: {problem}")]
    Unreadable { secret: String, problem: String },
}

impl MemberError {
    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::SourceMissing | Self::SecretMissing { .. } | Self::KeyMissing { .. } => {
                Reason::KubeconfigMissing
            }
            Self::Refused { .. } | Self::Unusable(_) => Reason::KubeconfigRefused,
            Self::AdoptionOff { .. } | Self::NotTheirs { .. } => Reason::AdoptionNotAllowed,
            Self::Unreadable { .. } => Reason::KubeconfigUnreadable,
        }
    }

    /// Whether it may pass with nobody touching the MemberCluster.
    pub fn is_waiting(&self) -> bool {
        matches!(self.reason(), Reason::KubeconfigMissing | Reason::KubeconfigUnreadable)
    }
}

/// The Secret that says how to reach a member, when the operator may read it.
///
/// # Errors
/// [`MemberError::SourceMissing`] and [`MemberError::AdoptionOff`].
pub fn place(origin: Option<&Origin>, adopt: &Adopt) -> Result<NamespacedName, MemberError> {
    let origin = origin.ok_or(MemberError::SourceMissing)?;
    if let Some(AdoptedFrom { tool, namespace, .. }) = origin.adopted()
        && !adopt.covers(*tool, namespace)
    {
        let (tool, flag) = title_and_flag(*tool);
        return Err(MemberError::AdoptionOff { tool, namespace: namespace.clone(), flag });
    }
    Ok(origin.secret())
}

/// How to reach a member, from the Secret of its origin.
///
/// # Errors
/// What is missing, or why the Secret is not used.
pub fn read(origin: &Origin, found: Option<ReadSecret>, allow_insecure: bool) -> Result<Access, MemberError> {
    let secret = origin.secret().to_string();
    let Some(mut found) = found else { return Err(MemberError::SecretMissing { secret }) };
    let data = found.take_data();
    let named = match origin {
        Origin::Adopted(from) => {
            check_mark(from, &found.0.metadata.labels.take().unwrap_or_default(), &secret)?;
            if from.tool == ClusterTool::ArgoCD {
                let what = format!("Secret '{secret}'");
                return access::argocd(&data, allow_insecure)
                    .map_err(|problem| MemberError::Refused { what, problem });
            }
            None
        }
        Origin::Kubeconfig { reference, .. } => reference.key.as_deref(),
    };
    let keys = named.as_ref().map_or(&KEYS[..], std::slice::from_ref);
    let value = keys.iter().find_map(|key| data.get(*key).map(|value| (*key, value)));
    let Some((key, value)) = value else {
        let key = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(" nor ");
        return Err(MemberError::KeyMissing { secret, key });
    };
    let what = format!("key '{key}' of Secret '{secret}'");
    access::kubeconfig(value.expose(), allow_insecure)
        .map_err(|problem| MemberError::Refused { what, problem })
}

/// Checks that the tool takes the Secret for a cluster. Without this, a MemberCluster could make the operator try any
/// Secret of the namespace as one.
fn check_mark(
    from: &AdoptedFrom,
    labels: &BTreeMap<String, String>,
    secret: &str,
) -> Result<(), MemberError> {
    let (tool, _) = title_and_flag(from.tool);
    let lacks = |mark: String| MemberError::NotTheirs { secret: secret.to_owned(), tool, mark };
    match from.tool {
        ClusterTool::ArgoCD => {
            if labels.get(ARGOCD_LABEL).is_none_or(|value| value != ARGOCD_CLUSTER) {
                return Err(lacks(format!("label {ARGOCD_LABEL}: {ARGOCD_CLUSTER}")));
            }
        }
        ClusterTool::ClusterAPI => {
            let cluster = labels.get(CLUSTER_API_LABEL);
            let cluster = cluster.ok_or_else(|| lacks(format!("label {CLUSTER_API_LABEL}")))?;
            if from.name.strip_suffix(CLUSTER_API_SUFFIX) != Some(cluster.as_str()) {
                return Err(lacks(format!("a name of '{cluster}{CLUSTER_API_SUFFIX}'")));
            }
        }
    }
    Ok(())
}

/// What a tool calls itself, and the flag by which its clusters are adopted.
fn title_and_flag(tool: ClusterTool) -> (&'static str, &'static str) {
    match tool {
        ClusterTool::ArgoCD => ("Argo CD", "--adopt-argocd-clusters"),
        ClusterTool::ClusterAPI => ("Cluster API", "--adopt-cluster-api"),
    }
}

#[cfg(test)]
mod tests;
