//! What holds of every plan, whatever the cluster looks like.

use proptest::prelude::*;

use super::*;

/// One namespace, and what is in it.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// Whether the operator knows the namespace at all.
    known: bool,
    open: bool,
    opted_out: bool,
    terminating: bool,
    copy: Option<CopyCell>,
    /// A second copy, under an older name.
    second: Option<CopyCell>,
    taken: bool,
    refused: bool,
    limited: bool,
}

#[derive(Clone, Debug, Default)]
struct CopyCell {
    other_owner: bool,
    used: bool,
    good: bool,
    older: bool,
    immutable: bool,
    terminating: bool,
    orphan: bool,
}

fn copy_cell() -> impl Strategy<Value = CopyCell> {
    let often = prop::bool::weighted(0.8);
    let rarely = || prop::bool::weighted(0.15);
    (rarely(), any::<bool>(), often, rarely(), rarely(), rarely(), rarely()).prop_map(
        |(other_owner, used, good, older, immutable, terminating, orphan)| CopyCell {
            other_owner,
            used,
            good,
            older,
            immutable,
            terminating,
            orphan,
        },
    )
}

fn cell() -> impl Strategy<Value = Cell> {
    let often = || prop::bool::weighted(0.85);
    let rarely = || prop::bool::weighted(0.15);
    let second = prop::option::weighted(0.3, copy_cell());
    (
        (often(), any::<bool>(), rarely(), rarely()),
        (prop::option::of(copy_cell()), second),
        (rarely(), rarely(), rarely()),
    )
        .prop_map(
            |((known, open, opted_out, terminating), (copy, second), (taken, refused, limited))| Cell {
                known,
                open,
                opted_out,
                terminating,
                copy,
                second,
                taken,
                refused,
                limited,
            },
        )
}

fn disposition() -> impl Strategy<Value = Option<Removal>> {
    use Disposition::{Keep, Release, Remove, RemoveUnused};
    let disposition = prop::sample::select(vec![Keep, Remove, RemoveUnused, Release]);
    let removal = (disposition, any::<bool>()).prop_map(|(disposition, forced)| Removal {
        disposition,
        forced,
        ..Removal::default()
    });
    prop::option::of(removal)
}

fn build(cells: &[Cell], withdraw: bool) -> World {
    let mut world = World { withdraw, ..World::default() }.namespace("home", &[], false);
    for (n, cell) in cells.iter().enumerate() {
        let namespace = format!("n{n}");
        let mut labels = Vec::new();
        labels.extend(cell.open.then_some(("open", "yes")));
        labels.extend(cell.opted_out.then_some(("claviger.dev/opt-out", "true")));
        if cell.known {
            world = world.namespace(&namespace, &labels, cell.terminating);
        }
        let quay = NamespacedName::new(namespace.as_str(), "quay");
        for (name, copy) in [("quay", &cell.copy), ("quaint", &cell.second)] {
            let Some(copy) = copy else { continue };
            world = world.copy(&namespace, name, if copy.good { "a" } else { "b" }, |seen| {
                seen.immutable = copy.immutable;
                seen.terminating = copy.terminating;
                let policy = if copy.orphan { DeletionPolicy::Orphan } else { DeletionPolicy::Protect };
                seen.marks = Arc::new(marks(if copy.older { 0 } else { 1 }, policy));
                if copy.other_owner {
                    seen.owner = id("other").owner();
                }
            });
            if copy.used {
                world = world.pod(&namespace, name);
            }
        }
        if cell.copy.is_none() && cell.taken {
            world.snapshot.conflicts.insert(quay.clone(), "somebody".into());
        }
        if cell.refused {
            world = world.refused(&namespace, "quay");
        }
        if cell.limited {
            (0..REPAIR_BURST).for_each(|_| world.repairs.repaired(&quay, world.now));
        }
    }
    world
}

fn by_name(plan: &Plan) -> BTreeMap<Arc<str>, NamespaceState> {
    plan.namespaces.iter().cloned().collect()
}

fn objects(plan: &Plan) -> Vec<NamespacedName> {
    let mut objects: Vec<NamespacedName> = plan.changes.iter().map(|change| secret(change).clone()).collect();
    objects.sort();
    objects
}

