//! Who runs a registry, and what is special to each.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::{AwsAuth, AzureAuth, DigitalOceanAuth, GitHubAuth, GoogleAuth, QuayAuth};

/// The service or product that runs a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Provider {
    /// Docker Hub.
    DockerHub,
    /// GitHub's ghcr.io, or a GitHub Enterprise Server.
    GitHub,
    /// registry.gitlab.com, or a self-managed GitLab.
    GitLab,
    /// quay.io, or a Red Hat Quay that you host.
    Quay,
    /// Scaleway's regional registries.
    Scaleway,
    /// DigitalOcean's registry.
    DigitalOcean,
    /// Google Artifact Registry and gcr.io.
    GoogleArtifactRegistry,
    /// Amazon ECR.
    ECR,
    /// Amazon ECR Public, public.ecr.aws.
    ECRPublic,
    /// Azure Container Registry.
    ACR,
    /// A Harbor registry.
    Harbor,
    /// Oracle Cloud Infrastructure Registry.
    OCIR,
    /// IBM Cloud Container Registry, icr.io.
    IBM,
    /// NVIDIA NGC, nvcr.io.
    NVIDIA,
    /// Any other registry.
    Custom,
}

/// Details for Quay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuayRegistry {
    /// The organisation or user that owns the images.
    #[schemars(length(min = 2, max = 255), regex(pattern = r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$"))]
    pub namespace: String,
    /// Mints tokens of the robot in `username`, instead of using the one in `secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<QuayAuth>,
}

/// Details for Scaleway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalewayRegistry {
    /// The region, which decides the server: `rg.<region>.scw.cloud`.
    pub region: ScalewayRegion,
    /// The registry namespace. Required for `keyScope: Path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$"))]
    pub namespace: Option<String>,
}

/// Regions with a Scaleway registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalewayRegion {
    /// Paris.
    #[serde(rename = "fr-par")]
    FrPar,
    /// Amsterdam.
    #[serde(rename = "nl-ams")]
    NlAms,
    /// Warsaw.
    #[serde(rename = "pl-waw")]
    PlWaw,
}

/// Details for DigitalOcean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigitalOceanRegistry {
    /// The registry's name, the first part of the image path. Required for `keyScope: Path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]+(?:-+[a-z0-9]+)*$"))]
    pub registry: Option<String>,
    /// Mints logins, instead of using the token in `secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<DigitalOceanAuth>,
}

/// Details for Amazon ECR, which decide the server: `<account>.dkr.ecr.<region>.amazonaws.com`, in the domain of the
/// region's partition, unless `server` names another host of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EcrRegistry {
    /// The AWS account, 12 digits.
    #[schemars(length(min = 12, max = 12), regex(pattern = r"^[0-9]{12}$"))]
    pub account_id: String,
    /// The AWS region, such as eu-central-1.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z]{2,4}(-[a-z]+)+-[0-9]+$"))]
    pub region: String,
    /// Mints tokens, instead of using the one in `secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// Details for Azure Container Registry, which decide the server: `<registry>.azurecr.io`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcrRegistry {
    /// The registry's name, the first part of its host: `example` for example.azurecr.io.
    #[schemars(length(min = 5, max = 63), regex(pattern = r"^[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*$"))]
    pub registry: String,
    /// Mints tokens, instead of using the one in `secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AzureAuth>,
}

/// Details for Google Artifact Registry, which decide the server: `<location>-docker.pkg.dev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoogleArtifactRegistry {
    /// A region or multi-region, such as europe-west3 or europe. Omitted: `server` names the registry, such as
    /// gcr.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z]+(-[a-z]+[0-9]+)?$"))]
    pub location: Option<String>,
    /// Mints tokens, instead of using the one in `secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<GoogleAuth>,
}

/// Details for Amazon ECR Public.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EcrPublicRegistry {
    /// Mints tokens, instead of using the one in `secretRef`.
    pub auth: AwsAuth,
}

/// Details for GitHub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitHubRegistry {
    /// The API of a GitHub Enterprise Server, as host[:port]. Default: api.github.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(
            pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+(:[1-9][0-9]{0,4})?$"
        )
    )]
    pub api_server: Option<String>,

    /// Mints tokens of a GitHub App, instead of using the one in `secretRef`.
    pub auth: GitHubAuth,
}
