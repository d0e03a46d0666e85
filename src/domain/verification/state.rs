//! What is known of the logins of a credential, and what follows from it.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::outcome::{ErrorCode, FoundNamespace, Outcome};
use crate::{
    api::{CredentialStatus, LoginStatus, VerificationMode, VerificationStatus},
    domain::{
        backoff::Backoff,
        condition::ConditionStatus,
        foreign_text::foreign_text,
        reason::Reason,
        schedule::{MAX_MESSAGE, MAX_RETRY_AFTER, VERIFICATION_REFUSED_RETRY, VERIFICATION_UNKNOWN_RETRY},
    },
};

/// What a credential asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub mode: VerificationMode,
    pub interval: Duration,
}

/// What came of trying a login, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub outcome: Outcome,
    pub at: Timestamp,
}

/// One login of a credential, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Its key in `auths`.
    pub key: String,
    /// `None` while it was not tried yet.
    pub found: Option<Found>,
}

/// What is known of the logins of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// They are not tried, as the credential says so, or else the operator.
    Off { by_operator: bool },
    /// They are tried.
    On {
        mode: VerificationMode,
        probes: Vec<Probe>,
        /// That the source gives another value than what is distributed: one that was refused, or not tried yet.
        is_held: bool,
    },
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It is distributed.
    Open,
    /// It is tried first.
    Wait,
    /// It was refused, and goes nowhere.
    Shut,
}

/// What becomes of a value that the source gives: only what was definitely refused is held back, and a value that is
/// distributed already has nothing to be replaced by.
pub(crate) fn gate(mode: VerificationMode, is_distributed: bool, probes: &[Probe]) -> Gate {
    if mode != VerificationMode::Enforce || is_distributed {
        return Gate::Open;
    }
    let found = |probe: &Probe| probe.found.as_ref().map(|found| found.outcome.is_refusal());
    if probes.iter().any(|probe| found(probe) == Some(true)) {
        Gate::Shut
    } else if probes.iter().any(|probe| found(probe).is_none()) {
        Gate::Wait
    } else {
        Gate::Open
    }
}

/// How long after an outcome a login is tried again. `in_a_row` counts outcomes of this kind; `jitter` is a random number
/// from 0 to 1.
pub(crate) fn next_probe(outcome: &Outcome, in_a_row: u32, interval: Duration, jitter: f64) -> Duration {
    let usual = interval.mul_f64(0.9 + 0.2 * jitter);
    let backoff = |first: Duration| Backoff { first, limit: interval }.wait(in_a_row, jitter);
    match (outcome.status(), outcome.reason) {
        (ConditionStatus::True, _) | (_, Reason::NotDistinguishable | Reason::RegistryNotAllowed) => usual,
        // Too many wrong logins in a row lock accounts.
        (ConditionStatus::False, _) => backoff(VERIFICATION_REFUSED_RETRY),
        (ConditionStatus::Unknown, _) => {
            let asked = outcome.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
            backoff(VERIFICATION_UNKNOWN_RETRY).max(asked.mul_f64(1.0 + 0.1 * jitter))
        }
    }
}

impl Verification {
    /// Whether a value is held back that was not tried yet.
    pub fn is_awaited(&self) -> bool {
        matches!(self, Self::On { is_held: true, .. }) && self.refusal().is_none()
    }

    /// The first refusal.
    pub fn refusal(&self) -> Option<&Outcome> {
        let Self::On { probes, .. } = self else { return None };
        let mut found = probes.iter().filter_map(|probe| Some(&probe.found.as_ref()?.outcome));
        found.find(|outcome| outcome.is_refusal())
    }

    /// The namespace that a registry has told of.
    pub fn namespace(&self) -> Option<&FoundNamespace> {
        let Self::On { probes, .. } = self else { return None };
        probes.iter().find_map(|probe| probe.found.as_ref()?.outcome.namespace.as_ref())
    }

    /// What is told of each login. `revision` is that of what is distributed.
    pub fn status(&self, revision: Option<i64>) -> Option<VerificationStatus> {
        let Self::On { probes, is_held, .. } = self else { return None };
        let told = probes.iter().filter_map(|probe| Some((probe, probe.found.as_ref()?)));
        let logins = told.map(|(probe, Found { outcome, at })| LoginStatus {
            key: probe.key.clone(),
            reason: outcome.reason.as_str().to_owned(),
            message: outcome.message.clone(),
            http_status: outcome.http_status,
            code: outcome.code.map(|code| code.as_str().to_owned()),
            realm: outcome.realm.clone(),
            last_probe_time: Some(Time(*at)),
        });
        let revision = revision.filter(|_| !is_held);
        Some(VerificationStatus { revision, logins: logins.collect() })
    }
}

