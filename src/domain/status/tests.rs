use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn cluster(desired: usize, synced: usize, failures: &[(&str, Failure)]) -> ClusterOutcome {
    ClusterOutcome {
        name: "local".into(),
        desired,
        synced,
        failures: failures.iter().map(|(name, failure)| ((*name).into(), failure.clone())).collect(),
        held: 0,
        trouble: None,
    }
}

fn seen(cluster: ClusterOutcome) -> Observation {
    Observation {
        generation: 3,
        revision: Some(7),
        secret_name: "quay".into(),
        source: SourceState::Resolved(Vec::new()),
        clusters: vec![cluster],
        references: References::default(),
        deletion: None,
        awaited: Vec::new(),
        validity: None,
        sync_request: None,
    }
}

/// `Type=Status/Reason` of all conditions.
fn told(status: &CredentialStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect()
}

fn conflict() -> Failure {
    Failure::SecretNameConflict("somebody else".into())
}

#[test]
fn all_in_place() {
    let status = compute(None, &seen(cluster(120, 120, &[])), time(10));
    assert_eq!(
        told(&status),
        [
            "Ready=True/AllTargetsSynced",
            "Reconciling=False/Done",
            "Stalled=False/Done",
            "SourceResolved=True/Resolved",
            "Synced=True/AllTargetsSynced",
        ]
    );
    assert_eq!(status.summary, Some(Summary { namespaces: "120/120".into(), clusters: "1/1".into() }));
    assert_eq!(status.clusters[0].state, ClusterState::Synced);
    assert_eq!(status.clusters[0].revision, Some(7));
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(3)));
}

#[test]
fn an_equal_look_gives_an_equal_status_whenever_it_is_taken() {
    let first = compute(None, &seen(cluster(2, 2, &[])), time(10));
    assert_eq!(compute(Some(&first), &seen(cluster(2, 2, &[])), time(99)), first);
}

#[test]
fn a_transition_moves_its_own_time_only() {
    let first = compute(None, &seen(cluster(2, 2, &[])), time(10));
    let second = compute(Some(&first), &seen(cluster(2, 1, &[("web", conflict())])), time(20));
    let at = |status: &CredentialStatus, type_: &str| {
        status.conditions.iter().find(|c| c.type_ == type_).unwrap().last_transition_time.0
    };
    assert_eq!(at(&second, "Ready"), time(20));
    assert_eq!(at(&second, "SourceResolved"), time(10));
    assert_eq!(second.clusters[0].last_sync_time, Some(Time(time(10))), "when it was last true");
}

#[test]
fn one_failure_among_many_is_partial_and_named() {
    let status = compute(None, &seen(cluster(3, 2, &[("web", conflict())])), time(10));
    assert_eq!(
        told(&status)[..3],
        ["Ready=False/PartiallySynced", "Reconciling=False/Stalled", "Stalled=True/PartiallySynced"]
    );
    assert!(
        status.conditions[0].message.contains("2 of 3") && status.conditions[0].message.contains("'web'")
    );
    assert_eq!(status.clusters[0].state, ClusterState::Error);
    assert_eq!(status.clusters[0].failures[0].reason, "SecretNameConflict");
}

#[test]
fn one_kind_of_failure_everywhere_is_the_reason() {
    let status = compute(None, &seen(cluster(1, 0, &[("web", Failure::NotPermitted)])), time(10));
    assert_eq!(told(&status)[0], "Ready=False/NotPermitted");
}

#[test]
fn failures_are_bounded_worst_first() {
    let mut failures = vec![("zzz", conflict())];
    let names: Vec<String> = (0..30).map(|n| format!("n{n:02}")).collect();
    failures.extend(names.iter().map(|name| (name.as_str(), Failure::NotPermitted)));
    let status = compute(None, &seen(cluster(31, 0, &failures)), time(10));
    let row = &status.clusters[0];
    assert_eq!((row.failures.len(), row.namespaces.failed), (10, 31));
    assert_eq!(row.failures[0].namespace, "zzz");
    assert!(status.conditions[0].message.len() < 1024);
}

