//! Credentials that are being deleted, and the sweep.

use super::*;

fn being_deleted(disposition: Disposition) -> Want<'static> {
    Want { removal: Some(Removal { disposition, ..Removal::default() }), ..Want::all() }
}

fn forced(disposition: Disposition) -> Want<'static> {
    Want { removal: Some(Removal { disposition, forced: true, ..Removal::default() }), ..Want::all() }
}

#[test]
fn a_deletion_follows_its_disposition() {
    let world = world().copy("home", "quay", "a", |_| {}).copy("web", "quay", "a", |_| {}).pod("web", "quay");
    let plan = |disposition| world.plan(&being_deleted(disposition));
    let remaining = |plan: &Plan| total(plan, |state| state.counts.remaining);
    let held = |plan: &Plan| total(plan, |state| state.counts.held);

    let keep = plan(Disposition::Keep);
    assert_eq!((keep.changes.len(), remaining(&keep), held(&keep)), (0, 2, 0));
    assert_eq!((desired(&keep), target(&keep, "web")), (2, Some(TargetState::Synced)));

    let remove = plan(Disposition::Remove);
    assert_eq!((deleted(&remove), remaining(&remove)), (vec!["home/quay".into(), "web/quay".into()], 2));
    let unused = |change: &Change| matches!(change.action, Action::Delete { if_unused: true, .. });
    assert!(remove.changes.iter().all(unused), "a Pod may have come in the meantime");

    let unused = plan(Disposition::RemoveUnused);
    assert_eq!((deleted(&unused), remaining(&unused), held(&unused)), (vec!["home/quay".to_owned()], 1, 1));

    let release = plan(Disposition::Release);
    assert_eq!((released(&release), remaining(&release)), (vec!["home/quay".into(), "web/quay".into()], 2));
}

#[test]
fn a_forced_deletion_asks_nobody() {
    let world = world().copy("web", "quay", "a", |_| {}).copy("shy", "quay", "a", |_| {});
    let world = world.pod("web", "quay").pod("shy", "quay");
    let plan = world.plan(&forced(Disposition::Remove));
    assert_eq!(deleted(&plan), ["shy/quay", "web/quay"], "what is no target any more goes as well");
    let at_once = |change: &Change| matches!(change.action, Action::Delete { if_unused: false, .. });
    assert!(plan.changes.iter().all(at_once));
}

#[test]
fn a_used_copy_that_is_no_target_any_more_is_held_and_holds_nobody_up() {
    for namespace in ["shy", "home", "db"] {
        // `shy` takes no copy; in `home` it is the name that was changed; in `db`, without consent, it is forged.
        let name = if namespace == "home" { "old-name" } else { "quay" };
        let world = world().copy(namespace, name, "a", |_| {}).pod(namespace, name);
        for disposition in [Disposition::Keep, Disposition::Remove, Disposition::RemoveUnused] {
            let plan = world.plan(&being_deleted(disposition));
            let here = state(&plan, namespace);
            assert_eq!(
                (plan.changes.len(), here.counts.held, here.counts.remaining),
                (0, 1, 0),
                "{disposition:?}"
            );
            assert_eq!((here.counts.users, here.counts.blocking), (1, 0), "{disposition:?}");
        }
        let plan = world.plan(&being_deleted(Disposition::Release));
        assert_eq!(released(&plan).len(), 1, "a credential that leaves its copies leaves them all");
    }
}

#[test]
fn only_copies_in_present_targets_block() {
    let mut world = world()
        .copy("web", "quay", "a", |_| {})
        .copy("web", "old-name", "a", |_| {})
        .copy("db", "quay", "a", |_| {})
        .copy("shy", "quay", "a", |_| {})
        .pod("web", "quay")
        .pod("web", "old-name")
        .pod("db", "quay")
        .pod("shy", "quay");
    // In `db`, without consent, the marks may be forged; consent that went a moment ago may come back.
    for (withdraw, in_db) in [(true, 0), (false, 1)] {
        world.withdraw = withdraw;
        for want in [Want::all(), being_deleted(Disposition::Keep)] {
            let plan = world.plan(&want);
            assert_eq!(total(&plan, |state| state.counts.users), 4);
            let blocking = |namespace| state(&plan, namespace).counts.blocking;
            assert_eq!((blocking("web"), blocking("db"), blocking("shy")), (1, in_db, 0));
        }
    }
    let plan = world.plan(&Want { namespaces: None, ..being_deleted(Disposition::Keep) });
    assert_eq!(total(&plan, |state| state.counts.blocking), 0);
}

