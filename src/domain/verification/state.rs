//! What is known of the logins of a credential, and what follows from it.

use std::{collections::BTreeSet, time::Duration};

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

/// What a credential asks for, of one login.
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
    pub mode: VerificationMode,
    /// `None` while it was not tried yet, and for one that is not tried at all.
    pub found: Option<Found>,
}

impl Probe {
    /// Whether the value is refused, and is not to be distributed then.
    fn is_refused(&self) -> bool {
        let is_refusal = |found: &Found| found.outcome.is_refusal();
        self.mode == VerificationMode::Enforce && self.found.as_ref().is_some_and(is_refusal)
    }

    /// Whether it is not known yet what becomes of the value.
    fn is_awaited(&self) -> bool {
        self.mode == VerificationMode::Enforce && self.found.is_none()
    }
}

/// What is known of the logins of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// They are not tried, as the credential says so, or else the operator.
    Off { by_operator: bool },
    /// They are tried.
    On {
        probes: Vec<Probe>,
        /// Keys of logins whose value of the source is not distributed: it was refused, or not tried yet.
        held: BTreeSet<String>,
    },
}

/// Which values that the source gives are held back: only what was definitely refused, or was not tried yet, and what is
/// distributed already has nothing to be replaced by.
pub(crate) fn held(probes: &[Probe], is_distributed: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let held = probes.iter().filter(|probe| probe.is_refused() || probe.is_awaited());
    held.filter(|probe| !is_distributed(&probe.key)).map(|probe| probe.key.clone()).collect()
}

/// How long after an outcome a login is tried again. `in_a_row` counts outcomes of this kind; `jitter` is a random number
/// from 0 to 1.
pub(crate) fn next_probe(outcome: &Outcome, in_a_row: u32, interval: Duration, jitter: f64) -> Duration {
    let usual = interval.mul_f64(0.9 + 0.2 * jitter);
    match (outcome.status(), outcome.reason) {
        (ConditionStatus::True, _) | (_, Reason::NotDistinguishable | Reason::RegistryNotAllowed) => usual,
        // Too many wrong logins in a row lock accounts.
        (ConditionStatus::False, _) => {
            Backoff { first: VERIFICATION_REFUSED_RETRY, limit: interval }.wait(in_a_row, jitter)
        }
        (ConditionStatus::Unknown, _) => {
            let asked = outcome.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
            VERIFICATION_UNKNOWN_RETRY.wait(in_a_row, jitter).max(asked.mul_f64(1.0 + 0.1 * jitter))
        }
    }
}

impl Verification {
    /// Whether a value is held back that was not tried yet.
    pub fn is_awaited(&self) -> bool {
        let Self::On { probes, held } = self else { return false };
        probes.iter().any(|probe| probe.is_awaited() && held.contains(&probe.key))
    }

    /// Whether a value is refused that is not to be distributed then.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::On { probes, .. } if probes.iter().any(Probe::is_refused))
    }

    /// The namespace that a registry has told of.
    pub fn namespace(&self, key: &str) -> Option<&FoundNamespace> {
        let Self::On { probes, .. } = self else { return None };
        let probe = probes.iter().find(|probe| probe.key == key)?;
        probe.found.as_ref()?.outcome.namespace.as_ref()
    }

    /// What is told of each login. `revision` is that of what is distributed.
    pub fn status(&self, revision: Option<i64>) -> Option<VerificationStatus> {
        let Self::On { probes, held } = self else { return None };
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
        let revision = revision.filter(|_| held.is_empty());
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

    fn of(mode: VerificationMode, key: &str, reason: Option<Reason>) -> Probe {
        let at = Timestamp::UNIX_EPOCH;
        let found = reason.map(|reason| Found { outcome: Outcome::new(reason, "m"), at });
        Probe { key: key.to_owned(), mode, found }
    }

    fn probe(reason: Option<Reason>) -> Probe {
        of(VerificationMode::Warn, "quay.io", reason)
    }

    fn on(probe: Probe, is_held: bool) -> Verification {
        let held = is_held.then(|| probe.key.clone()).into_iter().collect();
        Verification::On { probes: vec![probe], held }
    }

    #[test]
    fn only_a_refusal_holds_a_value_back_and_only_where_that_is_asked_for() {
        use VerificationMode::{Enforce, Warn};
        for (mode, distributed, reason, wanted) in [
            (Enforce, false, Some(Reason::Authenticated), false),
            (Enforce, false, None, true),
            (Enforce, false, Some(Reason::AuthenticationFailed), true),
            (Enforce, false, Some(Reason::RegistryUnreachable), false),
            (Enforce, false, Some(Reason::RateLimited), false),
            (Enforce, false, Some(Reason::RealmRejected), false),
            (Enforce, true, Some(Reason::AuthenticationFailed), false),
            (Enforce, true, None, false),
            (Warn, false, Some(Reason::AuthenticationFailed), false),
            (Warn, false, None, false),
        ] {
            let held = held(&[of(mode, "quay.io", reason)], |_| distributed);
            assert_eq!(!held.is_empty(), wanted, "{mode:?} {distributed} {reason:?}");
        }
        let several = [
            of(Enforce, "a.io", Some(Reason::Authenticated)),
            of(Enforce, "b.io", Some(Reason::AccessDenied)),
            of(Warn, "c.io", Some(Reason::AccessDenied)),
            of(Enforce, "d.io", None),
        ];
        assert_eq!(Vec::from_iter(held(&several, |_| false)), ["b.io", "d.io"]);
        assert_eq!(Vec::from_iter(held(&several, |key| key == "b.io")), ["d.io"]);
    }

    #[test]
    fn what_is_known_is_tried_rarely_and_what_is_not_soon() {
        let wait = |reason, in_a_row| next_probe(&Outcome::new(reason, "m"), in_a_row, 6 * HOUR, 1.0);
        assert_eq!(wait(Reason::Authenticated, 1), (6 * HOUR).mul_f64(1.1));
        assert_eq!(wait(Reason::NotDistinguishable, 1), (6 * HOUR).mul_f64(1.1));
        assert_eq!(wait(Reason::RegistryUnreachable, 1), VERIFICATION_UNKNOWN_RETRY.first);
        assert_eq!(wait(Reason::RegistryUnreachable, 2), 2 * VERIFICATION_UNKNOWN_RETRY.first);
        assert_eq!(wait(Reason::RegistryUnreachable, 40), VERIFICATION_UNKNOWN_RETRY.limit);
        assert_eq!(wait(Reason::AuthenticationFailed, 40), 6 * HOUR);
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
        assert_eq!(wait(0), VERIFICATION_UNKNOWN_RETRY.first / 2);
        assert_eq!(wait(u64::MAX), MAX_RETRY_AFTER);
    }

    #[test]
    fn what_a_status_says_holds_for_the_same_value_only() {
        let verification = on(probe(Some(Reason::Authenticated)), false);
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
        let held = on(of(VerificationMode::Enforce, "quay.io", Some(Reason::AuthenticationFailed)), true);
        assert_eq!(Found::recorded(&status(&held), 3, 7, "quay.io"), None, "it is about another value");
        let unknown = on(probe(Some(Reason::RegistryUnreachable)), false);
        assert_eq!(Found::recorded(&status(&unknown), 3, 7, "quay.io"), None, "nobody answered");
    }
}
