use std::collections::BTreeMap;

use super::*;
use crate::api::CredentialKind;

fn id(name: &str) -> CredentialId {
    CredentialId { kind: CredentialKind::RegistryCredential, namespace: name.into(), name: "quay".into() }
}

fn claim(name: &str, priority: i32, keys: &[&str]) -> Claim {
    let wish = DefaultWish {
        accounts: AccountNames::from(["default".into()]),
        priority,
        keys: keys.iter().map(|key| Arc::from(*key)).collect(),
        restart_stuck_pods: false,
    };
    // Each has consent in its own namespace.
    let targets = ClusterTargets::new(&name.into(), None, [], "local", false, &BTreeMap::new());
    let clusters = BTreeMap::from([("local".into(), Arc::new(targets))]);
    Claim { id: id(name), wish: Arc::new(wish), has_content: true, clusters }
}

fn known() -> Defaults {
    let defaults = Defaults::new(true);
    defaults.listed();
    assert!(defaults.becomes_known(|_| true) && !defaults.becomes_known(|_| true), "once");
    defaults
}

#[test]
fn rivals_are_those_for_the_same_registry() {
    let defaults = known();
    let owner = |name: &str| id(name).owner();
    for (name, keys) in [("a", &["quay.io"][..]), ("b", &["ghcr.io"]), ("c", &["ghcr.io", "quay.io"])] {
        assert!(defaults.set(&owner(name), Some(claim(name, 0, keys))).is_some());
        assert!(defaults.set(&owner(name), Some(claim(name, 0, keys))).is_none(), "no news");
    }
    let rivals = |name: &str| {
        let wish = claim(name, 0, if name == "b" { &["ghcr.io"] } else { &["quay.io"] }).wish;
        let all = defaults.rivals(&owner(name), &wish, "local").unwrap();
        all.iter().map(|rival| rival.id.namespace.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((rivals("a"), rivals("b")), (vec!["c".to_owned()], vec!["c".to_owned()]));
    let in_namespace = |of: &str, cluster: &str, name: &str| {
        defaults.rivals_in(&owner(of), cluster, name, &Namespace::new(name, BTreeMap::new(), false))
    };
    assert_eq!(in_namespace("c", "local", "a"), [owner("a")], "the other one has no place there");
    assert!(in_namespace("c", "east", "a").is_empty() && in_namespace("c", "local", "d").is_empty());
    assert_eq!(in_namespace("a", "local", "c"), [owner("c")]);
    defaults.set(&owner("c"), None);
    assert!(rivals("a").is_empty() && in_namespace("a", "local", "c").is_empty());
}

#[test]
fn a_change_concerns_rivals_in_the_namespaces_where_it_makes_a_difference() {
    let defaults = known();
    let owner = id("a").owner();
    defaults.set(&id("b").owner(), Some(claim("b", 0, &["quay.io"])));
    let (before, after) = (claim("a", 0, &["quay.io"]), claim("a", 1, &["quay.io"]));
    let namespaces: BTreeMap<Arc<str>, Namespace> =
        ["a", "b", "c"].map(|name| (name.into(), Namespace::new(name, BTreeMap::new(), false))).into();
    let concerned = |claims| defaults.concerned(&owner, "local", claims, namespaces.iter());
    let (rivals, changed) = concerned((Some(&before), Some(&after)));
    assert_eq!((rivals.len(), changed), (1, HashSet::from(["a".into()])));
    assert!(concerned((Some(&before), Some(&before))).1.is_empty());
    assert!(concerned((None, Some(&claim("a", 1, &["ghcr.io"])))).0.is_empty());
}

#[test]
fn names_are_known_when_all_are_listed_and_nothing_is_decided_before_all_have_spoken() {
    let defaults = Defaults::new(true);
    let names = defaults.names().unwrap();
    let (a, b) = (id("a").owner(), id("b").owner());
    defaults.declare(&a, Some(AccountNames::from(["default".into()])));
    assert!(names.borrow().is_none() && defaults.rivals(&a, &claim("a", 0, &[]).wish, "local").is_none());
    defaults.listed();
    assert_eq!(names.borrow().as_deref().map(AccountNames::len), Some(1));
    defaults.declare(&b, Some(AccountNames::from(["default".into(), "builder".into()])));
    assert_eq!(names.borrow().as_deref().map(AccountNames::len), Some(2));
    assert!(!defaults.becomes_known(|owner| *owner == a), "one has not spoken");
    assert!(defaults.becomes_known(|_| true));
    defaults.declare(&b, None);
    assert_eq!(names.borrow().as_deref().map(AccountNames::len), Some(1));
    assert!(Defaults::new(false).names().is_none());
}
