//! Applying manifests as they stand in a file, of any kind the server knows.

use std::{fs, path::Path, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::Value;

use super::{
    error::{Context, Error, Result},
    wait::wait_for,
};

/// Not Claviger's: what a test applies is what a person applies.
pub const FIELD_MANAGER: &str = "claviger-test";

const DEADLINE: Duration = Duration::from_secs(60);

/// Server-side applies every document, in order. Objects without a namespace go to `default`.
pub async fn apply_yaml(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>> {
    apply_yaml_in(client, "default", yaml).await
}

/// The same, where objects without a namespace go to `namespace`. Waits for each CRD to be served, so that
/// its resources may follow in the same manifest. A refusal of the server is an error at once.
pub async fn apply_yaml_in(client: &Client, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    let mut applied = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let object: DynamicObject = serde_json::from_value(document)?;
        applied.push(apply(client, namespace, object).await?);
    }
    Ok(applied)
}

pub async fn apply(client: &Client, namespace: &str, object: DynamicObject) -> Result<DynamicObject> {
    let types = object.types.clone().ok_or_else(|| Error::new("no apiVersion and kind"))?;
    let name = object.name_any();
    let what = format!("{} {name}", types.kind);
    let kind = GroupVersionKind::try_from(&types)?;
    let (resource, capabilities) = once_served(&what, async || pinned_kind(client, &kind).await).await?;
    let api: Api<DynamicObject> = if capabilities.scope == Scope::Cluster {
        Api::all_with(client.clone(), &resource)
    } else {
        let namespace = object.namespace().unwrap_or_else(|| namespace.to_owned());
        Api::namespaced_with(client.clone(), &namespace, &resource)
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&object);
    let applied = once_served(&what, async || api.patch(&name, &params, &patch).await).await?;
    if kind.kind == "CustomResourceDefinition" {
        wait_established(client, &name).await?;
    }
    Ok(applied)
}

/// An API server says that a definition is established a moment before it serves its resources.
async fn once_served<T>(what: &str, ask: impl AsyncFn() -> Result<T, kube::Error>) -> Result<T> {
    let known = format!("the server to know {what}");
    let answer = wait_for(DEADLINE, &known, async || match ask().await {
        Err(kube::Error::Api(status)) if status.code == 404 && status.message.contains("page not found") => {
            Err(status.message.clone())
        }
        answer => Ok(answer),
    });
    answer.await?.context(format!("applying {what}"))
}

/// Every CRD under `crds/`, established on return.
pub async fn install_crds(client: &Client) -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut files: Vec<_> = fs::read_dir(&dir)
        .and_then(|entries| {
            entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()
        })
        .context(dir.display())?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    if files.is_empty() {
        return Err(Error::new(format!("no CRDs in {}", dir.display())));
    }
    for file in files {
        let yaml = fs::read_to_string(&file)?;
        apply_yaml(client, &yaml).await.context(file.display())?;
    }
    Ok(())
}

async fn wait_established(client: &Client, name: &str) -> Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    wait_for(DEADLINE, &format!("CRD {name} to be established"), async || {
        let conditions = crds.get(name).await?.status.and_then(|status| status.conditions);
        let conditions = conditions.unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
            return Ok(());
        }
        Err(Error::new(serde_json::to_string(&conditions)?))
    })
    .await
}
