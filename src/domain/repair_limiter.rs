//! What something else changes again and again: a second controller, a mutating webhook, a tool that applies manifests.
//!
//! The first repairs come at once, the next ones later and later.

use std::{collections::HashMap, hash::Hash, time::Duration};

use super::{
    identity::NamespacedName,
    repair_pace::RepairPace,
    schedule::{COPY_REPAIRS, LEAST_REPAIRS},
};

/// How often things were repaired lately. Times count from any one moment.
#[derive(Debug)]
pub(crate) struct RepairLimiter<K = NamespacedName> {
    pace: RepairPace,
    repairs: HashMap<K, Repairs>,
    /// From so many on, those that are calm are looked for.
    limit: usize,
}

#[derive(Debug)]
struct Repairs {
    count: u32,
    last: Duration,
}

impl Default for RepairLimiter {
    fn default() -> Self {
        Self::new(COPY_REPAIRS)
    }
}

impl<K: Clone + Eq + Hash> RepairLimiter<K> {
    pub fn new(pace: RepairPace) -> Self {
        Self { pace, repairs: HashMap::new(), limit: LEAST_REPAIRS }
    }

    /// Notes the repair of what something else had changed, or that something else has changed it.
    pub fn repaired(&mut self, key: &K, now: Duration) {
        let calm = self.pace.calm;
        if self.repairs.len() >= self.limit {
            self.repairs.retain(|_, repairs| now.saturating_sub(repairs.last) < calm);
            self.limit = LEAST_REPAIRS.max(self.repairs.len() * 2);
        }
        let repairs = self.repairs.entry(key.clone()).or_insert(Repairs { count: 0, last: now });
        if now.saturating_sub(repairs.last) >= calm {
            repairs.count = 0;
        }
        repairs.count = repairs.count.saturating_add(1);
        repairs.last = now;
    }

    /// How long the next repair has to wait; `None` when it does not.
    pub fn wait(&self, key: &K, now: Duration) -> Option<Duration> {
        let repairs = self.contested(key, now)?;
        let pause = self.pace.pause.wait(repairs.count - self.pace.burst + 1, 1.0);
        pause.checked_sub(now.saturating_sub(repairs.last)).filter(|wait| !wait.is_zero())
    }

    /// How much longer it is known as something that is changed again and again; `None` when it is not.
    pub fn calm(&self, key: &K, now: Duration) -> Option<Duration> {
        let repairs = self.contested(key, now)?;
        self.pace.calm.checked_sub(now.saturating_sub(repairs.last))
    }

    fn contested(&self, key: &K, now: Duration) -> Option<&Repairs> {
        let repairs = self.repairs.get(key).filter(|repairs| repairs.count >= self.pace.burst)?;
        (now.saturating_sub(repairs.last) < self.pace.calm).then_some(repairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schedule::{ACCOUNT_REPAIRS, REPAIR_BURST, REPAIR_CALM, REPAIR_PAUSE};

    #[test]
    fn repairs_are_quick_then_paced_then_quick_again() {
        let name = NamespacedName::new("web", "quay");
        let mut limiter = RepairLimiter::default();
        let mut now = Duration::from_secs(5);
        for _ in 0..REPAIR_BURST {
            assert_eq!(limiter.wait(&name, now), None);
            limiter.repaired(&name, now);
        }
        assert_eq!(limiter.wait(&name, now), Some(REPAIR_PAUSE));
        assert_eq!(limiter.wait(&NamespacedName::new("db", "quay"), now), None);
        now += REPAIR_PAUSE;
        assert_eq!(limiter.wait(&name, now), None);
        limiter.repaired(&name, now);
        now += REPAIR_CALM;
        limiter.repaired(&name, now);
        assert_eq!(limiter.wait(&name, now), None, "it starts anew");
    }

    /// A tool that applies manifests comes back every few minutes, for ever.
    #[test]
    fn what_is_reverted_for_ever_is_fought_less_and_less_and_forgotten_when_it_is_left_alone() {
        let mut limiter = RepairLimiter::new(ACCOUNT_REPAIRS);
        let (mut now, mut waits) = (Duration::from_secs(5), Vec::new());
        for _ in 0..20 {
            limiter.repaired(&1, now);
            let wait = limiter.wait(&1, now).unwrap_or_default();
            waits.push(wait);
            now += wait + Duration::from_secs(180);
            assert_eq!(limiter.wait(&1, now), None);
        }
        assert!(waits.is_sorted() && waits[0].is_zero(), "{waits:?}");
        assert_eq!(waits.last(), Some(&ACCOUNT_REPAIRS.pause.limit));
        assert!(limiter.calm(&1, now).is_some() && limiter.calm(&2, now).is_none());
        assert_eq!(limiter.calm(&1, now + ACCOUNT_REPAIRS.calm), None, "it recovers by itself");
    }

    #[test]
    fn what_is_calm_is_forgotten_in_the_end() {
        let mut limiter = RepairLimiter::new(ACCOUNT_REPAIRS);
        for n in 0..100_000_u32 {
            limiter.repaired(&n, ACCOUNT_REPAIRS.calm * (n / 100));
        }
        assert!(limiter.repairs.len() <= 2 * LEAST_REPAIRS);
    }
}
