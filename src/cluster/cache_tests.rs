use serde_json::{Value, json};

use super::*;
use crate::{
    api::{ANNOTATION_HUB, CredentialKind, DeletionPolicy, Target},
    cluster::object::SlimPod,
    domain::{
        fingerprint::FingerprintKey,
        identity::CredentialId,
        reference_kind::{ReferenceKind, ReferencePolicy},
    },
};

fn id() -> CredentialId {
    let kind = CredentialKind::RegistryCredential;
    CredentialId { kind, namespace: "home".into(), name: "quay".into() }
}

fn secret(version: &str, password: &str, change: impl FnOnce(&mut Value)) -> MarkedSecret {
    let metadata = Metadata::desired(&id(), "hub", 1, &Target::default(), DeletionPolicy::Protect);
    let mut object = json!({
        "metadata": {"name": "quay", "namespace": "web", "uid": "u", "resourceVersion": version,
            "labels": metadata.labels, "annotations": metadata.annotations, "managedFields": [{"manager": "x"}]},
        "type": "Opaque", "data": {"k": password},
    });
    change(&mut object);
    serde_json::from_value(object).unwrap()
}

fn place() -> NamespacedName {
    NamespacedName::new("web", "quay")
}

fn cache() -> Cache {
    let mut cache = Cache::new(
        Arc::new(Hub::new("hub", [])),
        Arc::new(FingerprintKey::new([1; 32])),
        ReferencePolicy::default().blocking,
    );
    let web = json!({"metadata": {"name": "web", "labels": {"kubernetes.io/metadata.name": "web"}}});
    cache.set_namespace(serde_json::from_value(web).unwrap());
    cache
}

fn read(cache: &mut Cache, secret: &MarkedSecret) -> ExistingCopy {
    cache.read_copy(secret).unwrap()
}

fn observe(cache: &mut Cache, secret: &MarkedSecret, listed: bool) -> Changes {
    cache.observe_copy(secret, listed).unwrap()
}

fn version(cache: &Cache) -> Option<String> {
    cache.snapshot().copies.get(&place()).map(|copy| copy.resource_version.to_string())
}

#[test]
fn an_echo_of_our_own_write_wakes_nobody() {
    let mut cache = cache();
    cache.begin_write(&place());
    // The watch may be faster than the answer.
    assert!(observe(&mut cache, &secret("10", "eA==", |_| {}), false).touched.is_empty());
    let copy = read(&mut cache, &secret("10", "eA==", |_| {}));
    assert!(cache.wrote_copy(place(), copy));
    assert!(observe(&mut cache, &secret("10", "eA==", |_| {}), false).touched.is_empty());
}

#[test]
fn another_hand_is_noticed_whatever_it_changed() {
    let changes: [fn(&mut Value); 4] = [
        |secret| secret["data"]["k"] = json!("eQ=="),
        |secret| secret["type"] = json!("kubernetes.io/tls"),
        |secret| secret["metadata"]["annotations"]["claviger.dev/revision"] = json!("2"),
        |secret| secret["immutable"] = json!(true),
    ];
    for change in changes {
        let mut cache = cache();
        observe(&mut cache, &secret("10", "eA==", |_| {}), false);
        let changes = observe(&mut cache, &secret("11", "eA==", change), false);
        assert!(!changes.touched.is_empty() && changes.drift == 1);
    }
}

#[test]
fn what_others_write_beside_our_marks_wakes_nobody_and_is_not_kept() {
    let mut cache = cache();
    observe(&mut cache, &secret("10", "eA==", |_| {}), false);
    let noted = |secret: &mut Value| secret["metadata"]["annotations"]["note"] = json!("x".repeat(90 << 10));
    let changes = observe(&mut cache, &secret("11", "eA==", noted), false);
    assert!(changes.touched.is_empty() && changes.drift == 0);
    let kept = cache.snapshot().copies.get(&place()).unwrap();
    assert!(!kept.plain, "an update has to read it first");
    assert!(!format!("{kept:?}").contains("xxx"));
}

#[test]
fn a_copy_that_lost_the_id_of_its_hub_is_ours_only_if_it_was_seen_with_it() {
    let without = |secret: &mut Value| {
        drop(secret["metadata"]["annotations"].as_object_mut().unwrap().remove(ANNOTATION_HUB))
    };
    let mut cache = cache();
    assert!(
        cache.observe_copy(&secret("11", "eA==", without), true).is_none(),
        "it may be that of another hub"
    );
    observe(&mut cache, &secret("10", "eA==", |_| {}), false);
    assert_eq!(observe(&mut cache, &secret("11", "eA==", without), false).drift, 1);
}

