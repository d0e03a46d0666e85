//! What the metadata of a Secret says of who made it, and who else writes it.
//!
//! The names come from the tools' own repositories:
//! - emberstack/kubernetes-reflector, `Core/Mirroring/Constants/Annotations.cs`; it deletes the copies that it made by itself
//!   when their source is gone or no longer allows them (`ResourceMirror.cs`);
//! - mittwald/kubernetes-replicator, `replicate/common/consts.go`; a copy that was pushed names no source, only the
//!   resourceVersion of it (`replicate/secret/secrets.go`);
//! - banzaicloud/imps, `controllers/const.go`, `api/v1alpha1/imagepullsecret_helpers.go`: a label and an owner reference;
//! - alexellis/registry-creds, `controllers/secret_reconciler.go`: an owner reference; upmc-enterprises/registry-creds,
//!   `main.go`: nothing but four names of Secrets;
//! - titansoft-pte-ltd/imagepullsecret-patcher, `secret.go`, and tamcore/imagepullsecret-patcher, `internal/config`:
//!   `app.kubernetes.io/managed-by`, as an annotation, later as a label too;
//! - external-secrets/external-secrets, `externalsecret_types.go`: labels and an annotation below
//!   `reconcile.external-secrets.io`, and an owner reference with `creationPolicy: Owner`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    api::{ANNOTATION_ADOPT, LABEL_MANAGED_BY},
    domain::{
        SecretBytes,
        gitops::{GitOps, keeper},
        identity::NamespacedName,
        labels::{is_dns_label, is_dns_subdomain},
        ownership::Metadata,
    },
};

const REFLECTS: &str = "reflector.v1.k8s.emberstack.com/reflects";
const REPLICATE_FROM: &str = "replicator.v1.mittwald.de/replicate-from";
const REPLICATED_VERSION: &str = "replicator.v1.mittwald.de/replicated-from-version";
const REPLICATE_TO: [&str; 2] =
    ["replicator.v1.mittwald.de/replicate-to", "replicator.v1.mittwald.de/replicate-to-matching"];
const IMPS_OWNER: &str = "images.banzaicloud.io/owner-uid";
const PATCHER: &str = "imagepullsecret-patcher";
const ESO_MANAGED: &str = "reconcile.external-secrets.io/managed";
const ESO_HASH: &str = "reconcile.external-secrets.io/data-hash";
/// The default names of upmc-enterprises/registry-creds.
const UPMC_NAMES: [&str; 4] = ["awsecr-cred", "dpr-secret", "gcr-secret", "acr-secret"];

/// A tool that makes copies of Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    Reflector,
    Replicator,
    Imps,
    RegistryCreds,
    ImagePullSecretPatcher,
    ExternalSecrets,
}

impl Tool {
    /// As its users call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Replicator => "kubernetes-replicator",
            Self::Imps => "imps",
            Self::RegistryCreds => "registry-creds",
            Self::ImagePullSecretPatcher => "imagepullsecret-patcher",
            Self::ExternalSecrets => "External Secrets",
        }
    }
}

/// What a copy says of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Named(NamespacedName),
    /// Its resourceVersion.
    Version(String),
}

/// What else writes a Secret, or makes it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    Terminating,
    CertManager,
    GitOps(GitOps),
}

impl Obstacle {
    pub const fn message(self) -> &'static str {
        match self {
            Self::Terminating => "it is being deleted",
            Self::CertManager => "cert-manager writes it; it can be a source, not a copy",
            Self::GitOps(GitOps::ArgoCd) => {
                "Argo CD manages it and would overwrite or prune it; remove it from Git first, without pruning"
            }
            Self::GitOps(GitOps::Flux) => {
                "Flux manages it and would overwrite or prune it; remove it from Git first, without pruning"
            }
            Self::GitOps(GitOps::Helm) => {
                "it is part of a Helm release, whose upgrades would change or remove it"
            }
        }
    }
}

/// An owner, by which the garbage collector deletes the Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub kind: String,
    pub name: String,
}

/// What the metadata of a Secret says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Whether it is a copy of ours.
    pub ours: bool,
    pub made_by: Option<Tool>,
    pub claim: Option<Claim>,
    /// Whether a tool pushes copies of it.
    pub pushes: bool,
    pub owners: Vec<Owner>,
    pub obstacle: Option<Obstacle>,
    /// Whether `kubectl apply` made it: applied again without its values, it would lose them.
    pub applied: bool,
}

