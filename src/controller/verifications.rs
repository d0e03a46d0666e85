//! Trying logins at their servers: beside the loops, as a server may take its time. Each login is tried once, whoever has
//! it, and again from time to time; namespaces have places of their own, so that a tenant whose servers do not answer holds
//! up nobody else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    keys::{Queues, SharedKey},
    shared::{Item, Shared},
};
use crate::{
    domain::{
        condition::ConditionStatus,
        fingerprint::Fingerprint,
        identity::{CredentialId, OwnerId},
        schedule::{MAX_REFUSALS, VERIFICATION_PAUSE, VERIFICATION_REFUSED_RETRY, VERIFICATIONS},
        verification::{Found, KnownLogin, Login, Outcome, next_probe},
    },
    lock::Lock,
    queue::Next,
    telemetry::Metrics,
};

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
    /// With how often each wants it tried.
    checks: Shared<Check, Duration>,
    /// Who is logging in, and where; and which of their logins wait for that.
    busy: HashMap<Fingerprint, Vec<SharedKey>>,
    refusals: Refusals,
}

/// One login.
struct Check {
    login: Arc<Login>,
    account: Fingerprint,
    found: Option<Found>,
    /// What the last outcome was, and how often in a row it was of this kind.
    last: Option<ConditionStatus>,
    in_a_row: u32,
    due: Instant,
    tried: Option<Instant>,
    /// Whether a person wants to know what comes after the try in progress.
    anew: bool,
}

/// Who was told that user name or password, or an access key, are wrong. Whatever else is asked of these accounts, also by a credential that
/// comes later, each question would be one more wrong login, and so many lock an account.
#[derive(Default)]
struct Refusals(HashMap<Fingerprint, Told>);

