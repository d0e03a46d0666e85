//! ObjectStorageCredential: an access key for a bucket of S3 or of a server that speaks its protocol.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CaSecretReference, CredentialStatus, DeletionPolicy, Target, VerificationMode,
    columns::{Row, USUAL, VERIFIED_STATUS, WIDE},
};

/// Whether the bucket is in the path of a URL, in CEL; for AWS S3 the names of buckets follow its rules in any case.
const IS_ASKED_BY_PATH: &str = "(has(self.endpoint) && (!has(self.pathStyle) || self.pathStyle))";

/// An access key for a bucket, written as a Secret in the format of its consumer.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "claviger.dev",
    version = "v1alpha1",
    kind = "ObjectStorageCredential",
    plural = "objectstoragecredentials",
    shortname = "oscred",
    category = "claviger",
    category = "credentials",
    namespaced,
    status = "ObjectStorageCredentialStatus",
    derive = "PartialEq",
    doc = "An access key for a bucket of AWS S3, or of a server that speaks its protocol. Claviger writes it as a Secret in the format of its consumer (a copy) into every target namespace, restores a copy that somebody changes or deletes, and keeps it while Pods or other blocking objects use it."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.endpoint) || has(self.region)").message("`region` is required without `endpoint`: the bucket is in AWS S3 then").field_path(".region"),
    validation = Rule::new("has(self.endpoint) || !has(self.region) || self.region.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("must be a region of AWS without `endpoint`, such as eu-central-1").field_path(".region"),
    validation = Rule::new(format!("!{IS_ASKED_BY_PATH} || self.bucket.matches('^[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]$')")).message("may have letters, digits, '.', '_' and '-', and must begin and end with a letter or digit").field_path(".bucket"),
    validation = Rule::new(format!("{IS_ASKED_BY_PATH} || (self.bucket.matches('^[a-z0-9][a-z0-9.-]*[a-z0-9]$') && !self.bucket.contains('..') && !self.bucket.matches('^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$'))")).message("must follow the rules of AWS without `endpoint`, and with `pathStyle: false`: lower-case letters, digits, '.' and '-'; beginning and ending with a letter or digit; no two dots in a row; and not an IP address").field_path(".bucket"),
    validation = Rule::new("!has(self.endpoint) || !has(self.pathStyle) || self.pathStyle || !self.endpoint.matches('^https?://(\\\\[|[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+(:|/|$))')").message("may not be false with an endpoint that is an IP address: the bucket becomes a part of the host name").field_path(".pathStyle"),
    validation = Rule::new("has(self.custom) == (self.format == 'Custom')").message("is required with format Custom, and may not be given with another one").field_path(".custom"),
    validation = Rule::new("!has(self.custom) || !has(self.custom.ca) || has(self.caSecretRef)").message("`custom.ca` needs `caSecretRef`, which names the certificates").field_path(".custom"),
    validation = Rule::new("!has(self.custom) || !has(self.secretRef.sessionTokenKey) || has(self.custom.sessionToken)").message("`custom.sessionToken` is required with `secretRef.sessionTokenKey`: the access key is of no use without its session token").field_path(".custom"),
    validation = Rule::new("!has(self.secretRef.sessionTokenKey) || !(self.format in ['Longhorn', 'LokiStack', 'Flux', 'CosiBucketInfo'])").message("`secretRef.sessionTokenKey` may not be given with this format, which has no place for a session token").field_path(".secretRef"),
)]
pub struct ObjectStorageCredentialSpec {
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub display_name: Option<String>,

    /// What the credential is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// The name of the bucket.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,

    /// The region of the bucket, such as `eu-central-1`, or `auto` for Cloudflare R2. Required without `endpoint`.
    /// Default with `endpoint`: us-east-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$"))]
    pub region: Option<String>,

