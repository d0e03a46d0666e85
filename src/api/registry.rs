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

/// A login at a container registry, written as a Secret of type `kubernetes.io/dockerconfigjson`.
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
    doc = "A login at a container registry. Claviger writes it as a Secret of type kubernetes.io/dockerconfigjson (a copy) into every target namespace, restores a copy that somebody changes or deletes, and keeps it while Pods or other blocking objects use it."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.registries) != has(self.provider)").message("give either `provider` and the fields of a single registry, or `registries`").field_path(".provider"),
    validation = Rule::new("!has(self.registries) || !(has(self.server) || has(self.secretRef) || has(self.username) || has(self.email) || has(self.verification) || has(self.quay) || has(self.scaleway) || has(self.digitalOcean) || has(self.ecr) || has(self.ecrPublic) || has(self.gitHub) || has(self.acr) || has(self.googleArtifactRegistry) || (has(self.keyScope) && self.keyScope == 'Path'))").message("may not be given with the fields of a single registry: move those into its entries").field_path(".registries"),
)]
pub struct RegistryCredentialSpec {
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub display_name: Option<String>,

    /// What the credential is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// The one registry, where there are not several in `registries`.
    #[serde(flatten)]
    pub login: RegistryLogin,

    /// Several registries in one Secret, for ServiceAccounts and tools that take only one Secret. Each entry has the
    /// fields of a single registry. An entry that cannot be used does not hold back the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub registries: Vec<RegistryLogin>,

    /// Where to write the Secret. Default: the namespace of the credential.
    #[serde(default)]
    pub target: Target,

    /// Whether Pods that name no pull Secret themselves get this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultSpec>,

    /// What happens to the copies when the credential is deleted.
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
        ("Expires", "string", ".status.expirationTime", "When the minted token expires", WIDE),
    ];
}

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryCredentialStatus {
    /// What all kinds report.
    #[serde(flatten)]
    pub common: CredentialStatus,

    /// The registry that results from the spec; the first one if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryStatus>,

    /// All registries, in the order of the spec, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub registries: Vec<RegistryStatus>,

    /// The ServiceAccounts that the Secret is attached to, if `spec.default` is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultStatus>,
}

/// A registry that results from a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryStatus {
    /// Where the images are, as host[:port][/path].
    #[schemars(length(max = 1024))]
    pub endpoint: String,
    /// The key in `auths` that kubelet and other clients match.
    #[schemars(length(max = 1024))]
    pub key: String,
    /// The id of the namespace as the registry reports it. Only for Scaleway, once its API has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace_id: Option<String>,
    /// About the minted token that the copies contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,
}

/// A minted token that was distributed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// When the token expires.
    pub expiration_time: Time,
    /// The resourceVersion of the Secret whose content minted the token. Absent if no Secret was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub secret_version: Option<String>,
    /// A hash that says whose identity minted the token, and for what. Another one means that a new token is minted.
    #[schemars(length(max = 63))]
    pub subject: String,
}
