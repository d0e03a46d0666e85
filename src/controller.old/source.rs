//! Reading sources: once per change, not once per pass.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};

use super::{
    index::{Index, MISSED},
    memory::Material,
};
use crate::{
    cluster::{Cluster, describe},
    domain::{Content, Credential, Inputs, SecretBytes, SourceError, SourceSecret, Sources, view::Key},
};

/// A copy to keep what still holds of.
pub struct Standing {
    /// Where it is.
    pub cluster: Arc<Cluster>,
    /// What it is called.
    pub key: Key,
}

/// What the source of a credential gives: what was read before, when nothing has changed since.
pub async fn resolve<K: Credential>(
    local: &Cluster,
    index: &Index<K>,
    object: &K,
    before: Option<&Material>,
    standing: impl FnOnce() -> Vec<Standing>,
    anew: bool,
) -> Material {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    let generation = object.meta().generation.unwrap_or_default();
    let keys: Vec<Key> = object.sources().into_iter().map(|name| Key::new(namespace, name)).collect();
    let seen = keys.iter().map(|key| index.version(key)).max().unwrap_or(0);
    let now = Timestamp::now();
    if let Some(material) = before
        && !anew
        && material.generation == generation
        && seen <= material.version
        && material.until.is_none_or(|until| now < until)
        && !matches!(material.content, Err(SourceError::Unreadable { .. }))
    {
        return material.clone();
    }
    let read = async {
        let mut version = if seen == MISSED { 0 } else { seen };
        let mut secrets = Vec::new();
        for key in &keys {
            if let Some((secret, found)) = fetch(local, key).await? {
                version = version.max(found);
                secrets.push(secret);
            }
        }
        let places = standing();
        let standing = match (places.first(), before.map(|material| &material.content)) {
            // What this process wrote itself is known, and nobody else has touched it.
            (Some(standing), Some(Ok(content))) => Some(remembered(&standing.key.name, content)),
            _ => first_of(&places).await?,
        };
        Ok((version, secrets, standing))
    };
    let (version, secrets, standing) = match read.await {
        Ok(read) => read,
        Err(error) => return Material { generation, version: 0, until: None, content: Err(error) },
    };
    for key in &keys {
        index.caught_up(key, version);
    }
    let content = render(object, secrets.into_iter().collect(), standing, now).await.map(Arc::new);
    let material = Material { generation, version, until: None, content };
    Material { until: material.validity().and_then(|validity| validity.next_change(now)), ..material }
}

/// Renders; where that is slow, beside the runtime's own threads.
async fn render<K: Credential>(
    object: &K,
    sources: Sources,
    standing: Option<SourceSecret>,
    now: Timestamp,
) -> Result<Content, SourceError> {
    let mut entropy = [0; 32];
    rand::fill(&mut entropy);
    if !K::KEEPS {
        return object.render(Inputs { sources: &sources, standing: None, now, entropy: &entropy });
    }
    let object = object.clone();
    let rendered = tokio::task::spawn_blocking(move || {
        object.render(Inputs { sources: &sources, standing: standing.as_ref(), now, entropy: &entropy })
    });
    rendered.await.unwrap_or_else(|_| {
        Err(SourceError::Unreadable { secret: String::new(), problem: "rendering was cut short".to_owned() })
    })
}

/// Reads the first of several Secrets that can be read. A member that does not answer is no reason to wait;
/// that `local` does not is.
async fn first_of(places: &[Standing]) -> Result<Option<SourceSecret>, SourceError> {
    for Standing { cluster, key } in places {
        match fetch(cluster, key).await {
            Ok(Some((secret, _))) => return Ok(Some(secret)),
            Err(error) if cluster.is_local() => return Err(error),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Reads a Secret, with its version.
async fn fetch(cluster: &Cluster, key: &Key) -> Result<Option<(SourceSecret, u64)>, SourceError> {
    let found = cluster.secret(&key.namespace, &key.name).await;
    let found = found.map_err(|error| SourceError::Unreadable {
        secret: key.name.to_string(),
        problem: describe(&error),
    })?;
    Ok(found.map(|secret| {
        let version = secret.metadata.resource_version.as_deref().and_then(|text| text.parse().ok());
        (read(&key.name, secret), version.unwrap_or(0))
    }))
}

/// A content as a Secret that holds it.
fn remembered(name: &str, content: &Content) -> SourceSecret {
    let data = content.data.iter().map(|(key, value)| (key.clone().into_owned(), value.clone())).collect();
    SourceSecret { name: name.to_owned(), type_: content.type_.to_owned(), data }
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
