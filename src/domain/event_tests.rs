use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;

fn status(revision: i64, conditions: &[(&str, &str, &str)]) -> CredentialStatus {
    CredentialStatus {
        revision: Some(revision),
        conditions: conditions
            .iter()
            .map(|(type_, status, reason)| Condition {
                type_: (*type_).into(),
                status: (*status).into(),
                reason: (*reason).into(),
                message: "a sentence".into(),
                last_transition_time: Time(Timestamp::UNIX_EPOCH),
                observed_generation: None,
            })
            .collect(),
        ..CredentialStatus::default()
    }
}

fn reasons(previous: Option<&CredentialStatus>, next: &CredentialStatus) -> Vec<Reason> {
    transitions(previous, next).into_iter().map(|note| note.reason).collect()
}

const GOOD: [(&str, &str, &str); 2] =
    [("SourceResolved", "True", "Resolved"), ("Synced", "True", "AllTargetsSynced")];

#[test]
fn without_errors_there_is_one_event_per_step() {
    let busy = status(1, &[("SourceResolved", "True", "Resolved"), ("Synced", "False", "Progressing")]);
    assert!(reasons(None, &busy).is_empty());
    assert_eq!(reasons(Some(&busy), &status(1, &GOOD)), [Reason::Synced]);
    assert!(reasons(Some(&status(1, &GOOD)), &status(1, &GOOD)).is_empty());
    assert_eq!(reasons(Some(&status(1, &GOOD)), &status(2, &GOOD)), [Reason::Rotated]);
}

#[test]
fn an_error_is_one_warning() {
    let bad = status(1, &[("SourceResolved", "False", "KeyMissing"), ("Synced", "False", "PartiallySynced")]);
    let notes = transitions(Some(&status(1, &GOOD)), &bad);
    assert!(notes.iter().all(|note| note.warning));
    assert_eq!(notes.len(), 2);
    assert!(transitions(Some(&bad), &bad).is_empty());
    assert_eq!(reasons(Some(&bad), &status(1, &GOOD)), [Reason::SourceResolved, Reason::Synced]);
}

#[test]
fn a_token_that_is_not_renewed_is_a_warning_unless_its_credential_is_being_deleted() {
    let refreshed = |status_: &'static str, reason: &'static str| {
        status(1, &[GOOD[0], GOOD[1], ("Refreshed", status_, reason)])
    };
    let good = refreshed("True", "Refreshed");
    assert_eq!(reasons(Some(&good), &refreshed("False", "TokenRefused")), [Reason::TokenRefused]);
    assert!(reasons(Some(&good), &refreshed("False", "Deleting")).is_empty());
}

#[test]
fn a_deletion_tells_when_it_is_held_and_when_it_goes_on() {
    let held = status(1, &[("DeletionBlocked", "True", "InUse"), ("Synced", "True", "NoTargets")]);
    let free = status(1, &[("DeletionBlocked", "False", "NotInUse"), ("Synced", "True", "NoTargets")]);
    assert_eq!(reasons(Some(&status(1, &GOOD)), &held), [Reason::DeletionBlocked]);
    assert!(reasons(Some(&held), &held).is_empty());
    assert_eq!(reasons(Some(&held), &free), [Reason::DeletionUnblocked]);
    assert!(reasons(Some(&status(1, &GOOD)), &free).is_empty());
}

#[test]
fn a_target_that_reaches_nothing_is_one_warning() {
    for reason in [Reason::NoTargets, Reason::NamespaceNotFound] {
        let ok = if reason == Reason::NoTargets { "True" } else { "False" };
        let nothing = status(1, &[("Synced", ok, reason.as_str())]);
        for before in [None, Some(status(1, &GOOD)), Some(status(1, &[("Synced", "False", "Progressing")]))] {
            let notes = transitions(before.as_ref(), &nothing);
            assert_eq!(
                notes.iter().map(|note| (note.warning, note.reason)).collect::<Vec<_>>(),
                [(true, reason)]
            );
        }
        assert!(transitions(Some(&nothing), &nothing).is_empty());
        let rotated = status(2, &[("Synced", ok, reason.as_str())]);
        assert!(transitions(Some(&nothing), &rotated).is_empty(), "nobody has the new content");
    }
}

#[test]
fn a_certificate_is_an_event_when_it_is_not_valid_any_more() {
    let certificate = |status: &str, reason: &str| self::status(1, &[("CertificateValid", status, reason)]);
    let valid = certificate("True", "Valid");
    assert!(transitions(None, &valid).is_empty());
    let soon = certificate("True", "ExpiringSoon");
    let notes = transitions(Some(&valid), &soon);
    assert_eq!((notes.len(), notes[0].warning, notes[0].reason), (1, true, Reason::ExpiringSoon));
    assert!(transitions(Some(&soon), &soon).is_empty());
    assert_eq!(reasons(Some(&soon), &certificate("False", "Expired")), [Reason::Expired]);
}

#[test]
fn a_default_is_told_once_when_it_fails_and_once_when_it_is_well_again() {
    let with = |status_: &'static str, reason: &'static str| {
        status(1, &[GOOD[0], GOOD[1], ("Default", status_, reason)])
    };
    let good = status(1, &GOOD);
    let (attached, busy) = (with("True", "Attached"), with("False", "Progressing"));
    let reverted = with("False", "Reverted");
    assert!(reasons(Some(&good), &attached).is_empty() && reasons(Some(&busy), &attached).is_empty());
    assert!(reasons(Some(&attached), &busy).is_empty());
    assert_eq!(reasons(Some(&attached), &reverted), [Reason::Reverted]);
    assert!(reasons(Some(&reverted), &reverted).is_empty());
    assert_eq!(reasons(Some(&reverted), &attached), [Reason::Attached]);
}
