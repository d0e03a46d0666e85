//! What is told of a default.

use std::collections::BTreeSet;

use super::*;
use crate::domain::{
    account_counts::AccountCounts,
    account_failure::AccountFailure,
    default::DefaultWish,
    outcome::{AccountFailureGroup, DefaultOutcome},
};

fn wanted() -> DesiredState {
    let wish = DefaultWish {
        accounts: BTreeSet::new(),
        priority: 0,
        keys: BTreeSet::new(),
        restart_stuck_pods: false,
    };
    DesiredState { default: Some(Arc::new(wish)), ..desired() }
}

fn counts(desired: u32, attached: u32) -> AccountCounts {
    AccountCounts { desired, attached, ..AccountCounts::default() }
}

fn with(default: DefaultOutcome) -> ClusterOutcome {
    ClusterOutcome { default: Some(default), ..cluster(1, 1, &[]) }
}

fn failing(failure: &AccountFailure, count: usize) -> DefaultOutcome {
    let example =
        |n: usize| (format!("n{n:0>60}").as_str().into(), "a".repeat(253).as_str().into(), failure.clone());
    let group = AccountFailureGroup {
        reason: failure.reason(),
        count,
        examples: (0..count.min(MAX_FAILURES)).map(example).collect(),
    };
    let counts = counts(u32::try_from(count).unwrap(), 0);
    DefaultOutcome { counts, failures: vec![group], ..DefaultOutcome::default() }
}

/// `Ready`, `Synced` and `Default`.
fn told(outcome: DefaultOutcome) -> [String; 3] {
    let all = reasons(&first(&wanted(), with(outcome)));
    ["Ready", "Synced", "Default"].map(|type_| {
        let found = all.iter().find_map(|told| told.strip_prefix(&format!("{type_}=")));
        found.unwrap_or_default().to_owned()
    })
}

const SYNCED: &str = "True/AllTargetsSynced";

#[test]
fn nothing_is_told_of_a_default_that_nobody_asks_for() {
    let status = first(&desired(), cluster(1, 1, &[]));
    assert!(reasons(&status).iter().all(|told| !told.starts_with("Default")));
    let deleted = DesiredState { removal: keeping(), ..wanted() };
    let status = first(&deleted, cluster(1, 1, &[]));
    assert!(reasons(&status).iter().all(|told| !told.starts_with("Default=")));
}

#[test]
fn what_needs_no_person_leaves_it_ready() {
    let of = |counts| DefaultOutcome { counts, ..DefaultOutcome::default() };
    assert_eq!(told(of(counts(3, 3))), [SYNCED, SYNCED, "True/Attached"]);
    assert_eq!(told(of(counts(0, 0))), [SYNCED, SYNCED, "True/Attached"]);
    assert_eq!(told(of(counts(3, 2))), [SYNCED, SYNCED, "False/Progressing"]);
    let unknown = DefaultOutcome { is_unknown: true, ..DefaultOutcome::default() };
    assert_eq!(told(unknown), [SYNCED, SYNCED, "False/Progressing"]);
    let outranked = AccountCounts { outranked: 2, ..counts(0, 0) };
    assert_eq!(told(of(outranked)), [SYNCED, SYNCED, "False/Outranked"]);
    let some = AccountCounts { outranked: 2, ..counts(1, 1) };
    assert_eq!(told(of(some)), [SYNCED, SYNCED, "True/Attached"]);
    let off = DefaultOutcome { unavailable: Some(Reason::DefaultsDisabled), ..DefaultOutcome::default() };
    assert_eq!(told(off), [SYNCED, SYNCED, "False/DefaultsDisabled"]);
}

#[test]
fn what_needs_a_person_is_not_ready_and_synced_all_the_same() {
    for failure in [
        AccountFailure::Conflict(id()),
        AccountFailure::NotPermitted,
        AccountFailure::Reverted,
        AccountFailure::TooMany,
    ] {
        let reason = failure.reason().as_str();
        assert_eq!(
            told(failing(&failure, 1)),
            [&format!("False/{reason}"), SYNCED, &format!("False/{reason}")]
        );
        let status = first(&wanted(), with(failing(&failure, 1)));
        let stalled = format!("Stalled=False/{reason}");
        assert!(
            reasons(&status).contains(&stalled),
            "some of it is no fault of the whole: {:?}",
            reasons(&status)
        );
    }
    let hidden =
        DefaultOutcome { unavailable: Some(Reason::ServiceAccountsForbidden), ..DefaultOutcome::default() };
    let reason = "False/ServiceAccountsForbidden";
    assert_eq!(told(hidden), [reason, SYNCED, reason]);
}

#[test]
fn a_thousand_clusters_do_not_make_it_long() {
    let failures: Vec<_> =
        [AccountFailure::Conflict(id()), AccountFailure::Reverted].iter().map(|f| failing(f, 50)).collect();
    let each = |n: usize| {
        let failures = failures.iter().flat_map(|outcome| outcome.failures.clone()).collect();
        let outcome = DefaultOutcome { counts: counts(100, 0), failures, ..DefaultOutcome::default() };
        (format!("{n:a>63}").as_str().into(), Arc::new(with(outcome)))
    };
    let all: Outcomes = (0..1_000).map(each).collect();
    let status = compute(None, &wanted(), &all, time(10));
    assert!(condition(&status, ConditionType::Default).len() < 4_200);
    let told = default_status(&wanted(), &all).unwrap();
    assert_eq!((told.desired, told.failed, told.failures.len()), (100_000, 100_000, 10));
    assert!(told.failures.iter().all(|failure| failure.reason == "DefaultConflict"), "the worst first");
    assert!(serde_json::to_string(&told).unwrap().len() < 20_000);
}