/// What is only listed holds nothing: no deletion, no copy that is to go, and none that has no target any more.
#[test]
fn users_that_do_not_hold_are_counted_and_nothing_waits_for_them() {
    let listed = |world: World| world.user(ReferenceKind::CronJob, "web", "quay");
    let held = |world: World| world.user(ReferenceKind::Ingress, "web", "quay");
    for disposition in [Disposition::Remove, Disposition::RemoveUnused] {
        let plan = listed(world().copy("web", "quay", "a", |_| {})).plan(&being_deleted(disposition));
        assert_eq!(deleted(&plan), ["web/quay"], "{disposition:?}");
        let counts = state(&plan, "web").counts;
        assert_eq!((counts.users, counts.blocking), (1, 0));
    }
    let plan = held(listed(world().copy("web", "quay", "a", |_| {}))).plan(&being_deleted(Disposition::Keep));
    let counts = state(&plan, "web").counts;
    assert_eq!((counts.users, counts.blocking, plan.changes.len()), (2, 1, 0));
    let narrowed = Want { namespaces: None, ..Want::all() };
    let plan = listed(world().copy("web", "quay", "a", |_| {})).plan(&narrowed);
    assert_eq!(deleted(&plan), ["web/quay"]);
    let plan = held(world().copy("web", "quay", "a", |_| {})).plan(&narrowed);
    assert_eq!((plan.changes.len(), state(&plan, "web").counts.held), (0, 1));
}

#[test]
fn of_an_unreadable_spec_every_copy_counts_as_a_target() {
    let world = world()
        .copy("web", "quay", "a", |_| {})
        .copy("db", "some-name", "a", |_| {})
        .copy("shy", "other-name", "a", |_| {})
        .pod("web", "quay")
        .pod("db", "some-name");
    let unreadable = |disposition| Want {
        unreadable: true,
        namespaces: None,
        content: None,
        ..being_deleted(disposition)
    };
    let plan = world.plan(&unreadable(Disposition::Keep));
    assert!(plan.changes.is_empty());
    assert_eq!(total(&plan, |state| state.counts.blocking), 2);
    assert_eq!(
        (total(&plan, |state| state.counts.remaining), total(&plan, |state| state.counts.held)),
        (3, 0)
    );
    let plan = world.plan(&unreadable(Disposition::Remove));
    assert_eq!(deleted(&plan), ["db/some-name", "shy/other-name", "web/quay"]);
}

#[test]
fn while_all_stays_an_older_name_hides_no_target() {
    for name in ["a-name", "z-name"] {
        let world = world().copy("home", "quay", "a", |_| {}).copy("home", name, "a", |_| {});
        let plan = world.plan(&being_deleted(Disposition::Keep));
        assert_eq!(
            (target(&plan, "home"), state(&plan, "home").counts.remaining),
            (Some(TargetState::Synced), 2)
        );
    }
}

#[test]
fn a_copy_that_waits_for_a_finalizer_is_not_deleted_twice_and_still_remains() {
    let world = world().copy("home", "quay", "a", |copy| copy.terminating = true);
    for disposition in [Disposition::Remove, Disposition::RemoveUnused] {
        let plan = world.plan(&being_deleted(disposition));
        assert_eq!((plan.changes.len(), state(&plan, "home").counts.remaining), (0, 1));
    }
    assert_eq!(released(&world.plan(&being_deleted(Disposition::Release))), ["home/quay"]);
}

#[test]
fn a_deletion_that_was_refused_remains_and_is_reported() {
    let world = world().copy("home", "quay", "a", |_| {}).refused("home", "quay");
    for disposition in [Disposition::Remove, Disposition::Release] {
        let plan = world.plan(&being_deleted(disposition));
        let home = state(&plan, "home");
        assert_eq!((plan.changes.len(), home.counts.remaining, home.refused), (0, 1, Some(quota())));
    }
}

#[test]
fn a_terminating_namespace_is_not_written_to_and_not_waited_for() {
    let world = world().copy("old", "quay", "stale", |_| {}).pod("old", "quay");
    for disposition in
        [Disposition::Keep, Disposition::Remove, Disposition::Release, Disposition::RemoveUnused]
    {
        let plan = world.plan(&forced(disposition));
        assert_eq!((plan.changes.len(), state(&plan, "old").counts.remaining), (0, 0), "{disposition:?}");
    }
}

#[test]
fn a_sweep_deletes_what_is_unused_and_releases_what_is_to_be_left() {
    let orphan = |copy: &mut ExistingCopy| copy.marks = Arc::new(marks(1, DeletionPolicy::Orphan));
    let world = world()
        .copy("home", "quay", "a", |_| {})
        .copy("web", "quay", "a", |_| {})
        .copy("db", "quay", "a", orphan)
        .copy("shy", "quay", "a", orphan)
        .copy("home", "foreign", "a", |copy| copy.owner = id("other").owner())
        .copy("web", "terminating", "a", |copy| copy.terminating = true)
        .pod("web", "quay")
        .pod("shy", "quay");
    let changes = plan_sweep(&world.snapshot, &id("quay").owner());
    let plan = Plan { changes, ..Plan::default() };
    assert_eq!(deleted(&plan), ["home/quay"]);
    assert_eq!(released(&plan), ["db/quay", "shy/quay"], "in use or not");
    let asks = |change: &Change| !matches!(change.action, Action::Delete { if_unused: false, .. });
    assert!(plan.changes.iter().all(asks));
}
