use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    api::{CredentialKind, DistributionPolicySpec, NamespaceSelector, Target},
    domain::{
        consent::ClusterIdentity,
        credential::CredentialId,
        fingerprint::FingerprintKey,
        view::{Conflicts, Copies, Namespaces, PodReferences},
    },
};

/// A small cluster to plan for.
#[derive(Default)]
struct World {
    namespaces: Namespaces,
    copies: Copies,
    references: PodReferences,
    conflicts: Conflicts,
}

fn id(name: &str) -> CredentialId {
    CredentialId { kind: "RegistryCredential".into(), namespace: "home".into(), name: name.into() }
}

fn print(text: &str) -> Fingerprint {
    FingerprintKey::new([1; 32]).fingerprint("t", [("k", text)])
}

fn metadata(revision: i64) -> Metadata {
    Metadata::desired(&id("quay"), "hub", revision, &Target::default())
}

impl World {
    fn namespace(mut self, name: &str, labels: &[(&str, &str)], terminating: bool) -> Self {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.namespaces.insert(name.into(), Namespace { labels, terminating });
        self
    }

    fn copy(
        mut self,
        namespace: &str,
        name: &str,
        content: &str,
        change: impl FnOnce(&mut ObservedCopy),
    ) -> Self {
        let mut copy = ObservedCopy {
            owner: id("quay").owner(),
            uid: "u".into(),
            resource_version: "1".into(),
            content: print(content),
            metadata: Arc::new(metadata(1)),
            plain: true,
            immutable: false,
            terminating: false,
        };
        change(&mut copy);
        self.copies.insert(Key::new(namespace, name), copy);
        self
    }

    fn pod(mut self, namespace: &str, secret: &str) -> Self {
        self.references.set(&Key::new(namespace, "pod"), vec![(secret.into(), "spec.imagePullSecrets")]);
        self
    }

    fn view(&self) -> ClusterView<'_> {
        ClusterView {
            namespaces: &self.namespaces,
            copies: &self.copies,
            references: &self.references,
            conflicts: &self.conflicts,
        }
    }

    /// Plans for credential `home/quay`, with consent for namespaces labelled `open`.
    fn keep(&self, selector: serde_json::Value, content: Option<&str>, name: &str) -> Plan {
        self.keep_in("local", true, selector, content, name)
    }

    fn keep_in(
        &self,
        cluster: &str,
        wanted: bool,
        selector: serde_json::Value,
        content: Option<&str>,
        name: &str,
    ) -> Plan {
        let none = BTreeMap::new();
        let selector: Option<NamespaceSelector> = serde_json::from_value(selector).unwrap();
        let policies: Vec<DistributionPolicySpec> = vec![
            serde_json::from_value(json!({
                "from": {"namespaces": {"names": ["home"]}},
                "to": {
                    "namespaces": {"selector": {"matchLabels": {"open": "yes"}}},
                    "clusters": {"names": ["local", "east"]},
                },
            }))
            .unwrap(),
        ];
        let cluster = ClusterIdentity { name: cluster, labels: &none };
        let consent =
            Consent::new(&policies, CredentialKind::RegistryCredential, "home", &none, "operator", cluster);
        keep(
            self.view(),
            &Wanted {
                owner: &id("quay").owner(),
                secret_name: &name.into(),
                targets: Targets {
                    cluster: wanted,
                    own_namespace: "home",
                    selector: selector.as_ref().map(|selector| NamespaceMatcher::new(selector, "operator")),
                    consent,
                },
                content: content.map(print),
                revision: 1,
                metadata: &metadata(1),
            },
        )
    }
}

fn world() -> World {
    World::default()
        .namespace("home", &[], false)
        .namespace("web", &[("open", "yes")], false)
        .namespace("db", &[], false)
        .namespace("old", &[("open", "yes")], true)
        .namespace("shy", &[("open", "yes"), ("claviger.dev/opt-out", "true")], false)
}

fn names(keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect()
}

const ALL: &str = r#"{"selector": {}}"#;

fn all() -> serde_json::Value {
    serde_json::from_str(ALL).unwrap()
}