    /// The server that has the bucket, as `https://host[:port]` without a path. An administrator must list servers
    /// with `http://` (`--plain-http-registries`), and those in private networks (`--private-registries`), or they
    /// are not asked whether the access key works. Omitted: AWS S3 in `region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 268))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://')").message("must begin with https:// or http://"),
        validation = Rule::new("!self.matches('^https?://') || self.matches('^https?://([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*|\\\\[[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7}\\\\])(:[0-9]{1,5})?/?$')").message("must be https://host[:port], without a path, a query or a user name"),
        validation = Rule::new("!self.matches('^https?://') || size(self.split('/')[2].split(':')[0]) <= 253").message("may have a host of at most 253 characters"),
        validation = Rule::new("!self.matches(':(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})/?$')").message("must have a port from 1 to 65535"),
    )]
    pub endpoint: Option<String>,

    /// Whether the bucket is in the path of a URL (`https://host/bucket`), not in the host (`https://bucket.host`).
    /// Default: true with `endpoint`, false without. When Claviger tests the access key, a bucket with a '.' in its
    /// name is in the path in any case, because no wildcard certificate covers two labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,

    /// The Secret with the access key, in the namespace of the credential. Its type is Opaque.
    pub secret_ref: ObjectStorageSecretReference,

    /// A Secret in the namespace of the credential with CA certificates (PEM, at most 16 KiB) to trust for the
    /// endpoint, in addition to those that the operator trusts. Formats Longhorn and Custom also contain them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretReference>,

    /// The consumer of the Secret. Decides its keys; its type is Opaque with all of them.
    pub format: ObjectStorageFormat,

    /// The keys of format Custom. A field that has no key here is not in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomKeys>,

    /// Whether and how Claviger tests the access key at the endpoint. Omitted: it is tested with the default mode,
    /// and condition `Verified` shows the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<ObjectStorageVerification>,

    /// Where to write the Secret. Default: the namespace of the credential.
    #[serde(default)]
    pub target: Target,

    /// What happens to the copies when the credential is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl ObjectStorageCredential {
    /// The printer columns of this kind alone.
    pub(super) const COLUMNS: &[Row] = &[
        ("Bucket", "string", ".spec.bucket", "The bucket that the access key is for", USUAL),
        ("Endpoint", "string", ".status.objectStorage.endpoint", "The server that has the bucket", USUAL),
        ("Verified", "string", VERIFIED_STATUS, "True when the endpoint accepts the access key", WIDE),
        ("Format", "string", ".spec.format", "The consumer of the Secret", WIDE),
    ];
}

/// The consumer of a Secret with an access key. The name of the bucket, its region and its endpoint are in the Secret
/// only where this says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ObjectStorageFormat {
    /// SDKs and tools of AWS, as environment variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN` if there is one, `AWS_REGION`, `AWS_DEFAULT_REGION`, and `AWS_ENDPOINT_URL_S3` if `endpoint`
    /// is given.
    Env,
    /// Velero and others that read a credentials file of AWS: key `cloud` with profile `default`.
    AwsCredentialsFile,
    /// CloudNativePG and its Barman Cloud plugin: `ACCESS_KEY_ID`, `ACCESS_SECRET_KEY`, and `ACCESS_SESSION_TOKEN` if
    /// there is one.
    CloudNativePG,
    /// Longhorn: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINTS` if `endpoint` is given, `AWS_CERT` if
    /// `caSecretRef` is given, and `VIRTUAL_HOSTED_STYLE` if `pathStyle` is given. No session token.
    Longhorn,
    /// The operator of Loki: `access_key_id`, `access_key_secret`, `bucketnames`, `endpoint`, `region` and
    /// `forcepathstyle`. No session token.
    LokiStack,
    /// Thanos: key `objstore.yml` with a whole configuration of the bucket.
    Thanos,
    /// Flux and GitLab Runner: `accesskey` and `secretkey`. No session token.
    Flux,
    /// Consumers of the Container Object Storage Interface (v1alpha1): key `BucketInfo` with JSON. No session token.
    CosiBucketInfo,
    /// Any other consumer: the keys in `custom`.
    Custom,
}