impl Marks {
    /// Reads metadata, and what `kubectl apply` noted beside it.
    pub fn read(meta: &ObjectMeta, last_applied: Option<&SecretBytes>) -> Self {
        let metadata = Metadata {
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
        };
        let annotations = &metadata.annotations;
        let owners = owners(meta);
        let made_by = tool(&metadata, &owners, meta.name.as_deref().unwrap_or_default());
        let obstacle = if meta.deletion_timestamp.is_some() {
            Some(Obstacle::Terminating)
        } else if metadata.is_kept_by_another() {
            Some(Obstacle::CertManager)
        } else {
            // kubernetes-replicator gives its copies the labels of the source.
            keeper(meta, made_by.is_none()).map(Obstacle::GitOps)
        };
        Self {
            ours: metadata.owner().is_some(),
            claim: claim(annotations),
            pushes: REPLICATE_TO.iter().any(|key| annotations.contains_key(*key)),
            applied: last_applied.is_some_and(|text| !is_harmless(text)) || is_server_side_applied(meta),
            made_by,
            owners,
            obstacle,
        }
    }
}

fn owners(meta: &ObjectMeta) -> Vec<Owner> {
    let owners = meta.owner_references.iter().flatten();
    // Who writes the Secret chooses these texts; they end up in commands that people copy.
    let owners = owners.filter(|owner| {
        owner.kind.len() <= 63
            && owner.kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && is_dns_subdomain(&owner.name)
    });
    owners.map(|owner| Owner { kind: owner.kind.clone(), name: owner.name.clone() }).collect()
}

fn tool(Metadata { labels, annotations }: &Metadata, owners: &[Owner], name: &str) -> Option<Tool> {
    let owned = |kind: &str| owners.iter().any(|owner| owner.kind == kind);
    let patcher =
        |keys: &BTreeMap<String, String>| keys.get(LABEL_MANAGED_BY).is_some_and(|by| by == PATCHER);
    if annotations.contains_key(REFLECTS) {
        Some(Tool::Reflector)
    } else if annotations.contains_key(REPLICATE_FROM) || annotations.contains_key(REPLICATED_VERSION) {
        Some(Tool::Replicator)
    } else if labels.contains_key(IMPS_OWNER) || owned("ImagePullSecret") {
        Some(Tool::Imps)
    } else if owned("ClusterPullSecret") || UPMC_NAMES.contains(&name) {
        Some(Tool::RegistryCreds)
    } else if patcher(annotations) || patcher(labels) {
        Some(Tool::ImagePullSecretPatcher)
    } else if labels.contains_key(ESO_MANAGED)
        || annotations.contains_key(ESO_HASH)
        || owned("ExternalSecret")
    {
        Some(Tool::ExternalSecrets)
    } else {
        None
    }
}

fn claim(annotations: &BTreeMap<String, String>) -> Option<Claim> {
    let named = annotations.get(REFLECTS).or_else(|| annotations.get(REPLICATE_FROM));
    if let Some((namespace, name)) = named.and_then(|text| text.split_once('/')) {
        let is_valid = is_dns_label(namespace) && is_dns_subdomain(name);
        return is_valid.then(|| Claim::Named(NamespacedName::new(namespace, name)));
    }
    annotations.get(REPLICATED_VERSION).filter(|version| !version.is_empty()).cloned().map(Claim::Version)
}

/// Whether what `kubectl apply` noted is no more than what an import prints, so that nothing goes when that is applied.
fn is_harmless(last_applied: &SecretBytes) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Applied {
        data: Option<IgnoredAny>,
        #[serde(rename = "stringData")]
        string_data: Option<IgnoredAny>,
        immutable: Option<IgnoredAny>,
        metadata: AppliedMeta,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct AppliedMeta {
        labels: Option<IgnoredAny>,
        annotations: Option<BTreeMap<String, IgnoredAny>>,
    }
    serde_json::from_slice::<Applied>(last_applied.expose()).is_ok_and(|applied| {
        let Applied { data, string_data, immutable, metadata: AppliedMeta { labels, annotations } } = applied;
        data.is_none()
            && string_data.is_none()
            && immutable.is_none()
            && labels.is_none()
            && annotations.is_none_or(|all| all.keys().all(|key| key == ANNOTATION_ADOPT))
    })
}

/// The same for `kubectl apply --server-side`, which takes away what its manager applied before and applies no more.
fn is_server_side_applied(meta: &ObjectMeta) -> bool {
    let applied = meta.managed_fields.iter().flatten().filter(|entry| {
        entry.operation.as_deref() == Some("Apply")
            && entry.manager.as_deref().is_some_and(|manager| manager.starts_with("kubectl"))
    });
    applied.into_iter().any(|entry| {
        let Some(fields) = entry.fields_v1.as_ref().map(|fields| &fields.0) else { return false };
        let annotations = fields.pointer("/f:metadata/f:annotations").and_then(|keys| keys.as_object());
        let adopt = format!("f:{ANNOTATION_ADOPT}");
        ["/f:data", "/f:immutable", "/f:metadata/f:labels"]
            .iter()
            .any(|field| fields.pointer(field).is_some())
            || annotations.is_some_and(|keys| keys.keys().any(|key| *key != adopt && key != "."))
    })
}
