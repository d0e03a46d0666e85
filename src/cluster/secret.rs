//! A produced Secret on the wire.

use std::sync::Arc;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::domain::{
    content::Content,
    credential::CredentialId,
    fingerprint::{Fingerprint, encode},
    ownership::{Hub, Metadata, OwnerId},
    view::ObservedCopy,
};

/// What every copy of a credential is: rendered once, written many times.
pub struct Produced {
    /// The credential.
    pub id: CredentialId,
    /// Its mark.
    pub owner: OwnerId,
    /// Who we are.
    pub hub: Arc<Hub>,
    /// What the copies are called.
    pub name: Arc<str>,
    /// Labels and annotations.
    pub metadata: Metadata,
    /// A keyed hash of type and data.
    pub fingerprint: Fingerprint,
    type_: &'static str,
    data: Zeroizing<String>,
    content: Content,
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
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a str>,
    labels: &'a std::collections::BTreeMap<String, String>,
    annotations: &'a std::collections::BTreeMap<String, String>,
}

impl Produced {
    /// Makes the content ready to be written.
    #[must_use]
    pub fn new(
        id: CredentialId,
        hub: Arc<Hub>,
        name: Arc<str>,
        metadata: Metadata,
        content: Content,
        fingerprint: Fingerprint,
    ) -> Self {
        let mut data = Zeroizing::new(String::from("{"));
        for (key, value) in &content.data {
            if data.len() > 1 {
                data.push(',');
            }
            // A key with its quotes, escaped; base64 needs no escaping.
            data.push_str(&serde_json::Value::from(&**key).to_string());
            data.push_str(":\"");
            data.push_str(&encode(value.expose()));
            data.push('"');
        }
        data.push('}');
        Self { owner: id.owner(), id, hub, name, metadata, fingerprint, type_: content.type_, data, content }
    }

    /// The body that creates a copy; the same for every namespace, which stands in the path.
    ///
    /// # Errors
    /// Never in practice: texts under text keys always serialize.
    pub fn create_body(&self) -> Result<Vec<u8>, serde_json::Error> {
        self.body(None, &self.metadata)
    }

    /// The body that puts a copy right which holds nothing but what a plain Secret has. It is taken
    /// only if the copy still is as it was seen.
    ///
    /// # Errors
    /// Never in practice.
    pub fn replace_body(
        &self,
        seen: &ObservedCopy,
        metadata: &Metadata,
    ) -> Result<Vec<u8>, serde_json::Error> {
        self.body(Some(seen), metadata)
    }

    fn body(&self, seen: Option<&ObservedCopy>, metadata: &Metadata) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Body {
            api_version: "v1",
            kind: "Secret",
            type_: self.type_,
            metadata: Head {
                name: &self.name,
                uid: seen.map(|copy| &*copy.uid),
                resource_version: seen.map(|copy| &*copy.resource_version),
                labels: &metadata.labels,
                annotations: &metadata.annotations,
            },
            data: serde_json::from_str(&self.data)?,
        })
    }

    /// Puts a whole Secret right that holds more than a plain one, so that the rest survives.
    pub fn mend(&self, secret: &mut Secret) {
        let meta = &mut secret.metadata;
        let seen = Metadata {
            labels: meta.labels.take().unwrap_or_default(),
            annotations: meta.annotations.take().unwrap_or_default(),
        };
        let merged = seen.merged(&self.metadata);
        meta.labels = Some(merged.labels);
        meta.annotations = Some(merged.annotations);
        meta.managed_fields = None;
        secret.type_ = Some(self.type_.to_owned());
        secret.data = Some(
            self.content
                .data
                .iter()
                .map(|(key, value)| (key.clone().into_owned(), ByteString(value.expose().to_vec())))
                .collect(),
        );
    }
}

/// Takes our marks off a Secret.
pub fn release(secret: &mut Secret) {
    let meta: &mut ObjectMeta = &mut secret.metadata;
    let seen = Metadata {
        labels: meta.labels.take().unwrap_or_default(),
        annotations: meta.annotations.take().unwrap_or_default(),
    };
    let rest = seen.without_ours();
    meta.labels = Some(rest.labels);
    meta.annotations = Some(rest.annotations);
    meta.managed_fields = None;
}