#[test]
fn in_another_cluster_the_own_namespace_is_one_of_that_name_and_needs_consent() {
    let plan = world().keep_in("east", true, serde_json::Value::Null, Some("a"), "quay");
    assert!(plan.create.is_empty());
    assert_eq!(plan.failures, [("home".into(), Failure::NotPermitted)]);
    let plan = world().keep_in("east", true, all(), Some("a"), "quay");
    assert_eq!(names(&plan.create), ["web/quay"]);
}

#[test]
fn a_cluster_that_is_not_meant_gives_back_what_is_unused() {
    let world = world().copy("web", "quay", "a", |_| {});
    let plan = world.keep_in("east", false, all(), Some("a"), "quay");
    assert_eq!((plan.desired, plan.create.len(), plan.delete.len()), (0, 0, 1));
    let plan = world.pod("web", "quay").keep_in("east", false, all(), Some("a"), "quay");
    assert_eq!((plan.delete.len(), names(&plan.held)), (0, vec!["web/quay".to_owned()]));
}

#[test]
fn without_a_selector_only_the_own_namespace() {
    let plan = world().keep(json!(null), Some("a"), "quay");
    assert_eq!(names(&plan.create), ["home/quay"]);
    assert_eq!((plan.desired, plan.synced), (1, 0));
}

#[test]
fn what_is_selected_allowed_open_and_alive_gets_a_copy() {
    let plan = world().keep(all(), Some("a"), "quay");
    assert_eq!(names(&plan.create), ["home/quay", "web/quay"]);
    assert_eq!(plan.failures, [("db".into(), Failure::NotPermitted)]);
    assert_eq!(plan.desired, 3);
}

#[test]
fn a_copy_in_line_is_left_alone_and_drift_is_put_right() {
    let stripped = |copy: &mut ObservedCopy| copy.metadata = Arc::new(Metadata::default());
    let world = world().copy("home", "quay", "a", |_| {}).copy("web", "quay", "edited", |_| {});
    let plan = world.keep(all(), Some("a"), "quay");
    assert_eq!(plan.synced, 1);
    assert_eq!(plan.update.iter().map(|(key, _)| &*key.namespace).collect::<Vec<_>>(), ["web"]);
    let plan = world.copy("web", "quay", "a", stripped).keep(all(), Some("a"), "quay");
    assert_eq!(plan.update.len(), 1, "labels count too");
}

#[test]
fn without_a_source_nothing_is_written() {
    let world = world().copy("home", "quay", "whatever", |_| {});
    let plan = world.keep(all(), None, "quay");
    assert!(plan.is_settled());
    assert_eq!(plan.synced, 1, "the copy of the last revision still counts");
}

#[test]
fn a_taken_name_is_a_failure_and_no_write() {
    let mut world = world().copy("web", "quay", "a", |copy| copy.owner = id("other").owner());
    world.conflicts.insert(Key::new("home", "quay"), "somebody else".into());
    let plan = world.keep(all(), Some("a"), "quay");
    assert!(plan.is_settled());
    let reasons: Vec<_> = plan.failures.iter().map(|(name, failure)| (&**name, failure.reason())).collect();
    assert_eq!(
        reasons,
        [("db", "NotPermitted"), ("home", "SecretNameConflict"), ("web", "SecretNameConflict")]
    );
}

#[test]
fn an_immutable_copy_waits_for_a_person_and_a_dying_one_for_its_end() {
    let world = world().copy("home", "quay", "old", |copy| copy.immutable = true).copy(
        "web",
        "quay",
        "old",
        |copy| copy.terminating = true,
    );
    let plan = world.keep(all(), Some("a"), "quay");
    assert!(plan.is_settled());
    assert!(plan.failures.contains(&("home".into(), Failure::SecretImmutable)));
}

#[test]
fn a_stray_goes_unless_it_is_used() {
    let world = world().copy("db", "quay", "a", |_| {}).copy("shy", "quay", "a", |_| {});
    assert_eq!(world.keep(all(), Some("a"), "quay").delete.len(), 2);
    let world = world.pod("db", "quay");
    let plan = world.keep(all(), Some("a"), "quay");
    assert_eq!(names(&plan.held), ["db/quay"]);
    assert_eq!(plan.delete.len(), 1);
}

