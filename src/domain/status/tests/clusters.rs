//! Several clusters, and what is wrong with one as a whole.

use super::*;

fn member(desired: usize, synced: usize, condition: Option<ClusterCondition>) -> ClusterOutcome {
    ClusterOutcome { condition, ..cluster(desired, synced, &[]) }
}

fn down() -> Option<ClusterCondition> {
    Some(ClusterCondition::Unreachable("no route".into()))
}

fn computed(clusters: impl IntoIterator<Item = (&'static str, ClusterOutcome)>) -> CredentialStatus {
    compute(None, &desired(), &outcomes(clusters), time(10))
}

#[test]
fn local_is_the_first_row_and_the_others_are_by_name() {
    let status = computed(["west", "local", "east"].map(|name| (name, member(1, 1, None))));
    let names: Vec<&str> = status.clusters.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["local", "east", "west"]);
}

#[test]
fn of_clusters_without_consent_only_those_that_the_spec_lists_are_named() {
    let targets = |cluster: &str, is_listed| {
        Arc::new(ClusterTargets::new(&"home".into(), None, [], cluster, is_listed, &BTreeMap::new()))
    };
    let wanted = DesiredState {
        clusters: BTreeMap::from([
            ("east".into(), targets("east", true)),
            ("west".into(), targets("west", false)),
        ]),
        ..desired()
    };
    let seen = |west: ClusterOutcome| {
        outcomes([("local", member(1, 1, None)), ("east", member(0, 0, down())), ("west", west)])
    };
    let status = compute(None, &wanted, &seen(member(2, 0, down())), time(10));
    let names: Vec<&str> = status.clusters.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["local", "east"]);
    let text = serde_json::to_string(&status).unwrap();
    assert!(
        !text.contains("west") && text.contains("NotPermitted in 1 cluster: no DistributionPolicy"),
        "{text}"
    );
    // What has copies had consent once.
    let copies = ClusterOutcome { has_copies: true, ..member(2, 2, None) };
    assert_eq!(compute(None, &wanted, &seen(copies), time(10)).clusters.len(), 3);

    let alone = compute(None, &wanted, &outcomes([("west", member(2, 0, None))]), time(10));
    assert_eq!(
        reasons(&alone)[..3],
        ["Ready=False/NotPermitted", "Reconciling=False/Stalled", "Stalled=True/NotPermitted"]
    );
}

#[test]
fn one_unreachable_cluster_of_several_is_partial_and_named() {
    let seen = outcomes([("local", member(3, 3, None)), ("east", member(2, 2, down()))]);
    let status = compute(None, &desired(), &seen, time(10));
    assert_eq!(
        reasons(&status)[..3],
        ["Ready=False/PartiallySynced", "Reconciling=True/Retrying", "Stalled=False/Progressing"]
    );
    let message = condition(&status, ConditionType::Ready);
    assert!(message.contains("cluster 'east' does not answer: no route"), "{message}");
    assert_eq!(status.summary, Some(Summary { namespaces: "5/5".into(), clusters: "1/2".into() }));
    let east = &status.clusters[1];
    assert_eq!((east.state, east.reason.as_deref()), (ClusterState::Unreachable, Some("Unreachable")));
    assert_eq!(status.clusters[0].state, ClusterState::Synced);
    let later = compute(Some(&status), &desired(), &seen, time(20));
    assert_eq!(later, status, "the row keeps the time since when it is so");
}

#[test]
fn all_clusters_unreachable_is_unknown_and_none_selected_is_no_target() {
    let status = computed([("east", member(2, 2, down())), ("west", member(0, 0, down()))]);
    assert!(reasons(&status).contains(&"Synced=Unknown/ClusterUnreachable".to_owned()));
    assert!(reasons(&status)[0].starts_with("Ready=False"));
    for empty in [computed([]), computed([("local", member(0, 0, None))])] {
        assert_eq!(
            reasons(&empty)[..3],
            ["Ready=True/NoTargets", "Reconciling=False/Done", "Stalled=False/Done"]
        );
    }
}

#[test]
fn a_cluster_that_does_not_exist_is_reported_and_stalls_only_when_it_is_the_only_one() {
    let unknown = DesiredState { unknown_clusters: vec!["esat".into()], ..desired() };
    let status = compute(None, &unknown, &outcomes([("local", member(1, 1, None))]), time(10));
    assert_eq!(reasons(&status)[0], "Ready=False/PartiallySynced");
    assert_eq!(reasons(&status)[2], "Stalled=False/PartiallySynced");
    assert!(condition(&status, ConditionType::Ready).contains("there is no cluster 'esat'"));
    assert_eq!((status.clusters[1].state, status.clusters.len()), (ClusterState::Error, 2));
    let status = compute(None, &unknown, &Outcomes::new(), time(10));
    assert_eq!(reasons(&status)[2], "Stalled=True/ClusterNotFound");
}

