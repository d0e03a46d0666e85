//! Reading sources: once per change, not once per pass.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Secret;

use super::{
    index::{Index, MISSED},
    memory::Material,
};
use crate::{
    cluster::{Cluster, describe},
    domain::{
        Content, Credential, SecretBytes, SourceError, SourceSecret, Sources, content::MAX_SECRET_BYTES,
        view::Key,
    },
};

/// What the source of a credential gives: what was read before, when nothing has changed since.
pub async fn resolve<K: Credential>(
    local: &Cluster,
    index: &Index<K>,
    object: &K,
    before: Option<&Material>,
    anew: bool,
) -> Material {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    let generation = object.meta().generation.unwrap_or_default();
    let keys: Vec<Key> = object.sources().into_iter().map(|name| Key::new(namespace, name)).collect();
    let seen = keys.iter().map(|key| index.version(key)).max().unwrap_or(0);
    if let Some(material) = before
        && !anew
        && material.generation == generation
        && seen <= material.version
        && !matches!(material.content, Err(SourceError::Unreadable { .. }))
    {
        return material.clone();
    }
    let mut version = if seen == MISSED { 0 } else { seen };
    let mut secrets = Vec::new();
    for key in &keys {
        match local.secret(namespace, &key.name).await {
            Ok(Some(secret)) => {
                version = version.max(
                    secret
                        .metadata
                        .resource_version
                        .as_deref()
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0),
                );
                secrets.push(read(&key.name, secret));
            }
            Ok(None) => {}
            Err(error) => {
                let error =
                    SourceError::Unreadable { secret: key.name.to_string(), problem: describe(&error) };
                return Material { generation, version: 0, content: Err(error) };
            }
        }
    }
    for key in &keys {
        index.caught_up(key, version);
    }
    let sources: Sources = secrets.into_iter().collect();
    Material { generation, version, content: object.render(&sources).and_then(check_size).map(Arc::new) }
}

fn read(name: &str, secret: Secret) -> SourceSecret {
    let data: BTreeMap<String, SecretBytes> = secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, SecretBytes::new(value.0)))
        .collect();
    SourceSecret { name: name.to_owned(), type_: secret.type_.unwrap_or_else(|| "Opaque".to_owned()), data }
}

/// The API server would refuse more, namespace by namespace; so it is said once, here.
fn check_size(content: Content) -> Result<Content, SourceError> {
    let bytes: usize = content.data.values().map(|value| value.expose().len()).sum();
    if bytes <= MAX_SECRET_BYTES {
        return Ok(content);
    }
    Err(SourceError::InvalidFormat {
        secret: String::new(),
        key: String::new(),
        problem: format!("gives {bytes} bytes; a Secret holds at most {MAX_SECRET_BYTES}"),
    })
}
