//! What API servers send: objects of lists and watches, answers to writes, and refusals. A member's may be hostile.
//!
//! The types are those of this module's caches and of the controllers' watches.

use std::sync::Arc;

use kube::{
    Resource,
    core::{ObjectList, Status, WatchEvent},
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Guarded, WriteError,
    cache::Cache,
    describe,
    error::connection_error,
    object::{MarkedSecret, SecretMetadata, SlimNamespace, SlimPod},
    referrer::{GrantObject, Referrer, Workload},
    reflector::name_of,
};
use crate::{
    api::{DeletionPolicy, DistributionPolicy, MemberCluster, Target},
    domain::{
        connectivity::WatchedKind,
        declared::Declared,
        fingerprint::FingerprintKey,
        identity::CredentialId,
        ownership::{Hub, Metadata},
        reference_kind::{GrantKind, ReferenceKind, ReferencePolicy},
        schedule::MAX_MESSAGE,
    },
    fuzz::{CANARY, check, generate, grows_with_its_input},
};

fn cache() -> Cache {
    Cache::new(
        Arc::new(Hub::new("hub", [])),
        Arc::new(FingerprintKey::new([1; 32])),
        ReferencePolicy::default().blocking,
    )
}

fn metadata() -> Value {
    let id = CredentialId {
        kind: crate::api::CredentialKind::RegistryCredential,
        namespace: "home".into(),
        name: "quay".into(),
    };
    let marks = Metadata::desired(&id, "hub", 1, &Target::default(), DeletionPolicy::Protect);
    json!({
        "name": "quay", "namespace": "web", "uid": "6cc8c0dc-0b8a-4f5c-9c60-00000000000a", "resourceVersion": "17", "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": null, "labels": marks.labels, "annotations": marks.annotations,
        "finalizers": ["claviger.dev/protect"], "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}],
        "managedFields": [{"manager": "x", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}],
    })
}

fn secrets() -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(), "type": "Opaque", "data": {"k": CANARY, "empty": null}, "immutable": false}),
        json!({"metadata": {"name": "web", "labels": {"kubernetes.io/metadata.name": "web"}, "annotations": {"claviger.dev/allow-sweep": "east,west"}}, "data": {"k": [CANARY]}}),
    ]
}

fn pods() -> Vec<Value> {
    vec![json!({"metadata": metadata(), "status": {"phase": "Running"}, "spec": {
        "imagePullSecrets": [{"name": "quay"}],
        "initContainers": [{"name": "i", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "quay", "key": "k"}}}]}],
        "containers": [{"name": "c", "env": [{"name": "B", "value": CANARY}], "envFrom": [{"secretRef": {"name": "quay"}}, {"configMapRef": {"name": "x"}}]}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "quay", "defaultMode": 420}}, {"name": "b", "projected": {"sources": [{"secret": {"name": "quay"}}]}},
            {"name": "c", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "quay"}}}, {"name": "d", "azureFile": {"secretName": "quay"}},
        ],
    }})]
}

/// Objects that name Secrets in other fields, those by which namespaces let others use theirs among them.
fn users() -> Vec<Value> {
    let template = json!({"spec": {"imagePullSecrets": [{"name": "quay"}], "volumes": [{"secret": {"secretName": "quay"}}]}});
    let object = |rest: Value| {
        let mut object = json!({"metadata": metadata()});
        json_patch::merge(&mut object, &rest);
        object
    };
    let from = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "edge"}]);
    vec![
        object(
            json!({"spec": {"template": template}, "status": {"conditions": [{"type": "Complete", "status": "False"}]}}),
        ),
        object(
            json!({"spec": {"jobTemplate": {"spec": {"template": template}}}, "secrets": [{"name": "quay"}]}),
        ),
        object(
            json!({"spec": {"tls": [{"secretName": "quay", "hosts": [CANARY]}]}, "metadata": {"annotations": {"haproxy.org/auth-secret": "web/quay"}}}),
        ),
        object(
            json!({"spec": {"listeners": [{"tls": {"certificateRefs": [{"group": "", "kind": "Secret", "namespace": "db", "name": "quay"}, null]}}], "tls": {"backend": 1}}}),
        ),
        object(
            json!({"spec": {"from": from, "to": [{"group": "", "kind": "Secret", "name": "quay"}], "delegations": [{"secretName": "quay", "targetNamespaces": ["*"]}]}}),
        ),
    ]
}

