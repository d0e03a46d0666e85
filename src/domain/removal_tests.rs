use super::*;
use crate::{
    api::NamespaceCounts,
    domain::{cluster_condition::ClusterCondition, outcome::CopyCounts},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn outcome(blocking: usize) -> ClusterOutcome {
    let counts = CopyCounts { users: blocking, blocking, ..CopyCounts::default() };
    ClusterOutcome { counts, has_copies: true, ..ClusterOutcome::default() }
}

fn up(outcome: &ClusterOutcome, current: bool) -> ClusterFacts<'_> {
    ClusterFacts {
        name: "local".into(),
        up: true,
        paused: false,
        down: None,
        has_copies: true,
        outcome: Some((outcome, current)),
        row: None,
    }
}

fn request(policy: DeletionPolicy) -> Request {
    Request {
        policy,
        annotated: false,
        namespace_terminating: false,
        deleted: at(100),
        grace: Duration::from_secs(3600),
    }
}

fn when(
    policy: DeletionPolicy,
    annotated: bool,
    namespace_terminating: bool,
    blocking: usize,
) -> Disposition {
    let request = Request { annotated, namespace_terminating, ..request(policy) };
    Removal::decide(request, &[up(&outcome(blocking), true)], at(100)).disposition
}

#[test]
fn protect_holds_while_in_use() {
    use DeletionPolicy::{Force, Orphan, Protect};
    assert_eq!(when(Protect, false, false, 1), Disposition::Keep);
    assert_eq!(when(Protect, false, false, 0), Disposition::Remove);
    assert_eq!(when(Protect, true, false, 1), Disposition::Remove);
    assert_eq!(when(Protect, false, true, 1), Disposition::RemoveUnused);
    assert_eq!(when(Force, false, false, 1), Disposition::Remove);
    assert_eq!(when(Orphan, false, false, 1), Disposition::Release);
    assert_eq!(when(Orphan, true, true, 0), Disposition::Release);
}

#[test]
fn a_paused_cluster_holds_a_deletion_until_it_goes_on_or_somebody_forces_it() {
    let unused = outcome(0);
    let paused = |has_copies| ClusterFacts { paused: true, has_copies, ..up(&unused, true) };
    let decide = |request| Removal::decide(request, &[paused(true)], at(100));
    for policy in [DeletionPolicy::Protect, DeletionPolicy::Orphan] {
        let held = decide(request(policy));
        assert_eq!(held.paused, ["local".into()]);
        assert!(held.disposition != Disposition::Remove && !held.is_complete(1, &Outcomes::default()));
    }
    let forced = decide(Request { annotated: true, ..request(DeletionPolicy::Protect) });
    assert!(forced.paused.is_empty() && forced.is_complete(1, &Outcomes::default()));
    assert_eq!(forced.left_behind, ["local".into()]);
    let terminating = decide(Request { namespace_terminating: true, ..request(DeletionPolicy::Protect) });
    assert!(terminating.is_complete(1, &Outcomes::default()));
    let empty = Removal::decide(request(DeletionPolicy::Protect), &[paused(false)], at(100));
    assert!(empty.paused.is_empty() && empty.is_complete(1, &Outcomes::default()));
}

#[test]
fn nothing_goes_before_the_cluster_said_who_uses_what_now() {
    let stale = outcome(0);
    let decided = Removal::decide(request(DeletionPolicy::Protect), &[up(&stale, false)], at(100));
    assert_eq!(decided.disposition, Disposition::Keep);
    let lagging = ClusterOutcome { users_unknown: true, ..outcome(0) };
    let decided = Removal::decide(request(DeletionPolicy::Protect), &[up(&lagging, true)], at(100));
    assert_eq!(decided.disposition, Disposition::Keep);
    let never = ClusterFacts { outcome: None, ..up(&stale, true) };
    let decided = Removal::decide(request(DeletionPolicy::Protect), &[never], at(100));
    assert_eq!(decided.disposition, Disposition::Keep);
}

#[test]
fn the_api_server_is_asked_who_uses_the_copies_before_anything_goes() {
    let asks = |disposition, blocking, remaining| {
        let counts = CopyCounts { blocking, remaining, ..CopyCounts::default() };
        Removal { disposition, ..Removal::default() }.asks_for_users(counts)
    };
    assert!(asks(Disposition::Keep, 0, 1));
    assert!(!asks(Disposition::Keep, 1, 1), "the watch has shown a user");
    assert!(!asks(Disposition::Keep, 0, 0), "there is nothing to use");
    assert!(!asks(Disposition::Remove, 0, 1), "it is asked for each copy that goes");
}

