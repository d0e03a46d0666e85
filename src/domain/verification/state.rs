//! What is known of the logins of a credential, and what follows from it.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    error_code::ErrorCode,
    outcome::{FoundNamespace, Outcome},
};
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
    /// The versions of the Secrets that the value was read from.
    pub version: Option<String>,
    /// `None` while it was not tried yet, and for one that is not tried at all.
    pub found: Option<Found>,
}

impl Probe {
    /// Whether the value is refused, and is not to be distributed then.
    pub fn is_refused(&self) -> bool {
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
        (ConditionStatus::True, _)
        | (_, Reason::NotDistinguishable | Reason::RegistryNotAllowed | Reason::EndpointNotAllowed) => usual,
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

    /// Whether a login has no answer yet.
    pub fn is_unanswered(&self) -> bool {
        let Self::On { probes, .. } = self else { return false };
        probes.iter().any(|probe| probe.mode != VerificationMode::Off && probe.found.is_none())
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
            source_version: probe.version.clone(),
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
    /// What is known after one more try. A server without an opinion takes no refusal back, and one that says nothing
    /// again is no news.
    pub fn after(before: Option<Self>, outcome: Outcome, at: Timestamp) -> Self {
        match before {
            Some(before)
                if outcome.status() == ConditionStatus::Unknown
                    && (before.outcome.is_refusal() || before.outcome.says(&outcome)) =>
            {
                before
            }
            // What a status says has whole seconds: told with more, it would never equal what the server has.
            _ => Self { outcome, at: Timestamp::from_second(at.as_second()).unwrap_or(at) },
        }
    }

    /// What a status tells of the login of a key, if that was about this very value: then a start of the operator changes
    /// nothing. The versions of the Secrets that it was read from tell; of a value without any, such as a minted token,
    /// `revision`: the one that was told, where the value is what that revision has.
    pub fn recorded(
        status: &CredentialStatus,
        generation: i64,
        revision: Option<i64>,
        key: &str,
        version: Option<&str>,
    ) -> Option<Self> {
        let verification = status.verification.as_ref()?;
        let login = verification.logins.iter().find(|login| login.key == key)?;
        let is_same = match (version, &login.source_version) {
            (Some(now), Some(then)) => now == then,
            _ => revision.is_some() && verification.revision == revision,
        };
        if !is_same || status.observed_generation != Some(generation) {
            return None;
        }
        let outcome = Outcome {
            http_status: login.http_status,
            code: login.code.as_deref().and_then(ErrorCode::parse),
            realm: login.realm.clone(),
            ..Outcome::new(Reason::parse(&login.reason)?, &foreign_text(&login.message, MAX_MESSAGE))
        };
        Some(Self { outcome, at: login.last_probe_time.as_ref()?.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn of(mode: VerificationMode, key: &str, reason: Option<Reason>) -> Probe {
        let at = Timestamp::UNIX_EPOCH;
        let found = reason.map(|reason| Found { outcome: Outcome::new(reason, "m"), at });
        Probe { key: key.to_owned(), mode, version: None, found }
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
        assert_eq!(wait(Reason::EndpointNotAllowed, 1), (6 * HOUR).mul_f64(1.1), "as long as flags say so");
        assert_eq!(wait(Reason::ClockSkew, 1), VERIFICATION_UNKNOWN_RETRY.first);
        assert_eq!(wait(Reason::SignatureMismatch, 1), VERIFICATION_REFUSED_RETRY);
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
    fn a_registry_without_an_opinion_takes_no_refusal_back() {
        use Reason::*;
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let after = |before: Option<Reason>, reason| {
            let before = before.map(|reason| Found { outcome: Outcome::new(reason, "m"), at: early });
            let found = Found::after(before, Outcome::new(reason, "m"), late);
            (found.outcome.reason, found.at == early)
        };
        for refusal in [
            AuthenticationFailed,
            AccessDenied,
            RepositoryNotFound,
            NamespaceNotFound,
            InvalidAccessKey,
            SignatureMismatch,
            BucketNotFound,
            WrongRegion,
        ] {
            for nothing in [
                RegistryUnreachable,
                EndpointUnreachable,
                RateLimited,
                TLSError,
                UnexpectedAnswer,
                NotDistinguishable,
                ClockSkew,
            ] {
                assert_eq!(after(Some(refusal), nothing), (refusal, true), "{nothing:?}");
            }
            assert_eq!(after(Some(refusal), Authenticated), (Authenticated, false));
            assert_eq!(after(Some(refusal), AccessDenied), (AccessDenied, false));
        }
        assert_eq!(after(Some(Authenticated), RateLimited), (RateLimited, false));
        assert_eq!(after(None, RateLimited), (RateLimited, false));
        assert_eq!(after(Some(RateLimited), RegistryUnreachable), (RegistryUnreachable, false));
        assert_eq!(after(Some(RateLimited), RateLimited), (RateLimited, true), "nothing is to be written");
    }

    #[test]
    fn what_was_written_is_what_would_be_written_again() {
        let at = "2026-11-22T09:10:50.123456789Z".parse().unwrap();
        let found = Found::after(None, Outcome::new(Reason::Authenticated, "m"), at);
        let told = on(Probe { found: Some(found), ..probe(None) }, false).status(Some(1)).unwrap();
        let read: VerificationStatus = serde_json::from_value(serde_json::to_value(&told).unwrap()).unwrap();
        assert_eq!(read, told);
    }

    #[test]
    fn what_a_status_says_holds_for_the_same_value_only() {
        let status = |verification: &Verification| CredentialStatus {
            observed_generation: Some(3),
            verification: verification.status(Some(7)),
            ..CredentialStatus::default()
        };
        let reasons =
            [Reason::Authenticated, Reason::AuthenticationFailed, Reason::RegistryUnreachable].map(Some);
        for (reason, is_held) in reasons.into_iter().flat_map(|reason| [(reason, true), (reason, false)]) {
            let of_secret = Probe { version: Some("12,5".to_owned()), ..probe(reason) };
            let told = status(&on(of_secret.clone(), is_held));
            let recorded =
                |generation, key, version| Found::recorded(&told, generation, None, key, Some(version));
            assert_eq!(recorded(3, "quay.io", "12,5"), of_secret.found, "{reason:?} {is_held}");
            assert_eq!(recorded(4, "quay.io", "12,5"), None, "the spec changed");
            assert_eq!(recorded(3, "quay.io", "13,5"), None, "the value changed");
            assert_eq!(recorded(3, "ghcr.io", "12,5"), None);
        }
        // A token that was minted is told by the revision.
        let minted = probe(Some(Reason::Authenticated));
        let told = status(&on(minted.clone(), false));
        let recorded = |revision| Found::recorded(&told, 3, revision, "quay.io", None);
        assert_eq!(recorded(Some(7)), minted.found);
        assert_eq!((recorded(Some(8)), recorded(None)), (None, None), "the value changed");
        let told = status(&on(of(VerificationMode::Enforce, "quay.io", Some(Reason::AccessDenied)), true));
        assert_eq!(Found::recorded(&told, 3, Some(7), "quay.io", None), None, "it is about another value");
    }
}
