//! BasicAuthCredential: user names and passwords, plain or as htpasswd.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CredentialStatus, DeletionPolicy, SecretReference, Target,
    columns::{Row, USUAL, WIDE},
};

/// User names and passwords, made into a Secret as its consumer reads it.
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
    doc = "User names and passwords. Claviger makes them a Secret of type kubernetes.io/basic-auth, or an htpasswd file as an ingress controller reads it, in every target namespace, keeps it there, and keeps it as long as Pods use it."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.users)").message("either `secretRef`, for one user, or `users` must be given, and not both"),
    validation = Rule::new("!has(self.username) || has(self.secretRef)").message("`username` may only be given with `secretRef`; in `users` each one has its own").field_path(".username"),
    validation = Rule::new("self.format != 'BasicAuth' || !has(self.users) || size(self.users) == 1").message("format BasicAuth holds one user; make one credential for each, or use an htpasswd format").field_path(".users"),
    validation = Rule::new("self.format != 'BasicAuth' || !has(self.hash)").message("`hash` may not be given with format BasicAuth, whose password is plain").field_path(".hash"),
    validation = Rule::new("self.format != 'EnvoyGateway' || !has(self.hash) || self.hash == 'Sha1'").message("must be Sha1 with format EnvoyGateway: Envoy reads {SHA} and nothing else").field_path(".hash"),
    validation = Rule::new("self.format != 'HtpasswdMap' || !has(self.hash) || self.hash != 'Sha1'").message("may not be Sha1 with format HtpasswdMap: HAProxy reads crypt(3) hashes only").field_path(".hash"),
    validation = Rule::new("self.format in ['BasicAuth', 'HtpasswdMap'] || !has(self.username) || !self.username.matches('^[# ]|[ ]$')").message("may not begin with '#', which makes the line a comment, nor begin or end with a space").field_path(".username"),
    validation = Rule::new("self.format in ['BasicAuth', 'HtpasswdMap'] || !has(self.users) || self.users.all(u, !u.username.matches('^[# ]|[ ]$'))").message("may not have a user name that begins with '#', which makes the line a comment, or that begins or ends with a space").field_path(".users"),
    validation = Rule::new("self.format != 'HtpasswdMap' || !has(self.username) || (self.username.matches('^[-._a-zA-Z0-9]{1,253}$') && self.username != '.' && !self.username.startsWith('..'))").message("must be a valid key of a Secret with format HtpasswdMap: letters, digits, '-', '_' and '.'").field_path(".username"),
    validation = Rule::new("self.format != 'HtpasswdMap' || !has(self.users) || self.users.all(u, u.username.matches('^[-._a-zA-Z0-9]{1,253}$') && u.username != '.' && !u.username.startsWith('..'))").message("must have user names that are valid keys of a Secret with format HtpasswdMap: letters, digits, '-', '_' and '.'").field_path(".users"),
)]
pub struct BasicAuthCredentialSpec {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub display_name: Option<String>,

    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// Who reads the Secret; decides its type, its keys and which hashes may stand in it. Cannot be
    /// changed. Who needs two formats makes two credentials on the same source.
    #[x_kube(validation = Rule::new("self == oldSelf").message("may not be changed, as it decides the type and keys of the Secret; make a second credential with the other format, then delete this one"))]
    pub format: BasicAuthFormat,

    /// How passwords are hashed. Omitted: Bcrypt, or Sha1 with format EnvoyGateway. Not for format
    /// BasicAuth, whose password is plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<PasswordHash>,

    /// The user name that goes with `secretRef`; it is not secret. Omitted: taken from the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new("!self.contains(':')").message("may not contain ':', which ends the user name on the wire"),
        validation = Rule::new("!self.matches('[\\\\p{Cc}]')").message("may not contain control characters"),
    )]
    pub username: Option<String>,

    /// The Secret with the password of a single user, in the namespace of the credential. Opaque or
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

    /// Where the Secret goes. Omitted: into the namespace of the credential.
    #[serde(default)]
    pub target: Target,

    /// What happens to the produced Secrets when the credential is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl BasicAuthCredential {
    /// The printer columns of this kind alone.
    pub(super) const COLUMNS: &[Row] = &[
        ("Format", "string", ".spec.format", "Who reads the Secret", USUAL),
        ("Users", "integer", ".status.basicAuth.users", "How many users it is for", USUAL),
        ("Hash", "string", ".status.basicAuth.hash", "How passwords are hashed", WIDE),
    ];
}

/// Who reads a Secret with user names and passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BasicAuthFormat {
    /// Applications, Kong, Traefik: type `kubernetes.io/basic-auth`, keys `username` and `password`,
    /// the password plain. One user only.
    BasicAuth,
    /// ingress-nginx (`auth-file`), haproxy-ingress, Traefik, Contour: key `auth` with htpasswd lines.
    /// Traefik does not read Sha512Crypt, and haproxy-ingress does not read Sha1.
    Htpasswd,
    /// ingress-nginx (`auth-map`), the ingress controller of HAProxy Technologies: one key for each
    /// user, whose value is the hash. HAProxy reads Bcrypt only where its C library does; if in doubt
    /// use Sha512Crypt there.
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
    /// The user name; it is not secret.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new("!self.contains(':')").message("may not contain ':', which ends the user name on the wire"),
        validation = Rule::new("!self.matches('[\\\\p{Cc}]')").message("may not contain control characters"),
    )]
    pub username: String,

    /// The Secret with the password, in the namespace of the credential.
    pub secret_ref: PasswordReference,
}

/// A Secret in the namespace of the credential, and where in it the password is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordReference {
    /// Name of the Secret. Several users may share one, with a key for each.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the password. Default `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub password_key: Option<String>,
}

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthCredentialStatus {
    /// What all kinds tell.
    #[serde(flatten)]
    pub common: CredentialStatus,

    /// The users as they were worked out from the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuthStatus>,
}

/// Users as they were worked out from a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthStatus {
    /// How many there are.
    pub users: i64,

    /// How passwords are hashed; absent where they are plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<PasswordHash>,
}