/// What an account was told.
struct Told {
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
        let State { checks, refusals, .. } = &mut *state;
        checks.keep(&owner, &ids);
        let now = Instant::now();
        let look = |KnownLogin { login, id: login_id, account }: &&KnownLogin| {
            let key = SharedKey { id: *login_id, namespace: Some(id.namespace.clone()) };
            let item = checks.entry(key, || Check::new(login.clone(), *account, now));
            let Item { key, value: check, readers } = item;
            let interval = login.rules.interval;
            let before = check.due;
            if check.found.is_none() {
                if let Some(told) = refusals.0.get(account) {
                    check.take_over(told);
                } else if let Some(found) = recorded(login) {
                    // A clock that jumped makes nothing older than it is, and nothing younger.
                    let age = Timestamp::now().duration_since(found.at).unsigned_abs();
                    // Where nobody had an opinion, it may be that the operator has other flags now.
                    let wait = match found.outcome.is_opinion() {
                        true => next_probe(&found.outcome, 1, interval, rand::random()).saturating_sub(age),
                        false => Duration::ZERO,
                    };
                    let asked = now.checked_sub(age).unwrap_or(now);
                    let told = Told { found, asked, until: now + wait, in_a_row: 1 };
                    check.take_over(&told);
                    if check.is_wrong() {
                        refusals.insert(*account, told);
                    }
                }
            }
            let first = readers.insert(owner, interval) != Some(interval);
            if first && let Some(known) = &check.found {
                // Somebody may want it tried more often.
                let wait = next_probe(&known.outcome, check.in_a_row, shortest(readers), rand::random());
                check.due = check.due.min(check.tried.unwrap_or(now) + wait);
            }
            if anew {
                check.anew = true;
                let soon = match refusals.0.get_mut(account) {
                    Some(told) => {
                        told.until = told.until.min(told.asked + VERIFICATION_REFUSED_RETRY);
                        told.until
                    }
                    None => check.tried.map_or(now, |tried| tried + VERIFICATION_PAUSE),
                };
                check.due = check.due.min(soon);
            }
            if first || anew || check.due != before {
                let wait = check.due.saturating_duration_since(now);
                self.queues.verification.add_after(key.clone(), (), wait);
            }
            check.found.clone()
        };
        logins.iter().map(look).collect()
    }

    /// A credential has no logins any more.
    pub fn forget(&self, owner: &OwnerId) {
        self.state.write().checks.keep(owner, &[]);
    }

    /// Tries one login, when it is due.
    pub async fn work<F: Future<Output = Outcome>>(
        self: Arc<Self>,
        verify: impl FnOnce(Arc<Login>) -> F,
        key: SharedKey,
    ) -> Next {
        let Ok(_place) = self.places.acquire().await else { return Next::Done };
        if self.queues.verification.is_closed() {
            return Next::Done;
        }
        let (login, account) = {
            let mut state = self.state.write();
            let State { checks, busy, refusals, .. } = &mut *state;
            let item = checks.items.get_mut(&key.id).filter(|item| item.key == key);
            let Some(Item { value: check, readers, .. }) = item else { return Next::Done };
            let now = Instant::now();
            if let Some(told) = refusals.0.get(&check.account).filter(|told| told.until > now)
                && check.due <= now
            {
                check.take_over(told);
                self.queues.credentials(readers.keys().copied());
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
        let outcome = verify(login).await;
        let mut state = self.state.write();
        let State { checks, busy, refusals, .. } = &mut *state;
        for waiting in busy.remove(&account).unwrap_or_default() {
            self.queues.verification.add(waiting, ());
        }
        let (now, at) = (Instant::now(), Timestamp::now());
        let is_wrong = outcome.is_wrong();
        let Some(Item { value: check, readers, .. }) = checks.items.get_mut(&key.id) else {
            if is_wrong {
                let until = now + VERIFICATION_REFUSED_RETRY;
                let found = Found { outcome, at };
                refusals.insert(account, Told { found, asked: now, until, in_a_row: 1 });
            }
            return Next::Done;
        };
        self.metrics.verified(&check.login.provider, outcome.reason.as_str());
        let last = check.last.replace(outcome.status());
        check.in_a_row = if last == check.last { check.in_a_row.saturating_add(1) } else { 1 };
        let before = refusals.0.get(&account);
        if let Some(told) = before.filter(|_| is_wrong) {
            check.in_a_row = told.in_a_row.saturating_add(1);
        }
        let mut wait = next_probe(&outcome, check.in_a_row, shortest(readers), rand::random());
        if std::mem::take(&mut check.anew) {
            wait = wait.min(if is_wrong { VERIFICATION_REFUSED_RETRY } else { VERIFICATION_PAUSE });
        }
        (check.due, check.tried) = (now + wait, Some(now));
        let is_opinion = outcome.status() != ConditionStatus::Unknown;
        let before = before.map(|told| told.found.clone()).or_else(|| check.found.clone());
        let found = Found::after(before, outcome, at);
        if is_wrong {
            let (found, in_a_row) = (found.clone(), check.in_a_row);
            refusals.insert(account, Told { found, asked: now, until: check.due, in_a_row });
        }
        if check.found.as_ref() != Some(&found) {
            check.found = Some(found);
            self.queues.credentials(readers.keys().copied());
        }
        if !is_wrong && is_opinion && refusals.0.remove(&account).is_some() {
            // It is known again: what the others were told does not hold any more.
            for Item { key, value: other, .. } in checks.items.values_mut() {
                if other.account == account && other.is_wrong() {
                    other.due = now;
                    self.queues.verification.add(key.clone(), ());
                }
            }
        }
        Next::After(wait)
    }
}

impl Refusals {
    /// A tenant may have any number of wrong logins: those that were asked longest ago are forgotten.
    fn insert(&mut self, account: Fingerprint, told: Told) {
        if self.0.len() >= MAX_REFUSALS
            && !self.0.contains_key(&account)
            && let Some((first, _)) = self.0.iter().min_by_key(|(_, told)| told.asked)
        {
            let first = *first;
            self.0.remove(&first);
        }
        self.0.insert(account, told);
    }
}

impl Check {
    fn new(login: Arc<Login>, account: Fingerprint, due: Instant) -> Self {
        let (found, last, tried) = (None, None, None);
        Self { login, account, found, last, in_a_row: 0, due, tried, anew: false }
    }

    /// What the account was told holds for this login, too.
    fn take_over(&mut self, told: &Told) {
        self.found = Some(told.found.clone());
        (self.last, self.in_a_row) = (Some(told.found.outcome.status()), told.in_a_row);
        self.due = told.until;
    }

    fn is_wrong(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.outcome.is_wrong())
    }
}

/// How often a login is tried: as often as anybody wants it.
fn shortest(readers: &HashMap<OwnerId, Duration>) -> Duration {
    readers.values().min().copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "verifications_tests.rs"]
mod tests;
