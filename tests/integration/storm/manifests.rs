//! Operations as the API server wants them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::{
    content::{ENDPOINT, Source},
    names::{Id, Kind},
    observation::{HUB, MANAGED_BY, OWNER, REVISION, SOURCE},
    operation::{DeletionPolicy, Edit, Policy, Recipe, Reference, Spec, TWO_USERS, Target, Variant},
};
use crate::references::kinds::{deployment, ingress};

/// The data of a source Secret; null for a key that must not be there.
pub fn data(source: &Source) -> Value {
    source.data().into_iter().map(|(key, value)| (key, value.map(|value| STANDARD.encode(value)))).collect()
}

pub fn credential(id: &Id, spec: &Spec) -> Value {
    let mut body = match &spec.recipe {
        Recipe::Registry { server, username, source } => {
            let mut body = json!({"provider": "Custom", "server": server, "secretRef": {"name": source}});
            if let Some(username) = username {
                body["username"] = json!(username);
            }
            body
        }
        Recipe::Users { format, first, second: None } => {
            json!({"format": format.name(), "secretRef": {"name": first}})
        }
        Recipe::Users { format, first, second: Some(second) } => {
            let users: Vec<Value> = TWO_USERS
                .iter()
                .zip([first, second])
                .map(|(name, source)| json!({"username": name, "secretRef": {"name": source}}))
                .collect();
            json!({"format": format.name(), "users": users})
        }
        Recipe::Tls { source } => json!({"secretRef": {"name": source}}),
        Recipe::Bucket { format, source } => json!({
            "bucket": "backups", "endpoint": ENDPOINT, "format": format.name(), "verification": {"mode": "Off"},
            "secretRef": {"name": source, "accessKeyKey": "username", "secretKeyKey": "password"},
        }),
    };
    body["target"] = target(&spec.target);
    body["deletionPolicy"] = json!(match spec.deletion {
        DeletionPolicy::Protect => "Protect",
        DeletionPolicy::Orphan => "Orphan",
        DeletionPolicy::Force => "Force",
    });
    json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": id.kind.name(),
        "metadata": {"name": id.name, "namespace": id.namespace}, "spec": body,
    })
}

fn target(target: &Target) -> Value {
    let mut object = json!({});
    if let Some(name) = &target.secret_name {
        object["secretName"] = json!(name);
    }
    for (key, selector) in [("namespaces", &target.namespaces), ("clusters", &target.clusters)] {
        if let Some(selector) = selector {
            object[key] = selector.json();
        }
    }
    if !target.labels.is_empty() {
        object["labels"] = json!(target.labels);
    }
    object
}

pub fn policy(policy: &Policy) -> Value {
    let kinds: Vec<&str> = policy.kinds.iter().copied().map(Kind::name).collect();
    let mut object = json!({"from": {"namespaces": policy.from.json()}, "to": {"namespaces": policy.to.json(), "allowedMetadata": ["storm.example.com/"]}});
    if let Some(clusters) = &policy.clusters {
        object["to"]["clusters"] = clusters.json();
    }
    if !kinds.is_empty() {
        object["kinds"] = json!(kinds);
    }
    object
}

pub fn user(name: &str, secret: &str, by: Reference) -> Value {
    let mut container = json!({"name": "app", "image": "registry.example.com/app"});
    let mut spec = json!({});
    match by {
        Reference::ImagePullSecret => spec["imagePullSecrets"] = json!([{"name": secret}]),
        Reference::Volume => spec["volumes"] = json!([{"name": "used", "secret": {"secretName": secret}}]),
        Reference::Environment => container["envFrom"] = json!([{"secretRef": {"name": secret}}]),
        Reference::Ingress => return ingress(name, secret),
        Reference::Deployment => {
            let mut deployment = deployment(secret);
            deployment["metadata"] = json!({"name": name});
            return deployment;
        }
    }
    spec["containers"] = json!([container]);
    json!({"metadata": {"name": name}, "spec": spec})
}

pub fn foreign(name: &str, variant: Variant) -> Value {
    let metadata = match variant {
        Variant::Plain => json!({"name": name}),
        Variant::ManagedByHelm => json!({"name": name, "labels": {MANAGED_BY: "Helm"}}),
        Variant::OfAnotherHub => json!({
            "name": name,
            "labels": {MANAGED_BY: "claviger", OWNER: "0123456789abcdef01234567"},
            "annotations": {
                SOURCE: "RegistryCredential/elsewhere/reg", HUB: "another-hub", REVISION: "3",
            },
        }),
    };
    json!({"metadata": metadata, "stringData": {"theirs": "kept"}})
}

/// The reason of conditions that the operator never wrote.
pub const FORGED: &str = "Forged";

pub fn forged_status(ready: &str) -> Value {
    let condition = json!({
        "type": "Ready", "status": ready, "reason": FORGED, "message": "written by hand",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    });
    json!({"status": {"conditions": [condition], "clusters": [], "references": {"total": 3, "blocking": 3}}})
}

/// The merge patch by which a hand changes a copy.
pub fn edit(copy: &Secret, edit: Edit) -> Value {
    let garbage = STANDARD.encode("changed by hand");
    let keys = || copy.data.iter().flatten().map(|(key, _)| key.as_str());
    match edit {
        // The API server looks into some types.
        Edit::ChangeValue => {
            let key = keys().next().unwrap_or("more");
            let value = if key == ".dockerconfigjson" { STANDARD.encode("{\"auths\":{}}") } else { garbage };
            json!({"data": {key: value}})
        }
        Edit::AddKey => json!({"data": {"more": garbage}}),
        Edit::RemoveKeys => {
            let required = [".dockerconfigjson", "tls.crt", "tls.key"];
            match keys().find(|key| !required.contains(key)) {
                Some(key) => json!({"data": {key: null}}),
                None => json!({"data": {"more": garbage}}),
            }
        }
        Edit::Revision(number) => json!({"metadata": {"annotations": {REVISION: number.to_string()}}}),
        Edit::DropLabels => json!({"metadata": {"labels": null}}),
        Edit::DropAnnotations => json!({"metadata": {"annotations": null}}),
        Edit::DropAllMarks => json!({"metadata": {"labels": null, "annotations": null}}),
    }
}
