//! TlsCredential: a certificate with its private key.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CredentialStatus, DeletionPolicy, Target,
    columns::{Row, USUAL, WIDE},
};

/// A certificate with its private key, written as a Secret of type `kubernetes.io/tls`.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "claviger.dev",
    version = "v1alpha1",
    kind = "TlsCredential",
    plural = "tlscredentials",
    shortname = "tlscred",
    category = "claviger",
    category = "credentials",
    namespaced,
    status = "TlsCredentialStatus",
    derive = "PartialEq",
    doc = "A certificate with its private key. Claviger checks the pair, writes it as a Secret of type kubernetes.io/tls (a copy) into every target namespace, restores a copy that somebody changes or deletes, and keeps it while Pods or other blocking objects use it."
)]
#[serde(rename_all = "camelCase")]
pub struct TlsCredentialSpec {
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub display_name: Option<String>,

    /// What the credential is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// The Secret with the certificate and its private key, in the namespace of the credential. Its type is Opaque or
    /// `kubernetes.io/tls`; it can be one that cert-manager writes.
    pub secret_ref: TlsSecretReference,

    /// Where to write the Secret. Default: the namespace of the credential.
    #[serde(default)]
    pub target: Target,

    /// What happens to the copies when the credential is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl TlsCredential {
    /// The printer columns of this kind alone.
    pub(super) const COLUMNS: &[Row] = &[
        ("Certificate", "string", ".status.certificate.name", CERTIFICATE, USUAL),
        ("Expires", "string", ".status.expirationTime", EXPIRES, USUAL),
        ("Valid", "string", VALID_REASON, "Valid, ExpiringSoon, Expired or NotYetValid", WIDE),
    ];
}

const CERTIFICATE: &str = "The first DNS name of the certificate, or its subject";
const EXPIRES: &str = "When the certificate, or one of its chain, expires";
const VALID_REASON: &str = r#".status.conditions[?(@.type=="CertificateValid")].reason"#;

/// A Secret in the namespace of the credential, and the keys of the certificate in it. It has no namespace field on
/// purpose: a tenant could read another tenant's Secret through the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.certificateKey) ? self.certificateKey : 'tls.crt') != (has(self.privateKeyKey) ? self.privateKeyKey : 'tls.key')").message("`certificateKey` and `privateKeyKey` must be different: the private key may not be part of the certificate"),
    validation = Rule::new("!has(self.caKey) || self.caKey != (has(self.privateKeyKey) ? self.privateKeyKey : 'tls.key')").message("`caKey` must be different from the key of the private key").field_path(".caKey")
)]
pub struct TlsSecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the certificate and its chain in PEM: the server's own certificate first, each certificate followed by
    /// its issuer. Default: `tls.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub certificate_key: Option<String>,

    /// Key of the private key in PEM: PKCS#1, SEC1 or PKCS#8, without a passphrase. Default: `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub private_key_key: Option<String>,

    /// Key of the CA certificates in PEM, written as `ca.crt`. Default: `ca.crt`, if the Secret has it. A key that
    /// you name here must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub ca_key: Option<String>,
}

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsCredentialStatus {
    /// What all kinds report.
    #[serde(flatten)]
    pub common: CredentialStatus,

    /// The last valid certificate: the one that the copies contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
}

/// A certificate, in the formats of `openssl x509`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The first DNS name, or the subject if there is none.
    #[schemars(length(max = 1024))]
    pub name: String,

    /// The subject, as in RFC 4514. It can be empty.
    #[schemars(length(max = 1024))]
    pub subject: String,

    /// DNS names of the certificate, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub dns_names: Vec<String>,

    /// The issuer, as in RFC 4514.
    #[schemars(length(max = 1024))]
    pub issuer: String,

    /// The serial number, in hexadecimal.
    #[schemars(length(max = 256))]
    pub serial_number: String,

    /// When the certificate becomes valid.
    pub not_before: Time,

    /// When the certificate expires.
    pub not_after: Time,

    /// The SHA-256 of the certificate, in hexadecimal with colons.
    #[schemars(length(max = 95))]
    pub fingerprint_sha256: String,

    /// The type of its key, such as `RSA-2048`, `ECDSA-P256` or `Ed25519`.
    #[schemars(length(max = 63))]
    pub key_algorithm: String,
}
