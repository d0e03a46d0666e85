//! RegistryCredential: a login at a container registry.

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CredentialStatus, DefaultSpec, DefaultStatus, DeletionPolicy, RegistryLogin, Target,
    columns::{Row, USUAL, VERIFIED_STATUS, WIDE},
};

/// A login at a container registry, made into a Secret `kubernetes.io/dockerconfigjson`.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "claviger.dev",
    version = "v1alpha1",
    kind = "RegistryCredential",
    plural = "registrycredentials",
    shortname = "regcred",
    category = "claviger",
    category = "credentials",
    namespaced,
    status = "RegistryCredentialStatus",
    derive = "PartialEq",
    selectable = ".spec.provider",
    doc = "A login at a container registry. Claviger makes it a Secret of type kubernetes.io/dockerconfigjson in every target namespace, keeps it there, and keeps it as long as Pods use it."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.registries) != has(self.provider)").message("give either `provider` and what belongs to it, or several of them in `registries`").field_path(".provider"),
    validation = Rule::new("!has(self.registries) || !(has(self.server) || has(self.secretRef) || has(self.username) || has(self.email) || has(self.verification) || has(self.quay) || has(self.scaleway) || has(self.digitalOcean) || has(self.ecr) || has(self.ecrPublic) || has(self.gitHub) || has(self.acr) || has(self.googleArtifactRegistry) || (has(self.keyScope) && self.keyScope == 'Path'))").message("may not be given next to fields of a single registry: write those into its entries").field_path(".registries"),
)]
pub struct RegistryCredentialSpec {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub display_name: Option<String>,

    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// The one registry, where there are not several in `registries`.
    #[serde(flatten)]
    pub login: RegistryLogin,

    /// Several registries in one Secret, for ServiceAccounts and tools that take just one. Each is as the fields of a single
    /// one are, and one that cannot be used holds back no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub registries: Vec<RegistryLogin>,

    /// Where the Secret goes. Omitted: into the namespace of the credential.
    #[serde(default)]
    pub target: Target,

    /// Whether Pods that name no pull Secret themselves get this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultSpec>,

    /// What happens to the produced Secrets when the credential is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl RegistryCredentialSpec {
    /// All registries that it is for.
    #[must_use]
    pub fn entries(&self) -> &[RegistryLogin] {
        if self.registries.is_empty() { std::slice::from_ref(&self.login) } else { &self.registries }
    }
}

/// The rules of a single registry hold for the fields at the top, too, where there are not several.
pub(super) fn finish(spec: &mut JSONSchemaProps) {
    let several = spec.properties.as_mut().and_then(|properties| properties.get_mut("registries"));
    let Some(JSONSchemaPropsOrArray::Schema(entry)) = several.and_then(|several| several.items.as_mut())
    else {
        return;
    };
    entry.required = Some(vec!["provider".to_owned()]);
    let rules = entry.x_kubernetes_validations.clone().unwrap_or_default();
    let own = spec.x_kubernetes_validations.get_or_insert_default();
    // Those of the entry are there already, as its fields are part of the spec: for a spec that always has them.
    own.retain(|rule| !rules.contains(rule));
    own.extend(
        rules
            .into_iter()
            .map(|rule| ValidationRule { rule: format!("!has(self.provider) || ({})", rule.rule), ..rule }),
    );
}

impl RegistryCredential {
    /// The printer columns of this kind alone.
    pub(super) const COLUMNS: &[Row] = &[
        ("Provider", "string", ".spec.provider", "The registry's provider", USUAL),
        ("Server", "string", ".status.registry.endpoint", "The registry that the login is for", USUAL),
        ("Verified", "string", VERIFIED_STATUS, "True when the registry accepts the login", USUAL),
        ("Expires", "string", ".status.expirationTime", "Until when a minted token is good", WIDE),
    ];
}

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryCredentialStatus {
    /// What all kinds tell.
    #[serde(flatten)]
    pub common: CredentialStatus,

    /// The registry as it was worked out from the spec; of several, the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryStatus>,

    /// Several registries, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub registries: Vec<RegistryStatus>,

    /// Where the name of the Secret is attached to ServiceAccounts, while `spec.default` asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultStatus>,
}

/// A registry as it was worked out from a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryStatus {
    /// Where images are, as host[:port][/path].
    #[schemars(length(max = 1024))]
    pub endpoint: String,
    /// The key in `auths` that kubelet and other clients match.
    #[schemars(length(max = 1024))]
    pub key: String,
    /// The id of the namespace, as the registry tells it: for Scaleway, once its API was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace_id: Option<String>,
    /// The token in the Secrets, where one was minted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,
}

/// A minted token, as it was distributed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// Until when it is good.
    pub expiration_time: Time,
    /// For which value of the Secret with the key of the identity it was minted, as that Secret's resourceVersion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub secret_version: Option<String>,
    /// For whose identity, and what for, as a hash of names.
    #[schemars(length(max = 63))]
    pub subject: String,
}
