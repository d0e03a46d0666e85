//! MemberCluster: another cluster that credentials can be pushed to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    columns::{READY_MESSAGE, READY_REASON, READY_STATUS, Row, USUAL, WIDE},
    status::conditions,
};

/// Another cluster that credentials can be pushed to. `spec.target.clusters.selector` of a credential selects it by
/// its labels.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "claviger.dev",
    version = "v1alpha1",
    kind = "MemberCluster",
    plural = "memberclusters",
    shortname = "mcl",
    category = "claviger",
    status = "MemberClusterStatus",
    derive = "PartialEq",
    validation = Rule::new("!(self.metadata.name in ['local', 'in-cluster'])").message("`local` and `in-cluster` mean the cluster that the operator runs in; choose another name"),
    validation = Rule::new("self.metadata.name.matches('^([^.]{1,63}[.])?[^.]{1,63}$') && !(self.metadata.name.contains('.') && has(self.spec.kubeconfigSecretRef))").message("the name of a cluster may have at most 63 lower-case letters, digits and '-', and must begin and end with a letter or digit; only the operator puts a namespace and a '.' before it, for a cluster that it adopts"),
    doc = "Another cluster that credentials can be pushed to. The operator connects to it with a kubeconfig from a Secret in the operator's namespace."
)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterSpec {
    /// The Secret with the kubeconfig, in the namespace of the operator. It must contain everything inline: `exec`,
    /// `auth-provider` and paths to files are refused. Required, except in a MemberCluster that the operator itself
    /// creates for a cluster of Argo CD or Cluster API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret_ref: Option<KubeconfigReference>,

    /// Stops all writes to the cluster. What is there stays as it is. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,

    /// What happens to the copies in the cluster when this object is deleted.
    #[serde(default)]
    pub deletion_policy: MemberDeletionPolicy,
}

impl MemberCluster {
    /// The printer columns.
    pub(super) const COLUMNS: &[Row] = &[
        ("Ready", "string", READY_STATUS, "Whether credentials can be pushed there", USUAL),
        ("Reachable", "string", REACHABLE_STATUS, "Whether its API server answers", USUAL),
        ("Version", "string", ".status.serverVersion", "Version of its API server", USUAL),
        ("Source", "string", ".status.source", "The Secret with the connection data", USUAL),
        ("Reason", "string", READY_REASON, "Why it is ready or not", USUAL),
        ("Age", "date", ".metadata.creationTimestamp", "", USUAL),
        ("Probed", "date", ".status.lastProbeTime", PROBED, WIDE),
        ("Server", "string", ".status.server", "Address of its API server", WIDE),
        ("Message", "string", READY_MESSAGE, "The reason in a sentence", WIDE),
    ];
}

const REACHABLE_STATUS: &str = r#".status.conditions[?(@.type=="Reachable")].status"#;
const PROBED: &str = "When its API server was last probed; can be up to five minutes old";

/// Where the kubeconfig is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// The key of the kubeconfig in the Secret. Default: `value`, as in Cluster API, else `kubeconfig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

/// The Secret of another tool with the connection data of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedFrom {
    /// The tool that owns the Secret.
    pub tool: ClusterTool,

    /// Namespace of the Secret.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,

    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A tool that manages clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClusterTool {
    /// Argo CD: Secrets labelled `argocd.argoproj.io/secret-type: cluster`.
    ArgoCD,
    /// Cluster API: Secrets named `<cluster>-kubeconfig`.
    ClusterAPI,
}

/// What happens to the copies in a cluster that is no longer a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberDeletionPolicy {
    /// Copies that no Pod or other blocking object uses are deleted; the others stay.
    #[default]
    RemoveUnused,
    /// All copies stay as they are. A new MemberCluster of the same cluster takes them over again.
    Orphan,
}

/// What the operator last saw of a member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterStatus {
    /// The `metadata.generation` that this status is about; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`: credentials can be pushed to the cluster, or could if it were not paused. `Reachable`: its API server
    /// answers. `Reconciling` and `Stalled` are for kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,

    /// Version of the cluster's API server, such as `v1.36.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub server_version: Option<String>,

    /// Address of the cluster's API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub server: Option<String>,

    /// The id of the cluster: the uid of its namespace `kube-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub cluster_id: Option<String>,

    /// Kind, namespace and name of the Secret with the connection data, such as `Kubeconfig/claviger-system/east`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub source: Option<String>,

    /// The Secret of Argo CD or Cluster API that the operator created the MemberCluster from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<AdoptedFrom>,

    /// When the cluster's API server was last probed. Updated at least every five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
}