#[test]
fn a_cluster_that_does_not_answer_may_have_users_and_is_not_waited_for_for_ever() {
    let unreachable = |down| ClusterFacts {
        name: "east".into(),
        up: false,
        paused: false,
        down: Some(at(down)),
        has_copies: true,
        outcome: None,
        row: None,
    };
    let decide = |request, down, now| Removal::decide(request, &[unreachable(down)], at(now));
    let protect = request(DeletionPolicy::Protect);
    let before = decide(protect, 50, 100);
    assert_eq!((before.disposition, before.next()), (Disposition::Keep, Some(at(3700))), "down before it");
    assert_eq!(decide(protect, 900, 1000).next(), Some(at(4500)), "down after it");
    let over = decide(protect, 50, 3700);
    assert_eq!((over.disposition, over.left_behind.len()), (Disposition::Remove, 1));
    let forced = decide(Request { annotated: true, ..protect }, 50, 100);
    assert_eq!((forced.disposition, forced.left_behind.len()), (Disposition::Remove, 1));
    let namespace = decide(Request { namespace_terminating: true, ..protect }, 50, 100);
    assert_eq!((namespace.disposition, namespace.awaited.len()), (Disposition::Remove, 0));
}

#[test]
fn a_cluster_with_nothing_in_it_is_no_obstacle() {
    let row = |state, desired| ClusterStatus {
        name: "east".into(),
        state,
        reason: None,
        message: None,
        last_transition_time: None,
        revision: None,
        last_sync_time: None,
        namespaces: NamespaceCounts { desired, synced: 0, failed: 0 },
        failures: Vec::new(),
    };
    let unreachable = |row| ClusterFacts {
        name: "east".into(),
        up: false,
        paused: false,
        down: None,
        has_copies: false,
        outcome: None,
        row,
    };
    let protect = request(DeletionPolicy::Protect);
    let decide = |row| Removal::decide(protect, &[unreachable(row)], at(100)).awaited.len();
    assert_eq!(decide(None), 0);
    let (clean, pending) = (row(ClusterState::Synced, 0), row(ClusterState::Pending, 3));
    assert_eq!(decide(Some(&clean)), 0);
    assert_eq!(decide(Some(&pending)), 1);
}

#[test]
fn it_is_complete_when_all_have_said_so_for_this_very_state() {
    let removal = Removal { disposition: Disposition::Remove, ..Removal::default() };
    let (east, local): (Arc<str>, Arc<str>) = ("east".into(), "local".into());
    let done = |version| ClusterOutcome { version, ..ClusterOutcome::default() };
    let complete = |removal: &Removal, outcomes: &[(&Arc<str>, ClusterOutcome)]| {
        let outcomes = outcomes.iter().map(|(name, outcome)| (Arc::clone(name), Arc::new(outcome.clone())));
        removal.is_complete(7, &outcomes.collect())
    };
    let present = Removal { present: vec![local.clone()], ..removal.clone() };
    assert!(complete(&present, &[(&local, done(7))]));
    assert!(!complete(&present, &[]), "a cluster with copies has not said anything yet");
    assert!(complete(&removal, &[(&local, done(7)), (&east, done(7))]));
    assert!(!complete(&removal, &[(&local, done(7)), (&east, done(6))]));
    assert!(!complete(
        &removal,
        &[(
            &local,
            ClusterOutcome { counts: CopyCounts { remaining: 1, ..CopyCounts::default() }, ..done(7) }
        )]
    ));
    let left = Removal { left_behind: vec![east.clone()], ..removal.clone() };
    assert!(complete(&left, &[(&local, done(7)), (&east, done(6))]));
    assert!(!complete(&Removal::default(), &[]), "it was not decided yet");
    assert!(complete(&removal, &[]), "no cluster has anything");
}

#[test]
fn what_is_left_behind_is_told_with_its_cause() {
    let paused =
        ClusterOutcome { condition: Some(ClusterCondition::Paused), synced: 3, ..ClusterOutcome::default() };
    let told = left_behind("east", Some(&paused));
    assert!(told.contains("(3 when last seen): cluster 'east' is paused"), "{told}");
    assert!(!told.contains("answers again"), "{told}");
    assert!(left_behind("east", None).contains("(0 when last seen); those"));
}
