//! DistributionPolicy: consent, given by cluster administrators, to push into other namespaces.

// The lint takes two printer columns of the same type for one attribute written twice.
#![allow(clippy::duplicated_attributes)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterSelector, CredentialKind, NamespaceSelector};

/// Allows credentials of some namespaces to be pushed into other namespaces. Policies only ever
/// add: a push is allowed when any one policy allows it. A credential writes into its own namespace
/// without a policy.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "claviger.dev",
    version = "v1alpha1",
    kind = "DistributionPolicy",
    plural = "distributionpolicies",
    shortname = "dpol",
    category = "claviger",
    derive = "PartialEq",
    doc = "Consent of the cluster's administrators: credentials of the namespaces in `from` may be pushed into the namespaces in `to`. Policies only ever add.",
    printcolumn(
        name = "From",
        type_ = "string",
        json_path = ".spec.from.namespaces.names",
        description = "Namespaces that may push, by name"
    ),
    printcolumn(
        name = "To",
        type_ = "string",
        json_path = ".spec.to.namespaces.names",
        description = "Namespaces that may be pushed into, by name"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Clusters",
        type_ = "string",
        json_path = ".spec.to.clusters.names",
        description = "Clusters that may be pushed into, by name; see the spec for those by label",
        priority = "1"
    ),
    printcolumn(
        name = "Kinds",
        type_ = "string",
        json_path = ".spec.kinds",
        description = "Kinds that the policy is about; empty means all",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct DistributionPolicySpec {
    /// Whose credentials the policy is about.
    pub from: PolicyFrom,

    /// Where they may go.
    pub to: PolicyTo,

    /// The kinds of credential that the policy is about. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Vec<CredentialKind>,
}

/// Whose credentials a policy is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyFrom {
    /// Namespaces of the credentials. Omitted: none.
    pub namespaces: NamespaceSelector,
}

/// Where a policy lets credentials go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTo {
    /// Namespaces that may be pushed into. `kube-system`, `kube-public`, `kube-node-lease` and the
    /// namespace of the operator only when they stand in `names`.
    pub namespaces: NamespaceSelector,

    /// Clusters that may be pushed into, in the namespaces above. Omitted: only `local`, the cluster that
    /// the operator runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSelector>,
}
