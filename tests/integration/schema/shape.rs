//! The definitions as such: texts for `kubectl explain`, defaults, and what generators get wrong.

use claviger::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::Api;
use serde_json::json;

use super::{client, create, custom};
use crate::support::{Error, Result, TestNamespace, wait::DEADLINE, wait_for};

/// Calls `visit` with the path of every field, and its schema.
fn walk(path: &str, schema: &JSONSchemaProps, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
    visit(path, schema);
    for (name, property) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(&format!("{path}[]"), items, visit);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        walk(&format!("{path}{{}}"), values, visit);
    }
}

/// What is wrong with any field of our kinds, by `judge`.
fn faults(mut judge: impl FnMut(&str, &JSONSchemaProps) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut fields = 0;
    for crd in api::crds() {
        let version = &crd.spec.versions[0];
        let root = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref()).expect("a schema");
        walk(&crd.spec.names.kind, root, &mut |path, schema| {
            fields += 1;
            found.extend(judge(path, schema).map(|fault| format!("{path}: {fault}")));
        });
    }
    assert!(fields > 80, "only {fields} fields were looked at");
    found
}

#[test]
fn every_field_explains_itself() {
    let found = faults(|path, schema| {
        let text = schema.description.as_deref().unwrap_or_default();
        // Items and values are told by the list or map that they stand in, unless they are objects.
        let told = path.ends_with("[]") || path.ends_with("{}");
        if text.is_empty() && !(told && schema.type_.as_deref() != Some("object")) {
            return Some("no description".into());
        }
        (!text.is_empty() && !text.ends_with('.')).then(|| format!("no sentence: {text:?}"))
    });
    assert!(found.is_empty(), "`kubectl explain` has nothing to say:\n{}", found.join("\n"));
}

#[test]
fn schemas_are_structural_and_plain() {
    let found = faults(|_, schema| {
        if schema.type_.is_none() {
            return Some("no type".into());
        }
        if schema.nullable.is_some() {
            return Some("nullable".into());
        }
        let format = schema.format.as_deref().unwrap_or_default();
        if !["", "int32", "int64", "date-time"].contains(&format) {
            return Some(format!("format {format}, which Kubernetes does not know"));
        }
        if schema.ref_path.is_some() || schema.any_of.is_some() || schema.one_of.is_some() {
            return Some("not structural".into());
        }
        schema.x_kubernetes_preserve_unknown_fields.map(|_| "unknown fields are kept".into())
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn whatever_a_person_writes_has_a_bound() {
    let found = faults(|path, schema| {
        if !path.contains(".spec") {
            return None;
        }
        let bounded = match schema.type_.as_deref() {
            Some("string") => schema.enum_.is_some() || schema.max_length.is_some(),
            Some("array") => schema.max_items.is_some() && schema.x_kubernetes_list_type.is_some(),
            Some("object") => schema.additional_properties.is_none() || schema.max_properties.is_some(),
            _ => true,
        };
        (!bounded).then(|| "no bound".into())
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn the_server_has_no_complaint_about_our_definitions() -> Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client().await?);
    for crd in api::crds() {
        let name = crd.metadata.name.unwrap_or_default();
        let conditions = crds.get(&name).await?.status.and_then(|s| s.conditions).unwrap_or_default();
        let told: Vec<_> = conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        assert!(told.contains(&("Established", "True")), "{name}: {told:?}");
        assert!(told.contains(&("NamesAccepted", "True")), "{name}: {told:?}");
        assert!(!told.iter().any(|(type_, _)| *type_ == "NonStructuralSchema"), "{name}: {conditions:?}");
    }
    Ok(())
}

#[tokio::test]
async fn defaults_are_filled_in() -> Result<()> {
    let client = client().await?;
    let spec = custom().spec;
    let dry = custom().dry_run(&client, json!({"name": "defaults"}), spec.clone()).await;
    let dry = dry.map_err(|refusal| Error::new(refusal.0))?;
    assert_eq!(dry["spec"]["keyScope"], "Host");
    assert_eq!(dry["spec"]["deletionPolicy"], "Protect");
    assert_eq!(dry["spec"]["target"], json!({}));

    // What is answered to a create was read back from the store, so nobody has looked at it yet.
    let namespace = TestNamespace::new(client.clone(), "defaults").await?;
    let mut subject = custom();
    let path = subject.path.replace("/default/", &format!("/{namespace}/"));
    subject.path = Box::leak(path.into_boxed_str());
    let made = create(&client, &subject, "fieldValidation=Strict", json!({"name": "fresh"}), spec).await;
    let made = made.map_err(|refusal| Error::new(refusal.0))?;
    assert_eq!(made["status"], json!({"observedGeneration": -1}), "kstatus would call it current");
    Ok(())
}

#[tokio::test]
async fn explain_has_the_texts() -> Result<()> {
    let client = client().await?;
    wait_for(DEADLINE, "the texts in the server's OpenAPI", async || -> Result<()> {
        let request = http::Request::get("/openapi/v3/apis/claviger.dev/v1alpha1").body(Vec::new())?;
        let document: serde_json::Value = client.request(request).await?;
        let schemas = &document["components"]["schemas"];
        for kind in ["RegistryCredential", "MemberCluster", "DistributionPolicy"] {
            let text = &schemas[format!("dev.claviger.v1alpha1.{kind}")]["description"];
            if text.as_str().is_none_or(str::is_empty) {
                return Err(Error::new(format!("{kind} says {text}")));
            }
        }
        Ok(())
    })
    .await
}