#[test]
fn within_a_watch_an_older_event_does_not_undo_a_newer_one() {
    let mut cache = cache();
    observe(&mut cache, &secret("10", "eA==", |_| {}), false);
    assert!(observe(&mut cache, &secret("9", "eQ==", |_| {}), false).touched.is_empty());
    assert_eq!(version(&cache).as_deref(), Some("10"));
    // A new object of that name may well have a smaller number, but another uid.
    let reborn = secret("3", "eQ==", |secret| secret["metadata"]["uid"] = json!("v"));
    assert!(!observe(&mut cache, &reborn, false).touched.is_empty());
}

#[test]
fn a_list_is_the_truth_whatever_number_was_seen_before() {
    let mut cache = cache();
    observe(&mut cache, &secret("1000", "new", |_| {}), false);
    // etcd was restored from an older backup.
    cache.begin_list(WatchedKind::Copies);
    assert!(!observe(&mut cache, &secret("7", "old", |_| {}), true).touched.is_empty());
    assert_eq!(version(&cache).as_deref(), Some("7"));
    let (unsure, changes) = cache.end_list(WatchedKind::Copies, vec![place()]);
    assert!(unsure.is_empty() && !changes.touched.is_empty(), "a list that does not show it is believed too");
    assert_eq!(version(&cache), None);
}

#[test]
fn a_secret_of_others_in_the_place_of_a_copy_ends_the_copy() {
    let foreign = |version: &str| {
        let of_another_hub = |secret: &mut Value| {
            secret["metadata"]["uid"] = json!("v");
            secret["metadata"]["annotations"][ANNOTATION_HUB] = json!("another");
        };
        secret(version, "eA==", of_another_hub)
    };
    let with_copy = || {
        let mut cache = cache();
        observe(&mut cache, &secret("10", "eA==", |_| {}), false);
        cache
    };
    assert!(with_copy().observe_copy(&foreign("11"), true).is_none());
    // A list is believed whatever its numbers, an event when it is newer.
    for (version_shown, listed) in [("7", true), ("11", true), ("11", false)] {
        let mut cache = with_copy();
        let changes = cache.observe_foreign(foreign(version_shown).meta(), listed);
        assert!(!changes.touched.is_empty() && changes.drift == 1, "{version_shown} {listed}");
        assert_eq!(version(&cache), None);
    }
    let mut cache = with_copy();
    assert!(
        cache.observe_foreign(foreign("9").meta(), false).touched.is_empty(),
        "it went before our copy came"
    );
    assert_eq!(version(&cache).as_deref(), Some("10"));
    let mut cache = cache_with_write_during_list();
    cache.observe_foreign(foreign("9").meta(), true);
    assert_eq!(version(&cache).as_deref(), Some("20"), "the list may show what was before our write");
}

/// A copy of version 20 that was written while copies are listed.
fn cache_with_write_during_list() -> Cache {
    let mut cache = cache();
    cache.begin_list(WatchedKind::Copies);
    cache.begin_write(&place());
    let copy = read(&mut cache, &secret("20", "new", |_| {}));
    assert!(cache.wrote_copy(place(), copy));
    cache
}

#[test]
fn a_restored_copy_is_believed_whether_the_write_that_is_refused_is_in_flight_or_over() {
    for over in [false, true] {
        let mut cache = cache();
        observe(&mut cache, &secret("1000", "new", |_| {}), false);
        cache.begin_list(WatchedKind::Copies);
        cache.begin_write(&place());
        if over {
            cache.end_write(&place());
        }
        // A page of the list, or a read of this copy alone, while other pages are still to come.
        observe(&mut cache, &secret("7", "old", |_| {}), true);
        assert_eq!(version(&cache).as_deref(), Some("7"));
        let (unsure, _) = cache.end_list(WatchedKind::Copies, vec![place()]);
        assert_eq!(unsure, [place()], "a write was made since the list began");
    }
}