fn credentials() -> Vec<Value> {
    let conditions = json!([{"type": "Ready", "status": "True", "reason": "Done", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = json!({
        "observedGeneration": 2, "revision": 7, "registry": {"endpoint": "quay.io", "key": "quay.io"}, "conditions": conditions,
        "clusters": [{"name": "local", "state": "Synced", "revision": 7, "lastSyncTime": "2026-01-01T00:00:00Z", "namespaces": {"desired": 1, "synced": 1, "failed": 0},
            "failures": [{"namespace": "web", "reason": "SecretNameConflict", "message": "m"}]}],
        "references": {"total": 1, "blocking": 1, "items": [{"cluster": "local", "kind": "Pod", "namespace": "web", "name": "a", "field": "spec.volumes"}]},
        "sync": {"lastHandledRequest": "a", "attempted": 1, "succeeded": 1, "failed": 0}, "expirationTime": "2026-01-01T00:00:00Z",
        "certificate": {"name": "a", "subject": "CN=a", "dnsNames": ["a"], "issuer": "CN=b", "serialNumber": "01", "notBefore": "2026-01-01T00:00:00Z",
            "notAfter": "2027-01-01T00:00:00Z", "fingerprintSha256": "00", "keyAlgorithm": "Ed25519"},
        "objectStorage": {"endpoint": "https://s3.example.com", "region": "us-east-1", "pathStyle": true},
    });
    let target = json!({"secretName": "pull", "namespaces": {"names": ["web"], "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, "exclude": ["x"]},
        "clusters": {"names": ["local"], "selector": {}}, "labels": {"a": "b"}, "annotations": {"c": "d"}});
    let object = |kind: &str, spec: Value| {
        let mut metadata = metadata();
        metadata["annotations"] = json!({"claviger.dev/force-delete": "true", "claviger.dev/sync": "now"});
        json!({"apiVersion": "claviger.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status})
    };
    vec![
        object(
            "RegistryCredential",
            json!({"provider": "Quay", "server": "quay.example.com", "quay": {"namespace": "acme"}, "username": "a", "secretRef": {"name": "src"}, "target": target, "deletionPolicy": "Orphan"}),
        ),
        object(
            "BasicAuthCredential",
            json!({"format": "Htpasswd", "hash": "Bcrypt", "users": [{"username": "a", "secretRef": {"name": "src", "passwordKey": "k"}}], "target": target}),
        ),
        object(
            "TlsCredential",
            json!({"secretRef": {"name": "src", "certificateKey": "a", "privateKeyKey": "b", "caKey": "c"}, "target": target, "deletionPolicy": "Force"}),
        ),
        object(
            "ObjectStorageCredential",
            json!({"bucket": "backups", "region": "eu-central-1", "endpoint": "https://[fd00::1]:9000/", "pathStyle": true, "format": "Custom",
                "custom": {"accessKeyId": "id", "secretAccessKey": "key", "sessionToken": "token", "ca": "ca"},
                "secretRef": {"name": "src", "accessKeyKey": "a", "secretKeyKey": "b", "sessionTokenKey": "c"}, "caSecretRef": {"name": "ca"},
                "verification": {"mode": "Enforce", "interval": "1h"}, "target": target}),
        ),
        object(
            "DistributionPolicy",
            json!({"from": {"namespaces": {"names": ["web"]}}, "to": {"namespaces": {"selector": {}}, "clusters": {"names": ["east"]}, "allowedMetadata": ["a"]}, "kinds": ["TlsCredential"]}),
        ),
        object(
            "MemberCluster",
            json!({"displayName": "East", "kubeconfigSecretRef": {"name": "east", "key": "value"}, "paused": false, "source": {"tool": "ArgoCD", "namespace": "argocd", "name": "east"}}),
        ),
    ]
}

/// Objects, alone and as lists and events have them.
fn frames(objects: Vec<Value>) -> impl Strategy<Value = Vec<u8>> {
    let wrapped = objects.into_iter().flat_map(|object| {
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "9", "continue": ""}, "items": [object, object]});
        [object.clone(), list, json!({"type": "ADDED", "object": object}), json!({"type": "DELETED", "object": object})]
    });
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": CANARY, "reason": "Expired", "code": 410, "details": {"causes": [{"reason": "a"}]}});
    let rest = [
        json!({"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}}}),
        json!({"type": "ERROR", "object": status}),
        status,
    ];
    generate::json(wrapped.chain(rest).collect())
}

/// The objects in a frame, if it has some that can be read. Otherwise the error quotes no value.
fn read<K: DeserializeOwned + Clone>(frame: &[u8]) -> Result<Vec<K>, TestCaseError> {
    let mut all = Vec::new();
    let mut guarded = |object: Guarded<K>| match object.0 {
        Ok(object) => {
            all.push(object);
            Ok(())
        }
        Err(bad) => {
            prop_assert!(bad.error.len() <= 4 * MAX_MESSAGE + 8, "an error of {} bytes", bad.error.len());
            let shown = format!("{bad:?}");
            let name = bad.metadata.name.as_deref().unwrap_or_default();
            prop_assert!(!shown.contains(CANARY) || name.contains(CANARY), "{}", shown);
            Ok(())
        }
    };
    let told = |error: serde_json::Error| {
        let told = error.to_string();
        // What a Status or an unknown type of event says may be quoted: they hold no secret.
        prop_assert!(!told.starts_with("object unreadable") || !told.contains(CANARY), "{}", told);
        Ok(())
    };
    match serde_json::from_slice::<Guarded<K>>(frame) {
        Ok(object) => guarded(object)?,
        Err(error) => told(error)?,
    }
    match serde_json::from_slice::<WatchEvent<Guarded<K>>>(frame) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) => {
            guarded(object)?
        }
        Ok(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) => {}
        Err(error) => told(error)?,
    }
    Ok(all)
}

fn read_listed<K: DeserializeOwned + Clone>(frame: &[u8]) -> Result<Vec<K>, TestCaseError> {
    let list = serde_json::from_slice::<ObjectList<Guarded<K>>>(frame).ok();
    let listed = list.into_iter().flat_map(|list| list.items).filter_map(|object| object.0.ok());
    Ok(read(frame)?.into_iter().chain(listed).collect())
}

/// Feeds the caches as watches do. What they keep is no larger than what came, and goes when the objects go.
fn fills_and_empties(frame: &[u8]) -> Result<(), TestCaseError> {
    // What the process makes once, at its first use, is not kept of this frame.
    fill(&mut cache(), frame)?;
    let mut cache = cache();
    let mut result = Ok(());
    let kept = allocation_counter::measure(|| result = fill(&mut cache, frame));
    result?;
    let most = (16 << 10) + 12 * frame.len() as i64;
    prop_assert!(kept.bytes_current <= most, "{} bytes are kept", kept.bytes_current);
    let kinds = [WatchedKind::Namespaces, WatchedKind::Copies, WatchedKind::PODS].into_iter();
    for kind in kinds.chain(WatchedKind::optional(ReferencePolicy::default().kinds)) {
        let known = cache.known(kind);
        cache.end_list(kind, known);
        prop_assert!(cache.known(kind).is_empty());
    }
    Ok(())
}

/// Kinds that name Secrets in fields of their own.
const OTHERS: [ReferenceKind; 4] =
    [ReferenceKind::Ingress, ReferenceKind::Gateway, ReferenceKind::ServiceAccount, ReferenceKind::HttpProxy];

fn fill(cache: &mut Cache, frame: &[u8]) -> Result<(), TestCaseError> {
    for listed in [true, false] {
        cache.begin_list(WatchedKind::Copies);
        for namespace in read_listed::<SlimNamespace>(frame)? {
            cache.set_namespace(namespace);
        }
        for copy in read_listed::<MarkedSecret>(frame)? {
            if cache.observe_copy(&copy, listed).is_none() {
                cache.observe_foreign(copy.meta(), listed);
            }
        }
        for pod in read_listed::<SlimPod>(frame)? {
            cache.set_user(ReferenceKind::Pod, &pod);
        }
        for secret in read_listed::<SecretMetadata>(frame)? {
            cache.freed(&name_of(secret.meta()));
        }
        for object in read_listed::<Workload>(frame)? {
            cache.set_user(ReferenceKind::Deployment, &object);
            cache.set_user(ReferenceKind::CronJob, &object);
        }
        for object in read_listed::<Referrer>(frame)? {
            for kind in OTHERS {
                cache.set_user(kind, &object);
            }
        }
        for object in read_listed::<GrantObject>(frame)? {
            for kind in GrantKind::ALL {
                cache.set_grants(kind, &object);
            }
        }
    }
    Ok(())
}

#[test]
fn objects_of_a_cluster_are_kept_or_left_out() {
    check(frames([secrets(), pods(), users()].concat()), fills_and_empties);
}

#[test]
fn credentials_are_read_or_said_to_be_unreadable() {
    check(frames(credentials()), |frame| {
        for declared in read::<Declared>(frame)? {
            let _ =
                (declared.lifecycle(), declared.is_forced(), declared.sync_request(), declared.row("local"));
            let _ = (declared.secret_name(), declared.source_secrets(), declared.differs(&declared.clone()));
            let _ = (declared.recorded_validity(), declared.recorded.details());
            match &declared.spec {
                Ok(spec) => drop((spec.provider(), spec.details(None, None, declared.recorded.details()))),
                Err(error) => {
                    prop_assert!(error.len() <= 4 * MAX_MESSAGE + 8, "an error of {} bytes", error.len())
                }
            }
        }
        read_listed::<DistributionPolicy>(frame)?;
        read_listed::<MemberCluster>(frame)?;
        Ok(())
    });
}

#[test]
fn refusals_are_told_in_a_line() {
    let status = |code: u16, message: &str, reason: &str| {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code,
        "details": {"name": "a", "kind": "secrets", "causes": [{"reason": "NamespaceTerminating", "message": "m", "field": "f"}], "retryAfterSeconds": 1}})
    };
    let refusals = vec![
        status(403, "secrets \"a\" is forbidden: exceeded quota: q", "Forbidden"),
        status(409, "a", "AlreadyExists"),
        status(500, "admission webhook \"w\" denied the request: \u{1b}[31m", "InternalError"),
        status(429, "slow", "TooManyRequests"),
    ];
    check(generate::json(refusals), |input| {
        let Ok(status) = serde_json::from_slice::<Status>(input) else { return Ok(()) };
        let error = kube::Error::Api(Box::new(status));
        prop_assert!(describe(&error).chars().count() <= MAX_MESSAGE + 1);
        prop_assert!(connection_error(&error).message.chars().count() <= MAX_MESSAGE + 1);
        let shown = format!("{:?}", WriteError::of(&error));
        prop_assert!(shown.chars().count() <= 16 * MAX_MESSAGE, "{}", shown);
        Ok(())
    });
}

/// The beginning of the metadata of a copy with many labels.
const LABELS: &str = r#"{"name":"a","annotations":{"claviger.dev/hub":"hub","claviger.dev/source":"TlsCredential/a/b"},"labels":{"app.kubernetes.io/managed-by":"claviger","#;

/// One object as large as the API server takes, or larger, from a member that takes what it likes.
///
/// Found: each name of a Secret in a Pod was compared with all others, so that a Pod with a hundred thousand of them stopped
/// its cluster's cache for minutes; and each of its volumes, though it named nothing, took a hundred times what it weighs.
#[test]
fn large_objects_cost_what_they_weigh() {
    let read = |frame: &[u8]| {
        let _ = fill(&mut cache(), frame);
        let _ = self::read::<Declared>(frame);
    };
    let object = |field: &'static str, open: &'static str, item: &'static str, close: &'static str| {
        move |size: usize| {
            let items: Vec<String> = (0..size / (item.len() + 1 + 4 * usize::from(item.contains('N'))))
                .map(|n| item.replace('N', &format!("{n:05x}")))
                .collect();
            let head = match field {
                "metadata" => String::new(),
                _ => format!("\"metadata\":{},", metadata()),
            };
            let items = items.join(",");
            format!("{{\"kind\":\"TlsCredential\",{head}\"{field}\":{open}{items}{close}}}").into_bytes()
        }
    };
    for (field, open, item, close) in [
        ("data", "{", "\"N\":\"\"", "}"),
        ("spec", "{\"imagePullSecrets\":[", "{\"name\":\"N\"}", "]}"),
        ("spec", "{\"volumes\":[", "{}", "]}"),
        ("spec", "{\"volumes\":[", "{\"csi\":{}}", "]}"),
        ("spec", "{\"containers\":[", "{}", "]}"),
        ("spec", "{\"template\":{\"spec\":{\"volumes\":[", "{}", "]}}}"),
        ("spec", "{\"tls\":[", "{\"secretName\":\"N\"}", "]}"),
        ("spec", "{\"listeners\":[{\"tls\":{\"certificateRefs\":[", "{\"name\":\"N\"}", "]}}]}"),
        ("spec", "{\"delegations\":[", "{}", "]}"),
        ("secrets", "[", "{\"name\":\"N\"}", "]"),
        ("spec", "{\"containers\":[{\"env\":[", "{}", "]}]}"),
        ("status", "{", "\"N\":0", "}"),
        ("status", "{\"clusters\":[", "{}", "]}"),
        ("x", "", "[", ""),
        ("x", "", "{\"a\":", ""),
        ("spec", "", "[", ""),
        ("metadata", LABELS, "\"N\":\"\"", "}}"),
        ("metadata", "{\"name\":\"a\",\"finalizers\":[", "\"\"", "]}"),
        (
            "metadata",
            "{\"name\":\"a\",\"ownerReferences\":[",
            "{\"apiVersion\":\"\",\"kind\":\"\",\"name\":\"\",\"uid\":\"\"}",
            "]}",
        ),
    ] {
        grows_with_its_input(&format!("{field} of {item}"), 1 << 20, object(field, open, item, close), read);
    }
}

/// Found: the list of clusters whose sweep may go on was kept of each Namespace, whatever its length.
#[test]
fn of_a_namespace_no_long_text_is_kept() {
    let mut cache = cache();
    let kept = allocation_counter::measure(|| {
        for n in 0..100 {
            let text = format!("{n}{}", "x".repeat(200 << 10));
            let namespace = json!({"metadata": {"name": format!("n{n}"), "annotations": {"claviger.dev/allow-sweep": text}}});
            cache.set_namespace(serde_json::from_value(namespace).unwrap());
        }
    });
    assert!(kept.bytes_current < 1 << 20, "{} bytes are kept", kept.bytes_current);
}