#[test]
fn work_under_way_and_a_retry_are_reconciling_not_stalled() {
    let refused = Failure::Write { reason: "QuotaExceeded", message: "no".into() };
    for cluster in [cluster(3, 1, &[]), cluster(3, 2, &[("web", refused)])] {
        let status = compute(None, &seen(cluster), time(10));
        let told = told(&status);
        assert!(told[1].starts_with("Reconciling=True") && told[2].starts_with("Stalled=False"), "{told:?}");
        assert!(told[0].starts_with("Ready=False"));
    }
}

#[test]
fn a_source_that_may_come_is_waited_for_and_a_broken_one_stalls() {
    let missing = SourceError::SecretNotFound { secret: "src".into() };
    let broken =
        SourceError::KeyMissing { secret: "src".into(), key: "password".into(), field: "passwordKey" };
    for (error, want) in [
        (
            missing,
            ["Ready=False/SecretNotFound", "Reconciling=True/SecretNotFound", "Stalled=False/Progressing"],
        ),
        (broken, ["Ready=False/KeyMissing", "Reconciling=False/Stalled", "Stalled=True/KeyMissing"]),
    ] {
        let status = compute(
            None,
            &Observation { source: SourceState::Failed(error), ..seen(cluster(2, 2, &[])) },
            time(10),
        );
        assert_eq!(told(&status)[..3], want);
    }
}

#[test]
fn a_held_deletion_names_its_users() {
    let item = crate::api::Reference {
        cluster: "local".into(),
        kind: "Pod".into(),
        namespace: "web".into(),
        name: "api".into(),
        field: "spec.imagePullSecrets".into(),
    };
    let references = References { total: 9, blocking: 9, items: vec![item] };
    let seen = Observation { references, deletion: Some(Disposition::Keep), ..seen(cluster(0, 0, &[])) };
    let status = compute(None, &seen, time(10));
    assert!(told(&status).contains(&"DeletionBlocked=True/InUse".to_owned()));
    assert_eq!(told(&status)[0], "Ready=False/DeletionBlocked");
    let message = &status.conditions.last().unwrap().message;
    assert!(message.contains("Pod web/api and 8 more"), "{message}");
}

