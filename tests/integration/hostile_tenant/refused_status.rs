//! A status that the API server refuses is told with less detail, rather than not at all.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    checks::{SOON, foreign, good_source, spec_to, wait_events},
    lab::Lab,
    scenario::Scenario,
    support::{Result, wait_for},
};

const DEFINITION: &str = "registrycredentials.claviger.dev";

/// Lets the definition take messages of failures up to five letters only, as a credential of the name shows.
pub async fn limit(lab: &Lab, test: &Scenario, name: &str) -> Result<()> {
    let longest = 5;
    let definitions: Api<CustomResourceDefinition> = Api::all(lab.control_plane.client().await?);
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/clusters/items/properties/failures/items/properties/message/maxLength";
    let patch = json!([{"op": "replace", "path": path, "value": longest}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    definitions.patch(DEFINITION, &PatchParams::default(), &patch).await?;
    // The definition takes effect a moment after it is written.
    wait_for(SOON, "the definition to refuse a long message", async || {
        let row = json!({"name": "x", "state": "Error", "namespaces": {"desired": 0, "synced": 0, "failed": 0},
            "failures": [{"namespace": "x", "reason": "X", "message": "longer"}]});
        let patch = Patch::Merge(json!({"status": {"clusters": [row]}}));
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let refused = test.credentials().patch_status(name, &dry, &patch).await.err();
        if refused.is_some() { Ok(()) } else { Err("it takes it") }
    })
    .await
}

/// Whatever makes a status too long for the API server, the last one does not stand for ever and say that all is well.
#[tokio::test]
async fn a_refused_status_is_told_with_less_detail_an_event_and_a_metric() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    let operator = lab.operator()?.start().await?;
    test.credential("reg", spec_to("src", json!({"namespaces": {"names": [targets[0]]}}))).await?;
    test.wait_ready("reg", 1).await?;

    limit(&lab, &test, "reg").await?;
    foreign(&test, &targets[1], "reg").await?;
    test.credential("reg", spec_to("src", json!({"namespaces": {"names": targets}}))).await?;
    test.wait_condition("reg", "Ready", "False", "PartiallySynced").await?;
    let row = test.status("reg").await?.clusters.remove(0);
    assert_eq!((row.namespaces.failed, row.failures.len()), (1, 0));
    wait_events(&test, "reg", "StatusRefused", 1).await?;
    let refused = r#"claviger_reconcile_errors_total{kind="RegistryCredential",reason="StatusRefused"}"#;
    assert!(operator.metric(refused).await?.is_some_and(|count| count >= 2.0));
    // It goes on: what changes is told, also a change back.
    test.secrets(&targets[1]).delete("reg", &Default::default()).await?;
    test.wait_ready("reg", 1).await?;
    Ok(())
}