#[test]
fn a_terminating_namespace_is_never_written_to() {
    let world = world().copy("old", "quay", "stale", |_| {});
    assert!(world.keep(all(), Some("a"), "other").delete.is_empty());
    for disposition in [Disposition::Remove, Disposition::Release, Disposition::RemoveUnused] {
        assert!(dismiss(world.view(), &id("quay").owner(), disposition).is_settled());
    }
}

#[test]
fn a_renamed_secret_moves_before_the_old_one_goes() {
    let world = world().copy("home", "old-name", "a", |_| {});
    let plan = world.keep(json!(null), Some("a"), "quay");
    assert_eq!(names(&plan.create), ["home/quay"]);
    assert_eq!((names(&plan.held), plan.delete.len()), (vec!["home/old-name".to_owned()], 0));
    let plan = world.copy("home", "quay", "a", |_| {}).keep(json!(null), Some("a"), "quay");
    assert_eq!(plan.delete.len(), 1);
}

#[test]
fn a_dismissal_follows_its_disposition() {
    let world = world().copy("home", "quay", "a", |_| {}).copy("web", "quay", "a", |_| {}).pod("web", "quay");
    let plan = |disposition| dismiss(world.view(), &id("quay").owner(), disposition);
    assert_eq!(plan(Disposition::Keep).held.len(), 2);
    assert_eq!(plan(Disposition::Remove).delete.len(), 2);
    assert_eq!(plan(Disposition::Release).release.len(), 2);
    let unused = plan(Disposition::RemoveUnused);
    assert_eq!((names(&unused.held), unused.delete.len()), (vec!["web/quay".to_owned()], 1));
}

proptest! {
    /// Whatever the world looks like: nothing is written to a namespace that ends, nothing of
    /// another owner is touched, nothing in use is deleted, nothing is done twice, and the counts
    /// add up.
    #[test]
    fn no_plan_breaks_a_guarantee(
        cells in prop::collection::vec((any::<[bool; 8]>(), 0..4_usize), 1..12),
        all_selected: bool, has_source: bool,
    ) {
        let mut world = World::default().namespace("home", &[], false);
        for (n, ([open, terminating, has_copy, other_owner, used, good, taken, immutable], name)) in cells.iter().enumerate() {
            let namespace = format!("n{n}");
            let labels: &[(&str, &str)] = if *open { &[("open", "yes")] } else { &[] };
            world = world.namespace(&namespace, labels, *terminating);
            let secret = ["quay", "quay", "moved", "quay"][*name];
            if *has_copy {
                world = world.copy(&namespace, secret, if *good { "a" } else { "b" }, |copy| {
                    copy.immutable = *immutable;
                    if *other_owner {
                        copy.owner = id("other").owner();
                    }
                });
            } else if *taken {
                world.conflicts.insert(Key::new(namespace.as_str(), "quay"), "somebody".into());
            }
            if *used {
                world = world.pod(&namespace, secret);
            }
        }
        let selector = if all_selected { all() } else { json!({"names": ["n0", "n1"]}) };
        let plan = world.keep(selector, has_source.then_some("a"), "quay");
        let touched: Vec<&Key> = plan.create.iter()
            .chain(plan.update.iter().map(|(key, _)| key))
            .chain(plan.delete.iter().map(|(key, _)| key))
            .collect();
        for key in &touched {
            prop_assert!(!world.namespaces[&key.namespace].terminating);
            if let Some(copy) = world.copies.get(key) {
                prop_assert_eq!(&copy.owner, &id("quay").owner());
            }
        }
        for (key, _) in &plan.delete {
            prop_assert!(world.references.of(key).is_empty());
        }
        let mut once = touched.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), touched.len());
        prop_assert!(plan.synced + plan.failures.len() + plan.create.len() + plan.update.len() <= plan.desired);
        if has_source {
            prop_assert_eq!(plan.synced + plan.failures.len() + plan.create.len() + plan.update.len(), plan.desired);
        } else {
            prop_assert!(plan.create.is_empty() && plan.update.is_empty());
        }
    }
}
