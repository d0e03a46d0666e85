//! Trying logins at their registries: beside the loops, as a registry may take its time. Each login is tried once, whoever
//! has it, and again from time to time; namespaces have places of their own, so that a tenant whose registries do not
//! answer holds up nobody else.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

use super::keys::{Queues, VerificationKey};
use crate::{
    domain::{
        condition::ConditionStatus,
        fingerprint::Fingerprint,
        identity::{CredentialId, OwnerId},
        schedule::{VERIFICATION_BUSY, VERIFICATION_PAUSE, VERIFICATIONS},
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
    /// Who is logging in, and where.
    busy: HashSet<Fingerprint>,
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
        let mut found = Vec::with_capacity(ids.len());
        for KnownLogin { login, id: id_of_login, account } in logins {
            let interval = login.rules.interval;
            let check = state.checks.entry(*id_of_login).or_insert_with(|| Check {
                login: login.clone(),
                account: *account,
                key: VerificationKey { login: *id_of_login, namespace: id.namespace.clone() },
                readers: HashMap::new(),
                found: None,
                last: None,
                in_a_row: 0,
                due: now,
                tried: None,
            });
            let before = check.due;
            if check.found.is_none()
                && let Some(known) = recorded(login)
            {
                let age = Timestamp::now().duration_since(known.at).unsigned_abs();
                (check.last, check.in_a_row) = (Some(known.outcome.status()), 1);
                // A clock that jumped makes nothing older than it is, and nothing younger.
                let wait = next_probe(&known.outcome, 1, interval, rand::random()).saturating_sub(age);
                check.due = now + wait;
                check.found = Some(known);
            }
            let first = check.readers.insert(owner, interval) != Some(interval);
            if first && let Some(known) = &check.found {
                // Somebody may want it tried more often.
                let wait = next_probe(&known.outcome, check.in_a_row, check.interval(), rand::random());
                check.due = check.due.min(check.tried.unwrap_or(now) + wait);
            }
            if anew {
                check.due = check.due.min(check.tried.map_or(now, |tried| tried + VERIFICATION_PAUSE));
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
            let Some(check) = state.checks.get(&key.login).filter(|check| check.key == key) else {
                return Next::Done;
            };
            let wait = check.due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Next::After(wait);
            }
            let (login, account) = (check.login.clone(), check.account);
            if !state.busy.insert(account) {
                return Next::After(VERIFICATION_BUSY);
            }
            (login, account)
        };
        let outcome = verifier.verify(login).await;
        let mut state = self.state.write();
        state.busy.remove(&account);
        let Some(check) = state.checks.get_mut(&key.login) else { return Next::Done };
        self.metrics.verified(&check.login.provider, outcome.reason.as_str());
        let last = check.last.replace(outcome.status());
        check.in_a_row = if last == check.last { check.in_a_row.saturating_add(1) } else { 1 };
        let wait = next_probe(&outcome, check.in_a_row, check.interval(), rand::random());
        let now = Instant::now();
        (check.due, check.tried) = (now + wait, Some(now));
        let found = Some(Found::after(check.found.clone(), outcome, Timestamp::now()));
        if check.found != found {
            check.found = found;
            self.queues.credentials(check.readers.keys().copied());
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

impl Check {
    fn interval(&self) -> Duration {
        self.readers.values().min().copied().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "verifications_tests.rs"]
mod tests;
