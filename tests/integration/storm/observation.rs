//! What stands in the clusters: read past the operator, straight from the API servers.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use super::{
    content::Data,
    history::History,
    names::{Cluster, Id, Kind, NamespaceName, Place},
    operation::Exact,
    selector::Labels,
};
use crate::support::{Result, environment::OPERATOR_NAMESPACE};

pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const OWNER: &str = "claviger.dev/owner";
pub const SOURCE: &str = "claviger.dev/source";
pub const HUB: &str = "claviger.dev/hub";
pub const REVISION: &str = "claviger.dev/revision";
pub const DELETION_POLICY: &str = "claviger.dev/deletion-policy";
/// Says of a Secret that it was let go: no mark of a copy.
pub const RELEASED_FROM: &str = "claviger.dev/released-from";

#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// All Secrets, but for those of the operator's own namespace.
    pub secrets: BTreeMap<Place, Seen>,
    pub credentials: BTreeMap<Id, SeenCredential>,
    pub namespaces: BTreeSet<NamespaceName>,
}

/// A Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub exact: Exact,
    pub type_: String,
    pub data: Data,
    pub labels: Labels,
    pub annotations: Labels,
    pub owned: bool,
}

/// A credential, as it shows itself.
#[derive(Clone, Debug, Default)]
pub struct SeenCredential {
    pub version: String,
    pub generation: i64,
    pub deleting: bool,
    pub finalizer: bool,
    pub ready: Condition,
    pub deletion_blocked: Condition,
    /// How many use its copies, and how many of these hold a deletion.
    pub users: i64,
    pub blocking: i64,
    pub revision: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Condition {
    pub status: String,
    pub reason: String,
    pub message: String,
    pub generation: i64,
}

/// Whether the key of a label or an annotation is a mark of a copy.
pub fn is_mark(key: &String) -> bool {
    key.starts_with("claviger.dev/") && key != RELEASED_FROM
}

impl Seen {
    /// Whether it carries any mark of ours.
    pub fn is_marked(&self) -> bool {
        self.labels.get(MANAGED_BY).is_some_and(|by| by == "claviger")
            || self.labels.keys().chain(self.annotations.keys()).any(is_mark)
    }

    /// Whose copy it says that it is.
    pub fn owner(&self, history: &History) -> Option<Id> {
        if let Some(source) = self.annotations.get(SOURCE) {
            return Id::parse(source);
        }
        let label = self.labels.get(OWNER)?;
        history.owner_labels.iter().find(|(_, known)| *known == label).map(|(id, _)| id.clone())
    }
}

impl Observation {
    pub async fn read(hub: &Client, member: &Client) -> Result<Self> {
        let mut seen = Self::default();
        for (cluster, client) in [(Cluster::Hub, hub), (Cluster::Member, member)] {
            for namespace in Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await? {
                seen.namespaces.insert(NamespaceName { cluster, name: namespace.name_any() });
            }
            for secret in Api::<Secret>::all(client.clone()).list(&ListParams::default()).await? {
                let namespace = secret.namespace().unwrap_or_default();
                if namespace != OPERATOR_NAMESPACE {
                    let place = Place::new(cluster, &namespace, &secret.name_any());
                    seen.secrets.insert(place, read_secret(secret));
                }
            }
        }
        for kind in Kind::ALL {
            for object in credentials(hub, kind).list(&ListParams::default()).await? {
                let namespace = object.namespace().unwrap_or_default();
                let id = Id { kind, namespace, name: object.name_any() };
                seen.credentials.insert(id, read_credential(&object));
            }
        }
        Ok(seen)
    }

    /// What changes with any write at all.
    pub fn versions(&self) -> (BTreeMap<&Place, &Exact>, BTreeMap<&Id, &str>) {
        (
            self.secrets.iter().map(|(place, seen)| (place, &seen.exact)).collect(),
            self.credentials.iter().map(|(id, seen)| (id, seen.version.as_str())).collect(),
        )
    }
}

/// All credentials of a kind.
pub fn credentials(client: &Client, kind: Kind) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", kind.name()));
    Api::all_with(client.clone(), &resource)
}

fn read_secret(secret: Secret) -> Seen {
    Seen {
        exact: exact(&secret),
        labels: secret.labels().clone(),
        annotations: secret.annotations().clone(),
        owned: !secret.owner_references().is_empty(),
        type_: secret.type_.unwrap_or_default(),
        data: secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
    }
}

pub fn exact(secret: &Secret) -> Exact {
    Exact { uid: secret.uid().unwrap_or_default(), version: secret.resource_version().unwrap_or_default() }
}

fn read_credential(object: &DynamicObject) -> SeenCredential {
    let status = &object.data["status"];
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let condition = |type_: &str| {
        let all = status["conditions"].as_array();
        let found = all.into_iter().flatten().find(|condition| condition["type"] == type_);
        let text = |key: &str| found.and_then(|c| c[key].as_str()).unwrap_or_default().to_owned();
        Condition {
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            generation: found.map_or(0, |c| number(&c["observedGeneration"])),
        }
    };
    SeenCredential {
        version: object.resource_version().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        finalizer: object.finalizers().iter().any(|finalizer| finalizer == "claviger.dev/protect"),
        ready: condition("Ready"),
        deletion_blocked: condition("DeletionBlocked"),
        users: number(&status["references"]["total"]),
        blocking: number(&status["references"]["blocking"]),
        revision: status["revision"].as_i64(),
    }
}
