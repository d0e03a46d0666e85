use serde_json::{Value, json};

use super::*;
use crate::{api::Target, domain::fingerprint::FingerprintKey};

fn id() -> CredentialId {
    CredentialId { kind: "RegistryCredential".into(), namespace: "home".into(), name: "quay".into() }
}

fn secret(version: &str, password: &str, change: impl FnOnce(&mut Value)) -> MarkedSecret {
    let metadata = Metadata::desired(&id(), "hub", 1, &Target::default());
    let mut object = json!({
        "metadata": {"name": "quay", "namespace": "web", "uid": "u", "resourceVersion": version,
            "labels": metadata.labels, "annotations": metadata.annotations, "managedFields": [{"manager": "x"}]},
        "type": "Opaque", "data": {"k": password},
    });
    change(&mut object);
    serde_json::from_value(object).unwrap()
}

fn key() -> FingerprintKey {
    FingerprintKey::new([1; 32])
}

fn observe(cache: &mut Cache, secret: &MarkedSecret) -> Changes {
    let (place, copy) = cache.read_copy(secret, &key()).unwrap();
    cache.observe_copy(place, copy)
}

#[test]
fn an_echo_of_our_own_write_wakes_nobody() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    let place = Key::new("web", "quay");
    cache.writing(&place);
    // The watch may be faster than the answer.
    assert!(observe(&mut cache, &secret("10", "eA==", |_| {})).owners.is_empty());
    let (place, copy) = cache.read_copy(&secret("10", "eA==", |_| {}), &key()).unwrap();
    assert!(cache.wrote_copy(place, copy));
    assert!(observe(&mut cache, &secret("10", "eA==", |_| {})).owners.is_empty());
}

#[test]
fn another_hand_is_noticed_whatever_it_changed() {
    let changes: [fn(&mut Value); 4] = [
        |secret| secret["data"]["k"] = json!("eQ=="),
        |secret| secret["type"] = json!("kubernetes.io/tls"),
        |secret| secret["metadata"]["labels"]["x"] = json!("y"),
        |secret| secret["immutable"] = json!(true),
    ];
    for change in changes {
        let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
        observe(&mut cache, &secret("10", "eA==", |_| {}));
        let changes = observe(&mut cache, &secret("11", "eA==", change));
        assert_eq!((changes.owners.len(), changes.drift), (1, 1));
    }
}

#[test]
fn an_older_event_does_not_undo_a_newer_one() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    observe(&mut cache, &secret("10", "eA==", |_| {}));
    assert!(observe(&mut cache, &secret("9", "eQ==", |_| {})).owners.is_empty());
    let place = Key::new("web", "quay");
    assert_eq!(&*cache.view().copies.get(&place).unwrap().resource_version, "10");
    // A new object of that name may well have a smaller number somewhere else, but another uid.
    let reborn = secret("3", "eQ==", |secret| secret["metadata"]["uid"] = json!("v"));
    assert_eq!(observe(&mut cache, &reborn).owners.len(), 1);
}

#[test]
fn a_write_that_was_overtaken_is_told() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    let place = Key::new("web", "quay");
    cache.writing(&place);
    observe(&mut cache, &secret("11", "edited", |_| {}));
    let (place, copy) = cache.read_copy(&secret("10", "eA==", |_| {}), &key()).unwrap();
    assert!(!cache.wrote_copy(place.clone(), copy), "it must be planned anew");
    assert_eq!(&*cache.view().copies.get(&place).unwrap().resource_version, "11");
}

#[test]
fn a_copy_without_its_labels_keeps_its_owner_and_one_without_marks_has_none() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    let unlabelled = secret("1", "eA==", |secret| secret["metadata"]["labels"] = json!({}));
    assert_eq!(cache.read_copy(&unlabelled, &key()).unwrap().1.owner, id().owner());
    let unmarked = secret("1", "eA==", |secret| {
        secret["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "claviger"});
        secret["metadata"]["annotations"] = json!(null);
    });
    assert!(cache.read_copy(&unmarked, &key()).is_none());
    let issued = secret("1", "eA==", |secret| {
        secret["metadata"]["annotations"]["cert-manager.io/certificate-name"] = json!("web");
    });
    assert!(cache.read_copy(&issued, &key()).is_none(), "cert-manager's, whatever marks it carries");
}

#[test]
fn who_waits_for_a_name_is_told_once_when_it_is_free() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    let place = Key::new("web", "quay");
    assert!(
        !cache.taken(place.clone(), "somebody".into(), &id().owner()),
        "who does not wait was told meanwhile, and must look again"
    );
    cache.wait_for(place.clone(), id().owner());
    assert!(cache.taken(place.clone(), "somebody".into(), &id().owner()));
    assert_eq!(cache.view().conflicts.len(), 1);
    assert_eq!(cache.freed(&place).freed.len(), 1);
    assert!(cache.view().conflicts.is_empty());
    assert!(cache.freed(&place).freed.is_empty());
}

#[test]
fn what_kubectl_applied_is_not_kept() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    let applied = secret("1", "eA==", |secret| {
        secret["metadata"]["annotations"][LAST_APPLIED] = json!("{\"data\":{\"k\":\"aHVudGVyMg==\"}}");
    });
    let (_, copy) = cache.read_copy(&applied, &key()).unwrap();
    assert!(!format!("{copy:?}").contains("aHVudGVyMg"));
}

#[test]
fn a_finished_pod_uses_nothing() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    observe(&mut cache, &secret("1", "eA==", |_| {}));
    let pod = |phase: &str| -> SlimPod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "web"},
            "spec": {"imagePullSecrets": [{"name": "quay"}]}, "status": {"phase": phase},
        }))
        .unwrap()
    };
    assert_eq!(cache.set_pod(&pod("Running")).users.len(), 1);
    assert!(cache.set_pod(&pod("Running")).users.is_empty());
    assert_eq!(cache.set_pod(&pod("Succeeded")).users.len(), 1);
    assert_eq!(cache.pods().count(), 0);
}

#[test]
fn a_copy_of_another_hub_is_not_ours_and_frees_a_name_when_it_goes() {
    let mut cache = Cache::new(Arc::new(Hub::new("hub", [])));
    let other =
        secret("10", "eA==", |object| object["metadata"]["annotations"][ANNOTATION_HUB] = json!("hub-2"));
    assert!(cache.read_copy(&other, &key()).is_none());
    let place = Key::new("web", "quay");
    cache.wait_for(place.clone(), id().owner());
    assert!(cache.taken(place.clone(), "another hub".into(), &id().owner()));
    assert!(cache.view().conflicts.contains_key(&place));
    let gone = cache.remove_copy(&place, false);
    assert!(gone.freed.contains(&id().owner()));
}
