//! The part of the status that all kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::VerificationStatus;

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// The `metadata.generation` that this status is about; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Increases by one each time the content of the copies changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// `Ready` is the summary. `Reconciling` and `Stalled` are for kstatus. The others show which step has a problem.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,

    /// The counts of `clusters`, as `kubectl get` shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,

    /// The state of each target cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1024),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub clusters: Vec<ClusterStatus>,

    /// Objects that use the copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,

    /// When the content expires. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// What the registries or the endpoint answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationStatus>,

    /// The last sync that was requested with the annotation `claviger.dev/sync-requested-at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStatus>,
}

impl CredentialStatus {
    /// The fields of this part, as they are in JSON. Any other field belongs to a kind.
    pub(crate) const FIELDS: [&str; 9] = [
        "observedGeneration",
        "revision",
        "conditions",
        "summary",
        "clusters",
        "references",
        "expirationTime",
        "verification",
        "sync",
    ];
}

/// Conditions as a list map by type, with the limits that Kubernetes' own types have in definitions.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<Vec<Condition>>();
    let limits = [("type", 316), ("reason", 1024), ("message", 32768)];
    for (field, longest) in limits {
        if let Some(field) = schema.pointer_mut(&format!("/items/properties/{field}")) {
            field["maxLength"] = longest.into();
        }
    }
    schema.insert("maxItems".to_owned(), 16.into());
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".to_owned(), ["type"].as_slice().into());
    schema
}

/// Counts as `kubectl get` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Copies in place and desired, in all clusters, such as `119/120`.
    #[schemars(length(max = 63))]
    pub namespaces: String,
    /// Clusters in sync and desired, such as `1/1`.
    #[schemars(length(max = 63))]
    pub clusters: String,
}

/// The state of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Name of the cluster; `local` is the one that the operator runs in.
    #[schemars(length(max = 253))]
    pub name: String,

    /// State of the copies in this cluster.
    pub state: ClusterState,

    /// Why the whole cluster is in this state, such as `Unreachable`. Absent when only namespaces fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub reason: Option<String>,

    /// The reason in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// When the cluster entered this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,

    /// The revision that all copies in the cluster have, or last had. Absent until all of them have had the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// When the copies in the cluster last became in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,

    /// Counts of target namespaces.
    pub namespaces: NamespaceCounts,

    /// The first failures, worst first; at most 10. `namespaces.failed` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<TargetFailure>,
}

/// State of the copies in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClusterState {
    /// Every desired copy was seen there with the right content.
    Synced,
    /// Work is in progress, or waits; `message`, if there is one, says for what.
    Pending,
    /// Some copies could not be brought in sync; see `message` and `failures`.
    Error,
    /// The cluster does not answer. The counts are the last known ones.
    Unreachable,
}

/// Counts of namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCounts {
    /// Namespaces that should have a copy.
    pub desired: i64,
    /// Of these, the ones whose copy was seen with the right content.
    pub synced: i64,
    /// Of these, the ones that cannot have it now.
    pub failed: i64,
}

/// A namespace that cannot have its copy now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetFailure {
    /// The namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Why, as one stable word, such as `SecretNameConflict`.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// What is wrong, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Objects that use the copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct References {
    /// How many objects use the copies.
    pub total: i64,
    /// How many of them block the deletion of the credential.
    pub blocking: i64,
    /// The first of these objects, at most 50; those that block the deletion come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<Reference>,
}

/// An object that uses a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// Cluster of the object.
    #[schemars(length(max = 253))]
    pub cluster: String,
    /// Kind of the object, such as `Pod`.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Namespace of the object.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The field that names the Secret, such as `spec.imagePullSecrets`.
    #[schemars(length(max = 253))]
    pub field: String,
}

/// The result of a requested sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// The value of the annotation that was handled.
    #[schemars(length(max = 253))]
    pub last_handled_request: String,
    /// Namespaces that were checked.
    pub attempted: i64,
    /// Of these, the ones in sync afterwards.
    pub succeeded: i64,
    /// Of these, the ones not in sync afterwards.
    pub failed: i64,
}
