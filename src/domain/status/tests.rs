use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    api::CredentialKind,
    domain::{
        cluster_condition::ClusterCondition,
        condition::ConditionType,
        content::SourceError,
        failure::Failure,
        identity::CredentialId,
        outcome::ListedUser,
        outcome::{CopyCounts, FailureGroup},
        reason::Reason,
        reference_kind::ReferenceKind,
        removal::{Disposition, Removal},
        targets::ClusterTargets,
        token::Minted,
        validity::Validity,
    },
};

mod attached;
mod clusters;
mod limits;
mod verified;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id() -> CredentialId {
    CredentialId { kind: CredentialKind::RegistryCredential, namespace: "home".into(), name: "quay".into() }
}

/// A credential of revision 7 with a good source.
fn desired() -> DesiredState {
    DesiredState {
        generation: 3,
        revision: Some(7),
        source: SourceState::Resolved(Vec::new()),
        ..DesiredState::blank(id())
    }
}

fn keeping() -> Option<Removal> {
    Some(Removal::default())
}

fn cluster(desired: usize, synced: usize, failures: &[(&str, Failure)]) -> ClusterOutcome {
    let mut groups: BTreeMap<Reason, FailureGroup> = BTreeMap::new();
    for (namespace, failure) in failures {
        let reason = failure.reason();
        let group = groups.entry(reason).or_insert(FailureGroup { reason, count: 0, examples: Vec::new() });
        group.count += 1;
        if group.examples.len() < MAX_FAILURES {
            group.examples.push(((*namespace).into(), failure.clone()));
        }
    }
    ClusterOutcome { desired, synced, failures: groups.into_values().collect(), ..ClusterOutcome::default() }
}

