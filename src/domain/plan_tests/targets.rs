//! Copies that a credential wants, and those that it does not want any more.

use super::*;

#[test]
fn without_a_selector_only_the_own_namespace() {
    let plan = world().plan(&Want::own());
    assert_eq!(created(&plan), ["home/quay"]);
    assert_eq!((desired(&plan), target(&plan, "home")), (1, Some(TargetState::Pending)));
}

#[test]
fn what_is_selected_permitted_and_takes_part_gets_a_copy() {
    let plan = world().plan(&Want::all());
    assert_eq!(created(&plan), ["home/quay", "web/quay"]);
    assert_eq!(failures(&plan), [("db", Failure::NotPermitted)]);
    assert_eq!(desired(&plan), 3);
}

#[test]
fn without_consent_only_what_the_spec_names_is_named() {
    let selected = world().plan(&Want::all());
    assert_eq!(target(&selected, "db"), Some(TargetState::Concealed));
    let listed = world().plan(&Want::of(json!({"names": ["db"]})));
    assert_eq!(target(&listed, "db"), Some(TargetState::Failed(Failure::NotPermitted)));
}

#[test]
fn in_another_cluster_the_own_namespace_is_one_of_that_name_and_needs_consent() {
    let plan = world().plan(&Want { cluster: "east", ..Want::own() });
    assert!(plan.changes.is_empty());
    assert_eq!(failures(&plan), [("home", Failure::NotPermitted)]);
    let plan = world().plan(&Want { cluster: "east", ..Want::all() });
    assert_eq!(created(&plan), ["web/quay"]);
}

#[test]
fn a_cluster_that_is_not_wanted_gives_back_what_is_unused() {
    let world = world().copy("web", "quay", "a", |_| {});
    let nothing = Want { cluster: "east", namespaces: None, ..Want::all() };
    let plan = world.plan(&nothing);
    assert_eq!((desired(&plan), deleted(&plan)), (0, vec!["web/quay".to_owned()]));
    let plan = world.pod("web", "quay").plan(&nothing);
    assert_eq!((plan.changes.len(), state(&plan, "web").counts.held), (0, 1));
}

#[test]
fn a_correct_copy_is_left_alone_and_drift_is_fixed() {
    let stripped = |copy: &mut ExistingCopy| copy.marks = Arc::default();
    let world = world().copy("home", "quay", "a", |_| {}).copy("web", "quay", "edited", |_| {});
    let plan = world.plan(&Want::all());
    assert_eq!(target(&plan, "home"), Some(TargetState::Synced));
    assert_eq!((updated(&plan), plan.changes.len()), (vec!["web/quay".to_owned()], 1));
    let plan = world.copy("web", "quay", "a", stripped).plan(&Want::all());
    assert_eq!(updated(&plan), ["web/quay"], "labels count too");
}

#[test]
fn labels_of_others_are_not_drift() {
    let labelled = |copy: &mut ExistingCopy| {
        let mut metadata = metadata(1, DeletionPolicy::Protect);
        metadata.labels.insert("audited".into(), "yes".into());
        copy.marks = Arc::new(Marks::of(&metadata));
    };
    let plan = world().copy("home", "quay", "a", labelled).plan(&Want::own());
    assert_eq!((plan.changes.len(), target(&plan, "home")), (0, Some(TargetState::Synced)));
}

#[test]
fn another_deletion_policy_is_written_on_the_copies() {
    let world = world().copy("home", "quay", "a", |_| {});
    let orphan = Want { deletion_policy: DeletionPolicy::Orphan, ..Want::own() };
    assert_eq!(updated(&world.plan(&orphan)), ["home/quay"]);
}

#[test]
fn a_change_carries_the_copy_that_was_seen() {
    let world = world().copy("home", "quay", "b", |copy| copy.resource_version = "17".into());
    let plan = world.plan(&Want::own());
    let Action::Update(seen) = &plan.changes[0].action else { panic!("{:?}", plan.changes) };
    assert_eq!((seen.uid.to_string(), seen.resource_version.to_string()), ("u".into(), "17".into()));
}

#[test]
fn without_a_content_nothing_is_written() {
    let world = world()
        .copy("home", "quay", "whatever", |_| {})
        .copy("web", "quay", "older", |copy| copy.marks = Arc::new(marks(0, DeletionPolicy::Protect)));
    let plan = world.plan(&Want { content: None, ..Want::all() });
    assert!(plan.changes.is_empty());
    assert_eq!(target(&plan, "home"), Some(TargetState::Synced), "a copy of the last revision still counts");
    assert_eq!(target(&plan, "web"), Some(TargetState::Pending));
}

