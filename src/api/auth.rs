//! How tokens of a registry are minted: whose identity is used, and where it comes from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A ServiceAccount in the namespace of the credential. It has no namespace field on purpose: otherwise a tenant could
/// act as another tenant's ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ServiceAccountReference {
    /// Name of the ServiceAccount. The operator requests a token for it from the API server, only for the audience of
    /// the cloud.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid ServiceAccount name"))]
    pub name: String,
}

/// The identity that the operator itself has in the cloud. It needs a DistributionPolicy with
/// `allowOperatorIdentity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorIdentity {}

/// A Secret in the namespace of the credential, and the key of the value in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct KeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the value. Default: `AZURE_CLIENT_SECRET` for ACR, `key.json` for GoogleArtifactRegistry, `privateKey`
    /// for GitHub, `token` for DigitalOcean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

/// A Secret with an AWS access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the access key id. Default: `AWS_ACCESS_KEY_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub access_key_id_key: Option<String>,

    /// Key of the secret access key. Default: `AWS_SECRET_ACCESS_KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub secret_access_key_key: Option<String>,

    /// Key of the session token of a temporary access key. Default: `AWS_SESSION_TOKEN`, if the Secret has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub session_token_key: Option<String>,
}

/// How tokens for Amazon ECR are minted. They are valid for 12 hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.secretRef), has(self.serviceAccountRef), has(self.operatorIdentity)].filter(given, given).size() == 1").message("give exactly one of `secretRef`, `serviceAccountRef` and `operatorIdentity`"),
    validation = Rule::new("!has(self.externalId) || has(self.roleArn)").message("`externalId` needs `roleArn`").field_path(".externalId"),
    validation = Rule::new("!has(self.externalId) || !has(self.serviceAccountRef)").message("`externalId` may not be given with `serviceAccountRef`: AWS does not accept one from a ServiceAccount").field_path(".externalId"),
)]
pub struct AwsAuth {
    /// An access key, in a Secret in the namespace of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<AccessKeyReference>,

    /// A ServiceAccount in the namespace of the credential. An AWS role must trust it (IAM roles for service accounts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountReference>,

    /// The operator's own identity, from IAM roles for service accounts or EKS Pod Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_identity: Option<OperatorIdentity>,

    /// The role to assume. Default with `serviceAccountRef`: the role in the ServiceAccount's annotation
    /// `eks.amazonaws.com/role-arn`. Otherwise the default is to assume no role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 20, max = 2048),
        regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]+$")
    )]
    pub role_arn: Option<String>,

    /// The external ID, if the trust policy of the role requires one, as is usual for a role of another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[\w+=,.@:/-]+$"))]
    pub external_id: Option<String>,
}

/// How tokens for Azure Container Registry are minted. They are valid for 3 hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.secretRef), has(self.serviceAccountRef), has(self.operatorIdentity)].filter(given, given).size() == 1").message("give exactly one of `secretRef`, `serviceAccountRef` and `operatorIdentity`"),
    validation = Rule::new("!has(self.secretRef) || (has(self.tenantId) && has(self.clientId))").message("`secretRef` needs `tenantId` and `clientId`"),
    validation = Rule::new("!has(self.operatorIdentity) || !(has(self.tenantId) || has(self.clientId))").message("`tenantId` and `clientId` may not be given with `operatorIdentity`, which has its own"),
)]
pub struct AzureAuth {
    /// A client secret, in a Secret in the namespace of the credential; by default under key `AZURE_CLIENT_SECRET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyReference>,

    /// A ServiceAccount in the namespace of the credential. An application or managed identity must trust it (Microsoft
    /// Entra Workload ID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountReference>,

    /// The operator's own identity, from Microsoft Entra Workload ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_identity: Option<OperatorIdentity>,

    /// The directory (tenant). Required with `secretRef`. Default with `serviceAccountRef`: the ServiceAccount's
    /// annotation `azure.workload.identity/tenant-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9.-]*$"))]
    pub tenant_id: Option<String>,

    /// The id of the application or managed identity. Required with `secretRef`. Default with `serviceAccountRef`: the
    /// ServiceAccount's annotation `azure.workload.identity/client-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36), regex(pattern = r"^[0-9a-fA-F-]{36}$"))]
    pub client_id: Option<String>,
}

/// How tokens for Google's registries are minted. They are valid for an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.secretRef), has(self.serviceAccountRef), has(self.operatorIdentity)].filter(given, given).size() == 1").message("give exactly one of `secretRef`, `serviceAccountRef` and `operatorIdentity`"),
    validation = Rule::new("has(self.serviceAccountRef) == has(self.workloadIdentityProvider)").message("give `serviceAccountRef` and `workloadIdentityProvider` together, or neither"),
)]
pub struct GoogleAuth {
    /// A key of a Google service account, as JSON, in a Secret in the namespace of the credential; by default under key
    /// `key.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyReference>,

    /// A ServiceAccount in the namespace of the credential. A workload identity pool must trust it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountReference>,

    /// The operator's own identity, from the metadata server of its node or of GKE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_identity: Option<OperatorIdentity>,

    /// The provider of the workload identity pool, as its full resource name. Required with `serviceAccountRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 253),
        regex(
            pattern = r"^projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}$"
        )
    )]
    pub workload_identity_provider: Option<String>,

    /// The Google service account to impersonate. Omitted: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^[a-z0-9][a-z0-9.-]*@[a-z0-9][a-z0-9.-]*[.]gserviceaccount[.]com$")
    )]
    pub impersonate: Option<String>,
}

/// How tokens of a GitHub App are minted. They are valid for an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitHubAuth {
    /// The id of the GitHub App.
    #[schemars(range(min = 1))]
    pub app_id: i64,

    /// The id of the app's installation in the organisation.
    #[schemars(range(min = 1))]
    pub installation_id: i64,

    /// The private key of the app, in a Secret in the namespace of the credential; by default under key `privateKey`.
    pub secret_ref: KeyReference,
}

/// How tokens of a Quay robot are minted. They are valid for an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuayAuth {
    /// A ServiceAccount in the namespace of the credential. The robot in `username` must trust it (robot federation).
    pub service_account_ref: ServiceAccountReference,
}

/// How logins of DigitalOcean's registry are minted. They can only pull, and are valid for 12 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigitalOceanAuth {
    /// An API token, in a Secret in the namespace of the credential; by default under key `token`.
    pub secret_ref: KeyReference,
}
