//! Copies that something else changes again and again: a second controller, a mutating webhook.
//!
//! The first repairs come at once. After that one a second is enough to be right most of the time,
//! and too few to be a storm.

use std::{collections::HashMap, time::Duration};

use super::{
    identity::NamespacedName,
    schedule::{REPAIR_BURST, REPAIR_CALM, REPAIR_PAUSE},
};

/// How often copies were repaired lately. Times count from any one moment.
#[derive(Debug, Default)]
pub(crate) struct RepairLimiter(HashMap<NamespacedName, Repairs>);

#[derive(Debug)]
struct Repairs {
    count: u32,
    last: Duration,
}

impl RepairLimiter {
    /// Notes the repair of a copy that something else had changed.
    pub fn repaired(&mut self, name: &NamespacedName, now: Duration) {
        self.0.retain(|_, repairs| now.saturating_sub(repairs.last) < REPAIR_CALM);
        let repairs = self.0.entry(name.clone()).or_insert(Repairs { count: 0, last: now });
        repairs.count = repairs.count.saturating_add(1);
        repairs.last = now;
    }

    /// How long the next repair of a copy has to wait; `None` when it does not.
    pub fn wait(&self, name: &NamespacedName, now: Duration) -> Option<Duration> {
        let repairs = self.0.get(name).filter(|repairs| repairs.count >= REPAIR_BURST)?;
        REPAIR_PAUSE.checked_sub(now.saturating_sub(repairs.last)).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
