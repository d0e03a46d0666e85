//! Objects that may use Secrets, as the caches decode them: only what names one, straight from the wire.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{
    account::Account,
    dynamic::dynamic_resource,
    object::{SlimPod, slim},
};
use crate::domain::{
    grants::GrantSpec,
    reference_fields::{NamedSecrets, is_own_attachment},
    reference_kind::ReferenceKind,
    workload::{WorkloadSpec, WorkloadStatus, is_made_by_another},
};

/// Is told of a Secret: the namespace, if the object names one, the name, and the field.
pub(crate) type Visit<'a, 'v> = &'v mut dyn FnMut(Option<&'a str>, &'a str, &'static str);

/// An object that may use Secrets.
pub(crate) trait Refers: Resource {
    /// Every Secret that an object of this kind uses: none once it has come to its end.
    fn visit<'a>(&'a self, kind: ReferenceKind, visit: Visit<'a, '_>);

    /// The Pod that it is, if it is one.
    fn pod(&self) -> Option<&SlimPod> {
        None
    }
}

impl Refers for SlimPod {
    fn visit<'a>(&'a self, _: ReferenceKind, visit: Visit<'a, '_>) {
        self.visit_secrets(|name, field| visit(None, name, field));
    }

    fn pod(&self) -> Option<&SlimPod> {
        Some(self)
    }
}

/// An object that makes Pods.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Workload {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WorkloadSpec,
    #[serde(default)]
    status: WorkloadStatus,
}

impl Refers for Workload {
    fn visit<'a>(&'a self, kind: ReferenceKind, visit: Visit<'a, '_>) {
        let owners = self.metadata.owner_references.as_deref().unwrap_or_default();
        let is_over = self.metadata.deletion_timestamp.is_some() || self.status.is_finished(kind);
        if !is_over && !is_made_by_another(kind, owners) {
            self.spec.visit(kind, |name, field| visit(None, name, field));
        }
    }
}

/// An object of any other kind that may name Secrets.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    metadata: ObjectMeta,
    secrets: NamedSecrets,
}

impl Refers for Referrer {
    fn visit<'a>(&'a self, kind: ReferenceKind, visit: Visit<'a, '_>) {
        if self.metadata.deletion_timestamp.is_some() {
            return;
        }
        self.secrets.visit(kind, |namespace, name, field| {
            if kind != ReferenceKind::ServiceAccount || !is_own_attachment(&self.metadata, name) {
                visit(namespace, name, field);
            }
        });
        if let Some(annotations) = &self.metadata.annotations {
            kind.visit_annotations(annotations, visit);
        }
    }
}

impl<'de> Deserialize<'de> for Referrer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(transparent)]
        struct Meta(#[serde(deserialize_with = "slim")] ObjectMeta);

        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Referrer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Referrer, A::Error> {
                let (mut metadata, mut secrets) = (Meta::default(), NamedSecrets::default());
                while let Some(field) = map.next_key::<String>()? {
                    if field == "metadata" {
                        metadata = map.next_value()?;
                    } else if let Some(reader) = secrets.reader(&field) {
                        map.next_value_seed(reader)?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Referrer { metadata: metadata.0, secrets })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl Refers for Account {
    fn visit<'a>(&'a self, _: ReferenceKind, visit: Visit<'a, '_>) {
        if self.metadata.deletion_timestamp.is_some() {
            return;
        }
        for entry in
            self.image_pull_secrets.iter().filter(|entry| !is_own_attachment(&self.metadata, &entry.name))
        {
            visit(None, &entry.name, "imagePullSecrets[].name");
        }
        for entry in &self.secrets {
            visit(None, &entry.name, "secrets[].name");
        }
    }
}

/// An object by which a namespace lets others use its Secrets.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GrantObject {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    #[serde(default)]
    pub spec: GrantSpec,
}

dynamic_resource!(Workload, metadata);
dynamic_resource!(Referrer, metadata);
dynamic_resource!(GrantObject, metadata);