#[test]
fn a_taken_name_is_a_failure_and_is_not_written() {
    let mut world = world().copy("web", "quay", "a", |copy| copy.owner = id("other").owner());
    world.snapshot.conflicts.insert(NamespacedName::new("home", "quay"), "somebody else".into());
    let plan = world.plan(&Want::all());
    assert!(plan.changes.is_empty());
    let web = Failure::SecretNameConflict("RegistryCredential/home/quay".into());
    assert_eq!(
        failures(&plan),
        [
            ("db", Failure::NotPermitted),
            ("home", Failure::SecretNameConflict("somebody else".into())),
            ("web", web),
        ]
    );
    assert_eq!(plan.waits_for, [NamespacedName::new("home", "quay"), NamespacedName::new("web", "quay")]);
}

#[test]
fn an_immutable_copy_waits_for_a_person_and_a_terminating_one_for_its_end() {
    let world = world().copy("home", "quay", "old", |copy| copy.immutable = true).copy(
        "web",
        "quay",
        "old",
        |copy| copy.terminating = true,
    );
    let plan = world.plan(&Want::all());
    assert!(plan.changes.is_empty());
    assert_eq!(target(&plan, "home"), Some(TargetState::Failed(Failure::SecretImmutable)));
    assert_eq!(target(&plan, "web"), Some(TargetState::Pending));
    let right = world.copy("home", "quay", "a", |copy| {
        copy.immutable = true;
        copy.marks = Arc::default();
    });
    assert_eq!(updated(&right.plan(&Want::own())), ["home/quay"], "labels can still be written");
}

#[test]
fn listed_namespaces_that_do_not_exist_are_told_in_any_scope() {
    let want = Want::of(json!({"names": ["web", "gone", "lost"]}));
    let mut missing = world().plan(&want).missing;
    missing.sort();
    assert_eq!(missing, ["gone".into(), "lost".into()]);
    let scope = HashSet::from(["gone".into(), "web".into(), "unlisted".into()]);
    assert_eq!(world().plan_for(&want, Scope::Namespaces(&scope)).missing, ["gone".into()]);
}

#[test]
fn a_copy_of_another_type_is_replaced_when_nothing_uses_it() {
    let old = |copy: &mut ExistingCopy| copy.type_ = Some("another");
    let unknown = |copy: &mut ExistingCopy| (copy.type_, copy.immutable) = (None, true);
    let world = world().copy("home", "quay", "old", old).copy("web", "quay", "old", unknown);
    let plan = world.plan(&Want::all());
    assert_eq!(deleted(&plan), ["home/quay", "web/quay"]);
    assert!(
        plan.changes.iter().all(|change| matches!(change.action, Action::Delete { if_unused: true, .. }))
    );
    assert_eq!(target(&plan, "home"), Some(TargetState::Pending));
    let plan = world.pod("home", "quay").plan(&Want::all());
    assert_eq!(deleted(&plan), ["web/quay"]);
    assert_eq!(target(&plan, "home"), Some(TargetState::Failed(Failure::SecretTypeMismatch)));
}

#[test]
fn a_copy_that_is_not_wanted_is_deleted_unless_it_is_used() {
    let world = world().copy("db", "quay", "a", |_| {}).copy("shy", "quay", "a", |_| {});
    let plan = world.plan(&Want::all());
    assert_eq!(deleted(&plan), ["db/quay", "shy/quay"]);
    let asks =
        |change: &Change| matches!(change.action, Action::Delete { if_unused: true, .. } | Action::Create);
    assert!(plan.changes.iter().all(asks), "a Pod may have come in the meantime");
    let plan = world.pod("db", "quay").plan(&Want::all());
    assert_eq!((state(&plan, "db").counts.held, deleted(&plan)), (1, vec!["shy/quay".to_owned()]));
}

#[test]
fn a_terminating_namespace_is_never_written_to() {
    let world = world().copy("old", "quay", "stale", |_| {});
    assert!(deleted(&world.plan(&Want::all())).is_empty());
    assert!(deleted(&world.plan(&Want { name: "other", ..Want::all() })).is_empty());
    assert!(plan_sweep(&world.snapshot, &id("quay").owner()).is_empty());
}

