//! Objects that this version cannot read, as after a downgrade: they cost only themselves.

mod credential;
mod policy;

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    checks::merge,
    scenario::Scenario,
    support::{Result, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

/// Has the API server take one more value where a definition lists those that it takes, as a later version's would.
async fn allow(test: &Scenario, crd: &str, list: &str, value: &str) -> Result<()> {
    let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{list}/-");
    edit(test, crd, json!([{"op": "add", "path": path, "value": value}])).await
}

/// Has the API server take anything as a spec. What selectors of fields name must be in the schema, so they go.
async fn loosen(test: &Scenario, crd: &str) -> Result<()> {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = "/spec/versions/0";
    let path = format!("{version}/schema/openAPIV3Schema/properties/spec");
    let fields = format!("{version}/selectableFields");
    let patch = json!([
        {"op": "add", "path": fields, "value": []}, {"op": "replace", "path": path, "value": anything},
    ]);
    edit(test, crd, patch).await
}

async fn edit(test: &Scenario, crd: &str, patch: Value) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(test.client.clone());
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    crds.patch(crd, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Merges what our own types cannot hold; the API server takes a moment to heed a new definition.
async fn write(untyped: &Api<DynamicObject>, name: &str, patch: Value) -> Result<()> {
    wait_for(LONG, &format!("the API server to take {patch}"), async || {
        merge(untyped, name, patch.clone()).await.map(drop)
    })
    .await
}
