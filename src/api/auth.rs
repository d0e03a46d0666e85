//! How tokens of a registry are minted: whose identity is used, and where it comes from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A ServiceAccount in the namespace of the credential. There is no namespace field, on purpose: it would let a tenant be
/// another's ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ServiceAccountReference {
    /// Name of the ServiceAccount. A token for it is requested of the API server, for the audience of the cloud alone.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid ServiceAccount name"))]
    pub name: String,
}

/// The identity that the operator itself has in the cloud. A DistributionPolicy with `allowOperatorIdentity` must allow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorIdentity {}

/// A Secret in the namespace of the credential, and the key of the value in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct KeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

/// A Secret with an access key of AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("must be a valid Secret name"))]
    pub name: String,

    /// Key of the access key id. Default `AWS_ACCESS_KEY_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub access_key_id_key: Option<String>,

    /// Key of the secret access key. Default `AWS_SECRET_ACCESS_KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub secret_access_key_key: Option<String>,

    /// Key of the session token, of temporary access keys. Default `AWS_SESSION_TOKEN`, where the Secret has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub session_token_key: Option<String>,
}

/// How tokens of Amazon ECR are minted. They are good for 12 hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.secretRef), has(self.serviceAccountRef), has(self.operatorIdentity)].filter(given, given).size() == 1").message("give exactly one of `secretRef`, `serviceAccountRef` and `operatorIdentity`"),
    validation = Rule::new("!has(self.externalId) || has(self.roleArn)").message("`externalId` is for the role in `roleArn`").field_path(".externalId"),
    validation = Rule::new("!has(self.externalId) || !has(self.serviceAccountRef)").message("`externalId` may not be given with `serviceAccountRef`: AWS takes none from a ServiceAccount").field_path(".externalId"),
)]
pub struct AwsAuth {
    /// An access key, in a Secret in the namespace of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<AccessKeyReference>,

    /// A ServiceAccount in the namespace of the credential, which a role of AWS trusts (IAM roles for service accounts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountReference>,

    /// The identity that the operator itself has, by IAM roles for service accounts or EKS Pod Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_identity: Option<OperatorIdentity>,

    /// The role to assume. Omitted: that of the ServiceAccount's annotation `eks.amazonaws.com/role-arn`; for the others
    /// none is assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 20, max = 2048),
        regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]+$")
    )]
    pub role_arn: Option<String>,

    /// What the trust policy of the role asks for besides, of whoever assumes it from another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[\w+=,.@:/-]+$"))]
    pub external_id: Option<String>,
}

/// How tokens of Azure Container Registry are minted. They are good for 3 hours.
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

    /// A ServiceAccount in the namespace of the credential, which an application or managed identity trusts (Microsoft
    /// Entra Workload ID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountReference>,

    /// The identity that the operator itself has, by Microsoft Entra Workload ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_identity: Option<OperatorIdentity>,

    /// The directory. Omitted: that of the ServiceAccount's annotation `azure.workload.identity/tenant-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9.-]*$"))]
    pub tenant_id: Option<String>,

    /// The application or managed identity. Omitted: that of the ServiceAccount's annotation
    /// `azure.workload.identity/client-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36), regex(pattern = r"^[0-9a-fA-F-]{36}$"))]
    pub client_id: Option<String>,
}

/// How tokens of Google's registries are minted. They are good for an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.secretRef), has(self.serviceAccountRef), has(self.operatorIdentity)].filter(given, given).size() == 1").message("give exactly one of `secretRef`, `serviceAccountRef` and `operatorIdentity`"),
    validation = Rule::new("has(self.serviceAccountRef) == has(self.workloadIdentityProvider)").message("`serviceAccountRef` and `workloadIdentityProvider` go together"),
)]
pub struct GoogleAuth {
    /// A key of a Google service account, as JSON, in a Secret in the namespace of the credential; by default under key
    /// `key.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyReference>,

    /// A ServiceAccount in the namespace of the credential, which a workload identity pool trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountReference>,

    /// The identity that the operator itself has, by the metadata server of its node or of GKE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_identity: Option<OperatorIdentity>,

    /// The provider of the workload identity pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 253),
        regex(
            pattern = r"^projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}$"
        )
    )]
    pub workload_identity_provider: Option<String>,

    /// The Google service account to impersonate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^[a-z0-9][a-z0-9.-]*@[a-z0-9][a-z0-9.-]*[.]gserviceaccount[.]com$")
    )]
    pub impersonate: Option<String>,
}

/// How tokens of a GitHub App are minted. They are good for an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitHubAuth {
    /// The id of the app.
    #[schemars(range(min = 1))]
    pub app_id: i64,

    /// The id of its installation in the organisation.
    #[schemars(range(min = 1))]
    pub installation_id: i64,

    /// The private key of the app, in a Secret in the namespace of the credential; by default under key `privateKey`.
    pub secret_ref: KeyReference,
}

/// How tokens of a robot of Quay are minted. They are good for an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuayAuth {
    /// A ServiceAccount in the namespace of the credential, which the robot in `username` trusts (robot federation).
    pub service_account_ref: ServiceAccountReference,
}

/// How logins of DigitalOcean's registry are minted. They can only pull, and are good for 12 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigitalOceanAuth {
    /// An API token, in a Secret in the namespace of the credential; by default under key `token`.
    pub secret_ref: KeyReference,
}