#[test]
fn a_renamed_secret_is_in_place_before_the_old_one_goes() {
    let world = world().copy("home", "old-name", "a", |_| {});
    let plan = world.plan(&Want::own());
    assert_eq!((created(&plan), plan.changes.len()), (vec!["home/quay".to_owned()], 1));
    assert_eq!(state(&plan, "home").counts.held, 1);
    let stale = world.copy("home", "quay", "b", |_| {});
    assert!(deleted(&stale.plan(&Want::own())).is_empty(), "the new one has an old content");
    let moved = stale.copy("home", "quay", "a", |_| {});
    assert_eq!(deleted(&moved.plan(&Want::own())), ["home/old-name"]);
    let plan = moved.pod("home", "old-name").plan(&Want::own());
    assert_eq!((plan.changes.len(), state(&plan, "home").counts.held), (0, 1));
}

#[test]
fn a_copy_without_consent_stays_until_policies_have_settled() {
    let mut world = world().copy("db", "quay", "a", |_| {}).copy("shy", "quay", "a", |_| {});
    world.withdraw = false;
    let plan = world.plan(&Want::all());
    let db = state(&plan, "db");
    assert_eq!((db.counts.deferred, db.counts.held, db.target), (1, 0, Some(TargetState::Concealed)));
    assert_eq!(deleted(&plan), ["shy/quay"], "what a target does not select any more goes at once");
    world.withdraw = true;
    let plan = world.plan(&Want::all());
    assert_eq!(
        (deleted(&plan), state(&plan, "db").counts.deferred),
        (vec!["db/quay".into(), "shy/quay".into()], 0)
    );
    let plan = world.pod("db", "quay").plan(&Want::all());
    assert_eq!((state(&plan, "db").counts.held, deleted(&plan)), (1, vec!["shy/quay".to_owned()]));
}

#[test]
fn a_change_that_was_refused_is_a_failure_and_not_made() {
    let world = world()
        .copy("web", "quay", "b", |_| {})
        .copy("shy", "quay", "a", |_| {})
        .refused("home", "quay")
        .refused("web", "quay")
        .refused("shy", "quay");
    let plan = world.plan(&Want::all());
    assert!(plan.changes.is_empty());
    assert_eq!(failures(&plan), [("db", Failure::NotPermitted), ("home", quota()), ("web", quota())]);
    let shy = state(&plan, "shy");
    assert_eq!((shy.target, shy.refused), (None, Some(quota())), "a deletion can be refused too");
    let right = world.copy("web", "quay", "a", |_| {}).plan(&Want::all());
    assert_eq!(target(&right, "web"), Some(TargetState::Synced), "somebody else has fixed it");
}

#[test]
fn repairs_in_a_row_have_to_wait_and_a_new_revision_does_not() {
    let mut world = world().copy("web", "quay", "edited", |_| {}).copy("home", "quay", "edited", |_| {});
    for _ in 0..REPAIR_BURST {
        world.repairs.repaired(&NamespacedName::new("web", "quay"), world.now);
    }
    world.now += Duration::from_millis(300);
    let plan = world.plan(&Want::all());
    assert_eq!(updated(&plan), ["home/quay"]);
    assert_eq!(target(&plan, "web"), Some(TargetState::Pending));
    assert_eq!(plan.wait, Some(REPAIR_PAUSE - Duration::from_millis(300)));
    let older = |copy: &mut ExistingCopy| copy.marks = Arc::new(marks(0, DeletionPolicy::Protect));
    let plan = world.copy("web", "quay", "edited", older).plan(&Want::all());
    assert_eq!((updated(&plan), plan.wait), (vec!["home/quay".into(), "web/quay".into()], None));
}

#[test]
fn a_repair_without_the_revision_is_a_repair_too() {
    let stripped = |copy: &mut ExistingCopy| copy.marks = Arc::default();
    let mut world = world().copy("home", "quay", "a", stripped);
    for _ in 0..REPAIR_BURST {
        world.repairs.repaired(&NamespacedName::new("home", "quay"), world.now);
    }
    let plan = world.plan(&Want::own());
    assert_eq!((plan.changes.len(), plan.wait), (0, Some(REPAIR_PAUSE)));
}

#[test]
fn a_spec_that_cannot_be_read_takes_nothing_away() {
    let world = world().copy("home", "quay", "a", |_| {}).copy("web", "other", "b", |_| {});
    for namespaces in [None, Some(Value::Null)] {
        let unreadable = Want { unreadable: true, namespaces, content: None, ..Want::own() };
        assert!(world.plan(&unreadable).changes.is_empty());
    }
}
