//! Copies carry nothing by which Argo CD, Flux, Helm or another tool would take them for its own, and prune them.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::life::FORMS;
use crate::{
    scenario::Scenario,
    schema::target::MARKERS,
    support::{Result, pki, wait_for},
};

/// By which a tool knows, as a label alone, what is its own.
const LABELS: [(&str, &str); 4] = [
    ("app.kubernetes.io/managed-by", "Helm"),
    ("app.kubernetes.io/instance", "their-app"),
    ("owner", "helm"),
    ("team", "billing"),
];

/// All marks that there are, as metadata of one object. Ours on a source would make a copy of it.
fn marked(name: &str) -> Value {
    let theirs = MARKERS.iter().filter(|key| !key.starts_with("claviger.dev/"));
    let marks: BTreeMap<&str, &str> = theirs.map(|key| (*key, "their-app")).collect();
    let mut labels = marks.clone();
    labels.extend(LABELS);
    json!({"name": name, "labels": labels, "annotations": marks})
}

async fn apply(test: &Scenario, kind: &str, name: &str, body: Value) -> Result<()> {
    let mut object = json!({"apiVersion": "claviger.dev/v1alpha1", "kind": kind, "metadata": marked(name)});
    json_patch::merge(&mut object, &body);
    let params = PatchParams::apply("argocd-controller").force();
    if kind == "Secret" {
        object["apiVersion"] = json!("v1");
        test.secrets(&test.home.name).patch(name, &params, &Patch::Apply(object)).await?;
    } else {
        let object: kube::api::DynamicObject = serde_json::from_value(object)?;
        crate::support::apply::apply(&test.client, &test.home.name, object).await?;
    }
    Ok(())
}

/// The copies of a name, once all have a revision.
async fn copies(test: &Scenario, name: &str, revision: &str) -> Result<Vec<Secret>> {
    let secrets: Api<Secret> = Api::all(test.client.clone());
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    wait_for(Duration::from_secs(30), &format!("three copies {name} at revision {revision}"), async || {
        let found = secrets.list(&params).await.map_err(|error| error.to_string())?.items;
        let new =
            |copy: &Secret| copy.annotations().get("claviger.dev/revision").is_some_and(|r| r == revision);
        if found.len() == 3 && found.iter().all(new) {
            Ok(found)
        } else {
            Err(format!("{} are there", found.len()))
        }
    })
    .await
}

#[tokio::test]
async fn no_mark_of_a_tool_gets_from_a_credential_or_its_source_onto_a_copy() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let authority = pki::Authority::new("the authority")?;
    for form in &FORMS {
        let (source, name) = (format!("{}-source", form.short), format!("{}-{}", form.short, test.mark));
        let content = || -> Result<Value> {
            let pair = authority.server(&["shop.example.com"])?;
            Ok(match form.short {
                "tls" => json!({"tls.crt": pair.certificate, "tls.key": pair.key}),
                _ => json!({"username": "me", "password": crate::support::random_name("password")}),
            })
        };
        apply(&test, "Secret", &source, json!({"stringData": content()?})).await?;
        let names: Vec<&String> = targets.iter().chain([&test.home.name]).collect();
        let mut spec = form.spec();
        let target = json!({"secretRef": {"name": source}, "target": {"namespaces": {"names": names}}});
        json_patch::merge(&mut spec, &target);
        apply(&test, form.kind, &name, json!({"spec": spec})).await?;
        // Made, and then changed.
        for revision in ["1", "2"] {
            if revision == "2" {
                apply(&test, "Secret", &source, json!({"stringData": content()?})).await?;
            }
            for copy in copies(&test, &name, revision).await? {
                let labels: Vec<&str> = copy.labels().keys().map(String::as_str).collect();
                assert_eq!(labels, ["app.kubernetes.io/managed-by", "claviger.dev/owner"]);
                assert_eq!(copy.labels()["app.kubernetes.io/managed-by"], "claviger");
                let foreign: Vec<&String> =
                    copy.annotations().keys().filter(|key| !key.starts_with("claviger.dev/")).collect();
                assert!(foreign.is_empty(), "{foreign:?}");
                assert!(copy.owner_references().is_empty() && copy.finalizers().is_empty());
            }
        }
    }
    Ok(())
}
