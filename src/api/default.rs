//! The registry of a namespace: whose Secret the Pods pull with that name none themselves.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The highest priority that a default may have.
pub const MAX_PRIORITY: i32 = 1_000_000_000;

/// Whether Pods that name no pull Secret themselves get this one through their ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefaultSpec {
    /// Whether the operator adds the name of the Secret to `imagePullSecrets` of ServiceAccounts in the target
    /// namespaces, even before the Secret exists. Kubernetes then gives it to new Pods that name no pull Secret
    /// themselves. Every namespace other than that of the credential needs a DistributionPolicy with `allowDefault`.
    pub enabled: bool,

    /// If a namespace has several defaults for the same registry, the one with the highest priority wins. If two have
    /// the same priority, neither is newly attached.
    #[serde(default)]
    #[schemars(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub priority: i32,

    /// Names of the ServiceAccounts. One that does not exist yet gets the Secret when it is created.
    #[serde(default = "default_service_accounts")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))").message("must be valid names of ServiceAccounts: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub service_accounts: Vec<String>,

    /// Whether the operator evicts, once, Pods that were created too early and cannot pull, so that their controller
    /// creates new ones with the Secret. It evicts only Pods of a ReplicaSet, StatefulSet, DaemonSet or
    /// ReplicationController in which no container has run, and needs permission for it (`defaults.restartStuckPods` of
    /// the chart).
    #[serde(default)]
    pub restart_stuck_pods: bool,
}

fn default_service_accounts() -> Vec<String> {
    vec!["default".to_owned()]
}

/// The ServiceAccounts that the Secret is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefaultStatus {
    /// ServiceAccounts that exist and should name the Secret, over all clusters.
    pub desired: i64,

    /// Of these, the ones that name it.
    pub attached: i64,

    /// Of these, the ones that cannot name it now.
    pub failed: i64,

    /// The first failures, worst first; at most 10. `failed` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<DefaultFailure>,

    /// Pods that were created before the Secret was attached, and cannot pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<StuckPods>,
}

/// A ServiceAccount that cannot name the Secret now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefaultFailure {
    /// The cluster.
    #[schemars(length(max = 253))]
    pub cluster: String,

    /// The namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,

    /// The ServiceAccount.
    #[schemars(length(max = 253))]
    pub service_account: String,

    /// Why, as one stable word, such as `DefaultConflict`.
    #[schemars(length(max = 63))]
    pub reason: String,

    /// What is wrong, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Pods that were created before the Secret was attached, and cannot pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StuckPods {
    /// Number of Pods.
    pub total: i64,

    /// The first 10 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<StuckPod>,
}

/// A Pod that was created before the Secret was attached, and cannot pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StuckPod {
    /// The cluster.
    #[schemars(length(max = 253))]
    pub cluster: String,

    /// The namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,

    /// The Pod.
    #[schemars(length(max = 253))]
    pub name: String,

    /// When the Pod was created.
    pub since: Time,

    /// The reason that kubelet gives, such as `ImagePullBackOff`.
    #[schemars(length(max = 63))]
    pub reason: String,
}
