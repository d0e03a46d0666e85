//! Objects as the caches decode them: only what a plan needs, straight from the wire.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use crate::domain::{
    SecretBytes,
    content::LAST_APPLIED,
    pod_secrets::{PodSecrets, is_finished},
};

/// A Namespace without its managed fields and spec.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Namespace)]
pub struct SlimNamespace {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
}

/// A Secret that carries our mark. Its data stays in base64 and is wiped after it was hashed.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Secret)]
pub struct MarkedSecret {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    /// Its type.
    #[serde(rename = "type", default)]
    pub type_: String,
    /// Its data, in base64. An empty value may come as null.
    #[serde(default)]
    pub data: BTreeMap<String, Option<SecretBytes>>,
    /// Whether it is immutable.
    #[serde(default)]
    pub immutable: bool,
}

/// Any Secret, as metadata: its values are not even asked for. Of the answer to a write, too, no more is read.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SecretMetadata {
    #[serde(deserialize_with = "slim")]
    pub metadata: ObjectMeta,
}

impl Resource for SecretMetadata {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn metadata_api() -> bool {
        true
    }
}

/// A Pod, of which only the Secrets that it names and its phase are kept.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Pod)]
pub struct SlimPod {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSecrets,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct PodStatus {
    phase: Option<String>,
}

impl SlimPod {
    /// Every Secret that it uses, with the field that names it: none once it has come to its end.
    pub fn visit_secrets<'a>(&'a self, visit: impl FnMut(&'a str, &'static str)) {
        if !is_finished(self.status.phase.as_deref(), self.metadata.deletion_timestamp.is_some()) {
            self.spec.visit(visit);
        }
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
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<Annotations>,
        finalizers: Option<Vec<String>>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        deletion_timestamp: slim.deletion_timestamp,
        labels: slim.labels,
        annotations: slim.annotations.map(|Annotations(kept)| kept),
        finalizers: slim.finalizers,
        owner_references: slim.owner_references,
        ..ObjectMeta::default()
    })
}

/// Annotations without the one that holds values, which is not even decoded.
struct Annotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut kept = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == LAST_APPLIED {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        kept.insert(key, map.next_value()?);
                    }
                }
                Ok(Annotations(kept))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_noted_of_a_secret_is_not_decoded() {
        let secret: SecretMetadata = serde_json::from_str(
            r#"{"metadata": {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "canary", "b": "c"}}}"#,
        )
        .unwrap();
        assert_eq!(secret.metadata.annotations, Some(BTreeMap::from([("b".to_owned(), "c".to_owned())])));
        let none: SecretMetadata = serde_json::from_str(r#"{"metadata": {"annotations": null}}"#).unwrap();
        assert_eq!(none.metadata.annotations, None);
    }
}
