//! A credential as the API server has it: read field by field, so that what a later version has written hides as
//! little as possible.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    condition::shortened,
    credential::{CredentialSpec, Source},
    foreign_text::foreign_text,
    identity::{CredentialId, NamespacedName},
    schedule::{MAX_MESSAGE, MAX_SYNC_REQUEST},
    validity::Validity,
};
use crate::api::{
    ANNOTATION_FORCE_DELETE, ANNOTATION_SYNC, BasicAuthCredential, ClusterStatus, CredentialKind,
    CredentialStatus, DeletionPolicy, FINALIZER, ObjectStorageCredential, RegistryCredential, TlsCredential,
    TokenStatus, for_all_kinds,
};

/// A credential as the API server has it.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub id: CredentialId,
    /// Without managed fields, and of the annotations only those that concern the operator.
    pub meta: ObjectMeta,
    /// Or what serde says of one that this version cannot read, such as one with a field of a later version: the
    /// field, and the values that it knows. Nothing in a spec is secret.
    pub spec: Result<Arc<dyn CredentialSpec>, String>,
    /// What happens to the Secrets on deletion; known also where the rest of the spec cannot be read.
    pub deletion_policy: DeletionPolicy,
    pub recorded: Recorded,
}

/// A status as the API server has it. It has a row for each cluster, so it is read when it is first asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    text: Option<Box<str>>,
    read: OnceLock<(Option<CredentialStatus>, Map<String, Value>)>,
}

impl PartialEq for Recorded {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Recorded {
    fn read(&self) -> &(Option<CredentialStatus>, Map<String, Value>) {
        self.read.get_or_init(|| self.text.as_deref().map_or_else(Default::default, read_status))
    }

    /// What could be read of it.
    pub fn status(&self) -> Option<&CredentialStatus> {
        self.read().0.as_ref()
    }

    /// Its fields that are not common to all kinds.
    pub fn details(&self) -> &Map<String, Value> {
        &self.read().1
    }
}

/// What is to be done about a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// It gets our finalizer, before the first copy, so that none can be left behind.
    New,
    Kept,
    /// It is being deleted, and waits for us.
    Deleting,
    /// It is being deleted, and not by us any more.
    Gone,
}

impl Declared {
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    pub fn generation(&self) -> i64 {
        self.meta.generation.unwrap_or_default()
    }

    pub fn resource_version(&self) -> &str {
        self.meta.resource_version.as_deref().unwrap_or_default()
    }

    /// Where in its life it is.
    pub fn lifecycle(&self) -> Lifecycle {
        let has_finalizer = self.meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        match (self.meta.deletion_timestamp.is_some(), has_finalizer) {
            (true, true) => Lifecycle::Deleting,
            (true, false) => Lifecycle::Gone,
            // What cannot be read gets no copies, and so needs no finalizer.
            (false, false) if self.spec.is_ok() => Lifecycle::New,
            (false, _) => Lifecycle::Kept,
        }
    }

    /// Whether a person asked to delete the Secrets although they are in use.
    pub fn is_forced(&self) -> bool {
        self.annotation(ANNOTATION_FORCE_DELETE) == Some("true")
    }

    /// What could be read of the status.
    pub fn status(&self) -> Option<&CredentialStatus> {
        self.recorded.status()
    }

    /// Whether its status was told before.
    pub fn is_told(&self) -> bool {
        self.status().is_some_and(|status| !status.conditions.is_empty())
    }

    /// The request for a sync that was not answered yet.
    pub fn sync_request(&self) -> Option<&str> {
        let asked = self.annotation(ANNOTATION_SYNC)?;
        let handled = self.status().and_then(|status| status.sync.as_ref());
        (handled.map(|sync| sync.last_handled_request.as_str()) != Some(asked)).then_some(asked)
    }

    /// What the status says of a cluster.
    pub fn row(&self, cluster: &str) -> Option<&ClusterStatus> {
        self.status()?.clusters.iter().find(|row| row.name == cluster)
    }

    /// The name of the produced Secrets.
    pub fn secret_name(&self) -> Arc<str> {
        let chosen = self.spec.as_ref().ok().and_then(|spec| spec.target().secret_name.as_deref());
        chosen.map_or_else(|| self.id.name.clone(), Into::into)
    }

    /// The Secrets that the content is made from.
    pub fn source_secrets(&self) -> Vec<NamespacedName> {
        let Ok(spec) = &self.spec else { return Vec::new() };
        let Source::Secrets(names) = spec.source();
        names.into_iter().map(|name| NamespacedName::new(self.id.namespace.clone(), name)).collect()
    }

    /// When the content that was distributed last is valid, as the status tells.
    pub fn recorded_validity(&self) -> Option<Validity> {
        self.spec.as_ref().ok()?.recorded_validity(self.status()?, self.recorded.details())
    }

