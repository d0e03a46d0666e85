//! Objects as the caches decode them: only what a plan needs, straight from the wire.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::domain::pod_secrets::PodSecrets;

/// A Namespace without its managed fields and spec.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimNamespace {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
}

/// A Secret that carries our mark. Its data stays in base64 and is wiped after it was hashed.
#[derive(Clone, Debug, Deserialize)]
pub struct MarkedSecret {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    /// Its type.
    #[serde(rename = "type", default)]
    pub type_: String,
    /// Its data, in base64.
    #[serde(default)]
    pub data: BTreeMap<String, Hidden>,
    /// Whether it is immutable.
    #[serde(default)]
    pub immutable: bool,
}

/// Any Secret, as metadata: its values are not even asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SecretMetadata {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
}

/// A Pod, of which only the Secrets that it names and its phase are kept.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimPod {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    /// The Secrets that it names.
    #[serde(default)]
    pub spec: PodSecrets,
    /// Its phase.
    #[serde(default)]
    pub status: PodPhase,
}

/// The phase of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PodPhase {
    /// Such as `Running`.
    #[serde(default)]
    pub phase: Option<String>,
}

/// What every answer to a write has.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    /// Its metadata.
    #[serde(deserialize_with = "slim")]
    pub metadata: ObjectMeta,
}

/// Text that is wiped when dropped, and never shown.
#[derive(Clone)]
pub struct Hidden(Zeroizing<String>);

impl Hidden {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} characters]", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An empty value may come as null.
        Option::<String>::deserialize(deserializer).map(|text| Self(Zeroizing::new(text.unwrap_or_default())))
    }
}

/// Reads metadata without managed fields, which are most of its bytes.
fn slim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        deletion_timestamp: Option<Time>,
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
        #[serde(default)]
        finalizers: Option<Vec<String>>,
        #[serde(default)]
        owner_references: Option<Vec<serde::de::IgnoredAny>>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        deletion_timestamp: slim.deletion_timestamp,
        labels: slim.labels,
        annotations: slim.annotations,
        finalizers: slim.finalizers,
        // That there are any is all that matters.
        owner_references: slim
            .owner_references
            .filter(|references| !references.is_empty())
            .map(|references| references.iter().map(|_| Default::default()).collect()),
        ..ObjectMeta::default()
    })
}

macro_rules! resource {
    ($slim:ty, $full:ty, $scope:ty, $metadata_only:expr) => {
        impl Resource for $slim {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> Cow<'_, str> {
                <$full>::kind(&())
            }
            fn group(_: &()) -> Cow<'_, str> {
                <$full>::group(&())
            }
            fn version(_: &()) -> Cow<'_, str> {
                <$full>::version(&())
            }
            fn plural(_: &()) -> Cow<'_, str> {
                <$full>::plural(&())
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
            fn metadata_api() -> bool {
                $metadata_only
            }
        }
    };
}

resource!(SlimNamespace, core::Namespace, ClusterResourceScope, false);
resource!(MarkedSecret, core::Secret, NamespaceResourceScope, false);
resource!(SecretMetadata, core::Secret, NamespaceResourceScope, true);
resource!(SlimPod, core::Pod, NamespaceResourceScope, false);
