//! A ServiceAccount as the caches decode it: the pull Secrets that it names, and which of them are ours.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::dynamic::dynamic_resource;
use crate::{
    api::ANNOTATION_ATTACHED,
    domain::{bounded, schedule::MAX_PARTS},
};

/// A ServiceAccount. Of its annotations only ours is kept, and whether there are others.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub metadata: ObjectMeta,
    pub annotated: bool,
    pub image_pull_secrets: Vec<LocalReference>,
    pub secrets: Vec<LocalReference>,
}

/// A reference to an object of the same namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LocalReference {
    pub name: String,
}

dynamic_resource!(Account, metadata);

impl Account {
    /// The annotation that says what is ours.
    pub fn marks(&self) -> &str {
        self.metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(ANNOTATION_ATTACHED))
            .map_or("", |text| text)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    metadata: RawMeta,
    #[serde(deserialize_with = "list")]
    image_pull_secrets: Vec<LocalReference>,
    #[serde(deserialize_with = "list")]
    secrets: Vec<LocalReference>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    annotations: Annotations,
}

#[derive(Default)]
struct Annotations {
    any: bool,
    ours: Option<String>,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ours;

        impl<'de> Visitor<'de> for Ours {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut found = Annotations::default();
                while let Some(key) = map.next_key::<String>()? {
                    found.any = true;
                    if key == ANNOTATION_ATTACHED {
                        found.ours = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(found)
            }
        }

        deserializer.deserialize_any(Ours)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { metadata, image_pull_secrets, secrets } = Raw::deserialize(deserializer)?;
        let ours = metadata.annotations.ours.map(|text| (ANNOTATION_ATTACHED.to_owned(), text));
        Ok(Self {
            annotated: metadata.annotations.any,
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                deletion_timestamp: metadata.deletion_timestamp,
                annotations: Some(ours.into_iter().collect()),
                ..ObjectMeta::default()
            },
            image_pull_secrets,
            secrets,
        })
    }
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    bounded::list::<_, _, MAX_PARTS>(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_annotations_ours_is_kept_and_that_there_are_others() {
        let read = |text: &str| serde_json::from_str::<Account>(text).unwrap();
        let account = read(
            r#"{"metadata": {"name": "default", "annotations": {"a": "b", "claviger.dev/attached-pull-secrets": "quay=h/a/b"}},
                "imagePullSecrets": [{"name": "x"}, {}], "secrets": null}"#,
        );
        assert_eq!((account.marks(), account.annotated), ("quay=h/a/b", true));
        let names: Vec<_> = account.image_pull_secrets.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["x", ""], "places count");
        let plain = read(r#"{"metadata": {"name": "default", "annotations": null}}"#);
        assert_eq!((plain.marks(), plain.annotated), ("", false));
        assert!(read(r#"{"metadata": {"annotations": {"a": "b"}}}"#).annotated);
    }
}
