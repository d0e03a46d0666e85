//! A login at one registry.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AcrRegistry, DigitalOceanRegistry, EcrPublicRegistry, EcrRegistry, GitHubRegistry,
    GoogleArtifactRegistry, Provider, QuayRegistry, ScalewayRegistry, Verification,
};

/// Whether tokens are minted, in CEL.
const IS_MINTED: &str = "((has(self.ecr) && has(self.ecr.auth)) || has(self.ecrPublic) || (has(self.acr) && has(self.acr.auth)) || (has(self.googleArtifactRegistry) && has(self.googleArtifactRegistry.auth)) || has(self.gitHub) || (has(self.quay) && has(self.quay.auth)) || (has(self.digitalOcean) && has(self.digitalOcean.auth)))";

/// A login at one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.provider in ['Custom', 'Harbor', 'OCIR']) || has(self.server)").message("`server` is required for this provider: write the registry's host[:port]").field_path(".server"),
    validation = Rule::new("self.provider == 'Quay' || !has(self.quay)").message("`quay` may only be given with provider Quay").field_path(".quay"),
    validation = Rule::new("self.provider == 'Scaleway' || !has(self.scaleway)").message("`scaleway` may only be given with provider Scaleway").field_path(".scaleway"),
    validation = Rule::new("self.provider == 'DigitalOcean' || !has(self.digitalOcean)").message("`digitalOcean` may only be given with provider DigitalOcean").field_path(".digitalOcean"),
    validation = Rule::new("self.provider == 'ECR' || !has(self.ecr)").message("`ecr` may only be given with provider ECR").field_path(".ecr"),
    validation = Rule::new("self.provider == 'ACR' || !has(self.acr)").message("`acr` may only be given with provider ACR").field_path(".acr"),
    validation = Rule::new("self.provider == 'GoogleArtifactRegistry' || !has(self.googleArtifactRegistry)").message("`googleArtifactRegistry` may only be given with provider GoogleArtifactRegistry").field_path(".googleArtifactRegistry"),
    validation = Rule::new("self.provider == 'ECRPublic' || !has(self.ecrPublic)").message("`ecrPublic` may only be given with provider ECRPublic").field_path(".ecrPublic"),
    validation = Rule::new("self.provider == 'GitHub' || !has(self.gitHub)").message("`gitHub` may only be given with provider GitHub").field_path(".gitHub"),
    validation = Rule::new(format!("has(self.secretRef) != {IS_MINTED}")).message("`secretRef` is required: name the Secret with the password or token. To mint tokens instead, give `auth` in the provider's own block and no `secretRef`").field_path(".secretRef"),
    validation = Rule::new(format!("!has(self.username) || has(self.quay) || !{IS_MINTED}")).message("may not be given with `auth`: the minted token decides the user name").field_path(".username"),
    validation = Rule::new("!has(self.quay) || !has(self.quay.auth) || (has(self.username) && self.username.contains('+'))").message("must be the robot that trusts the ServiceAccount: <namespace>+<robot>").field_path(".username"),
    validation = Rule::new("!has(self.gitHub) || has(self.gitHub.apiServer) == (has(self.server) && self.server.lowerAscii() != 'ghcr.io')").message("give `gitHub.apiServer` and `server` together, for the API and the registry of a GitHub Enterprise Server, or neither").field_path(".gitHub"),
    validation = Rule::new("!has(self.gitHub) || (has(self.verification) && (has(self.verification.repository) || (has(self.verification.mode) && self.verification.mode == 'Off')))").message("`gitHub.auth` needs `verification.repository`: GitHub also accepts the login of App tokens that may not pull").field_path(".verification"),
    validation = Rule::new("self.provider != 'Scaleway' || (has(self.scaleway) && !has(self.server))").message("provider Scaleway needs `scaleway`, whose region gives the server; `server` may not be given"),
    validation = Rule::new("self.provider != 'ECR' || has(self.ecr) != has(self.server) || (has(self.ecr) && has(self.ecr.auth) && self.server.startsWith(self.ecr.accountId + '.'))").message("provider ECR needs either `ecr` or `server`; give both only with `ecr.auth`, for another host of the same account"),
    validation = Rule::new("self.provider != 'ACR' || has(self.acr) != has(self.server)").message("provider ACR needs either `acr` or `server`"),
    validation = Rule::new("self.provider != 'GoogleArtifactRegistry' || (has(self.googleArtifactRegistry) && has(self.googleArtifactRegistry.location)) != has(self.server)").message("provider GoogleArtifactRegistry needs either `googleArtifactRegistry.location` or `server`"),
    validation = Rule::new("self.provider != 'GoogleArtifactRegistry' || !has(self.server) || !has(self.googleArtifactRegistry) || has(self.googleArtifactRegistry.auth)").message("`googleArtifactRegistry` may be given next to `server` only with `auth`").field_path(".googleArtifactRegistry"),
    validation = Rule::new("self.provider != 'DigitalOcean' || !has(self.server)").message("`server` may not be given with provider DigitalOcean: it is registry.digitalocean.com").field_path(".server"),
    validation = Rule::new("self.provider != 'DockerHub' || !has(self.server) || self.server.lowerAscii() in ['docker.io', 'index.docker.io', 'registry-1.docker.io']").message("with provider DockerHub, omit `server` or set it to docker.io; use provider Custom for a mirror").field_path(".server"),
    validation = Rule::new("self.provider != 'ECR' || !has(self.server) || self.server.matches('(?i)^([0-9]{12}[.]dkr([.]|-)ecr(-fips)?[.][a-z0-9-]+[.](amazonaws[.](com|com[.]cn|eu)|on[.]aws|on[.]amazonwebservices[.]com[.]cn|c2s[.]ic[.]gov|sc2s[.]sgov[.]gov|cloud[.]adc-e[.]uk|csp[.]hci[.]ic[.]gov)|public[.]ecr[.]aws|ecr-public[.]aws[.]com)(/.*)?$')").message("must be an ECR host, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com or public.ecr.aws").field_path(".server"),
    validation = Rule::new("self.provider != 'ACR' || !has(self.server) || self.server.matches('(?i)^[a-z0-9-]+([.][a-z0-9-]+){0,2}[.]azurecr[.](io|cn|us|de)(/.*)?$')").message("must be an Azure registry, such as example.azurecr.io").field_path(".server"),
    validation = Rule::new("self.provider != 'GoogleArtifactRegistry' || !has(self.server) || self.server.matches('(?i)^(([a-z0-9-]+[.])?gcr[.]io|[a-z0-9-]+-docker[.]pkg[.]dev)(/.*)?$')").message("must be a Google registry, such as europe-docker.pkg.dev or gcr.io").field_path(".server"),
    validation = Rule::new("self.provider != 'ECRPublic' || !has(self.server) || self.server.matches('(?i)^(public[.]ecr[.]aws|ecr-public[.]aws[.]com)(/.*)?$')").message("with provider ECRPublic, omit it or set it to public.ecr.aws or ecr-public.aws.com").field_path(".server"),
    validation = Rule::new("self.provider != 'OCIR' || !has(self.server) || self.server.matches('(?i)^([a-z0-9-]+[.]ocir[.]io|ocir[.][a-z0-9-]+[.]oci[.]oracle[a-z]*cloud[0-9]*[.][a-z]+)(/.*)?$')").message("must be an Oracle registry, such as fra.ocir.io or ocir.eu-frankfurt-1.oci.oraclecloud.com").field_path(".server"),
    validation = Rule::new("self.provider != 'IBM' || !has(self.server) || self.server.matches('(?i)^(private[.])?([a-z]{2}[0-9]?[.])?icr[.]io(/.*)?$')").message("with provider IBM, omit it or set it to icr.io or the registry of a region, such as de.icr.io").field_path(".server"),
    validation = Rule::new("self.provider != 'NVIDIA' || !has(self.server) || self.server.matches('(?i)^nvcr[.]io(/.*)?$')").message("with provider NVIDIA, omit it or set it to nvcr.io").field_path(".server"),
    validation = Rule::new("self.provider != 'Quay' || has(self.quay) || (has(self.server) && self.server.contains('/')) || (has(self.username) && self.username.matches('^[a-z0-9]+([._-][a-z0-9]+)*[+]'))").message("give the organisation or user of the registry as quay: {namespace: ...}, unless `username` is a robot or `server` has a path").field_path(".quay"),
    validation = Rule::new("!has(self.quay) || !has(self.server) || !self.server.contains('/')").message("may not have a path when `quay` gives the namespace").field_path(".server"),
    validation = Rule::new("self.provider != 'OCIR' || !has(self.username) || self.username.matches('^[^/]+/.')").message("must be <tenancy-namespace>/<user>, or <tenancy-namespace>/<domain>/<user> in an identity domain").field_path(".username"),
    validation = Rule::new("!has(self.keyScope) || self.keyScope != 'Path' || has(self.quay) || (has(self.scaleway) && has(self.scaleway.__namespace__)) || (has(self.digitalOcean) && has(self.digitalOcean.registry)) || (has(self.server) && self.server.contains('/'))").message("`keyScope: Path` needs a path: in `server`, or the namespace in the provider's own block").field_path(".keyScope"),
    validation = Rule::new("!has(self.quay) || !has(self.username) || !self.username.contains('+') || (self.username.startsWith(self.quay.__namespace__) && self.username.indexOf('+') == size(self.quay.__namespace__))").message("must be a robot of the namespace in `quay`: <namespace>+<robot>").field_path(".username"),
    validation = Rule::new("!has(self.quay) || !has(self.username) || !self.username.contains('+') || self.username.matches('^[^+]+[+][a-z0-9]+([._-][a-z0-9]+)*$')").message("must end in a robot's short name: lower-case letters and digits, with a single '.', '_' or '-' between them").field_path(".username"),
)]
pub struct RegistryLogin {
    /// The service or product that runs the registry. Decides the default server, the exact key that kubelet looks
    /// for, the default user name and the format rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Provider")]
    pub provider: Option<Provider>,

