//! Trying logins at their registries: beside the loops, as a registry may take its time. Each login is tried once, whoever
//! has it, and again from time to time; namespaces have places of their own, so that a tenant whose registries do not
//! answer holds up nobody else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

use super::keys::{Queues, VerificationKey};
use crate::{
    domain::{
        condition::ConditionStatus,
        fingerprint::Fingerprint,
        identity::{CredentialId, OwnerId},
        reason::Reason,
        schedule::{MAX_REFUSALS, VERIFICATION_PAUSE, VERIFICATION_REFUSED_RETRY, VERIFICATIONS},
        verification::{Found, KnownLogin, Login, Outcome, next_probe},
    },
    lock::Lock,
    provider::Verifier,
    queue::Next,
    telemetry::Metrics,
};

/// Who tries logins.
pub(crate) trait Verify: Send + Sync {
    /// Tries one login.
    fn verify(&self, login: Arc<Login>) -> impl Future<Output = Outcome> + Send;
}

impl Verify for Verifier {
    async fn verify(&self, login: Arc<Login>) -> Outcome {
        Self::verify(self, login).await
    }
}

/// The logins that are tried.
pub(crate) struct Verifications {
    is_off: bool,
    state: Lock<State>,
    queues: Arc<Queues>,
    metrics: Arc<Metrics>,
    /// It is fair: who waits longest comes next.
    places: Semaphore,
}

#[derive(Default)]
struct State {
    checks: HashMap<Fingerprint, Check>,
    by_owner: HashMap<OwnerId, Vec<Fingerprint>>,
    /// Who is logging in, and where; and which of their logins wait for that.
    busy: HashMap<Fingerprint, Vec<VerificationKey>>,
    refusals: Refusals,
}

/// One login, and who has it.
struct Check {
    login: Arc<Login>,
    account: Fingerprint,
    key: VerificationKey,
    /// With how often each wants it tried.
    readers: HashMap<OwnerId, Duration>,
    found: Option<Found>,
    /// What the last outcome was, and how often in a row it was of this kind.
    last: Option<ConditionStatus>,
    in_a_row: u32,
    due: Instant,
    tried: Option<Instant>,
    /// Whether a person wants to know what comes after the try in progress.
    anew: bool,
}

/// Who was told that user name or password are wrong. Whatever else is asked of these accounts, also by a credential that
/// comes later, each question would be one more wrong login, and so many lock an account.
#[derive(Default)]
struct Refusals(HashMap<Fingerprint, Refusal>);

struct Refusal {
    found: Found,
    asked: Instant,
    /// Nothing is asked before.
    until: Instant,
    in_a_row: u32,
}

impl Verifications {
    pub fn new(is_off: bool, queues: Arc<Queues>, metrics: Arc<Metrics>) -> Self {
        let places = Semaphore::new(VERIFICATIONS);
        Self { is_off, state: Lock::default(), queues, metrics, places }
    }

    /// Whether nothing is ever tried.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// What is known of the logins of a credential, which are tried from now on, as often as each wants; those that it had
    /// before are not tried for it any more. `recorded` is what was found out in another process; `anew` says that a
    /// person wants to know.
    pub fn look(
        &self,
        id: &CredentialId,
        logins: &[&KnownLogin],
        recorded: impl Fn(&Login) -> Option<Found>,
        anew: bool,
    ) -> Vec<Option<Found>> {
        let owner = id.owner();
        let ids: Vec<Fingerprint> = logins.iter().map(|known| known.id).collect();
        let mut state = self.state.write();
        state.leave(&owner, &ids);
        let now = Instant::now();
        let State { checks, refusals, .. } = &mut *state;
        let mut found = Vec::with_capacity(ids.len());
        for KnownLogin { login, id: id_of_login, account } in logins {
            let interval = login.rules.interval;
            let check = checks.entry(*id_of_login).or_insert_with(|| Check {
                login: login.clone(),
                account: *account,
                key: VerificationKey { login: *id_of_login, namespace: id.namespace.clone() },
                readers: HashMap::new(),
                found: None,
                last: None,
                in_a_row: 0,
                due: now,
                tried: None,
                anew: false,
            });
            let before = check.due;
            if check.found.is_none()
                && let Some(refusal) = refusals.0.get(account)
            {
                check.take_over(refusal);
            } else if check.found.is_none()
                && let Some(known) = recorded(login)
            {
                let age = Timestamp::now().duration_since(known.at).unsigned_abs();
                (check.last, check.in_a_row) = (Some(known.outcome.status()), 1);
                // A clock that jumped makes nothing older than it is, and nothing younger. Where nobody had an opinion, it
                // may be that the operator has other flags now.
                let is_opinion = known.outcome.is_opinion();
                let wait = next_probe(&known.outcome, 1, interval, rand::random()).saturating_sub(age);
                let wait = if is_opinion { wait } else { Duration::ZERO };
                check.due = now + wait;
                if known.outcome.reason == Reason::AuthenticationFailed {
                    let asked = now.checked_sub(age).unwrap_or(now);
                    let refusal = Refusal { found: known.clone(), asked, until: check.due, in_a_row: 1 };
                    refusals.insert(*account, refusal);
                }
                check.found = Some(known);
            }
            let first = check.readers.insert(owner, interval) != Some(interval);
            if first && let Some(known) = &check.found {
                // Somebody may want it tried more often.
                let wait = next_probe(&known.outcome, check.in_a_row, check.interval(), rand::random());
                check.due = check.due.min(check.tried.unwrap_or(now) + wait);
            }
            if anew {
                check.anew = true;
                let soon = match refusals.0.get_mut(account) {
                    Some(refusal) => {
                        refusal.until = refusal.until.min(refusal.asked + VERIFICATION_REFUSED_RETRY);
                        refusal.until
                    }
                    None => check.tried.map_or(now, |tried| tried + VERIFICATION_PAUSE),
                };
                check.due = check.due.min(soon);
            }
            if first || anew || check.due != before {
                self.queues.verification.add_after(
                    check.key.clone(),
                    (),
                    check.due.saturating_duration_since(now),
                );
            }
            found.push(check.found.clone());
        }
        state.by_owner.insert(owner, ids);
        found
    }

