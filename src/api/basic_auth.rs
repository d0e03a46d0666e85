//! BasicAuthCredential: user names and passwords, plain or as htpasswd.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CredentialStatus, DeletionPolicy, SecretReference, Target,
    columns::{Row, USUAL, WIDE},
};

/// User names and passwords, written as a Secret in the format of its consumer.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "claviger.dev",
    version = "v1alpha1",
    kind = "BasicAuthCredential",
    plural = "basicauthcredentials",
    shortname = "bacred",
    category = "claviger",
    category = "credentials",
    namespaced,
    status = "BasicAuthCredentialStatus",
    derive = "PartialEq",
    selectable = ".spec.format",
    doc = "User names and passwords. Claviger writes them into every target namespace as a Secret (a copy): of type kubernetes.io/basic-auth, or with an htpasswd file for an ingress controller. It restores a copy that somebody changes or deletes, and keeps it while Pods or other blocking objects use it."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.users)").message("give either `secretRef`, for one user, or `users`, not both"),
    validation = Rule::new("!has(self.username) || has(self.secretRef)").message("`username` may only be given with `secretRef`; in `users` each entry has its own").field_path(".username"),
    validation = Rule::new("self.format != 'BasicAuth' || !has(self.users) || size(self.users) == 1").message("format BasicAuth holds one user; make one credential for each, or use an htpasswd format").field_path(".users"),
    validation = Rule::new("self.format != 'BasicAuth' || !has(self.hash)").message("`hash` may not be given with format BasicAuth, whose password is plain text").field_path(".hash"),
    validation = Rule::new("self.format != 'EnvoyGateway' || !has(self.hash) || self.hash == 'Sha1'").message("must be Sha1 with format EnvoyGateway: Envoy reads {SHA} and nothing else").field_path(".hash"),
    validation = Rule::new("self.format != 'HtpasswdMap' || !has(self.hash) || self.hash != 'Sha1'").message("may not be Sha1 with format HtpasswdMap: HAProxy reads crypt(3) hashes only").field_path(".hash"),
    validation = Rule::new("self.format in ['BasicAuth', 'HtpasswdMap'] || !has(self.username) || !self.username.matches('^[# ]|[ ]$')").message("may not begin with '#', which makes the line a comment, nor begin or end with a space").field_path(".username"),
    validation = Rule::new("self.format in ['BasicAuth', 'HtpasswdMap'] || !has(self.users) || self.users.all(u, !u.username.matches('^[# ]|[ ]$'))").message("may not have a user name that begins with '#', which makes the line a comment, or that begins or ends with a space").field_path(".users"),
    validation = Rule::new("self.format != 'HtpasswdMap' || !has(self.username) || (self.username.matches('^[-._a-zA-Z0-9]{1,253}$') && self.username != '.' && !self.username.startsWith('..'))").message("must be a valid key of a Secret with format HtpasswdMap: letters, digits, '-', '_' and '.'").field_path(".username"),
    validation = Rule::new("self.format != 'HtpasswdMap' || !has(self.users) || self.users.all(u, u.username.matches('^[-._a-zA-Z0-9]{1,253}$') && u.username != '.' && !u.username.startsWith('..'))").message("must have user names that are valid keys of a Secret with format HtpasswdMap: letters, digits, '-', '_' and '.'").field_path(".users"),
)]
pub struct BasicAuthCredentialSpec {
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub display_name: Option<String>,

    /// What the credential is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// The consumer of the Secret. Decides its type, its keys and the hashes that it can contain. Cannot be changed.
    /// For two formats, create two credentials with the same source.
    #[x_kube(validation = Rule::new("self == oldSelf").message("may not be changed, because it decides the type and keys of the Secret; create a second credential with the other format, then delete this one"))]
    pub format: BasicAuthFormat,

    /// How passwords are hashed. Default: Bcrypt, or Sha1 with format EnvoyGateway. Not for format BasicAuth, whose
    /// password is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PasswordHash")]
    pub hash: Option<PasswordHash>,

    /// The user name for `secretRef`, which is not secret. Default: the one in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new("!self.contains(':')").message("may not contain ':', which separates the user name from the password"),
        validation = Rule::new("!self.matches('[\\\\p{Cc}]')").message("may not contain control characters"),
    )]
    pub username: Option<String>,

    /// The Secret with the password of a single user, in the namespace of the credential. Its type is Opaque or
    /// `kubernetes.io/basic-auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Several users, each with a password in a Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 100),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["username"])
    )]
    pub users: Vec<BasicAuthUser>,

    /// Where to write the Secret. Default: the namespace of the credential.
    #[serde(default)]
    pub target: Target,

    /// What happens to the copies when the credential is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl BasicAuthCredential {
    /// The printer columns of this kind alone.
    pub(super) const COLUMNS: &[Row] = &[
        ("Format", "string", ".spec.format", "The consumer of the Secret", USUAL),
        ("Users", "integer", ".status.basicAuth.users", "Number of users", USUAL),
        ("Hash", "string", ".status.basicAuth.hash", "How passwords are hashed", WIDE),
    ];
}

/// The consumer of a Secret with user names and passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BasicAuthFormat {
    /// Applications, Kong, Traefik: type `kubernetes.io/basic-auth`, keys `username` and `password`, the password in
    /// plain text. One user only.
    BasicAuth,
    /// ingress-nginx (`auth-file`), haproxy-ingress, Traefik, Contour: key `auth` with htpasswd lines.
    /// Traefik does not read Sha512Crypt, and haproxy-ingress does not read Sha1.
    Htpasswd,
    /// ingress-nginx (`auth-map`), the ingress controller of HAProxy Technologies: one key for each
    /// user, whose value is the hash. HAProxy reads Bcrypt only if its C library supports it; if in doubt, use
    /// Sha512Crypt.
    HtpasswdMap,
    /// The ingress controller of F5 NGINX: type `nginx.org/htpasswd`, key `htpasswd`.
    NginxOrg,
    /// Envoy Gateway's SecurityPolicy: key `.htpasswd`. It reads Sha1 only.
    EnvoyGateway,
}

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PasswordHash {
    /// bcrypt (`$2y$`); for passwords of at most 72 bytes.
    Bcrypt,
    /// sha512-crypt (`$6$`), for consumers whose C library does not know bcrypt; for passwords of at
    /// most 256 bytes.
    Sha512Crypt,
    /// `{SHA}`, without a salt: weak, and only for consumers that read nothing else.
    Sha1,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthUser {
    /// The user name, which is not secret.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new("!self.contains(':')").message("may not contain ':', which separates the user name from the password"),
        validation = Rule::new("!self.matches('[\\\\p{Cc}]')").message("may not contain control characters"),
    )]
    pub username: String,

    /// The Secret with the password, in the namespace of the credential.
    pub secret_ref: PasswordReference,
}

/// A Secret in the namespace of the credential, and the key of the password in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordReference {
    /// Name of the Secret. Several users can share one, with a key for each.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the password. Default: `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub password_key: Option<String>,
}

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthCredentialStatus {
    /// What all kinds report.
    #[serde(flatten)]
    pub common: CredentialStatus,

    /// The users that result from the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuthStatus>,
}

/// Users that result from a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthStatus {
    /// Number of users.
    pub users: i64,

    /// How passwords are hashed. Absent if they are in plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PasswordHash")]
    pub hash: Option<PasswordHash>,
}
