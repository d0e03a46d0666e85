//! What is told of a value that is tried at its registry.

use super::*;
use crate::{
    api::VerificationMode,
    domain::{
        event::transitions,
        verification::{Found, Outcome, Probe, Verification},
    },
};

fn on(mode: VerificationMode, reasons: &[Option<Reason>], is_held: bool) -> Option<Verification> {
    let probe = |(n, reason): (usize, &Option<Reason>)| Probe {
        key: format!("r{n}.example.com"),
        mode,
        version: None,
        found: reason.map(|reason| Found {
            outcome: Outcome::new(reason, &format!("registry r{n} said so")),
            at: time(5),
        }),
    };
    let probes: Vec<Probe> = reasons.iter().enumerate().map(probe).collect();
    let held = probes.iter().map(|probe| probe.key.clone()).filter(|_| is_held).collect();
    Some(Verification::On { probes, held })
}

fn told(verification: Option<Verification>) -> Vec<String> {
    let status = first(&DesiredState { verification, ..desired() }, cluster(1, 1, &[]));
    reasons(&status)
        .into_iter()
        .filter(|told| !told.starts_with("Source") && !told.starts_with("Synced"))
        .collect()
}

#[test]
fn what_is_not_enforced_leaves_ready_alone() {
    use VerificationMode::{Enforce, Warn};
    let ready = ["Ready=True/AllTargetsSynced", "Reconciling=False/Done", "Stalled=False/Done"];
    for (mode, reasons, verified) in [
        (Warn, &[Some(Reason::Authenticated)][..], "True/Authenticated"),
        (Warn, &[Some(Reason::AuthenticationFailed)], "False/AuthenticationFailed"),
        (Warn, &[None], "Unknown/Progressing"),
        (Enforce, &[Some(Reason::RegistryUnreachable)], "Unknown/RegistryUnreachable"),
        (Enforce, &[Some(Reason::RateLimited)], "Unknown/RateLimited"),
        (Enforce, &[Some(Reason::Authenticated), Some(Reason::TLSError)], "Unknown/TLSError"),
        (Warn, &[Some(Reason::RateLimited), Some(Reason::AccessDenied)], "False/AccessDenied"),
        (Warn, &[Some(Reason::RateLimited), None], "Unknown/Progressing"),
    ] {
        let all = told(on(mode, reasons, false));
        assert_eq!(all[..3], ready, "{reasons:?}");
        assert_eq!(all[3], format!("Verified={verified}"), "{reasons:?}");
    }
    let off = |by_operator| told(Some(Verification::Off { by_operator }));
    assert_eq!(off(true)[3], "Verified=Unknown/Skipped");
    assert_eq!(off(false), off(true));
    assert_eq!(told(None), ready, "a kind that nothing can be asked about says nothing");
}

#[test]
fn what_is_enforced_and_refused_waits_for_a_person() {
    let refused = told(on(VerificationMode::Enforce, &[Some(Reason::AuthenticationFailed)], true));
    assert_eq!(
        refused,
        [
            "Ready=False/AuthenticationFailed",
            "Reconciling=False/Stalled",
            "Stalled=True/AuthenticationFailed",
            "Verified=False/AuthenticationFailed",
        ]
    );
    // Nothing is in place yet, as the first value was refused.
    let verification = on(VerificationMode::Enforce, &[Some(Reason::AccessDenied)], true);
    let nothing = DesiredState { verification, revision: None, ..desired() };
    let status = first(&nothing, ClusterOutcome { in_progress: true, ..cluster(1, 0, &[]) });
    assert!(reasons(&status).contains(&"Stalled=True/AccessDenied".to_owned()), "{:?}", reasons(&status));
    let verified = status.conditions.iter().find(|condition| condition.type_ == "Verified").unwrap();
    assert!(verified.message.contains("nothing is distributed yet"), "{}", verified.message);
}

