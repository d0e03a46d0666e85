//! DistributionPolicy: consent, given by cluster administrators, to push into other namespaces.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ClusterSelector, CredentialKind, NamespaceSelector,
    columns::{Row, USUAL, WIDE},
};

/// Allows credentials of some namespaces to be pushed into other namespaces. Policies only add permissions: a push is
/// allowed when at least one policy allows it. A credential needs no policy for its own namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "claviger.dev",
    version = "v1alpha1",
    kind = "DistributionPolicy",
    plural = "distributionpolicies",
    shortname = "dpol",
    category = "claviger",
    status = "DistributionPolicyStatus",
    derive = "PartialEq",
    doc = "Consent of the cluster's administrators: credentials of the namespaces in `from` may be pushed into the namespaces in `to`. Policies only add permissions: a policy cannot take away what another one allows."
)]
#[serde(rename_all = "camelCase")]
pub struct DistributionPolicySpec {
    /// The credentials that the policy applies to.
    pub from: PolicyFrom,

    /// Where these credentials may be pushed.
    pub to: PolicyTo,

    /// The kinds of credential that the policy applies to. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Vec<CredentialKind>,

    /// Whether the credentials may also be attached to ServiceAccounts in the namespaces in `to`, so that Pods there
    /// that name no pull Secret themselves use them (`spec.default`). Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_default: bool,

    /// Whether the credentials may mint tokens with the operator's own cloud identity, and so pull whatever that
    /// identity may pull. This is independent of `to`. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_operator_identity: bool,
}

impl DistributionPolicy {
    /// The printer columns.
    pub(super) const COLUMNS: &[Row] = &[
        ("From", "string", ".status.from", "Namespaces whose credentials may be pushed", USUAL),
        ("To", "string", ".status.to", "Namespaces that they may be pushed into", USUAL),
        ("Clusters", "string", ".status.clusters", "Clusters that they may be pushed into", USUAL),
        (
            "Credentials",
            "integer",
            ".status.credentials",
            "Credentials that the policy applies to now",
            USUAL,
        ),
        ("Age", "date", ".metadata.creationTimestamp", "", USUAL),
        ("Kinds", "string", ".spec.kinds", "Kinds that the policy applies to; empty means all", WIDE),
        ("Default", "boolean", ".spec.allowDefault", "Whether they may be attached to ServiceAccounts", WIDE),
    ];
}

/// What the operator reports about a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DistributionPolicyStatus {
    /// The `metadata.generation` that this status is about; -1 until the operator has seen the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The namespaces in `spec.from`, in words: `all`, `by label`, names, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub from: Option<String>,

    /// The namespaces in `spec.to`, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub to: Option<String>,

    /// The clusters in `spec.to`, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub clusters: Option<String>,

    /// How many credentials the policy applies to now: those of `spec.kinds` in the namespaces in `spec.from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<i64>,
}

/// The credentials that a policy applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyFrom {
    /// Namespaces of the credentials. Omitted: none.
    pub namespaces: NamespaceSelector,
}

/// Where a policy allows credentials to be pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTo {
    /// Namespaces that the credentials may be pushed into. `kube-system`, `kube-public`, `kube-node-lease` and the
    /// namespace of the operator are included only if `names` lists them.
    pub namespaces: NamespaceSelector,

    /// Clusters in which the credentials may be pushed into these namespaces. Omitted: only `local`, the cluster that
    /// the operator runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSelector>,

    /// Keys of labels and annotations that credentials may put on the copies there (`spec.target.labels` and
    /// `spec.target.annotations`). An entry that ends in `/` allows all keys with that prefix. Omitted: none. A
    /// credential needs no permission for them in its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 317)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allowed_metadata: Vec<String>,
}
