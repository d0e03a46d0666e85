use serde_json::json;

use super::*;
use crate::domain::grants::GrantSpec;

fn user(kind: ReferenceKind, name: &str) -> User {
    User { kind, name: NamespacedName::new("web", name) }
}

fn pod(name: &str) -> User {
    user(ReferenceKind::Pod, name)
}

fn own(name: &str, field: &'static str) -> Use {
    Use { namespace: None, name: name.into(), field }
}

fn in_web(name: &str) -> NamespacedName {
    NamespacedName::new("web", name)
}

fn none(_: &NamespacedName) -> bool {
    false
}

/// Whoever makes Pods could fill the memory with names.
#[test]
fn of_a_pod_that_names_countless_secrets_a_few_are_kept() {
    let mut references = References::default();
    let uses = |from: usize| (from..from + 1000).map(|n| own(&n.to_string(), "spec.volumes")).collect();
    assert_eq!(references.set(&pod("a"), uses(0), none).len(), MAX_SECRETS_OF_USER);
    assert_eq!(references.set(&pod("a"), uses(2000), none).len(), 2 * MAX_SECRETS_OF_USER);
    assert_eq!(references.set(&pod("a"), Vec::new(), none).len(), MAX_SECRETS_OF_USER);
    assert!(references.by_secret.is_empty() && references.by_namespace.is_empty());
    assert_eq!((references.bytes(), references.all_users()), (0, 0));
}

/// Most kinds have no quota: a tenant can write thousands of Ingresses.
#[test]
fn of_a_namespace_full_of_names_those_of_copies_are_kept_all_the_same() {
    let mut references = References::default();
    let is_copy = |secret: &NamespacedName| &*secret.name == "quay";
    for n in 0..100 {
        let junk = (0..200).map(|m| own(&format!("{n}-{m}"), "spec.tls[].secretName"));
        let uses = junk.chain([own("quay", "spec.tls[].secretName")]).collect();
        references.set(&user(ReferenceKind::Ingress, &n.to_string()), uses, is_copy);
    }
    assert_eq!(references.count(&in_web("quay")), (100, 100));
    let all: usize = references.by_secret.values().map(Vec::len).sum();
    assert!(all <= MAX_SECRETS_OF_NAMESPACE + 100, "{all}");
}

#[test]
fn references_follow_a_pod_through_its_life() {
    let mut references = References::default();
    let twice = vec![own("quay", "spec.imagePullSecrets"), own("quay", "spec.volumes")];
    assert_eq!(references.set(&pod("a"), twice, none), [in_web("quay")]);
    assert!(references.set(&pod("a"), vec![own("quay", "spec.imagePullSecrets")], none).is_empty());
    references.set(&pod("b"), vec![own("quay", "spec.volumes"), own("tls", "spec.volumes")], none);
    assert_eq!(references.count(&in_web("quay")), (2, 2));
    assert_eq!(references.of(&NamespacedName::new("other", "quay")).count(), 0);
    assert_eq!(references.set(&pod("a"), vec![], none), [in_web("quay")]);
    assert_eq!(references.set(&pod("b"), vec![], none).len(), 2);
    assert_eq!(references.of(&in_web("quay")).count(), 0);
    assert_eq!(references.names(ReferenceKind::Pod).count(), 0);
}

#[test]
fn every_user_is_listed_and_only_some_kinds_hold() {
    let mut references = References::new(Kinds::of(&[]).with(ReferenceKind::Ingress));
    for kind in [ReferenceKind::Deployment, ReferenceKind::ServiceAccount] {
        // Of one name, and yet different objects.
        references.set(&user(kind, "api"), vec![own("quay", "x")], none);
    }
    assert_eq!(references.count(&in_web("quay")), (2, 0));
    assert!(!references.hold(&in_web("quay")));
    references.set(&user(ReferenceKind::Ingress, "api"), vec![own("quay", "x")], none);
    assert_eq!(references.count(&in_web("quay")), (3, 1));
    assert!(references.hold(&in_web("quay")));
    assert_eq!((references.users(ReferenceKind::Ingress), references.all_users()), (1, 3));
    let names: Vec<_> = references.names(ReferenceKind::Deployment).collect();
    assert_eq!(names, [&in_web("api")]);
}

fn grant() -> Vec<Grant> {
    let spec = json!({
        "from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "web"}], "to": [{"group": "", "kind": "Secret"}],
    });
    serde_json::from_value::<GrantSpec>(spec).unwrap().grants(GrantKind::ReferenceGrant)
}

/// A tenant must not hold what is somebody else's by naming it.
#[test]
fn who_is_in_another_namespace_counts_while_that_of_the_secret_allows_it() {
    let mut references = References::default();
    let tls = NamespacedName::new("certs", "tls");
    let foreign =
        || Use { namespace: Some("certs".into()), ..own("tls", "spec.listeners[].tls.certificateRefs[]") };
    let gateway = user(ReferenceKind::Gateway, "edge");
    assert_eq!(references.set(&gateway, vec![foreign(), own("tls", "x")], none).len(), 2);
    assert_eq!((references.count(&tls), references.count(&in_web("tls"))), ((0, 0), (1, 1)));
    let object = NamespacedName::new("certs", "allow");
    assert_eq!(
        references.set_grants(GrantKind::ReferenceGrant, &object, grant()),
        std::slice::from_ref(&tls)
    );
    assert_eq!(references.count(&tls), (1, 1));
    let (namespace, user) = references.of(&tls).next().unwrap();
    assert_eq!((&**namespace, &*user.name), ("web", "edge"));
    assert_eq!(
        references.set_grants(GrantKind::ReferenceGrant, &object, Vec::new()),
        std::slice::from_ref(&tls)
    );
    assert!(!references.hold(&tls));
    assert_eq!(references.set(&gateway, Vec::new(), none).len(), 2);
    assert!(
        references.foreign.is_empty() && references.foreign_by_user.is_empty() && !references.has(&gateway)
    );
    // Nothing could ever allow it to an Ingress.
    assert!(references.set(&self::user(ReferenceKind::Ingress, "a"), vec![foreign()], none).is_empty());
    // Its own namespace by name is its own.
    let named = Use { namespace: Some("web".into()), ..own("tls", "x") };
    references.set(&self::user(ReferenceKind::Ingress, "a"), vec![named], none);
    assert_eq!(references.count(&in_web("tls")), (1, 1));
}