fn outcomes(clusters: impl IntoIterator<Item = (&'static str, ClusterOutcome)>) -> Outcomes {
    clusters.into_iter().map(|(name, outcome)| (name.into(), Arc::new(outcome))).collect()
}

/// The first status of a credential that only wants `local`.
fn first(desired: &DesiredState, local: ClusterOutcome) -> CredentialStatus {
    compute(None, desired, &outcomes([("local", local)]), time(10))
}

/// `Type=Status/Reason` of all conditions.
fn reasons(status: &CredentialStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect()
}

fn condition(status: &CredentialStatus, type_: ConditionType) -> &str {
    let found = crate::domain::condition::find(&status.conditions, type_);
    found.map_or("", |condition| &condition.message)
}

fn conflict() -> Failure {
    Failure::SecretNameConflict("somebody else".into())
}

fn refused(message: &str) -> Failure {
    Failure::Write { reason: Reason::QuotaExceeded, message: message.into() }
}

#[test]
fn all_in_place() {
    let status = first(&desired(), cluster(120, 120, &[]));
    assert_eq!(
        reasons(&status),
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
fn where_tokens_are_minted_no_source_secret_is_named() {
    let minted = Minted { token: None, error: None };
    let minted = DesiredState { tokens: [("quay.io".to_owned(), minted)].into(), ..desired() };
    let told = |desired: &DesiredState| {
        let status = first(desired, cluster(1, 1, &[]));
        let found = status.conditions.into_iter().find(|condition| condition.type_ == "SourceResolved");
        found.unwrap().message
    };
    assert_eq!(told(&desired()), "the source Secret holds a valid credential");
    assert_eq!(told(&minted), "a valid credential was minted");
}

#[test]
fn the_same_observation_gives_the_same_status_whenever_it_is_taken() {
    let seen = outcomes([("local", cluster(2, 2, &[]))]);
    let first = compute(None, &desired(), &seen, time(10));
    assert_eq!(compute(Some(&first), &desired(), &seen, time(99)), first);
}

#[test]
fn a_transition_moves_its_own_time_only() {
    let good = first(&desired(), cluster(2, 2, &[]));
    let bad = outcomes([("local", cluster(2, 1, &[("web", conflict())]))]);
    let bad = compute(Some(&good), &desired(), &bad, time(20));
    let at = |status: &CredentialStatus, type_: &str| {
        status.conditions.iter().find(|c| c.type_ == type_).unwrap().last_transition_time.0
    };
    assert_eq!(at(&bad, "Ready"), time(20));
    assert_eq!(at(&bad, "SourceResolved"), time(10));
    assert_eq!(bad.clusters[0].last_sync_time, Some(Time(time(10))), "when it was last true");
}

#[test]
fn one_failure_among_many_is_partial_and_does_not_stall() {
    let status = first(&desired(), cluster(3, 2, &[("web", conflict())]));
    assert_eq!(
        reasons(&status)[..3],
        ["Ready=False/PartiallySynced", "Reconciling=False/PartiallySynced", "Stalled=False/PartiallySynced"]
    );
    let message = condition(&status, ConditionType::Ready);
    assert!(message.contains("2 of 3") && message.contains("'web'"), "{message}");
    assert_eq!(status.clusters[0].state, ClusterState::Error);
    assert_eq!(status.clusters[0].failures[0].reason, "SecretNameConflict");
}

#[test]
fn one_kind_of_failure_everywhere_is_the_reason() {
    let status = first(&desired(), cluster(1, 0, &[("web", Failure::NotPermitted)]));
    assert_eq!(
        reasons(&status)[..3],
        ["Ready=False/NotPermitted", "Reconciling=False/Stalled", "Stalled=True/NotPermitted"]
    );
    let both = [("db", Failure::NotPermitted), ("web", conflict())];
    let status = first(&desired(), cluster(2, 0, &both));
    assert_eq!(reasons(&status)[2], "Stalled=True/PartiallySynced");
}

#[test]
fn it_is_stalled_only_when_nothing_is_synced_and_only_a_person_can_fix_it() {
    let stalled = |outcome: ClusterOutcome| {
        reasons(&first(&desired(), outcome)).contains(&"Stalled=True/NotPermitted".to_owned())
    };
    let not_permitted = [("web", Failure::NotPermitted)];
    assert!(stalled(cluster(1, 0, &not_permitted)));
    assert!(!stalled(cluster(2, 1, &not_permitted)), "a part is synced");
    assert!(!stalled(cluster(2, 0, &not_permitted)), "one is still to come");
    let busy = ClusterOutcome { in_progress: true, ..cluster(1, 0, &not_permitted) };
    assert!(!stalled(busy), "work is in progress");
    let retried = [("web", Failure::NotPermitted), ("db", refused("quota"))];
    assert!(!reasons(&first(&desired(), cluster(2, 0, &retried)))[2].starts_with("Stalled=True"));
}

#[test]
fn work_in_progress_and_a_retry_are_reconciling_not_stalled() {
    for cluster in [cluster(3, 1, &[]), cluster(3, 2, &[("web", refused("no"))])] {
        let reasons = reasons(&first(&desired(), cluster));
        assert!(
            reasons[1].starts_with("Reconciling=True") && reasons[2].starts_with("Stalled=False"),
            "{reasons:?}"
        );
        assert!(reasons[0].starts_with("Ready=False"));
    }
}

#[test]
fn a_source_that_may_come_is_waited_for_and_a_broken_one_stalls() {
    let missing = SourceError::not_found("src");
    let broken = SourceError::key_missing("src", "password", "passwordKey");
    for (error, want) in [
        (
            missing,
            ["Ready=False/SecretNotFound", "Reconciling=True/SecretNotFound", "Stalled=False/Progressing"],
        ),
        (broken, ["Ready=False/KeyMissing", "Reconciling=False/Stalled", "Stalled=True/KeyMissing"]),
    ] {
        let desired = DesiredState { source: SourceState::Failed(error), ..desired() };
        let status = first(&desired, cluster(2, 2, &[]));
        assert_eq!(reasons(&status)[..3], want);
        assert!(reasons(&status).contains(&"Synced=True/AllTargetsSynced".to_owned()), "the copies stay");
    }
}

#[test]
fn a_spec_that_cannot_be_read_stalls_and_says_what_to_do() {
    let unreadable = SourceState::UnreadableSpec("unknown variant `Moon`".into());
    let desired = DesiredState { source: unreadable, ..desired() };
    let status = first(&desired, ClusterOutcome::default());
    assert_eq!(
        reasons(&status),
        [
            "Ready=False/UnsupportedSpec",
            "Reconciling=False/Stalled",
            "Stalled=True/UnsupportedSpec",
            "SourceResolved=Unknown/UnsupportedSpec",
            "Synced=Unknown/UnsupportedSpec",
        ]
    );
    let message = condition(&status, ConditionType::Ready);
    assert!(message.contains("`Moon`") && message.contains("upgrade Claviger"), "{message}");
    let deleted = DesiredState { removal: keeping(), ..desired };
    assert!(
        reasons(&first(&deleted, ClusterOutcome::default()))
            .contains(&"Reconciling=True/Deleting".to_owned())
    );
}

#[test]
fn copies_that_stay_for_now_are_reported() {
    let outcome = ClusterOutcome {
        counts: CopyCounts { held: 1, deferred: 2, ..CopyCounts::default() },
        ..cluster(3, 3, &[])
    };
    let status = first(&desired(), outcome);
    assert_eq!(reasons(&status)[0], "Ready=True/AllTargetsSynced");
    let message = condition(&status, ConditionType::Synced);
    assert!(
        message.contains(
            "1 Secret that is no longer wanted stays while a Pod or another blocking object uses it"
        ),
        "{message}"
    );
    assert!(message.contains("2 Secrets without consent stay until the quiet period ends"), "{message}");
}

#[test]
fn a_deletion_that_is_held_up_names_its_users() {
    let counts = CopyCounts { users: 12, blocking: 9, ..CopyCounts::default() };
    let user = |is_harmless, kind| ListedUser {
        is_harmless,
        kind,
        namespace: "web".into(),
        name: "api".into(),
        field: "spec.imagePullSecrets",
    };
    let users = vec![user(false, ReferenceKind::Pod)];
    let desired = DesiredState { removal: keeping(), ..desired() };
    let status = first(&desired, ClusterOutcome { counts, users, ..cluster(0, 0, &[]) });
    assert!(reasons(&status).contains(&"DeletionBlocked=True/InUse".to_owned()));
    assert_eq!(reasons(&status)[0], "Ready=False/DeletionBlocked");
    let message = condition(&status, ConditionType::DeletionBlocked);
    assert!(message.contains("Pod web/api and 8 more"), "{message}");
    let unlisted = Some("the gateways that may use it cannot be listed".to_owned());
    let unknown = first(&desired, ClusterOutcome { unlisted, users_unknown: true, ..cluster(0, 0, &[]) });
    assert!(reasons(&unknown).contains(&"DeletionBlocked=True/UsersUnknown".to_owned()));
    let message = condition(&unknown, ConditionType::DeletionBlocked);
    assert!(
        message.contains("in cluster 'local': the gateways") && message.contains("force-delete"),
        "{message}"
    );
    let references = status.references.unwrap();
    assert_eq!((references.total, references.blocking, references.items.len()), (12, 9, 1));
    // Who does not hold it is listed, and not waited for.
    let counts = CopyCounts { users: 2, blocking: 1, ..CopyCounts::default() };
    let users = vec![user(false, ReferenceKind::Pod), user(true, ReferenceKind::CronJob)];
    let status = first(&desired, ClusterOutcome { counts, users, ..cluster(0, 0, &[]) });
    let message = condition(&status, ConditionType::DeletionBlocked);
    assert!(message.contains("waits for Pod web/api, and then"), "{message}");
    let references = status.references.unwrap();
    let told = |n: usize| (&*references.items[n].cluster, &*references.items[n].field);
    assert_eq!(told(0), ("local", "spec.imagePullSecrets"));
    assert_eq!(told(1), ("local", "spec.jobTemplate.spec.template.spec.imagePullSecrets"));
}

#[test]
fn each_disposition_of_a_deletion_has_its_reason() {
    for (disposition, used, want) in [
        (Disposition::Keep, 0, "DeletionBlocked=False/NotInUse"),
        (Disposition::Keep, 1, "DeletionBlocked=True/InUse"),
        (Disposition::Remove, 1, "DeletionBlocked=False/NotInUse"),
        (Disposition::RemoveUnused, 1, "DeletionBlocked=False/NamespaceTerminating"),
        (Disposition::RemoveUnused, 0, "DeletionBlocked=False/NotInUse"),
        (Disposition::Release, 1, "DeletionBlocked=False/Orphaning"),
    ] {
        let removal = Some(Removal { disposition, ..Removal::default() });
        let counts = CopyCounts { users: used, blocking: used, ..CopyCounts::default() };
        let status =
            first(&DesiredState { removal, ..desired() }, ClusterOutcome { counts, ..cluster(1, 1, &[]) });
        assert_eq!(reasons(&status).last().map(String::as_str), Some(want));
        assert!(reasons(&status)[0].starts_with("Ready=False"));
        assert_eq!(reasons(&status)[1..3], ["Reconciling=True/Deleting", "Stalled=False/Progressing"]);
    }
}

#[test]
fn when_a_content_expires_is_reported_while_it_is_in_use() {
    let day = 24 * 3600;
    let validity = Validity { not_before: time(0), not_after: time(100 * day) };
    let valid = DesiredState { validity: Some(validity), ..desired() };
    let status = first(&valid, cluster(1, 1, &[]));
    assert_eq!(status.expiration_time, Some(Time(time(100 * day))));
    assert_eq!(reasons(&status).last().map(String::as_str), Some("CertificateValid=True/Valid"));
    let seen = outcomes([("local", cluster(1, 1, &[]))]);
    let error = SourceError::not_found("src");
    let broken = DesiredState { source: SourceState::Failed(error), ..desired() };
    let kept = compute(Some(&status), &broken, &seen, time(20));
    assert_eq!(kept.expiration_time, status.expiration_time, "the copies still have it");
    assert_eq!(compute(Some(&status), &desired(), &seen, time(20)).expiration_time, None);
    let later = compute(Some(&status), &valid, &seen, time(101 * day));
    assert_eq!(reasons(&later).last().map(String::as_str), Some("CertificateValid=False/Expired"));
}

#[test]
fn reconciling_and_stalled_are_never_both_true_and_ready_means_all() {
    let failures: [&[(&str, Failure)]; 3] = [&[], &[("a", Failure::NotPermitted)], &[("a", refused(""))]];
    let sources = [
        SourceState::NotRead,
        SourceState::Hashing { first: false },
        SourceState::Resolved(Vec::new()),
        SourceState::UnreadableSpec("x".into()),
        SourceState::Failed(SourceError::not_found("s")),
        SourceState::Failed(SourceError::username_missing("s", "k")),
    ];
    let conditions = [
        None,
        Some(ClusterCondition::Connecting),
        Some(ClusterCondition::Paused),
        Some(ClusterCondition::NotFound),
        Some(ClusterCondition::Unreachable("x".into())),
    ];
    for source in sources {
        for (failures, condition) in failures.iter().flat_map(|f| conditions.iter().map(move |c| (f, c))) {
            for (synced, removal) in [0, 1, 2, 3].into_iter().flat_map(|n| [(n, None), (n, keeping())]) {
                let deleting = removal.is_some();
                let desired = DesiredState { source: source.clone(), removal, ..desired() };
                let outcome = ClusterOutcome { condition: condition.clone(), ..cluster(3, synced, failures) };
                let reasons = reasons(&first(&desired, outcome));
                let both =
                    reasons[1].starts_with("Reconciling=True") && reasons[2].starts_with("Stalled=True");
                assert!(!both, "{reasons:?}");
                let hashing = matches!(source, SourceState::Hashing { .. });
                let settled = !deleting && !hashing;
                let all = settled && synced == 3 && failures.is_empty() && condition.is_none();
                let fine = matches!(source, SourceState::NotRead | SourceState::Resolved(_));
                let paused = settled && fine && *condition == Some(ClusterCondition::Paused);
                assert!(!hashing || deleting || reasons[1].starts_with("Reconciling=True"), "{reasons:?}");
                assert!(!reasons[0].starts_with("Ready=True") || all || paused, "{reasons:?}");
            }
        }
    }
}