    /// The registry, as host[:port][/path] without a scheme. Required for Custom, Harbor and OCIR. Default for the
    /// others: the provider's own registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 515))]
    #[x_kube(
        validation = Rule::new("!self.contains('://')").message("must be host[:port][/path] without a scheme such as https://"),
        validation = Rule::new("self.contains('://') || self.matches('^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\\\\[[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7}\\\\])(:[0-9]{1,5})?(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*$')").message("must be host[:port][/path]; the path in lower case, as in image names, and without a slash at its end"),
        validation = Rule::new("self.contains('://') || self.matches('(?i)^([^/.]+[.][^/]|[^/]+:[0-9]+(/|$)|localhost(/|$))')").message("must have a dot or a port, and an IPv6 address must have a port: otherwise no client matches the host"),
        validation = Rule::new("!self.matches('^[^/]+/v[12]/')").message("may not have a path below /v1/ or /v2/: clients take that for the registry's API and drop it from the path"),
        validation = Rule::new("size(self.split('/')[0].split(':')[0]) <= 253").message("may have a host of at most 253 characters"),
        validation = Rule::new("!self.matches(':(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})(/|$)')").message("must have a port from 1 to 65535"),
        validation = Rule::new("!self.contains('/') || size(self) - size(self.split('/')[0]) <= 256").message("may have a path of at most 255 characters"),
    )]
    pub server: Option<String>,

    /// Details for provider Quay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quay: Option<QuayRegistry>,

    /// Details for provider Scaleway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaleway: Option<ScalewayRegistry>,

    /// Details for provider DigitalOcean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digital_ocean: Option<DigitalOceanRegistry>,

    /// Details for provider ECR. They decide the server: `<account>.dkr.ecr.<region>.amazonaws.com`, in the domain of
    /// the region's partition, unless `server` names another host of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecr: Option<EcrRegistry>,

    /// Details for provider ECRPublic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecr_public: Option<EcrPublicRegistry>,

    /// Details for provider ACR. They decide the server: `<registry>.azurecr.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<AcrRegistry>,

    /// Details for provider GoogleArtifactRegistry. They decide the server: `<location>-docker.pkg.dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub google_artifact_registry: Option<GoogleArtifactRegistry>,

    /// Details for provider GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_hub: Option<GitHubRegistry>,

    /// The user name, which is not secret. Default: the one in the Secret, else the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new("!self.contains(':')").message("may not contain ':', which separates the user name from the password"),
        validation = Rule::new("!self.matches('[\\\\p{Cc}]')").message("may not contain control characters"),
    )]
    pub username: Option<String>,

    /// An e-mail address to write with the login; some old clients need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254))]
    pub email: Option<String>,

    /// The Secret with the password or token, in the namespace of the credential. Its type is Opaque,
    /// `kubernetes.io/basic-auth`, or `kubernetes.io/dockerconfigjson` with an entry for the server. Required unless
    /// `auth` in the provider's own block mints tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Whether the login is for the whole host or for one path on it. Use `Path` when one Kubernetes namespace needs
    /// logins for two organisations of the same host.
    #[serde(default)]
    pub key_scope: KeyScope,

    /// Whether and how Claviger tests the login at the registry. Omitted: it is tested with the default mode, and
    /// condition `Verified` shows the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

impl RegistryLogin {
    /// Who runs the registry; the schema makes sure that it is said.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider.unwrap_or(Provider::Custom)
    }
}

/// A Secret in the namespace of the credential, and the keys of the values in it. It has no namespace field on
/// purpose: otherwise a tenant could read another tenant's Secret through the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the user name. Default: `username`, if the Secret has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub username_key: Option<String>,

    /// Key of the password or token. Default: `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub password_key: Option<String>,
}

/// The part of a registry that a login is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyScope {
    /// All images of the host, such as `quay.io`.
    #[default]
    Host,
    /// Images below one path, such as `quay.io/acme`.
    Path,
}
