use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    api::CredentialKind,
    domain::{
        connectivity::WatchedKind, fingerprint::FingerprintKey, identity::CredentialId, ownership::Hub,
        reference_kind::ReferencePolicy,
    },
};

fn id() -> CredentialId {
    let kind = CredentialKind::RegistryCredential;
    CredentialId { kind, namespace: "home".into(), name: "quay".into() }
}

fn place() -> NamespacedName {
    NamespacedName::new("web", "default")
}

/// A cluster in which the default ServiceAccount is wanted.
fn cache() -> Cache {
    let blocking = ReferencePolicy::default().blocking;
    let mut cache =
        Cache::new(Arc::new(Hub::new("hub", [])), Arc::new(FingerprintKey::new([1; 32])), blocking);
    cache.want_accounts(Arc::new(["default".into()].into()));
    cache
}

fn account(version: &str, attached: bool) -> Account {
    let (entries, mark) =
        if attached { (json!([{"name": "quay"}]), "quay=hub/home/quay") } else { (json!([]), "") };
    let annotations = json!({"claviger.dev/attached-pull-secrets": mark});
    serde_json::from_value(json!({
        "metadata": {"name": "default", "namespace": "web", "uid": "u", "resourceVersion": version, "annotations": annotations},
        "imagePullSecrets": entries,
    }))
    .unwrap()
}

fn version(cache: &Cache) -> Option<String> {
    cache.snapshot().accounts.get(&place()).map(|known| known.resource_version.to_string())
}

/// How long the next repair has to wait after many more of the same.
fn counted(cache: &mut Cache) -> usize {
    let (key, now) = ((id().owner(), place()), Duration::from_secs(1));
    let reverts = &mut cache.snapshot.accounts.reverts;
    let until_contested = (0..100).take_while(|_| {
        let is_calm = reverts.calm(&key, now).is_none();
        reverts.repaired(&key, now);
        is_calm
    });
    until_contested.count()
}

#[test]
fn what_somebody_takes_off_counts_as_a_revert_and_wakes_its_owner() {
    let mut cache = cache();
    let untouched = counted(&mut self::cache());
    cache.set_account(&account("10", true), false);
    let changes = cache.set_account(&account("11", false), false);
    assert!(changes.touched.contains(&(id().owner(), "web".into())));
    assert_eq!(counted(&mut cache), untouched - 1);
}

#[test]
fn a_list_that_is_older_than_a_write_of_ours_changes_nothing() {
    let mut cache = cache();
    cache.set_account(&account("10", false), true);
    cache.begin_list(WatchedKind::ACCOUNTS);
    cache.begin_account(&place(), id().owner());
    cache.set_account(&account("12", true), false);
    cache.end_account(&place(), Ending::Answered);
    // As it was when the list began.
    let changes = cache.set_account(&account("10", false), true);
    assert!(changes.touched.is_empty() && changes.accounts.is_empty());
    assert_eq!(version(&cache).as_deref(), Some("12"));
    cache.listed_accounts();
    // The next list is believed again.
    cache.begin_list(WatchedKind::ACCOUNTS);
    cache.set_account(&account("10", false), true);
    assert_eq!(version(&cache).as_deref(), Some("10"));
}

#[test]
fn a_write_in_flight_when_a_list_begins_is_exempt_too() {
    let mut cache = cache();
    cache.set_account(&account("10", false), true);
    cache.begin_account(&place(), id().owner());
    cache.begin_list(WatchedKind::ACCOUNTS);
    cache.set_account(&account("12", true), false);
    cache.end_account(&place(), Ending::Answered);
    cache.set_account(&account("10", false), true);
    assert_eq!(version(&cache).as_deref(), Some("12"));
}

#[test]
fn a_write_that_was_refused_while_a_restored_cluster_was_listed_hides_nothing() {
    for refused_first in [true, false] {
        let mut cache = cache();
        cache.set_account(&account("1000", true), false);
        cache.begin_account(&place(), id().owner());
        cache.begin_list(WatchedKind::ACCOUNTS);
        if refused_first {
            cache.end_account(&place(), Ending::Unanswered);
        }
        let changes = cache.set_account(&account("7", false), true);
        let told = changes.touched.contains(&(id().owner(), "web".into()));
        assert!(told == refused_first, "who writes plans anew by itself");
        cache.end_account(&place(), Ending::Unanswered);
        assert_eq!(version(&cache).as_deref(), Some("7"));
    }
}

#[test]
fn a_restored_cluster_is_believed_and_put_right_and_nobody_is_blamed() {
    let mut cache = cache();
    let untouched = counted(&mut self::cache());
    cache.set_account(&account("1000", true), false);
    cache.begin_list(WatchedKind::ACCOUNTS);
    let changes = cache.set_account(&account("7", false), true);
    assert!(changes.touched.contains(&(id().owner(), "web".into())), "it has to be attached again");
    assert_eq!(version(&cache).as_deref(), Some("7"));
    assert_eq!(counted(&mut cache), untouched);
}

#[test]
fn within_a_watch_an_older_event_changes_nothing() {
    let mut cache = cache();
    cache.set_account(&account("12", true), false);
    let changes = cache.set_account(&account("10", false), false);
    assert!(changes.touched.is_empty());
    assert_eq!((version(&cache).as_deref(), cache.snapshot().accounts.attached()), (Some("12"), 1));
}