proptest! {
    /// Nothing is written to a namespace that terminates, nothing of another owner is touched, nothing in use is
    /// deleted unless the whole credential goes, nothing is done twice, nothing that was refused is tried.
    #[test]
    fn no_plan_breaks_a_guarantee(
        cells in prop::collection::vec(cell(), 1..12),
        all_selected: bool, has_content: bool, withdraw: bool, removal in disposition(),
    ) {
        let world = build(&cells, withdraw);
        let want = if all_selected { Want::all() } else { Want::of(json!({"names": ["n0", "n1"]})) };
        let want = Want { content: has_content.then_some("a"), removal, ..want };
        let plan = world.plan(&want);

        let touched = objects(&plan);
        let mut once = touched.clone();
        once.dedup();
        prop_assert_eq!(&once, &touched);
        for change in &plan.changes {
            let name = secret(change);
            prop_assert!(!world.snapshot.namespaces[&name.namespace].terminating);
            prop_assert!(!world.refusals.contains_key(&change.object));
            let seen = world.snapshot.copies.get(name);
            if let Some(copy) = seen {
                prop_assert_eq!(&copy.owner, &id("quay").owner());
            }
            match &change.action {
                Action::Edit(_) | Action::Evict(_) => prop_assert!(false, "nothing is attached here"),
                Action::Create => prop_assert!(seen.is_none() && !world.snapshot.conflicts.contains_key(name)),
                Action::Update(copy) | Action::Release(copy) => prop_assert_eq!(Some(copy), seen),
                Action::Delete { copy, if_unused } => {
                    prop_assert_eq!(Some(copy), seen);
                    let forced = want.removal.as_ref().is_some_and(|removal| removal.forced);
                    prop_assert_eq!(*if_unused, !forced);
                    let whole = want.removal.as_ref().is_some_and(|r| r.disposition == Disposition::Remove);
                    prop_assert!(whole || !world.snapshot.is_in_use(name));
                    prop_assert!(!copy.terminating);
                }
            }
        }
        match &want.removal {
            None => {
                let writes = created(&plan).len() + updated(&plan).len();
                prop_assert!(released(&plan).is_empty());
                prop_assert!(has_content || writes == 0);
                let pending = total(&plan, |state| usize::from(state.target == Some(TargetState::Pending)));
                prop_assert!(writes <= pending, "{} writes, {} pending", writes, pending);
                for (name, state) in &plan.namespaces {
                    let verdict = want.targets().unwrap().judge(name, &world.snapshot.namespaces[name]);
                    prop_assert_eq!(state.target.is_some(), verdict != Verdict::NotTargeted);
                    prop_assert!(state.counts.deferred == 0 || !withdraw && verdict == Verdict::NotPermitted);
                }
            }
            Some(removal) => {
                prop_assert!(created(&plan).is_empty() && updated(&plan).is_empty());
                prop_assert!(removal.disposition != Disposition::Keep || plan.changes.is_empty());
                prop_assert!(removal.disposition == Disposition::Release || released(&plan).is_empty());
                prop_assert!(total(&plan, |state| state.counts.remaining) >= plan.changes.len());
                prop_assert_eq!(total(&plan, |state| state.counts.deferred), 0);
            }
        }
        prop_assert!(plan.namespaces.iter().all(|(_, state)| state.counts.blocking <= state.counts.users));
    }

    /// A plan for some namespaces says of them what a plan for all says.
    #[test]
    fn a_plan_for_some_namespaces_agrees_with_one_for_all(
        cells in prop::collection::vec(cell(), 1..12),
        asked in prop::collection::hash_set(0..14_usize, 0..8),
        has_content: bool, withdraw: bool, unreadable: bool, removal in disposition(),
    ) {
        let world = build(&cells, withdraw);
        let want = Want { content: has_content.then_some("a"), unreadable, removal, ..Want::all() };
        let scope: HashSet<Arc<str>> = asked
            .into_iter()
            .map(|n| if n == 13 { "home".into() } else { format!("n{n}").as_str().into() })
            .collect();
        let all = world.plan(&want);
        let some = world.plan_for(&want, Scope::Namespaces(&scope));

        let mut expected = by_name(&all);
        expected.retain(|name, _| scope.contains(name));
        prop_assert_eq!(by_name(&some), expected);
        prop_assert_eq!(some.namespaces.len(), by_name(&some).len());
        let mut changes: Vec<_> = all.changes.iter().filter(|c| scope.contains(c.object.namespace())).collect();
        let mut found: Vec<_> = some.changes.iter().collect();
        let key = |change: &&Change| format!("{:?}", change.object);
        changes.sort_by_key(key);
        found.sort_by_key(key);
        prop_assert_eq!(found, changes);
        let mut waits: Vec<_> = all.waits_for.iter().filter(|name| scope.contains(&name.namespace)).collect();
        let mut found: Vec<_> = some.waits_for.iter().collect();
        waits.sort();
        found.sort();
        prop_assert_eq!(found, waits);
        prop_assert!(all.wait.is_some() || some.wait.is_none());
    }

    /// A sweep touches only what is the owner's, and deletes nothing that is used or is to be left.
    #[test]
    fn a_sweep_is_careful(cells in prop::collection::vec(cell(), 1..12)) {
        let world = build(&cells, true);
        let changes = plan_sweep(&world.snapshot, &id("quay").owner());
    let plan = Plan { changes, ..Plan::default() };
        prop_assert!(created(&plan).is_empty() && updated(&plan).is_empty());
        for change in &plan.changes {
            let name = secret(change);
            let copy = &world.snapshot.copies.get(name).unwrap();
            prop_assert_eq!(&copy.owner, &id("quay").owner());
            prop_assert!(!world.snapshot.namespaces[&name.namespace].terminating);
            let orphan = copy.marks.orphan;
            prop_assert_eq!(orphan, matches!(change.action, Action::Release(_)));
            prop_assert!(orphan || !world.snapshot.is_in_use(name));
        }
    }
}
