//! What would come of a credential: which Secret, with which keys, for which images.

use serde::Serialize;

use crate::{
    api::{NamespaceSelector, RegistryCredentialSpec},
    domain::registry::{keyring::repository, kubelet, registry},
};

/// What would come of a credential for registries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    pub secret: String,
    /// Namespaces by the name that they have to have; the others of a target are not known offline.
    pub namespaces: Vec<String>,
    pub registries: Vec<RegistryPreview>,
}

/// One registry of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegistryPreview {
    pub endpoint: String,
    /// The key in `auths`.
    pub key: String,
    /// Which images it is for, in words.
    pub images: String,
    /// Of the images that were asked about, those that it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matching: Vec<String>,
}

/// What would come of a credential of this namespace and name; `images` are asked about.
pub(crate) fn preview(
    spec: &RegistryCredentialSpec,
    namespace: &str,
    name: &str,
    images: &[String],
) -> Preview {
    let registries = spec.entries().iter().map(|login| {
        let registry = registry(login);
        let is_for = |image: &&String| {
            repository(image).is_some_and(|repository| kubelet::matches(&registry.key, &repository))
        };
        let matching = images.iter().filter(is_for).cloned().collect();
        RegistryPreview {
            images: in_words(&registry.key),
            endpoint: registry.endpoint,
            key: registry.key,
            matching,
        }
    });
    let listed = |selector: &NamespaceSelector| selector.names.clone();
    Preview {
        secret: spec.target.secret_name.clone().unwrap_or_else(|| name.to_owned()),
        namespaces: spec.target.namespaces.as_ref().map_or_else(|| vec![namespace.to_owned()], listed),
        registries: registries.collect(),
    }
}

fn in_words(key: &str) -> String {
    if key.contains("index.docker.io") {
        return "all of Docker Hub, including those that name no registry, if no other key matches"
            .to_owned();
    }
    if key.contains('/') {
        format!("names that begin with {key}")
    } else {
        format!("names that begin with {key}/")
    }
}