    /// The minted tokens that were distributed last, as the status tells, by their keys in `auths`.
    pub fn recorded_tokens(&self) -> BTreeMap<String, TokenStatus> {
        let spec = self.spec.as_ref().ok();
        spec.map(|spec| spec.recorded_tokens(self.recorded.details())).unwrap_or_default()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.meta.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether something changed that concerns more than the status: all but annotations of others and the
    /// status, of which it counts that a request was answered.
    pub fn differs(&self, other: &Self) -> bool {
        fn concern(meta: &ObjectMeta) -> impl PartialEq {
            (&meta.uid, meta.generation, &meta.finalizers, &meta.deletion_timestamp, &meta.annotations)
        }
        concern(&self.meta) != concern(&other.meta) || self.sync_request() != other.sync_request()
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    kind: String,
    metadata: ObjectMeta,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Declared {
    /// Works on text in memory only, which is what kube reads lists and events from.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        read(text).map_err(D::Error::custom)
    }
}

fn read(text: &str) -> Result<Declared, String> {
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let kind =
        CredentialKind::parse(&raw.kind).ok_or_else(|| format!("kind '{}' is not served", raw.kind))?;
    let mut meta = raw.metadata;
    meta.managed_fields = None;
    meta.owner_references = None;
    meta.labels = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| [ANNOTATION_FORCE_DELETE, ANNOTATION_SYNC].contains(&key.as_str()));
        for value in annotations.values_mut() {
            *value = shortened(value, MAX_SYNC_REQUEST);
        }
    }
    // Of the finalizers of others, only how many there are is of use.
    for finalizer in meta.finalizers.iter_mut().flatten().filter(|finalizer| *finalizer != FINALIZER) {
        *finalizer = String::new();
    }
    let id = CredentialId {
        kind,
        namespace: meta.namespace.as_deref().unwrap_or_default().into(),
        name: meta.name.as_deref().unwrap_or_default().into(),
    };
    let text = raw.spec.map_or("{}", RawValue::get);
    let told = |error: serde_json::Error| foreign_text(&error.to_string(), MAX_MESSAGE);
    let spec = read_spec(kind, text).map_err(told);
    let deletion_policy = read_deletion_policy(text);
    let recorded = Recorded { text: raw.status.map(|status| status.get().into()), ..Recorded::default() };
    Ok(Declared { id, meta, spec, deletion_policy, recorded })
}

fn read_spec(kind: CredentialKind, text: &str) -> Result<Arc<dyn CredentialSpec>, serde_json::Error> {
    macro_rules! by_kind {
        ($($kind:ident),+ $(,)?) => {
            match kind {
                $(CredentialKind::$kind => {
                    let spec: <$kind as kube::core::object::HasSpec>::Spec = serde_json::from_str(text)?;
                    Ok(Arc::new(spec))
                }),+
            }
        };
    }
    for_all_kinds!(by_kind)
}

fn read_deletion_policy(spec: &str) -> DeletionPolicy {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Only {
        #[serde(default)]
        deletion_policy: DeletionPolicy,
    }
    serde_json::from_str::<Only>(spec).map(|only| only.deletion_policy).unwrap_or_default()
}

/// The part of a status that all kinds share, without those fields of it that cannot be read, and the rest as it is.
fn read_status(text: &str) -> (Option<CredentialStatus>, Map<String, Value>) {
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
        return Default::default();
    };
    let (common, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
        fields.into_iter().partition(|(key, _)| CredentialStatus::FIELDS.contains(&key.as_str()));
    let status = serde_json::from_str(text).unwrap_or_else(|_| {
        let mut fields: Map<String, Value> = values(common);
        fields.retain(|key, value| serde_json::from_value::<CredentialStatus>(json!({ key: value })).is_ok());
        serde_json::from_value(Value::Object(fields)).unwrap_or_default()
    });
    (Some(status), values(rest))
}

fn values(fields: BTreeMap<String, &RawValue>) -> Map<String, Value> {
    let read = |(key, raw): (String, &RawValue)| Some((key, serde_json::from_str(raw.get()).ok()?));
    fields.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: Value, status: Value) -> Declared {
        let text = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential",
            "metadata": {"name": "quay", "namespace": "platform", "uid": "u",
                "annotations": {"a": "b", "claviger.dev/sync-requested-at": "now".repeat(1_000)},
                "labels": {"a": "b"}, "managedFields": [{"manager": "kubectl"}],
                "finalizers": ["example.com/other", "claviger.dev/protect"]},
            "spec": spec, "status": status,
        });
        read(&text.to_string()).unwrap()
    }

    fn spec() -> Value {
        json!({"provider": "Quay", "secretRef": {"name": "src"}})
    }

    #[test]
    fn a_status_of_a_later_version_hides_what_it_must_and_no_more() {
        let row = json!({"name": "local", "state": "Dreaming", "namespaces": {"desired": 1, "synced": 1, "failed": 0}});
        let status = json!({"revision": 7, "clusters": [row], "registry": {"key": "quay.io"}});
        let read = object(spec(), status);
        let common = read.status().unwrap();
        assert_eq!((common.revision, common.clusters.len()), (Some(7), 0));
        assert_eq!(read.recorded.details().keys().collect::<Vec<_>>(), ["registry"]);
        assert!(read.spec.is_ok());
    }

    #[test]
    fn of_a_spec_of_a_later_version_the_deletion_policy_is_read() {
        let mut later = spec();
        later["provider"] = json!("Moon");
        later["deletionPolicy"] = json!("Orphan");
        let read = object(later, json!({}));
        assert!(read.spec.as_ref().is_err_and(|error| error.contains("Moon")));
        assert_eq!(read.deletion_policy, DeletionPolicy::Orphan);
        let mut newer = spec();
        newer["deletionPolicy"] = json!("Archive");
        assert_eq!(object(newer, json!({})).deletion_policy, DeletionPolicy::Protect);
    }

    #[test]
    fn of_what_others_write_into_the_metadata_nothing_is_kept() {
        let ObjectMeta { annotations, finalizers, labels, managed_fields, .. } =
            object(spec(), json!({})).meta;
        let [(key, value)] = annotations.unwrap().into_iter().collect::<Vec<_>>().try_into().unwrap();
        assert!(key == ANNOTATION_SYNC && value.len() <= MAX_SYNC_REQUEST + 3, "{value}");
        assert_eq!(finalizers.unwrap(), ["", FINALIZER]);
        assert!(labels.is_none() && managed_fields.is_none());
    }
}
