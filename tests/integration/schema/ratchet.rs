//! Objects that were accepted before a rule came: they stay, and are told of the rule when their spec changes.

use claviger::api::{RegistryCredential, crds};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Error, Result,
    environment::prepare,
    wait::{DEADLINE, wait_for},
};

/// One of a whole spec; the others of this object are of a field.
const RULE: &str = "give the organisation or user of the registry";

#[tokio::test]
async fn a_credential_of_before_a_rule_goes_on_and_is_refused_when_its_spec_changes() -> Result<()> {
    let control_plane = ControlPlane::builder().start().await?;
    let client = control_plane.client().await?;
    prepare(&client).await?;
    let credentials: Api<RegistryCredential> = Api::namespaced(client.clone(), "default");
    let bare: RegistryCredential = serde_json::from_value(json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential", "metadata": {"name": "bare"},
        "spec": {"provider": "Quay", "server": "registry", "secretRef": {"name": "src"}},
    }))?;
    let refused = credentials.create(&PostParams::default(), &bare).await;
    assert!(refused.is_err(), "the rules are not there: the test proves nothing");

    let ours = crds().into_iter().find(|definition| definition.spec.names.kind == "RegistryCredential");
    let with = serde_json::to_value(ours)?;
    let mut without = with.clone();
    drop_rules(&mut without);
    replace(&client, without).await?;
    wait_for(DEADLINE, "the rules to be gone", async || {
        credentials.create(&PostParams::default(), &bare).await
    })
    .await?;
    replace(&client, with).await?;
    let other = serde_json::from_value::<RegistryCredential>({
        let mut other = serde_json::to_value(&bare)?;
        other["metadata"]["name"] = json!("other");
        other
    })?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    wait_for(DEADLINE, "the rules to be back", async || match credentials.create(&dry_run, &other).await {
        Err(kube::Error::Api(status)) if status.message.contains(RULE) => Ok(()),
        answer => Err(Error::new(format!("{:?}", answer.map(drop)))),
    })
    .await?;

    let merge = |patch: Value| Patch::Merge(patch);
    let params = PatchParams::default();
    let finalizer = json!({"metadata": {"finalizers": ["claviger.dev/protect"]}});
    credentials.patch("bare", &params, &merge(finalizer)).await?;
    let status = json!({"status": {"revision": 1, "registry": {"endpoint": "quay.io", "key": "quay.io"}}});
    credentials.patch_status("bare", &params, &merge(status)).await?;
    assert_eq!(credentials.get("bare").await?.status.unwrap_or_default().common.revision, Some(1));

    let target = json!({"spec": {"target": {"secretName": "pull"}}});
    let refused = credentials.patch("bare", &params, &merge(target)).await.err();
    let message = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains(RULE), "{message}");
    // What did not change is not complained about.
    assert!(!message.contains("spec.server"), "{message}");
    let both =
        json!({"spec": {"target": {"secretName": "pull"}, "quay": {"namespace": "acme"}, "server": null}});
    credentials.patch("bare", &params, &merge(both)).await?;
    Ok(())
}

async fn replace(client: &kube::Client, definition: Value) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut definition: CustomResourceDefinition = serde_json::from_value(definition)?;
    let name = definition.metadata.name.clone().unwrap_or_default();
    definition.metadata.resource_version = definitions.get(&name).await?.metadata.resource_version;
    definitions.replace(&name, &PostParams::default(), &definition).await.map(drop).map_err(Into::into)
}

/// As if no rule had been written yet.
fn drop_rules(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(drop_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_rules),
        _ => {}
    }
}