#[test]
fn a_paused_cluster_does_not_count_and_is_reported_in_its_row() {
    let paused = || member(4, 1, Some(ClusterCondition::Paused));
    let status = computed([("local", member(3, 3, None)), ("east", paused())]);
    assert_eq!(
        reasons(&status)[..3],
        ["Ready=True/AllTargetsSynced", "Reconciling=False/Done", "Stalled=False/Done"]
    );
    assert!(condition(&status, ConditionType::Synced).contains("paused: 'east'"));
    let east = &status.clusters[1];
    assert_eq!((east.state, east.reason.as_deref()), (ClusterState::Pending, Some("Paused")));
    let failing =
        ClusterOutcome { condition: Some(ClusterCondition::Paused), ..cluster(2, 0, &[("a", conflict())]) };
    let status = computed([("local", member(3, 3, None)), ("east", failing)]);
    assert_eq!(reasons(&status)[0], "Ready=True/AllTargetsSynced");
    let status = computed([("east", paused())]);
    assert_eq!(
        reasons(&status)[..3],
        ["Ready=True/Paused", "Reconciling=False/Paused", "Stalled=False/Paused"],
        "all is as somebody asked for"
    );
    assert!(
        reasons(&status).contains(&"Synced=Unknown/Paused".to_owned()),
        "nothing is known to be in place"
    );
    assert!(condition(&status, ConditionType::Ready).contains("'east'"));
}

#[test]
fn a_cluster_that_is_being_connected_is_progress() {
    let status =
        computed([("local", member(1, 1, None)), ("east", member(2, 2, Some(ClusterCondition::Connecting)))]);
    assert_eq!(reasons(&status)[..2], ["Ready=False/Progressing", "Reconciling=True/Progressing"]);
}