    /// A credential has no logins any more.
    pub fn forget(&self, owner: &OwnerId) {
        let mut state = self.state.write();
        state.leave(owner, &[]);
        state.by_owner.remove(owner);
    }

    /// Tries one login, when it is due.
    pub async fn work(self: Arc<Self>, verifier: Arc<impl Verify>, key: VerificationKey) -> Next {
        let Ok(_place) = self.places.acquire().await else { return Next::Done };
        if self.queues.verification.is_closed() {
            return Next::Done;
        }
        let (login, account) = {
            let mut state = self.state.write();
            let State { checks, busy, refusals, .. } = &mut *state;
            let Some(check) = checks.get_mut(&key.login).filter(|check| check.key == key) else {
                return Next::Done;
            };
            let now = Instant::now();
            if let Some(refusal) = refusals.0.get(&check.account).filter(|refusal| refusal.until > now)
                && check.due <= now
            {
                check.take_over(refusal);
                self.queues.credentials(check.readers.keys().copied());
            }
            let wait = check.due.saturating_duration_since(now);
            if !wait.is_zero() {
                return Next::After(wait);
            }
            if let Some(waiting) = busy.get_mut(&check.account) {
                waiting.push(key);
                return Next::Done;
            }
            busy.insert(check.account, Vec::new());
            check.anew = false;
            (check.login.clone(), check.account)
        };
        let outcome = verifier.verify(login).await;
        let mut state = self.state.write();
        let State { checks, busy, refusals, .. } = &mut *state;
        for waiting in busy.remove(&account).unwrap_or_default() {
            self.queues.verification.add(waiting, ());
        }
        let (now, at) = (Instant::now(), Timestamp::now());
        let is_wrong = outcome.reason == Reason::AuthenticationFailed;
        let Some(check) = checks.get_mut(&key.login) else {
            if is_wrong {
                let until = now + VERIFICATION_REFUSED_RETRY;
                let found = Found { outcome, at };
                refusals.insert(account, Refusal { found, asked: now, until, in_a_row: 1 });
            }
            return Next::Done;
        };
        self.metrics.verified(&check.login.provider, outcome.reason.as_str());
        let last = check.last.replace(outcome.status());
        check.in_a_row = if last == check.last { check.in_a_row.saturating_add(1) } else { 1 };
        let before = refusals.0.get(&account);
        if let Some(refusal) = before.filter(|_| is_wrong) {
            check.in_a_row = refusal.in_a_row.saturating_add(1);
        }
        let mut wait = next_probe(&outcome, check.in_a_row, check.interval(), rand::random());
        if std::mem::take(&mut check.anew) {
            wait = wait.min(if is_wrong { VERIFICATION_REFUSED_RETRY } else { VERIFICATION_PAUSE });
        }
        (check.due, check.tried) = (now + wait, Some(now));
        let is_opinion = outcome.status() != ConditionStatus::Unknown;
        let before = before.map(|refusal| refusal.found.clone()).or_else(|| check.found.clone());
        let found = Found::after(before, outcome, at);
        if is_wrong {
            let (found, in_a_row) = (found.clone(), check.in_a_row);
            refusals.insert(account, Refusal { found, asked: now, until: check.due, in_a_row });
        }
        if check.found.as_ref() != Some(&found) {
            check.found = Some(found);
            self.queues.credentials(check.readers.keys().copied());
        }
        if !is_wrong && is_opinion && refusals.0.remove(&account).is_some() {
            // It is known again: what the others were told does not hold any more.
            for other in checks.values_mut().filter(|other| other.account == account && other.is_wrong()) {
                other.due = now;
                self.queues.verification.add(other.key.clone(), ());
            }
        }
        Next::After(wait)
    }
}

impl State {
    /// Only these are still of a credential. What nobody has is forgotten.
    fn leave(&mut self, owner: &OwnerId, but: &[Fingerprint]) {
        let had = self.by_owner.remove(owner).unwrap_or_default();
        for login in had.iter().filter(|login| !but.contains(login)) {
            let Some(check) = self.checks.get_mut(login) else { continue };
            check.readers.remove(owner);
            if check.readers.is_empty() {
                self.checks.remove(login);
            }
        }
    }
}

impl Refusals {
    /// A tenant may have any number of wrong logins: those that were asked longest ago are forgotten.
    fn insert(&mut self, account: Fingerprint, refusal: Refusal) {
        if self.0.len() >= MAX_REFUSALS
            && !self.0.contains_key(&account)
            && let Some((first, _)) = self.0.iter().min_by_key(|(_, refusal)| refusal.asked)
        {
            let first = *first;
            self.0.remove(&first);
        }
        self.0.insert(account, refusal);
    }
}

impl Check {
    /// What the account was told holds for this login, too.
    fn take_over(&mut self, refusal: &Refusal) {
        self.found = Some(refusal.found.clone());
        (self.last, self.in_a_row) = (Some(refusal.found.outcome.status()), refusal.in_a_row);
        self.due = refusal.until;
    }

    fn is_wrong(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.outcome.reason == Reason::AuthenticationFailed)
    }

    fn interval(&self) -> Duration {
        self.readers.values().min().copied().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "verifications_tests.rs"]
mod tests;
