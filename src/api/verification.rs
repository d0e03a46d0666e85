//! How a credential is tried at the service that it is for, and what came of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether and how Claviger tests the login at the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// What happens when the registry refuses the login. Default: Warn; for provider Scaleway, Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "VerificationMode")]
    pub mode: Option<VerificationMode>,

    /// How often the login is tested again when nothing has changed: from 1h to 168h (a week), such as 12h. Default:
    /// 6h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('168h')").message("must be a duration from 1h to 168h, such as 6h or 1h30m"),
    )]
    pub interval: Option<String>,

    /// A repository that the login must be able to pull, as name[:tag] without the host, such as `team/app`. The
    /// default tag is `latest`. Omitted: only the login itself is tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 383))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$')").message("must be a repository as name[:tag], without the registry's host"),
    )]
    pub repository: Option<String>,

    /// A Secret in the namespace of the credential with CA certificates (PEM, at most 16 KiB) to trust for the
    /// registry, in addition to those that the operator trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretReference>,
}

/// What happens when a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerificationMode {
    /// A value that is refused is not distributed: the copies keep the last value that was not refused.
    Enforce,
    /// The value is distributed, and condition `Verified` says that it is refused.
    Warn,
    /// The value is not tested.
    Off,
}

/// A Secret in the namespace of the credential with CA certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the certificates. Default: `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

/// What the registries or the endpoint answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationStatus {
    /// The revision that was tested. Absent while the tested value is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// One entry for each login, by its key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub logins: Vec<LoginStatus>,
}

/// What the registry or endpoint answered to one login.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginStatus {
    /// The key in `auths`. Of an ObjectStorageCredential: endpoint and bucket, as HOST[:PORT]/BUCKET.
    #[schemars(length(max = 1024))]
    pub key: String,

    /// The resourceVersion of the source Secret that was tested; after a comma, that of the Secret in `caSecretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub source_version: Option<String>,

    /// The result, as a reason of condition `Verified`.
    #[schemars(length(max = 63))]
    pub reason: String,

    /// The result in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,

    /// The HTTP status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i64>,

    /// The error code of the registry or endpoint, if Claviger knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub code: Option<String>,

    /// The token server that the registry names, if it is another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub realm: Option<String>,

    /// When the registry or endpoint was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
}
