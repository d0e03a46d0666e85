//! The part of the status that all kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::VerificationStatus;

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// `metadata.generation` that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Grows by one each time the produced content changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// `Ready` sums up; `Reconciling` and `Stalled` are for kstatus; the rest tells which step holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,

    /// The same counts as in `clusters`, in words for a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,

    /// How it went, per cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1024),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub clusters: Vec<ClusterStatus>,

    /// Who uses the produced Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,

    /// When the content ceases to be valid, where it is for a time only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// What the registries said of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationStatus>,

    /// The last sync that was asked for with the annotation `claviger.dev/sync-requested-at`.
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
    /// Secrets in place and desired, over all clusters, such as `119/120`.
    #[schemars(length(max = 63))]
    pub namespaces: String,
    /// Clusters in sync and desired, such as `1/1`.
    #[schemars(length(max = 63))]
    pub clusters: String,
}

/// One cluster's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Name of the cluster; `local` is the one that the operator runs in.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Where this cluster stands.
    pub state: ClusterState,

    /// Why the cluster as a whole stands there, such as `Unreachable`; absent when only namespaces fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub reason: Option<String>,

    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// Since when it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,

    /// The revision that all Secrets there have; absent until that was so once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// When all Secrets there were last brought in line after they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,

    /// Counts of target namespaces.
    pub namespaces: NamespaceCounts,

    /// The first failures, worst first; at most 10. `namespaces.failed` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<TargetFailure>,
}

/// Where a cluster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClusterState {
    /// Every desired Secret was seen there with the right content.
    Synced,
    /// Work is under way, or waits for something.
    Pending,
    /// Some Secret could not be brought in line; see `failures`.
    Error,
    /// The cluster does not answer; the counts are the last that were seen.
    Unreachable,
}

/// Counts of namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCounts {
    /// Namespaces that should have the Secret.
    pub desired: i64,
    /// Of these, the ones where it was seen with the right content.
    pub synced: i64,
    /// Of these, the ones where it cannot be.
    pub failed: i64,
}

/// One namespace that could not be brought in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetFailure {
    /// The namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Why, as one stable word, such as `SecretNameConflict`.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// What it is about, and the remedy.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Who uses the produced Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct References {
    /// How many users there are.
    pub total: i64,
    /// How many of them hold back a deletion.
    pub blocking: i64,
    /// The first of them, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<Reference>,
}

/// One user of a produced Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// The cluster that it lives in.
    #[schemars(length(max = 253))]
    pub cluster: String,
    /// Its kind, such as `Pod`.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The field that names the Secret, such as `spec.imagePullSecrets`.
    #[schemars(length(max = 253))]
    pub field: String,
}

/// The outcome of a sync that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// The value of the annotation that was handled.
    #[schemars(length(max = 253))]
    pub last_handled_request: String,
    /// Namespaces that were looked at.
    pub attempted: i64,
    /// Of these, the ones in sync afterwards.
    pub succeeded: i64,
    /// Of these, the ones not in sync afterwards.
    pub failed: i64,
}
