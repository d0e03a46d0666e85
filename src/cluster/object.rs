//! Objects as the caches decode them: only what a plan needs, straight from the wire.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::{
    ByteString, NamespaceResourceScope,
    api::core::v1::{Namespace, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroize;

use crate::domain::{
    SecretBytes, bounded,
    content::{LAST_APPLIED, ReadSecret},
    pod_secrets::PodSecrets,
    pod_status::{PodStatus, PullFailure},
    schedule::{MAX_ENTRIES, MAX_PARTS},
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
    #[serde(default, deserialize_with = "map")]
    pub data: BTreeMap<String, Option<SecretBytes>>,
    /// Whether it is immutable.
    #[serde(default)]
    pub immutable: bool,
}

/// A whole Secret, but for its managed fields.
#[derive(Clone, Deserialize, Resource)]
#[resource(inherit = Secret)]
pub(crate) struct WholeSecret {
    #[serde(deserialize_with = "whole")]
    metadata: ObjectMeta,
    #[serde(rename = "type")]
    type_: Option<String>,
    #[serde(default, deserialize_with = "map")]
    data: BTreeMap<String, ByteString>,
    immutable: Option<bool>,
}

impl fmt::Debug for WholeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeSecret").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

impl From<WholeSecret> for ReadSecret {
    fn from(whole: WholeSecret) -> Self {
        let WholeSecret { metadata, type_, data, immutable } = whole;
        Self(Secret { metadata, type_, data: Some(data), immutable, ..Secret::default() })
    }
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

/// A Pod, of which only the Secrets that it names are kept, and what it cannot pull.
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

impl SlimPod {
    /// Every Secret that it uses, with the field that names it: none once it has come to its end.
    pub fn visit_secrets<'a>(&'a self, visit: impl FnMut(&'a str, &'static str)) {
        if !self.is_finished() {
            self.spec.visit(visit);
        }
    }

    /// The pull Secrets that it names.
    pub(super) fn pull_secrets(&self) -> impl Iterator<Item = &str> + Clone {
        self.spec.pull_secrets()
    }

    /// The ServiceAccount that it runs under.
    pub(super) fn service_account(&self) -> &str {
        self.spec.service_account()
    }

    /// The images that it cannot pull: none once it has come to its end.
    pub(super) fn failing_images(&self) -> impl Iterator<Item = (String, PullFailure)> {
        self.status.failing_images().filter(|_| !self.is_finished())
    }

    /// Whether a container of it has run.
    pub(super) fn has_run(&self) -> bool {
        self.status.has_run()
    }

    fn is_finished(&self) -> bool {
        self.status.is_finished(self.metadata.deletion_timestamp.is_some())
    }
}

fn map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    bounded::map::<_, _, MAX_ENTRIES>(deserializer)
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    bounded::list::<_, _, MAX_PARTS>(deserializer)
}

/// The same without the annotation that holds the values of a Secret.
pub(super) fn slim<'de, D, M>(deserializer: D) -> Result<M, D::Error>
where
    D: Deserializer<'de>,
    M: From<ObjectMeta>,
{
    let mut meta: ObjectMeta = whole(deserializer)?;
    if let Some(mut noted) = meta.annotations.as_mut().and_then(|all| all.remove(LAST_APPLIED)) {
        noted.zeroize();
    }
    Ok(meta.into())
}

/// Reads metadata without managed fields, which are most of its bytes.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Slim {
        name: Option<String>,
        generate_name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        generation: Option<i64>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        #[serde(deserialize_with = "map")]
        labels: BTreeMap<String, String>,
        #[serde(deserialize_with = "map")]
        annotations: BTreeMap<String, String>,
        #[serde(deserialize_with = "list")]
        finalizers: Vec<String>,
        #[serde(deserialize_with = "list")]
        owner_references: Vec<OwnerReference>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        generate_name: slim.generate_name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        generation: slim.generation,
        creation_timestamp: slim.creation_timestamp,
        deletion_timestamp: slim.deletion_timestamp,
        labels: Some(slim.labels),
        annotations: Some(slim.annotations),
        finalizers: Some(slim.finalizers),
        owner_references: Some(slim.owner_references),
        ..ObjectMeta::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_noted_of_a_secret_is_not_kept() {
        let secret: SecretMetadata = serde_json::from_str(
            r#"{"metadata": {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "canary", "b": "c"}}}"#,
        )
        .unwrap();
        assert_eq!(secret.metadata.annotations, Some(BTreeMap::from([("b".to_owned(), "c".to_owned())])));
        let none: SecretMetadata = serde_json::from_str(r#"{"metadata": {"annotations": null}}"#).unwrap();
        assert_eq!(none.metadata.annotations, Some(BTreeMap::new()));
    }
}
