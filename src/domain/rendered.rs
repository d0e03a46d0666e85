//! A produced Secret as it goes over the wire: rendered once, written many times.

use std::{collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{
    content::Content,
    fingerprint::{Fingerprint, encode},
    identity::{CredentialId, OwnerId},
    marks::Marks,
    ownership::{Hub, Metadata},
    snapshot::ExistingCopy,
};

/// What every copy of a credential is.
pub(crate) struct RenderedSecret {
    pub id: CredentialId,
    pub owner: OwnerId,
    pub hub: Arc<Hub>,
    pub name: Arc<str>,
    pub metadata: Arc<Metadata>,
    pub marks: Arc<Marks>,
    /// A keyed hash of type and data.
    pub fingerprint: Fingerprint,
    pub content: Arc<Content>,
    data: Zeroizing<String>,
}

impl fmt::Debug for RenderedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenderedSecret")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PartialEq for RenderedSecret {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.name == other.name
            && self.metadata == other.metadata
            && self.fingerprint == other.fingerprint
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(rename = "type")]
    type_: &'static str,
    metadata: Head<'a>,
    data: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
}

impl RenderedSecret {
    pub fn new(
        id: CredentialId,
        hub: Arc<Hub>,
        name: Arc<str>,
        metadata: Arc<Metadata>,
        content: Arc<Content>,
        fingerprint: Fingerprint,
    ) -> Self {
        let mut data = Zeroizing::new(String::from("{"));
        for (key, value) in &content.data {
            if data.len() > 1 {
                data.push(',');
            }
            // A key with its quotes, escaped; base64 needs no escaping.
            data.push_str(&serde_json::Value::from(key.as_str()).to_string());
            data.push_str(":\"");
            data.push_str(&encode(value.expose()));
            data.push('"');
        }
        data.push('}');
        let marks = Arc::new(Marks::of(&metadata));
        Self { owner: id.owner(), id, hub, name, metadata, marks, fingerprint, data, content }
    }

    /// The body that creates a copy, the same for every namespace, which is in the path; or the one that updates a
    /// copy which holds nothing but what a plain Secret has. That one is accepted only if the copy still is as it was
    /// seen.
    ///
    /// # Errors
    /// Never in practice: texts under text keys always serialize.
    pub fn body(&self, seen: Option<&ExistingCopy>) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Body {
            api_version: "v1",
            kind: "Secret",
            type_: self.content.type_,
            metadata: Head {
                name: &self.name,
                uid: seen.map(|copy| copy.uid.to_string()),
                resource_version: seen.map(|copy| copy.resource_version.to_string()),
                labels: &self.metadata.labels,
                annotations: &self.metadata.annotations,
            },
            data: serde_json::from_str(&self.data)?,
        })
    }

    /// Updates a whole Secret that holds more than a plain one, so that the rest survives.
    pub fn update(&self, secret: &mut Secret) {
        let merged = take_metadata(&mut secret.metadata).merged(&self.metadata);
        set_metadata(&mut secret.metadata, merged);
        secret.type_ = Some(self.content.type_.to_owned());
        let data = self.content.data.iter();
        secret.data =
            Some(data.map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect());
    }
}

/// Takes our marks off a copy of `id`.
pub(crate) fn release(secret: &mut Secret, id: &CredentialId) {
    let rest = take_metadata(&mut secret.metadata).released(id);
    set_metadata(&mut secret.metadata, rest);
}

fn take_metadata(meta: &mut ObjectMeta) -> Metadata {
    Metadata {
        labels: meta.labels.take().unwrap_or_default(),
        annotations: meta.annotations.take().unwrap_or_default(),
    }
}

fn set_metadata(meta: &mut ObjectMeta, metadata: Metadata) {
    meta.labels = Some(metadata.labels);
    meta.annotations = Some(metadata.annotations);
    meta.managed_fields = None;
}
