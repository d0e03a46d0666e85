//! The custom resources of group `claviger.dev`: types, validation rules and printer columns.
//!
//! Nothing here decides anything: what a field means is worked out in [`crate::domain`].

mod auth;
mod basic_auth;
mod columns;
mod default;
mod kind;
mod member;
mod object_storage;
mod policy;
mod providers;
mod registry;
mod registry_login;
mod schema;
mod status;
mod target;
mod tls;
mod verification;

pub use auth::{
    AccessKeyReference, AwsAuth, AzureAuth, DigitalOceanAuth, GitHubAuth, GoogleAuth, KeyReference,
    OperatorIdentity, QuayAuth, ServiceAccountReference,
};
pub use basic_auth::{
    BasicAuthCredential, BasicAuthCredentialSpec, BasicAuthCredentialStatus, BasicAuthFormat,
    BasicAuthStatus, BasicAuthUser, PasswordHash, PasswordReference,
};
pub use default::{DefaultFailure, DefaultSpec, DefaultStatus, MAX_PRIORITY, StuckPod, StuckPods};
pub use kind::CredentialKind;
pub(crate) use kind::for_all_kinds;
pub use member::{
    AdoptedFrom, ClusterTool, KubeconfigReference, MemberCluster, MemberClusterSpec, MemberClusterStatus,
    MemberDeletionPolicy,
};
pub use object_storage::{
    CustomKeys, ObjectStorageCredential, ObjectStorageCredentialSpec, ObjectStorageCredentialStatus,
    ObjectStorageFormat, ObjectStorageSecretReference, ObjectStorageStatus, ObjectStorageVerification,
};
pub use policy::{
    DistributionPolicy, DistributionPolicySpec, DistributionPolicyStatus, PolicyFrom, PolicyTo,
};
pub use providers::{
    AcrRegistry, DigitalOceanRegistry, EcrPublicRegistry, EcrRegistry, GitHubRegistry,
    GoogleArtifactRegistry, Provider, QuayRegistry, ScalewayRegion, ScalewayRegistry,
};
pub use registry::{
    RegistryCredential, RegistryCredentialSpec, RegistryCredentialStatus, RegistryStatus, TokenStatus,
};
pub use registry_login::{KeyScope, RegistryLogin, SecretReference};
pub use status::{
    ClusterState, ClusterStatus, CredentialStatus, NamespaceCounts, Reference, References, Summary,
    SyncStatus, TargetFailure,
};
pub use target::{
    ClusterSelector, DeletionPolicy, LabelSelector, NamespaceSelector, SelectorOperator, SelectorRequirement,
    Target,
};
pub use tls::{CertificateStatus, TlsCredential, TlsCredentialSpec, TlsCredentialStatus, TlsSecretReference};
pub use verification::{CaSecretReference, LoginStatus, Verification, VerificationMode, VerificationStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Finalizer on credentials and member clusters; nothing else ever carries it.
pub const FINALIZER: &str = "claviger.dev/protect";

/// Label that marks a produced Secret as ours; its value is [`MANAGER`].
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Value of [`LABEL_MANAGED_BY`], and our field manager.
pub const MANAGER: &str = "claviger";

/// Label on a produced Secret: the short stable id of the credential that owns it.
pub const LABEL_OWNER: &str = "claviger.dev/owner";

/// Label on a Namespace that refuses credentials of other namespaces when it is `true`.
pub const LABEL_OPT_OUT: &str = "claviger.dev/opt-out";

/// Annotation on a produced Secret: `<kind>/<namespace>/<name>` of its credential.
pub const ANNOTATION_SOURCE: &str = "claviger.dev/source";

/// Annotation on a produced Secret: the id of the cluster of its credential, by default the uid of its
/// `kube-system`.
pub const ANNOTATION_HUB: &str = "claviger.dev/hub";

/// Annotation on a produced Secret: `status.revision` of its content.
pub const ANNOTATION_REVISION: &str = "claviger.dev/revision";

/// Annotation on a produced Secret: which labels and annotations `spec.target` put there, so that
/// they can be taken away again. Comma-separated; labels as `l:key`, annotations as `a:key`.
pub const ANNOTATION_METADATA: &str = "claviger.dev/target-metadata";

/// Annotation on a credential: any new value asks for a full sync, read from the API servers.
pub const ANNOTATION_SYNC: &str = "claviger.dev/sync-requested-at";

/// Annotation on a credential: `true` lets a deletion go through although Secrets are in use.
pub const ANNOTATION_FORCE_DELETE: &str = "claviger.dev/force-delete";

/// Annotation on a produced Secret whose credential has `deletionPolicy: Orphan`: it is left, and not deleted, when
/// the credential is gone.
pub const ANNOTATION_DELETION_POLICY: &str = "claviger.dev/deletion-policy";

/// Annotation on a Secret that was a copy of ours, and was let go: the credential that it was of. It is no mark of
/// ownership; the fence wants it, so that nothing which the operator has written becomes a Secret from nowhere.
pub const ANNOTATION_RELEASED_FROM: &str = "claviger.dev/released-from";

/// Annotation on a Secret of somebody else: hands the Secret over to the credential `<kind>/<namespace>/<name>`.
pub const ANNOTATION_ADOPT: &str = "claviger.dev/adopt";

/// Annotation on a ServiceAccount: which entries of its `imagePullSecrets` the operator put there, and for which credential.
/// Comma-separated: `<name of the Secret>=<id of the hub cluster>/<namespace>/<name>`.
pub const ANNOTATION_ATTACHED: &str = "claviger.dev/attached-pull-secrets";

/// Annotation on a MemberCluster that the operator has made: `<tool>/<namespace>/<name>` of the Secret of another tool that it
/// was made of.
pub const ANNOTATION_ADOPTED_FROM: &str = "claviger.dev/adopted-from";

/// Annotation on the namespace of the operator: clusters, comma-separated, whose sweep may go on although most owners
/// are missing there.
pub const ANNOTATION_ALLOW_SWEEP: &str = "claviger.dev/allow-sweep";

/// The custom resource definitions of this version, as they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let credentials = CredentialKind::ALL.iter().map(|kind| kind.crd());
    let others = [
        columns::with(MemberCluster::crd(), MemberCluster::COLUMNS),
        columns::with(DistributionPolicy::crd(), DistributionPolicy::COLUMNS),
    ];
    credentials.chain(others).map(schema::finished).collect()
}
