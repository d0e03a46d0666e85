//! Members: how to reach one, and how that is told.

mod removal;
mod state;
mod status;

pub(crate) use removal::{Leave, MemberRemoval};
pub(crate) use state::{Connect, connect, connected, identity};
pub(crate) use status::{
    Deletion, MemberState, Observation, notes, status, told_how_connecting_ended, worth_writing,
};

use std::collections::BTreeMap;

use thiserror::Error;

use super::{
    access::{self, Access, AccessError, Tolerance},
    adoption::Adopt,
    identity::NamespacedName,
    reason::Reason,
    sensitive::SecretBytes,
};
use crate::api::{AdoptedFrom, ClusterTool, MemberClusterSpec};

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

/// Why there is no connection to a member.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MemberError {
    /// The Secret is not there.
    #[error("Secret '{secret}' does not exist; create it")]
    SecretMissing {
        /// Namespace and name.
        secret: String,
    },
    /// The Secret does not have the key.
    #[error("Secret '{secret}' has no key {key}; put the kubeconfig there")]
    KeyMissing {
        /// Namespace and name.
        secret: String,
        /// The key, or keys, quoted.
        key: String,
    },
    /// What stands there cannot be used.
    #[error("{}: {what} {problem}", .problem.reason())]
    Refused {
        /// Which Secret and key.
        what: String,
        /// What is wrong.
        problem: AccessError,
    },
    /// The operator was not told to use Secrets of that tool, or of that namespace.
    #[error(
        "the operator does not adopt clusters of {tool} from namespace '{namespace}'; start it with {flag}={namespace}, or write a MemberCluster with `kubeconfigSecretRef`"
    )]
    AdoptionOff {
        /// The tool.
        tool: &'static str,
        /// The namespace.
        namespace: String,
        /// The flag.
        flag: &'static str,
    },
    /// The Secret does not carry what marks the tool's clusters.
    #[error("Secret '{secret}' is not one of {tool}'s clusters: it lacks {mark}")]
    NotTheirs {
        /// Namespace and name.
        secret: String,
        /// The tool.
        tool: &'static str,
        /// What it lacks.
        mark: String,
    },
    /// The hub does not let the operator read it, or the like.
    #[error("Secret '{secret}' cannot be read: {problem}")]
    Unreadable {
        /// Namespace and name.
        secret: String,
        /// What the API server of the hub said.
        problem: String,
    },
}

impl MemberError {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::SecretMissing { .. } | Self::KeyMissing { .. } => Reason::KubeconfigMissing,
            Self::Refused { .. } => Reason::KubeconfigRefused,
            Self::AdoptionOff { .. } | Self::NotTheirs { .. } => Reason::AdoptionNotAllowed,
            Self::Unreadable { .. } => Reason::KubeconfigUnreadable,
        }
    }

    /// Whether it may pass with nobody touching the MemberCluster.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::SecretMissing { .. } | Self::KeyMissing { .. } | Self::Unreadable { .. })
    }
}

/// A Secret that says how to reach a cluster.
#[derive(Clone, Debug, Default)]
pub struct AccessSecret {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its data.
    pub data: BTreeMap<String, SecretBytes>,
}

/// Where it stands how to reach a member: the Secret. Nothing is read when that is not allowed.
///
/// # Errors
/// [`MemberError::AdoptionOff`].
pub fn place(
    spec: &MemberClusterSpec,
    operator_namespace: &str,
    adopt: &Adopt,
) -> Result<NamespacedName, MemberError> {
    let Some(from) = &spec.adopted_from else {
        let name = spec.kubeconfig_secret_ref.as_ref().map_or("", |reference| &reference.name);
        return Ok(NamespacedName::new(operator_namespace, name));
    };
    if adopt.covers(from.tool, &from.namespace) {
        return Ok(NamespacedName::new(from.namespace.as_str(), from.name.as_str()));
    }
    Err(MemberError::AdoptionOff {
        tool: tool(from.tool),
        namespace: from.namespace.clone(),
        flag: match from.tool {
            ClusterTool::ArgoCD => "--adopt-argocd-clusters",
            ClusterTool::ClusterAPI => "--adopt-cluster-api",
        },
    })
}

/// What `status.source` says.
#[must_use]
pub fn source(spec: &MemberClusterSpec, operator_namespace: &str) -> String {
    match &spec.adopted_from {
        Some(AdoptedFrom { tool, namespace, name }) => {
            let tool = match tool {
                ClusterTool::ArgoCD => "ArgoCD",
                ClusterTool::ClusterAPI => "ClusterAPI",
            };
            format!("{tool}/{namespace}/{name}")
        }
        None => {
            let name = spec.kubeconfig_secret_ref.as_ref().map_or("", |reference| &reference.name);
            format!("Kubeconfig/{operator_namespace}/{name}")
        }
    }
}

/// How to reach a member, from the Secret at its [`place`].
///
/// # Errors
/// What is missing or speaks against it.
pub fn read(
    spec: &MemberClusterSpec,
    place: &NamespacedName,
    found: Option<&AccessSecret>,
    tolerance: Tolerance,
) -> Result<Access, MemberError> {
    let secret = format!("{}/{}", place.namespace, place.name);
    let found = found.ok_or_else(|| MemberError::SecretMissing { secret: secret.clone() })?;
    if let Some(from) = &spec.adopted_from {
        owned(from, found, &secret)?;
        if from.tool == ClusterTool::ArgoCD {
            let what = format!("Secret '{secret}'");
            return access::argocd(&found.data, tolerance)
                .map_err(|problem| MemberError::Refused { what, problem });
        }
    }
    let named = spec.kubeconfig_secret_ref.as_ref().and_then(|reference| reference.key.as_deref());
    let keys = named.as_ref().map_or(&KEYS[..], std::slice::from_ref);
    let value = keys.iter().find_map(|key| found.data.get(*key).map(|value| (*key, value)));
    let Some((key, value)) = value else {
        let key = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(" nor ");
        return Err(MemberError::KeyMissing { secret, key });
    };
    let what = format!("key '{key}' of Secret '{secret}'");
    access::kubeconfig(value.expose(), tolerance).map_err(|problem| MemberError::Refused { what, problem })
}

/// Whether the Secret is what its tool would call a cluster. Without this a MemberCluster could make any
/// Secret of the namespace be tried as one.
fn owned(from: &AdoptedFrom, found: &AccessSecret, secret: &str) -> Result<(), MemberError> {
    let lacks =
        |mark: String| MemberError::NotTheirs { secret: secret.to_owned(), tool: tool(from.tool), mark };
    match from.tool {
        ClusterTool::ArgoCD => {
            if found.labels.get(ARGOCD_LABEL).is_none_or(|value| value != ARGOCD_CLUSTER) {
                return Err(lacks(format!("label {ARGOCD_LABEL}: {ARGOCD_CLUSTER}")));
            }
        }
        ClusterTool::ClusterAPI => {
            let cluster = found.labels.get(CLUSTER_API_LABEL);
            let cluster = cluster.ok_or_else(|| lacks(format!("label {CLUSTER_API_LABEL}")))?;
            if from.name.strip_suffix(CLUSTER_API_SUFFIX) != Some(cluster.as_str()) {
                return Err(lacks(format!("a name of '{cluster}{CLUSTER_API_SUFFIX}'")));
            }
        }
    }
    Ok(())
}

/// What a tool calls itself.
fn tool(tool: ClusterTool) -> &'static str {
    match tool {
        ClusterTool::ArgoCD => "Argo CD",
        ClusterTool::ClusterAPI => "Cluster API",
    }
}

#[cfg(test)]
mod tests;
