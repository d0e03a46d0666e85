//! A produced Secret as it goes over the wire: rendered once, written many times.

use std::{collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    content::{Content, Data, LAST_APPLIED, ReadSecret},
    fingerprint::{Fingerprint, encode},
    identity::{CredentialId, OwnerId},
    marks::Marks,
    ownership::{Hub, Metadata},
    sensitive::SecretBytes,
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
    data: Encoded,
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

/// The data of a Secret as it is on the wire: texts that need no escaping.
type Encoded = BTreeMap<String, Zeroizing<String>>;

fn encoded(data: &Data) -> Encoded {
    data.iter().map(|(key, value)| (key.clone(), encode(value.expose()))).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, M: Serialize> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(rename = "type")]
    type_: &'a str,
    metadata: M,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
    data: &'a Encoded,
}

impl<'a, M: Serialize> Body<'a, M> {
    fn json(
        type_: &'a str,
        metadata: M,
        immutable: Option<bool>,
        data: &'a Encoded,
    ) -> Result<SecretBytes, serde_json::Error> {
        SecretBytes::json(&Self { api_version: "v1", kind: "Secret", type_, metadata, immutable, data })
    }
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
        let data = encoded(&content.data);
        let marks = Arc::new(Marks::of(&metadata));
        Self { owner: id.owner(), id, hub, name, metadata, marks, fingerprint, data, content }
    }

    /// The body that creates a copy, the same for every namespace, which is in the path; or the one that updates a
    /// copy which holds nothing but what a plain Secret has. That one is accepted only if the copy still is as it was
    /// seen.
    ///
    /// # Errors
    /// Never in practice: texts under text keys always serialize.
    pub fn body(&self, seen: Option<&ExistingCopy>) -> Result<SecretBytes, serde_json::Error> {
        let head = Head {
            name: &self.name,
            uid: seen.map(|copy| copy.uid.to_string()),
            resource_version: seen.map(|copy| copy.resource_version.to_string()),
            labels: &self.metadata.labels,
            annotations: &self.metadata.annotations,
        };
        Body::json(self.content.type_, head, None, &self.data)
    }

    /// The body that updates a whole Secret that holds more than a plain one, so that the rest survives; but not what
    /// `kubectl apply` noted there, which quotes the former values.
    ///
    /// # Errors
    /// As [`RenderedSecret::body`].
    pub fn update(&self, secret: &mut ReadSecret) -> Result<SecretBytes, serde_json::Error> {
        secret.take_last_applied();
        let meta = &mut secret.0.metadata;
        let merged = take_metadata(meta).merged(&self.metadata);
        set_metadata(meta, merged);
        Body::json(self.content.type_, meta, secret.0.immutable, &self.data)
    }
}

/// The body that takes our marks off a copy of `id`, and changes nothing else.
///
/// # Errors
/// As [`RenderedSecret::body`].
pub(crate) fn release(secret: &mut ReadSecret, id: &CredentialId) -> Result<SecretBytes, serde_json::Error> {
    let data = encoded(&secret.take_data());
    let applied = secret.take_last_applied();
    let meta = &mut secret.0.metadata;
    let mut rest = take_metadata(meta).released(id);
    // It goes back to whoever applied it.
    rest.annotations.extend(applied.map(|text| (LAST_APPLIED.to_owned(), text.text().to_owned())));
    set_metadata(meta, rest);
    Body::json(secret.type_(), &secret.0.metadata, secret.0.immutable, &data)
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

#[cfg(test)]
#[path = "rendered_tests.rs"]
mod tests;
