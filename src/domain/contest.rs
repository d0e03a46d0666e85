//! Copies that another hand changes again and again: a second controller, a mutating webhook.
//!
//! The first repairs come at once. After that one a second is enough to be right most of the time,
//! and too few to be a storm.

use std::{collections::HashMap, time::Duration};

use super::view::Key;

/// So many repairs of one copy come at once.
const BURST: u32 = 10;

/// A copy that was left alone for so long starts anew.
const CALM: Duration = Duration::from_secs(60);

/// The pause between two repairs after that.
const PAUSE: Duration = Duration::from_secs(1);

/// How often copies were repaired lately. Times count from any one moment.
#[derive(Debug, Default)]
pub struct Contests(HashMap<Key, Contest>);

#[derive(Debug)]
struct Contest {
    repairs: u32,
    last: Duration,
}

impl Contests {
    /// A copy was put right that another hand had changed.
    pub fn repaired(&mut self, key: &Key, now: Duration) {
        self.0.retain(|_, contest| now.saturating_sub(contest.last) < CALM);
        let contest = self.0.entry(key.clone()).or_insert(Contest { repairs: 0, last: now });
        contest.repairs = contest.repairs.saturating_add(1);
        contest.last = now;
    }

    /// How long the next repair of a copy has to wait; `None` when it does not.
    #[must_use]
    pub fn wait(&self, key: &Key, now: Duration) -> Option<Duration> {
        let contest = self.0.get(key).filter(|contest| contest.repairs >= BURST)?;
        PAUSE.checked_sub(now.saturating_sub(contest.last)).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_are_quick_then_paced_then_quick_again() {
        let key = Key::new("web", "quay");
        let mut contests = Contests::default();
        let mut now = Duration::from_secs(5);
        for _ in 0..BURST {
            assert_eq!(contests.wait(&key, now), None);
            contests.repaired(&key, now);
        }
        assert_eq!(contests.wait(&key, now), Some(PAUSE));
        assert_eq!(contests.wait(&Key::new("db", "quay"), now), None);
        now += PAUSE;
        assert_eq!(contests.wait(&key, now), None);
        contests.repaired(&key, now);
        now += CALM;
        contests.repaired(&key, now);
        assert_eq!(contests.wait(&key, now), None, "it starts anew");
    }
}