impl Found {
    /// What a status tells of a login, if that was about the very value that is distributed as `revision`, and the
    /// registry had an opinion: then it is not asked again just because the operator has started.
    pub fn recorded(status: &CredentialStatus, generation: i64, revision: i64, key: &str) -> Option<Self> {
        let verification = status.verification.as_ref()?;
        if status.observed_generation != Some(generation) || verification.revision != Some(revision) {
            return None;
        }
        let login = verification.logins.iter().find(|login| login.key == key)?;
        let reason = Reason::parse(&login.reason)?;
        let outcome = Outcome {
            http_status: login.http_status,
            code: login.code.as_deref().and_then(ErrorCode::parse),
            realm: login.realm.clone(),
            ..Outcome::new(reason, &foreign_text(&login.message, MAX_MESSAGE))
        };
        let is_opinion = outcome.status() != ConditionStatus::Unknown || reason == Reason::NotDistinguishable;
        let at = login.last_probe_time.as_ref()?.0;
        is_opinion.then_some(Self { outcome, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn probe(reason: Option<Reason>) -> Probe {
        let at = Timestamp::UNIX_EPOCH;
        let found = reason.map(|reason| Found { outcome: Outcome::new(reason, "m"), at });
        Probe { key: "quay.io".to_owned(), found }
    }

    #[test]
    fn only_a_refusal_holds_a_value_back_and_only_where_that_is_asked_for() {
        use VerificationMode::{Enforce, Warn};
        for (mode, distributed, reasons, wanted) in [
            (Enforce, false, &[Some(Reason::Authenticated)][..], Gate::Open),
            (Enforce, false, &[None], Gate::Wait),
            (Enforce, false, &[Some(Reason::AuthenticationFailed)], Gate::Shut),
            (Enforce, false, &[Some(Reason::Authenticated), Some(Reason::AccessDenied)], Gate::Shut),
            (Enforce, false, &[None, Some(Reason::AccessDenied)], Gate::Shut),
            (Enforce, false, &[Some(Reason::RegistryUnreachable)], Gate::Open),
            (Enforce, false, &[Some(Reason::RateLimited)], Gate::Open),
            (Enforce, false, &[Some(Reason::RealmRejected)], Gate::Open),
            (Enforce, true, &[Some(Reason::AuthenticationFailed)], Gate::Open),
            (Warn, false, &[Some(Reason::AuthenticationFailed)], Gate::Open),
            (Warn, false, &[None], Gate::Open),
            (Enforce, false, &[], Gate::Open),
        ] {
            let probes: Vec<Probe> = reasons.iter().map(|reason| probe(*reason)).collect();
            assert_eq!(gate(mode, distributed, &probes), wanted, "{mode:?} {distributed} {reasons:?}");
        }
    }

    #[test]
    fn what_is_known_is_tried_rarely_and_what_is_not_soon() {
        let wait = |reason, in_a_row| next_probe(&Outcome::new(reason, "m"), in_a_row, 6 * HOUR, 1.0);
        assert_eq!(wait(Reason::Authenticated, 1), (6 * HOUR).mul_f64(1.1));
        assert_eq!(wait(Reason::NotDistinguishable, 1), (6 * HOUR).mul_f64(1.1));
        assert_eq!(wait(Reason::RegistryUnreachable, 1), VERIFICATION_UNKNOWN_RETRY);
        assert_eq!(wait(Reason::RegistryUnreachable, 2), 2 * VERIFICATION_UNKNOWN_RETRY);
        assert_eq!(wait(Reason::RegistryUnreachable, 40), 6 * HOUR);
        assert_eq!(wait(Reason::AuthenticationFailed, 1), VERIFICATION_REFUSED_RETRY);
        let least = next_probe(&Outcome::new(Reason::Authenticated, "m"), 1, 6 * HOUR, 0.0);
        assert_eq!(least, (6 * HOUR).mul_f64(0.9));
    }

    #[test]
    fn a_registry_that_asks_for_a_pause_gets_it_within_reason() {
        let wait = |asked| {
            let retry_after = Some(Duration::from_secs(asked));
            next_probe(&Outcome { retry_after, ..Outcome::new(Reason::RateLimited, "m") }, 1, 6 * HOUR, 0.0)
        };
        assert_eq!(wait(600), Duration::from_secs(600));
        assert_eq!(wait(0), VERIFICATION_UNKNOWN_RETRY / 2);
        assert_eq!(wait(u64::MAX), MAX_RETRY_AFTER);
    }

    #[test]
    fn what_a_status_says_holds_for_the_same_value_only() {
        let verification = Verification::On {
            mode: VerificationMode::Warn,
            probes: vec![probe(Some(Reason::Authenticated))],
            is_held: false,
        };
        let status = |verification: &Verification| CredentialStatus {
            observed_generation: Some(3),
            verification: verification.status(Some(7)),
            ..CredentialStatus::default()
        };
        let told = status(&verification);
        let found = Found::recorded(&told, 3, 7, "quay.io");
        assert_eq!(found, probe(Some(Reason::Authenticated)).found);
        assert_eq!(Found::recorded(&told, 4, 7, "quay.io"), None, "the spec changed");
        assert_eq!(Found::recorded(&told, 3, 8, "quay.io"), None, "the value changed");
        assert_eq!(Found::recorded(&told, 3, 7, "ghcr.io"), None);
        let held = Verification::On {
            mode: VerificationMode::Enforce,
            probes: vec![probe(Some(Reason::AuthenticationFailed))],
            is_held: true,
        };
        assert_eq!(Found::recorded(&status(&held), 3, 7, "quay.io"), None, "it is about another value");
        let unknown = Verification::On {
            mode: VerificationMode::Warn,
            probes: vec![probe(Some(Reason::RegistryUnreachable))],
            is_held: false,
        };
        assert_eq!(Found::recorded(&status(&unknown), 3, 7, "quay.io"), None, "nobody answered");
    }
}
