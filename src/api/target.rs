//! Where a credential goes: selectors shared by all kinds.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Which namespaces get the Secret, and what it is called there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the copies, the same in every namespace. Default: the name of the credential. When you change it, new
    /// copies are written, and old ones stay while Pods or other blocking objects use them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub secret_name: Option<String>,

    /// Namespaces that get the Secret. Omitted: only the namespace of the credential, in each of the
    /// clusters. Any other namespace needs a DistributionPolicy that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,

    /// Clusters in which these namespaces get the Secret. Omitted: only `local`, the cluster that the operator runs in.
    /// Any other cluster needs a DistributionPolicy that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSelector>,

    /// Labels for the copies. Ownership markers of Argo CD, Flux, Helm, Kubernetes and similar tools are refused: these
    /// tools would take the copies for their own. In other namespaces a DistributionPolicy must allow the keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 32,
        "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"}
    ))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k.split('/')[0]) <= 253)").message("may have at most 253 characters before the '/' of a key"),
        validation = Rule::new("self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))").message("must have valid label keys"),
        validation = Rule::new("!self.exists(k, k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/instance'] || (k == 'owner' && self[k] == 'helm') || k.matches('^(([a-z0-9.-]+[.])?(claviger[.]dev|argoproj[.]io|fluxcd[.]io|helm[.]sh|cattle[.]io|k14s[.]io|cert-manager[.]io|(x-)?k8s[.]io)|((applyset|batch|config|kubectl|node)[.])?kubernetes[.]io)/'))").message("may not contain ownership markers of Claviger, Argo CD, Flux, Helm, Rancher, kapp, cert-manager or Kubernetes: these tools would take the copies for their own and change or prune them"),
    )]
    pub labels: BTreeMap<String, String>,

    /// Annotations for the copies. The same rules apply as to `labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(
        validation = Rule::new("self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))").message("must have valid annotation keys"),
        validation = Rule::new("self.all(k, size(k.split('/')[0]) <= 253)").message("may have at most 253 characters before the '/' of a key"),
        validation = Rule::new("!self.exists(k, k.matches('^(([a-z0-9.-]+[.])?(claviger[.]dev|argoproj[.]io|fluxcd[.]io|helm[.]sh|cattle[.]io|k14s[.]io|cert-manager[.]io|(x-)?k8s[.]io)|((applyset|batch|config|kubectl|node)[.])?kubernetes[.]io)/'))").message("may not contain ownership markers of Claviger, Argo CD, Flux, Helm, Rancher, kapp, cert-manager or Kubernetes: these tools would take the copies for their own and change or prune them"),
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Namespaces by name and by label. `names` and `selector` add up; `exclude` always wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Namespaces by name. They do not have to exist yet. Only this list selects `kube-system`, `kube-public`,
    /// `kube-node-lease` and the namespace of the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespaces")]
    pub names: Vec<String>,

    /// Namespaces by label. The empty selector `{}` selects all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Namespaces to leave out, even if `names` or `selector` selects them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespaces")]
    pub exclude: Vec<String>,
}

/// Clusters by name and by label. `names` and `selector` add up; `exclude` always wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSelector {
    /// Clusters by the name of their MemberCluster. `local` is the cluster that the operator runs in;
    /// `in-cluster`, as Argo CD calls it, means the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "clusters")]
    pub names: Vec<String>,

    /// Clusters by the labels of their MemberCluster. The empty selector `{}` selects all of them, including `local`,
    /// whose labels a flag of the operator sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Clusters to leave out, even if `names` or `selector` selects them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "clusters")]
    pub exclude: Vec<String>,
}

/// Names of namespaces, each once, and at most so many.
fn namespaces(_: &mut SchemaGenerator) -> Schema {
    names(1024, 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
}

/// The same of clusters; one that was adopted from any namespace has that before a dot.
fn clusters(_: &mut SchemaGenerator) -> Schema {
    names(256, 127, "^([a-z0-9]([-a-z0-9]*[a-z0-9])?[.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
}

fn names(most: u32, longest: u32, pattern: &str) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern},
        "maxItems": most,
        "x-kubernetes-list-type": "set",
    })
}

/// A label selector, as everywhere in Kubernetes: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,

    /// Further requirements for labels. All of them must be met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0").message("`values` must be given for In and NotIn, and may not be given for Exists and DoesNotExist")
)]
pub struct SelectorRequirement {
    /// The key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// How the label is compared with `values`.
    pub operator: SelectorOperator,

    /// Values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}

/// How a label is compared. `NotIn` and `DoesNotExist` also match if the label is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// The label exists, with one of the values.
    In,
    /// The label is missing, or has none of the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

/// What happens to the copies when the credential is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// All copies stay while a Pod or other blocking object uses one of them; then they are deleted.
    #[default]
    Protect,
    /// All copies stay, and Claviger does not manage them any more: it removes its labels and annotations, and adds the
    /// annotation `claviger.dev/released-from` with the credential that they came from.
    Orphan,
    /// All copies are deleted at once, even if they are in use.
    Force,
}
