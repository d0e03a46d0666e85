//! How large a status gets.

use super::*;
use crate::domain::{outcome::ListedUser, reference_kind::ReferenceKind, schedule::MAX_REFERENCES};

/// etcd and the API server take more, but not much.
const LIMIT: usize = 512 * 1024;

#[test]
fn failures_are_bounded_and_the_worst_come_first() {
    let mut failures = vec![("zzz", conflict())];
    let names: Vec<String> = (0..30).map(|n| format!("n{n:02}")).collect();
    failures.extend(names.iter().map(|name| (name.as_str(), Failure::NotPermitted)));
    let status = first(&desired(), cluster(31, 0, &failures));
    let row = &status.clusters[0];
    assert_eq!((row.failures.len(), row.namespaces.failed), (10, 31));
    assert_eq!(row.failures[0].namespace, "zzz");
    assert!(condition(&status, ConditionType::Ready).len() < 1024);
}

#[test]
fn users_are_bounded() {
    let user = |n: usize| ListedUser {
        // Those that hold nothing come last, whatever cluster they are in.
        is_harmless: n >= MAX_REFERENCES / 2,
        kind: ReferenceKind::Pod,
        namespace: "web".into(),
        name: format!("p{n}").as_str().into(),
        field: "spec.volumes.secret",
    };
    let outcome = || {
        let users = (0..MAX_REFERENCES).map(user).collect();
        let counts = CopyCounts { users: 900, blocking: 800, ..CopyCounts::default() };
        ClusterOutcome { counts, users, ..cluster(1, 1, &[]) }
    };
    let seen = outcomes([("local", outcome()), ("east", outcome())]);
    let references = compute(None, &desired(), &seen, time(10)).references.unwrap();
    assert_eq!((references.total, references.blocking, references.items.len()), (1800, 1600, MAX_REFERENCES));
    let half = &references.items[MAX_REFERENCES / 2..];
    assert!(
        references
            .items
            .iter()
            .zip(half)
            .all(|(local, east)| (&*local.cluster, &*east.cluster) == ("local", "east"))
    );
    assert!(references.items.iter().zip(half).all(|(local, east)| local.name == east.name));
}

/// Checks the size of a status of a thousand clusters, all of them failing.
fn check(text: &str, outcome: impl Fn(usize) -> ClusterOutcome) {
    check_with(text, &outcome, |n| format!("{n:a>63}"));
    check_with(text, &outcome, |n| n.to_string());
}

fn check_with(text: &str, outcome: impl Fn(usize) -> ClusterOutcome, name: impl Fn(usize) -> String) {
    let users: Vec<ListedUser> = (0..MAX_REFERENCES)
        .map(|user| ListedUser {
            is_harmless: false,
            kind: ReferenceKind::CronJob,
            namespace: format!("{user:0>63}").as_str().into(),
            name: format!("{user:0>253}").as_str().into(),
            field: "spec.ephemeralContainers.envFrom",
        })
        .collect();
    let outcomes: Outcomes = (0..1_000)
        .map(|n| {
            // One cluster has more users than a status lists.
            let users = if n == 0 { users.clone() } else { Vec::new() };
            let counts = CopyCounts { users: 100_000, blocking: 100_000, ..CopyCounts::default() };
            (name(n).as_str().into(), Arc::new(ClusterOutcome { counts, users, ..outcome(n) }))
        })
        .collect();
    let first = compute(None, &desired(), &outcomes, Timestamp::now());
    // Once more, as rows keep what they had.
    let synced = CredentialStatus {
        clusters: first
            .clusters
            .iter()
            .map(|row| ClusterStatus {
                revision: Some(i64::MAX),
                last_sync_time: Some(Time(Timestamp::now())),
                ..row.clone()
            })
            .collect(),
        ..first
    };
    let status = compute(Some(&synced), &desired(), &outcomes, Timestamp::now());
    assert_eq!(status.clusters.len(), 1_000);
    let size = serde_json::to_vec(&status).unwrap().len();
    assert!(size < LIMIT, "{size} bytes with {text}");
}

fn long(message: &str) -> String {
    message.chars().cycle().take(crate::domain::schedule::MAX_MESSAGE).collect()
}

/// What a namespace says is cut to this length where it comes from; see `MAX_MESSAGE`.
const TEXTS: [&str; 3] = ["x", "\"\\", "\u{1f525}"];

#[test]
fn a_thousand_unreachable_clusters_fit() {
    for text in TEXTS {
        let condition = Some(ClusterCondition::Unreachable(long(text)));
        check(text, |_| ClusterOutcome { condition: condition.clone(), ..cluster(10_000, 9_999, &[]) });
    }
}

#[test]
fn a_thousand_clusters_that_refuse_everything_fit() {
    let namespaces: Vec<String> = (0..MAX_FAILURES).map(|n| format!("{n:b>63}")).collect();
    for text in TEXTS {
        let failures: Vec<(&str, Failure)> =
            namespaces.iter().map(|name| (name.as_str(), refused(&long(text)))).collect();
        check(text, |_| cluster(10_000, 0, &failures));
    }
}

#[test]
fn with_many_clusters_the_first_failures_are_still_listed() {
    let failing = || cluster(10, 0, &[("a", conflict()), ("b", conflict())]);
    let names: Vec<String> = (0..300).map(|n| format!("c{n:03}")).collect();
    let outcomes: Outcomes = names.iter().map(|name| (name.as_str().into(), Arc::new(failing()))).collect();
    let status = compute(None, &desired(), &outcomes, time(10));
    assert_eq!(status.clusters[0].failures.len(), 2);
    let listed: usize = status.clusters.iter().map(|row| row.failures.len()).sum();
    assert!(listed > 0 && listed <= MAX_FAILURES_IN_ALL, "{listed}");
    assert!(status.clusters.iter().all(|row| row.namespaces.failed == 2), "all are counted");
}