/// A Secret in the namespace of the credential, and the keys of the access key in it. It has no namespace field on
/// purpose: a tenant could read another tenant's Secret through the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.accessKeyKey) ? self.accessKeyKey : 'AWS_ACCESS_KEY_ID') != (has(self.secretKeyKey) ? self.secretKeyKey : 'AWS_SECRET_ACCESS_KEY')").message("`accessKeyKey` and `secretKeyKey` must be different"),
    validation = Rule::new("!has(self.sessionTokenKey) || (self.sessionTokenKey != (has(self.accessKeyKey) ? self.accessKeyKey : 'AWS_ACCESS_KEY_ID') && self.sessionTokenKey != (has(self.secretKeyKey) ? self.secretKeyKey : 'AWS_SECRET_ACCESS_KEY'))").message("`sessionTokenKey` must be different from the keys of the access key").field_path(".sessionTokenKey"),
)]
pub struct ObjectStorageSecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the access key id. Default: `AWS_ACCESS_KEY_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub access_key_key: Option<String>,

    /// Key of the secret access key. Default: `AWS_SECRET_ACCESS_KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub secret_key_key: Option<String>,

    /// Key of the session token of a temporary access key. Default: `AWS_SESSION_TOKEN`, if the Secret has it. A key
    /// that you name here must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub session_token_key: Option<String>,
}

/// The key of the Secret for each field. All keys must be different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(all_different()).message("must have a key of its own for each field"))]
pub struct CustomKeys {
    /// Key for the access key id.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub access_key_id: String,

    /// Key for the secret access key.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub secret_access_key: String,

    /// Key for the session token. The copies have it only if the source has a session token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub session_token: Option<String>,

    /// Key for the name of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub bucket: Option<String>,

    /// Key for the region, which is us-east-1 if the spec gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub region: Option<String>,

    /// Key for the endpoint, as `https://host[:port]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub endpoint: Option<String>,

    /// Key for the endpoint, as `host[:port]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub endpoint_host: Option<String>,

    /// Key for `true` if the bucket is in the path of a URL, else `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub path_style: Option<String>,

    /// Key for the CA certificates of `caSecretRef`, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub ca: Option<String>,
}

/// That no two fields have the same key, in CEL: pair by pair, because the API server cannot tell how much a rule on a
/// list of them costs.
fn all_different() -> String {
    const FIELDS: [&str; 9] = [
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "bucket",
        "region",
        "endpoint",
        "endpointHost",
        "pathStyle",
        "ca",
    ];
    let pairs = FIELDS.iter().enumerate().flat_map(|(n, one)| {
        let others = FIELDS.iter().skip(n + 1);
        others.map(move |other| {
            format!("!(has(self.{one}) && has(self.{other}) && self.{one} == self.{other})")
        })
    });
    pairs.collect::<Vec<_>>().join(" && ")
}

/// Whether and how Claviger tests the access key at the endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStorageVerification {
    /// What happens when the endpoint refuses the access key. Default: Warn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "VerificationMode")]
    pub mode: Option<VerificationMode>,

    /// How often the access key is tested again when nothing has changed: from 1h to 168h (a week), such as 12h.
    /// Default: 6h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('168h')").message("must be a duration from 1h to 168h, such as 6h or 1h30m"),
    )]
    pub interval: Option<String>,
}

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStorageCredentialStatus {
    /// What all kinds report.
    #[serde(flatten)]
    pub common: CredentialStatus,

    /// Where the bucket is, as it results from the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_storage: Option<ObjectStorageStatus>,
}

/// Where a bucket is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStorageStatus {
    /// The endpoint, as `https://host[:port]`.
    #[schemars(length(max = 1024))]
    pub endpoint: String,

    /// The region that requests are signed for.
    #[schemars(length(max = 63))]
    pub region: String,

    /// Whether the bucket is in the path of a URL, not in the host.
    pub path_style: bool,
}
