use serde_json::json;

use super::*;
use crate::api::crds;

fn schema(kind: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap()
}

fn errors(kind: &str, spec: Value) -> Vec<String> {
    let object =
        json!({"apiVersion": "claviger.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec});
    judge(&schema(kind), &object)
        .1
        .into_iter()
        .map(|error| format!("{}: {}", error.field, error.message))
        .collect()
}

#[test]
fn schema_and_rules_are_judged() {
    let good = json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}});
    assert_eq!(errors("RegistryCredential", good.clone()), Vec::<String>::new());
    for (change, says) in [
        (json!({"provider": "Moon"}), "spec.provider: must be one of"),
        (json!({"colour": 1}), "spec.colour: is not a known field"),
        (json!({"secretRef": {}}), "spec.secretRef.name: is required"),
        (json!({"username": ""}), "spec.username: must have at least 1 character"),
        (json!({"displayName": 1}), "spec.displayName: must be of type string, not number"),
        (json!({"server": "https://quay.io"}), "spec.server: must be host[:port][/path] without a scheme"),
        (json!({"username": "a:b"}), "may not contain ':'"),
        (
            json!({"target": {"namespaces": {"names": ["a", "a"]}}}),
            "spec.target.namespaces.names[1]: is given twice",
        ),
        (json!({"target": {"namespaces": {"names": ["A"]}}}), "spec.target.namespaces.names[0]: must match"),
        (
            json!({"target": {"labels": {"argocd.argoproj.io/instance": "x"}}}),
            "may not contain ownership markers",
        ),
        (json!({"registries": []}), "spec.registries: must have at least 1 item"),
        (json!({"scaleway": {"region": "fr-par"}}), "`scaleway` may only be given with provider Scaleway"),
    ] {
        let mut spec = good.clone();
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let found = errors("RegistryCredential", spec);
        assert!(found.iter().any(|error| error.contains(says)), "{change}: {found:?}");
        assert!(!found.iter().any(|error| error.contains("cannot be judged")), "{found:?}");
    }
}

#[test]
fn names_are_judged_too() {
    let object = json!({"metadata": {"name": "A", "namespace": "a.b"}, "spec": {"provider": "DockerHub", "secretRef": {"name": "s"}}});
    let fields: Vec<_> =
        judge(&schema("RegistryCredential"), &object).1.into_iter().map(|error| error.field).collect();
    assert_eq!(fields, ["metadata.name", "metadata.namespace"]);
}

#[test]
fn what_would_come_of_it_is_told() {
    let spec = json!({"provider": "Quay", "quay": {"namespace": "acme"}, "keyScope": "Path", "secretRef": {"name": "src"}});
    let images = ["quay.io/acme/api:1".to_owned(), "nginx".to_owned()];
    let told = preview(&serde_json::from_value(spec).unwrap(), "web", "reg", &images);
    assert_eq!((told.secret.as_str(), told.namespaces.as_slice()), ("reg", &["web".to_owned()][..]));
    assert_eq!(told.registries[0].key, "quay.io/acme");
    assert_eq!(told.registries[0].matching, images[..1]);
}
