//! What the derived schemas lack: what `kubectl explain` tells of values and defaults, and who owns a reference.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::{
    BasicAuthFormat, ClusterState, ClusterTool, DeletionPolicy, KeyScope, MemberDeletionPolicy,
    ObjectStorageFormat, PasswordHash, Provider, ScalewayRegion, SelectorOperator, VerificationMode,
    registry,
};

/// Completes the definition of a kind.
pub(super) fn finished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let enums = [
        values::<BasicAuthFormat>(),
        values::<ClusterState>(),
        values::<ClusterTool>(),
        values::<DeletionPolicy>(),
        values::<KeyScope>(),
        values::<MemberDeletionPolicy>(),
        values::<ObjectStorageFormat>(),
        values::<PasswordHash>(),
        values::<Provider>(),
        values::<ScalewayRegion>(),
        values::<SelectorOperator>(),
        values::<VerificationMode>(),
    ];
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for root in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        complete(root, &enums);
        if let Some(spec) = root.properties.as_mut().and_then(|properties| properties.get_mut("spec")) {
            registry::finish(spec);
        }
        if let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
            // kstatus calls an object without any status current: `kubectl wait`, Helm and Flux
            // would not wait for a fresh one.
            status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// The values of an enum, each with what it means.
type Values = Vec<(String, String)>;

/// Of the comments of its variants.
fn values<T: JsonSchema>() -> Values {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    let variants = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let documented = variants.filter_map(|variant| {
        let (value, meaning) = (variant["const"].as_str()?, variant["description"].as_str()?);
        Some((value.to_owned(), meaning.to_owned()))
    });
    documented.collect()
}

/// Completes a schema and all that is in it.
fn complete(schema: &mut JSONSchemaProps, enums: &[Values]) {
    // An optional field is left out, never null: the API server drops a null where the schema does not
    // allow one, and CEL can bound the cost of a rule only where a value has one type.
    schema.nullable = None;
    describe(schema, enums);
    for (name, property) in schema.properties.iter_mut().flatten() {
        complete(property, enums);
        // Whoever applies a reference or a selector means all of it: a key that somebody else added would change its meaning.
        if (name.ends_with("Ref") || name == "selector") && property.type_.as_deref() == Some("object") {
            property.x_kubernetes_map_type = Some("atomic".to_owned());
        }
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        complete(items, enums);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        complete(values, enums);
    }
}

/// `kubectl explain` shows neither what a value of an enum means nor a default, and breaks lines by itself.
fn describe(schema: &mut JSONSchemaProps, enums: &[Values]) {
    let Some(text) = &mut schema.description else { return };
    let allowed: Vec<&str> = schema.enum_.iter().flatten().filter_map(|JSON(value)| value.as_str()).collect();
    let values = enums
        .iter()
        .find(|values| values.iter().map(|(value, _)| value.as_str()).eq(allowed.iter().copied()));
    for (value, meaning) in values.into_iter().flatten() {
        text.push_str(&format!(" `{value}`: {meaning}"));
    }
    if let Some(JSON(default)) = &schema.default
        && !default.is_object()
    {
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        text.push_str(&format!(" Default: `{default}`."));
    }
    *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::crds;

    /// Hands every schema of every kind to a check, with its path.
    fn each(check: &mut dyn FnMut(&str, &JSONSchemaProps)) {
        fn visit(path: &str, schema: &JSONSchemaProps, check: &mut dyn FnMut(&str, &JSONSchemaProps)) {
            check(path, schema);
            for (name, property) in schema.properties.iter().flatten() {
                visit(&format!("{path}.{name}"), property, check);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                visit(&format!("{path}[]"), items, check);
            }
        }
        for crd in crds() {
            for version in &crd.spec.versions {
                let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
                visit(&crd.spec.names.kind, schema.expect("a schema"), check);
            }
        }
    }

    #[test]
    fn the_meaning_of_every_value_and_every_default_is_told() {
        let mut enums = 0;
        each(&mut |path, schema| {
            let text = schema.description.as_deref().unwrap_or_default();
            for JSON(value) in schema.enum_.iter().flatten() {
                let value = value.as_str().unwrap_or_default();
                // The name of a kind says all.
                if !path.ends_with(".kinds[]") {
                    assert!(text.contains(&format!("`{value}`: ")), "{path}: {value} in {text}");
                    enums += 1;
                }
            }
            if let Some(JSON(default)) = schema.default.as_ref().filter(|default| !default.0.is_object()) {
                assert!(text.contains("Default: `"), "{path}: {default} in {text}");
            }
            assert!(!text.contains('\n') && !text.contains("  "), "{path}: {text}");
        });
        assert!(enums > 40, "{enums}");
    }

    /// An optional enum must be `schemars(with = ..)`, or the comment of the enum takes the place of the field's.
    #[test]
    fn the_default_of_an_optional_enum_is_told() {
        let mut seen = 0;
        each(&mut |path, schema| {
            if path.ends_with(".spec.hash") || path.ends_with(".verification.mode") {
                let text = schema.description.as_deref().unwrap_or_default();
                assert!(text.contains("Default: "), "{path}: {text}");
                seen += 1;
            }
        });
        assert_eq!(seen, 4);
    }

    #[test]
    fn references_and_selectors_are_owned_as_a_whole() {
        let mut atomic = Vec::new();
        each(&mut |path, schema| {
            if schema.x_kubernetes_map_type.as_deref() == Some("atomic") {
                atomic.push(path.to_owned());
            }
        });
        for path in [
            "RegistryCredential.spec.secretRef",
            "RegistryCredential.spec.target.namespaces.selector",
            "RegistryCredential.spec.registries[].secretRef",
            "BasicAuthCredential.spec.users[].secretRef",
            "ObjectStorageCredential.spec.secretRef",
            "ObjectStorageCredential.spec.caSecretRef",
            "DistributionPolicy.spec.from.namespaces.selector",
            "MemberCluster.spec.kubeconfigSecretRef",
        ] {
            assert!(atomic.iter().any(|other| other == path), "{path} in {atomic:?}");
        }
        assert!(atomic.iter().all(|path| path.contains(".spec.")), "{atomic:?}");
    }
}
