//! Condition `Verified`: whether the server that it is for takes the credential.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    api::VerificationMode,
    domain::{
        condition::{self, ConditionStatus, ConditionType, Verdict},
        desired::DesiredState,
        reason::Reason,
        schedule::MAX_NAMES,
        verification::{Outcome, Probe, Verification},
    },
};

/// `None` for kinds that nothing can be asked about.
pub(super) fn verified(previous: &[Condition], desired: &DesiredState) -> Option<Verdict> {
    let verification = desired.verification.as_ref();
    let (probes, held) = match verification {
        // The source gives nothing that could be tried: what was told is about the last value that it gave.
        None => return told(previous, None),
        Some(Verification::Off { by_operator }) => {
            let why = match by_operator {
                true => "nothing is tested because Claviger runs with --no-verification",
                false => "it is not tested because `spec.verification.mode` is Off",
            };
            return Some(Verdict::new(ConditionStatus::Unknown, Reason::Skipped, why));
        }
        Some(Verification::On { probes, held }) => (probes, held),
    };
    let mut probes: Vec<&Probe> = probes.iter().collect();
    // A refusal that holds something back is told first.
    probes.sort_by_key(|probe| probe.mode != VerificationMode::Enforce);
    let of = |status: ConditionStatus| {
        let found = probes.iter().filter_map(|probe| Some(&probe.found.as_ref()?.outcome));
        let found: Vec<&Outcome> = found.filter(|outcome| outcome.status() == status).collect();
        let told: Vec<&str> = found.iter().take(MAX_NAMES).map(|outcome| outcome.message.as_str()).collect();
        let more = match found.len().saturating_sub(MAX_NAMES) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Some(Verdict::new(status, found.first()?.reason, told.join("; ") + &more))
    };
    let waiting = || {
        let asked = "it is being tested";
        let told = told(previous, Some(desired.generation)).filter(|told| told.reason != Reason::Skipped);
        told.unwrap_or_else(|| Verdict::new(ConditionStatus::Unknown, Reason::Progressing, asked))
    };
    let refused = of(ConditionStatus::False).map(|verdict| {
        let is_held = |probe: &&Probe| probe.is_refused() && held.contains(&probe.key);
        let kept = match (probes.iter().any(is_held), desired.revision, &desired.secret) {
            (false, _, _) => "",
            (true, None, None) => "; nothing is distributed yet",
            (true, Some(_), None) => "; the Secrets stay as they are",
            (true, _, Some(_)) => "; the Secrets keep the last value that was not refused",
        };
        Verdict { message: format!("{}{kept}", verdict.message), ..verdict }
    });
    refused
        .or_else(|| verification.is_some_and(Verification::is_unanswered).then(waiting))
        .or_else(|| of(ConditionStatus::Unknown))
        .or_else(|| of(ConditionStatus::True))
}

/// What was told before; with a `generation`, only of that one. A new value of it has a verdict soon, and until then the last
/// one stands: else each new token would have the condition flip, and who waits for a recovery would not see it.
fn told(previous: &[Condition], generation: Option<i64>) -> Option<Verdict> {
    let told = condition::find(previous, ConditionType::Verified)?;
    let is_of_it = generation.is_none() || told.observed_generation == generation;
    let reason = Reason::parse(&told.reason).filter(|_| is_of_it)?;
    Some(Verdict::new(ConditionStatus::of(told), reason, told.message.clone()))
}

/// Whether the credential is refused, and is not to be called ready then.
pub(super) fn is_refused(desired: &DesiredState) -> bool {
    desired.verification.as_ref().is_some_and(Verification::is_refused)
}