fn targets(names: &[&'static str]) -> DesiredState {
    let targets = Arc::new(ClusterTargets::new(&"home".into(), None, [], "local", true, &BTreeMap::new()));
    let clusters = names.iter().map(|name| ((*name).into(), targets.clone())).collect();
    DesiredState { clusters, ..desired() }
}

fn lacking(synced: usize, missing: &[&str]) -> ClusterOutcome {
    let missing_namespaces = missing.iter().map(|name| (*name).into()).collect();
    ClusterOutcome { missing_namespaces, ..member(synced, synced, None) }
}

#[test]
fn a_named_namespace_that_exists_nowhere_is_reported() {
    let wanted = targets(&["local"]);
    for synced in [0, 2] {
        let status = first(&wanted, lacking(synced, &["wbe"]));
        assert_eq!(
            reasons(&status)[..3],
            [
                "Ready=False/NamespaceNotFound",
                "Reconciling=True/NamespaceNotFound",
                "Stalled=False/Progressing"
            ],
            "it may be created any moment"
        );
        assert!(reasons(&status).contains(&"Synced=False/NamespaceNotFound".to_owned()));
        let message = condition(&status, ConditionType::Ready);
        assert!(message.contains("namespace 'wbe' does not exist in any target cluster"), "{message}");
    }
    let many = first(&wanted, lacking(1, &["a", "b", "c", "d", "e"]));
    let message = condition(&many, ConditionType::Ready);
    assert!(
        message.contains("namespaces 'a', 'b', 'c' and 2 more do not exist in any target cluster"),
        "{message}"
    );
    let mixed =
        ClusterOutcome { missing_namespaces: vec!["a".into()], ..cluster(2, 1, &[("db", conflict())]) };
    assert_eq!(reasons(&first(&wanted, mixed))[0], "Ready=False/PartiallySynced");
}

#[test]
fn one_that_exists_in_some_target_cluster_is_not_missing() {
    let both = targets(&["local", "east"]);
    let ready = |local, east| {
        reasons(&compute(None, &both, &outcomes([("local", local), ("east", east)]), time(10)))[0].clone()
    };
    assert_eq!(ready(lacking(1, &["web"]), lacking(1, &[])), "Ready=True/AllTargetsSynced");
    assert_eq!(ready(lacking(1, &["web"]), lacking(1, &["web"])), "Ready=False/NamespaceNotFound");
    // A cluster with copies from before is none of the target.
    let seen = outcomes([("local", lacking(1, &["web"])), ("east", lacking(0, &[]))]);
    let status = compute(None, &targets(&["local"]), &seen, time(10));
    assert_eq!(reasons(&status)[0], "Ready=False/NamespaceNotFound");
}

fn asked(request: &str) -> DesiredState {
    DesiredState { sync_request: Some(request.into()), ..desired() }
}

fn refreshed(outcome: ClusterOutcome, request: &str) -> ClusterOutcome {
    ClusterOutcome { refreshed: Some(request.into()), ..outcome }
}

#[test]
fn a_sync_request_is_answered_in_numbers() {
    let outcome = refreshed(cluster(3, 2, &[("web", conflict())]), "now");
    let sync = first(&asked("now"), outcome).sync.unwrap();
    assert_eq!(
        (sync.last_handled_request.as_str(), sync.attempted, sync.succeeded, sync.failed),
        ("now", 3, 2, 1)
    );
}

#[test]
fn a_sync_request_is_answered_when_all_clusters_have_refreshed() {
    let sync = |local: ClusterOutcome, east: ClusterOutcome| {
        compute(None, &asked("now"), &outcomes([("local", local), ("east", east)]), time(10)).sync
    };
    let done = || refreshed(member(2, 2, None), "now");
    assert!(sync(done(), done()).is_some());
    assert_eq!(sync(done(), member(2, 2, None)), None);
    assert_eq!(sync(done(), refreshed(member(2, 2, None), "before")), None);
    assert_eq!(sync(done(), ClusterOutcome { in_progress: true, ..done() }), None);
    assert_eq!(sync(done(), refreshed(member(2, 1, None), "now")), None, "one is still to come");
    assert_eq!(sync(done(), member(2, 2, Some(ClusterCondition::Connecting))), None);
    // What does not answer, or must not be written to, is not waited for.
    assert!(sync(done(), member(2, 2, down())).is_some());
    assert!(sync(done(), member(2, 2, Some(ClusterCondition::Paused))).is_some());
    let deleting = DesiredState { removal: keeping(), ..asked("now") };
    assert_eq!(first(&deleting, done()).sync, None);
}

#[test]
fn a_sync_counts_only_what_was_seen_now() {
    let seen = outcomes([("local", refreshed(member(3, 3, None), "now")), ("east", member(2, 2, down()))]);
    let sync = compute(None, &asked("now"), &seen, time(10)).sync.unwrap();
    assert_eq!((sync.attempted, sync.succeeded, sync.failed), (5, 3, 2));
}

#[test]
fn an_answer_is_given_once_and_kept() {
    let seen = outcomes([("local", refreshed(member(2, 2, None), "now"))]);
    let first = compute(None, &asked("now"), &seen, time(10));
    assert_eq!(compute(Some(&first), &asked("now"), &seen, time(20)), first, "until the request is gone");
    assert_eq!(compute(Some(&first), &desired(), &seen, time(30)), first);
    let again = compute(Some(&first), &asked("later"), &seen, time(40));
    assert_eq!(again.sync, first.sync, "the next request is in progress");
}

#[test]
fn a_deletion_that_waits_for_a_cluster_says_until_when() {
    let awaited = vec![("east".into(), time(3600))];
    let desired = DesiredState { removal: Some(Removal { awaited, ..Removal::default() }), ..desired() };
    let status = compute(None, &desired, &outcomes([("east", member(2, 2, down()))]), time(10));
    assert!(reasons(&status).contains(&"DeletionBlocked=True/ClusterUnreachable".to_owned()));
    let message = condition(&status, ConditionType::DeletionBlocked);
    assert!(message.contains("'east' (until 1970-01-01T01:00:00Z") && message.contains("force-delete"));
}

#[test]
fn what_was_last_seen_of_a_cluster_counts_until_it_is_seen_again() {
    let first = computed([("east", member(4, 4, None))]);
    let unseen = ClusterOutcome::unseen(first.clusters.first(), ClusterCondition::Connecting, 1);
    assert_eq!((unseen.desired, unseen.synced), (4, 4));
    let next = compute(Some(&first), &desired(), &outcomes([("east", unseen)]), time(20));
    assert_eq!(next.clusters[0].last_sync_time, Some(Time(time(10))), "when it was last true");
    assert_eq!(next.clusters[0].revision, Some(7));
}