#[test]
fn reconciling_and_stalled_are_never_both_true() {
    let failures: [&[(&str, Failure)]; 3] = [
        &[],
        &[("a", Failure::NotPermitted)],
        &[("a", Failure::Write { reason: "X", message: String::new() })],
    ];
    let sources = [
        SourceState::NotRead,
        SourceState::Resolved(Vec::new()),
        SourceState::Failed(SourceError::SecretNotFound { secret: "s".into() }),
        SourceState::Failed(SourceError::UsernameMissing { secret: "s".into(), key: "k".into() }),
    ];
    for source in sources {
        for failures in failures {
            for synced in 0..3 {
                for deletion in [None, Some(Disposition::Keep)] {
                    let seen = Observation {
                        source: source.clone(),
                        deletion,
                        ..seen(cluster(3, synced, failures))
                    };
                    let told = told(&compute(None, &seen, time(1)));
                    let both = told[1].starts_with("Reconciling=True") && told[2].starts_with("Stalled=True");
                    assert!(!both, "{told:?}");
                    assert!(
                        !told[0].starts_with("Ready=True") || (synced == 3 && deletion.is_none()),
                        "{told:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_sync_request_is_answered_in_numbers() {
    let seen =
        Observation { sync_request: Some("now".into()), ..seen(cluster(3, 2, &[("web", conflict())])) };
    let sync = compute(None, &seen, time(10)).sync.unwrap();
    assert_eq!(
        (sync.last_handled_request.as_str(), sync.attempted, sync.succeeded, sync.failed),
        ("now", 3, 2, 1)
    );
}

fn member(name: &str, desired: usize, synced: usize, trouble: Option<ClusterTrouble>) -> ClusterOutcome {
    ClusterOutcome { name: name.into(), trouble, ..cluster(desired, synced, &[]) }
}

fn down() -> Option<ClusterTrouble> {
    Some(ClusterTrouble::Unreachable("no route".into()))
}

#[test]
fn one_dead_cluster_of_several_is_partial_and_named() {
    let clusters = vec![member("local", 3, 3, None), member("east", 2, 2, down())];
    let seen = Observation { clusters, ..seen(cluster(0, 0, &[])) };
    let status = compute(None, &seen, time(10));
    assert_eq!(
        told(&status)[..3],
        ["Ready=False/PartiallySynced", "Reconciling=True/Retrying", "Stalled=False/Progressing"]
    );
    assert!(status.conditions[0].message.contains("cluster 'east' does not answer: no route"));
    assert_eq!(status.summary, Some(Summary { namespaces: "5/5".into(), clusters: "1/2".into() }));
    let east = &status.clusters[1];
    assert_eq!((east.state, east.reason.as_deref()), (ClusterState::Unreachable, Some("Unreachable")));
    assert_eq!(status.clusters[0].state, ClusterState::Synced);
    let later = compute(Some(&status), &seen, time(20));
    assert_eq!(later, status, "the row keeps the time since when it is so");
}

#[test]
fn all_clusters_dead_is_unknown_and_none_selected_is_nothing_to_do() {
    let dark = vec![member("east", 2, 2, down()), member("west", 0, 0, down())];
    let status = compute(None, &Observation { clusters: dark, ..seen(cluster(0, 0, &[])) }, time(10));
    assert!(told(&status).contains(&"Synced=Unknown/ClusterUnreachable".to_owned()));
    let status = compute(None, &Observation { clusters: Vec::new(), ..seen(cluster(0, 0, &[])) }, time(10));
    assert!(told(&status).contains(&"Synced=True/NoTargets".to_owned()));
}

#[test]
fn a_cluster_that_does_not_exist_waits_for_somebody() {
    let clusters = vec![member("local", 1, 1, None), member("esat", 0, 0, Some(ClusterTrouble::NotFound))];
    let status = compute(None, &Observation { clusters, ..seen(cluster(0, 0, &[])) }, time(10));
    assert_eq!(told(&status)[2], "Stalled=True/PartiallySynced");
    assert!(status.conditions[0].message.contains("there is no cluster 'esat'"));
}

#[test]
fn a_sync_counts_only_what_was_seen_now() {
    let clusters = vec![member("local", 3, 3, None), member("east", 2, 2, down())];
    let seen = Observation { clusters, sync_request: Some("now".into()), ..seen(cluster(0, 0, &[])) };
    let sync = compute(None, &seen, time(10)).sync.unwrap();
    assert_eq!((sync.attempted, sync.succeeded, sync.failed), (5, 3, 2));
}

#[test]
fn a_deletion_that_waits_for_a_cluster_says_until_when() {
    let seen = Observation {
        clusters: vec![member("east", 2, 2, down())],
        deletion: Some(Disposition::Keep),
        awaited: vec![("east".into(), time(3600))],
        ..seen(cluster(0, 0, &[]))
    };
    let status = compute(None, &seen, time(10));
    assert!(told(&status).contains(&"DeletionBlocked=True/ClusterUnreachable".to_owned()));
    let message = &status.conditions.last().unwrap().message;
    assert!(message.contains("'east' (until 1970-01-01T01:00:00Z") && message.contains("force-delete"));
}

#[test]
fn what_was_last_seen_of_a_cluster_counts_until_it_is_seen_again() {
    let first = compute(
        None,
        &Observation { clusters: vec![member("east", 4, 4, None)], ..seen(cluster(0, 0, &[])) },
        time(1),
    );
    let unseen = ClusterOutcome::unseen("east", first.clusters.first(), ClusterTrouble::Connecting);
    assert_eq!((unseen.desired, unseen.synced), (4, 4));
}