#[test]
fn of_several_the_refusal_that_is_enforced_decides() {
    let reasons_of = [Some(Reason::AccessDenied), Some(Reason::AuthenticationFailed)];
    let Some(Verification::On { mut probes, .. }) = on(VerificationMode::Enforce, &reasons_of, false) else {
        panic!("it is on")
    };
    probes[0].mode = VerificationMode::Warn;
    let of = |held: &[&str]| {
        let held = held.iter().map(|key| (*key).to_owned()).collect();
        let verification = Some(Verification::On { probes: probes.clone(), held });
        let status = first(&DesiredState { verification, ..desired() }, cluster(1, 1, &[]));
        assert!(reasons(&status).contains(&"Ready=False/AuthenticationFailed".to_owned()));
        condition(&status, ConditionType::Verified).to_owned()
    };
    assert_eq!(of(&[]), "registry r1 said so; registry r0 said so");
    assert!(of(&["r1.example.com"]).ends_with("; the Secrets stay as they are"));
    // What is held is another one, which has no answer yet.
    assert_eq!(of(&["r2.example.com"]), of(&[]));
}

#[test]
fn a_value_that_is_being_tried_is_work_in_progress() {
    let tried = told(on(VerificationMode::Enforce, &[None], true));
    assert_eq!(tried[0], "Ready=False/Progressing");
    assert_eq!(tried[1], "Reconciling=True/Progressing");
}

#[test]
fn a_verdict_stands_until_a_new_value_has_its_own() {
    let state = |reason, generation| DesiredState {
        verification: on(VerificationMode::Warn, &[reason], false),
        generation,
        ..desired()
    };
    let next = |previous: &CredentialStatus, reason, generation| {
        let outcomes = outcomes([("local", cluster(1, 1, &[]))]);
        compute(Some(previous), &state(reason, generation), &outcomes, time(20))
    };
    let told = |status: &CredentialStatus| {
        reasons(status).into_iter().find(|told| told.starts_with("Verified")).unwrap_or_default()
    };
    for (reason, verdict) in [
        (Reason::Authenticated, "Verified=True/Authenticated"),
        (Reason::AuthenticationFailed, "Verified=False/AuthenticationFailed"),
    ] {
        let before = first(&state(Some(reason), 1), cluster(1, 1, &[]));
        let asked = next(&before, None, 1);
        assert_eq!(told(&asked), verdict);
        assert_eq!(
            told(&next(&before, None, 2)),
            "Verified=Unknown/Progressing",
            "it may be another registry"
        );
        let answered = next(&asked, Some(Reason::Authenticated), 1);
        assert_eq!(told(&answered), "Verified=True/Authenticated");
        let notes = transitions(Some(&asked), &answered);
        let is_told = notes.iter().any(|note| note.reason == Reason::Authenticated);
        assert_eq!(is_told, reason == Reason::AuthenticationFailed, "{notes:?}");
    }
}

#[test]
fn what_was_told_stands_while_the_source_gives_nothing() {
    let before = first(
        &DesiredState {
            verification: on(VerificationMode::Warn, &[Some(Reason::AccessDenied)], false),
            ..desired()
        },
        cluster(1, 1, &[]),
    );
    let missing = SourceState::Failed(SourceError::not_found("src"));
    let lost = DesiredState { source: missing, ..desired() };
    let after = compute(Some(&before), &lost, &outcomes([("local", cluster(1, 1, &[]))]), time(20));
    assert!(reasons(&after).contains(&"Verified=False/AccessDenied".to_owned()));
    assert_eq!(after.verification, before.verification);
}

#[test]
fn many_logins_are_told_in_one_sentence_that_is_not_endless() {
    let reasons = vec![Some(Reason::AccessDenied); 32];
    let verification = on(VerificationMode::Warn, &reasons, false);
    let status = first(&DesiredState { verification, ..desired() }, cluster(1, 1, &[]));
    let verified = status.conditions.iter().find(|condition| condition.type_ == "Verified").unwrap();
    assert!(
        verified.message.ends_with("and 29 more") && verified.message.len() < 200,
        "{}",
        verified.message
    );
    assert_eq!(status.verification.unwrap().logins.len(), 32);
}
