use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn named(spec: Value) -> BTreeSet<(String, &'static str)> {
    let spec: PodSecrets = serde_json::from_value(spec).unwrap();
    let mut found = BTreeSet::new();
    spec.visit(|name, field| {
        found.insert((name.to_owned(), field));
    });
    found
}

/// Every place where a Pod can name a Secret, and one where the same text means something else.
const PLACES: [(&str, Option<&str>); 26] = [
    (r#"{"imagePullSecrets":[{"name":"N"}]}"#, Some("spec.imagePullSecrets")),
    (
        r#"{"containers":[{"name":"c","envFrom":[{"secretRef":{"name":"N"}}]}]}"#,
        Some("spec.containers.envFrom"),
    ),
    (
        r#"{"containers":[{"name":"c","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"N","key":"k"}}}]}]}"#,
        Some("spec.containers.env"),
    ),
    (
        r#"{"initContainers":[{"name":"c","envFrom":[{"secretRef":{"name":"N"}}]}]}"#,
        Some("spec.initContainers.envFrom"),
    ),
    (
        r#"{"initContainers":[{"name":"c","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"N","key":"k"}}}]}]}"#,
        Some("spec.initContainers.env"),
    ),
    (
        r#"{"ephemeralContainers":[{"name":"c","envFrom":[{"secretRef":{"name":"N"}}]}]}"#,
        Some("spec.ephemeralContainers.envFrom"),
    ),
    (
        r#"{"ephemeralContainers":[{"name":"c","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"N","key":"k"}}}]}]}"#,
        Some("spec.ephemeralContainers.env"),
    ),
    (r#"{"volumes":[{"name":"v","secret":{"secretName":"N"}}]}"#, Some("spec.volumes.secret")),
    (
        r#"{"volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t"}},{"secret":{"name":"N"}}]}}]}"#,
        Some("spec.volumes.projected"),
    ),
    (
        r#"{"volumes":[{"name":"v","csi":{"driver":"d","nodePublishSecretRef":{"name":"N"}}}]}"#,
        Some("spec.volumes.csi"),
    ),
    (
        r#"{"volumes":[{"name":"v","azureFile":{"secretName":"N","shareName":"s"}}]}"#,
        Some("spec.volumes.azureFile"),
    ),
    (
        r#"{"volumes":[{"name":"v","cephfs":{"monitors":[],"secretRef":{"name":"N"}}}]}"#,
        Some("spec.volumes.cephfs"),
    ),
    (
        r#"{"volumes":[{"name":"v","cinder":{"volumeID":"i","secretRef":{"name":"N"}}}]}"#,
        Some("spec.volumes.cinder"),
    ),
    (
        r#"{"volumes":[{"name":"v","flexVolume":{"driver":"d","secretRef":{"name":"N"}}}]}"#,
        Some("spec.volumes.flexVolume"),
    ),
    (r#"{"volumes":[{"name":"v","rbd":{"image":"i","secretRef":{"name":"N"}}}]}"#, Some("spec.volumes.rbd")),
    (
        r#"{"volumes":[{"name":"v","scaleIO":{"gateway":"g","secretRef":{"name":"N"}}}]}"#,
        Some("spec.volumes.scaleIO"),
    ),
    (
        r#"{"volumes":[{"name":"v","iscsi":{"iqn":"i","secretRef":{"name":"N"}}}]}"#,
        Some("spec.volumes.iscsi"),
    ),
    (
        r#"{"volumes":[{"name":"v","storageos":{"volumeName":"i","secretRef":{"name":"N"}}}]}"#,
        Some("spec.volumes.storageos"),
    ),
    (r#"{"containers":[{"name":"N","image":"N"}]}"#, None),
    (r#"{"containers":[{"name":"c","env":[{"name":"N","value":"N"}]}]}"#, None),
    (
        r#"{"containers":[{"name":"c","env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"N","key":"k"}}}]}]}"#,
        None,
    ),
    (r#"{"containers":[{"name":"c","envFrom":[{"configMapRef":{"name":"N"}}]}]}"#, None),
    (r#"{"volumes":[{"name":"N","configMap":{"name":"N"}}]}"#, None),
    (r#"{"volumes":[{"name":"v","projected":{"sources":[{"configMap":{"name":"N"}}]}}]}"#, None),
    (r#"{"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"N"}}]}"#, None),
    (r#"{"serviceAccountName":"N","hostname":"N"}"#, None),
];

fn merge(into: &mut Value, other: Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, value) in other {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(mut other)) => into.append(&mut other),
        (into, other) => *into = other,
    }
}

proptest! {
    /// Any Pod put together from these places gives back just the Secrets that were put in.
    #[test]
    fn every_reference_is_found_and_no_other_string_is(
        picks in prop::collection::vec((0..PLACES.len(), "[a-z]{1,8}"), 0..20),
    ) {
        let mut spec = json!({"containers": [{"name": "main", "image": "registry.example.com/app"}], "nodeName": "n1"});
        let mut want = BTreeSet::new();
        for (place, name) in picks {
            let (fragment, field) = PLACES[place];
            merge(&mut spec, serde_json::from_str(&fragment.replace("\"N\"", &format!("{name:?}"))).unwrap());
            if let Some(field) = field {
                want.insert((name, field));
            }
        }
        // Plain values may be overwritten when merged; lists, where references are, only grow.
        prop_assert_eq!(named(spec), want);
    }
}

#[test]
fn nulls_and_empty_names_are_nothing() {
    assert!(
        named(json!({"imagePullSecrets": [{}, {"name": ""}], "volumes": [{"name": "v", "secret": {}}]}))
            .is_empty()
    );
}

#[test]
fn finished_pods() {
    assert!(
        is_finished(Some("Succeeded"), false)
            && is_finished(Some("Failed"), false)
            && is_finished(Some("Running"), true)
    );
    assert!(
        !is_finished(Some("Running"), false)
            && !is_finished(Some("Pending"), false)
            && !is_finished(None, false)
    );
}