#[test]
fn what_was_written_while_a_list_was_read_is_no_drift_and_is_looked_at_again() {
    let mut cache = cache_with_write_during_list();
    // A later page shows it as it was before.
    let changes = observe(&mut cache, &secret("10", "old", |_| {}), true);
    assert!(changes.touched.is_empty() && changes.drift == 0);
    assert_eq!(version(&cache).as_deref(), Some("20"));
    let (unsure, changes) = cache.end_list(WatchedKind::Copies, vec![place()]);
    assert_eq!((unsure, changes.drift), (vec![place()], 0));
    assert_eq!(version(&cache).as_deref(), Some("20"), "until it was read");
}

#[test]
fn a_write_that_was_overtaken_is_told() {
    let mut cache = cache();
    cache.begin_write(&place());
    observe(&mut cache, &secret("11", "edited", |_| {}), false);
    let copy = read(&mut cache, &secret("10", "eA==", |_| {}));
    assert!(!cache.wrote_copy(place(), copy), "it must be planned anew");
    assert_eq!(version(&cache).as_deref(), Some("11"));
}

#[test]
fn a_copy_whose_end_was_shown_before_our_answer_is_no_ghost() {
    let mut cache = cache();
    cache.begin_write(&place());
    observe(&mut cache, &secret("10", "eA==", |_| {}), false);
    cache.remove_copy(&place(), Some("u"));
    let copy = read(&mut cache, &secret("10", "eA==", |_| {}));
    assert!(!cache.wrote_copy(place(), copy), "it is to be made again");
    assert_eq!(version(&cache), None);
}

#[test]
fn the_end_of_an_older_object_says_nothing_of_a_newer_one() {
    let mut cache = cache();
    observe(&mut cache, &secret("10", "eA==", |_| {}), false);
    let changes = cache.remove_copy(&place(), Some("another"));
    assert!(changes.touched.is_empty() && version(&cache).is_some());
    assert_eq!(cache.remove_copy(&place(), Some("u")).drift, 1);
    assert_eq!(version(&cache), None);
}

#[test]
fn who_waits_for_a_name_is_told_when_it_is_free() {
    let mut cache = cache();
    let owner = id().owner();
    assert!(cache.wait_for(vec![place()], &owner), "nothing is known to be in the way");
    assert!(cache.taken(place(), "somebody else".into(), &owner));
    assert!(!cache.wait_for(vec![place()], &owner));
    assert_eq!(cache.freed(&place()).touched, [(owner, "web".into())]);
    assert!(!cache.taken(place(), "somebody else".into(), &owner), "told meanwhile: it has to look again");
}

#[test]
fn copies_of_another_hub_or_without_an_owner_are_not_ours() {
    let mut cache = cache();
    let changes: [fn(&mut Value); 3] = [
        |secret| secret["metadata"]["annotations"]["claviger.dev/hub"] = json!("another"),
        |secret| secret["metadata"]["annotations"]["cert-manager.io/certificate-name"] = json!("web"),
        |secret| {
            secret["metadata"]["labels"] = json!({});
            secret["metadata"]["annotations"] = json!({});
        },
    ];
    for change in changes {
        assert!(cache.read_copy(&secret("1", "eA==", change)).is_none());
    }
    let stripped = secret("1", "eA==", |secret| secret["metadata"]["labels"] = json!({}));
    assert!(cache.read_copy(&stripped).is_some(), "its annotations still say whose it is");
}

#[test]
fn a_value_in_a_foreign_annotation_is_not_kept() {
    let mut cache = cache();
    let applied = secret("1", "eA==", |secret| {
        secret["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
            json!("hunter2");
    });
    let copy = read(&mut cache, &applied);
    assert!(!format!("{copy:?}").contains("hunter2"));
}

#[test]
fn the_users_of_a_copy_come_and_go() {
    let mut cache = cache();
    observe(&mut cache, &secret("1", "eA==", |_| {}), false);
    let pod = |phase: &str| {
        serde_json::from_value::<SlimPod>(json!({
            "metadata": {"name": "api", "namespace": "web"}, "status": {"phase": phase},
            "spec": {"imagePullSecrets": [{"name": "quay"}]},
        }))
        .unwrap()
    };
    assert_eq!(cache.set_user(ReferenceKind::Pod, &pod("Running")).touched, [(id().owner(), "web".into())]);
    assert!(cache.snapshot().is_in_use(&place()));
    assert!(cache.set_user(ReferenceKind::Pod, &pod("Running")).touched.is_empty());
    assert_eq!(cache.set_user(ReferenceKind::Pod, &pod("Succeeded")).touched.len(), 1);
    assert!(!cache.snapshot().is_in_use(&place()));
}
