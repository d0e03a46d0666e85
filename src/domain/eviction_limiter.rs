//! Which stuck Pods are evicted, and when.
//!
//! A Pod that is evicted comes back with the Secret. Where it does not, because something takes the Secret from the ServiceAccount
//! or from its Pods, evicting it again would go on for ever: so of each controller no more Pods are evicted in a period than
//! were stuck at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    identity::NamespacedName,
    meta::{ResourceVersion, Uid},
    schedule::{EVICTION_PATIENCE, EVICTION_PAUSE, EVICTION_PERIOD, EVICTIONS_AT_ONCE},
};

/// A stuck Pod that would come back with the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub pod: NamespacedName,
    pub uid: Uid,
    pub resource_version: ResourceVersion,
    pub controller: Uid,
}

/// What was evicted lately. Times count from any one moment.
#[derive(Debug, Default)]
pub(crate) struct EvictionLimiter {
    /// By namespace and controller.
    owners: HashMap<(Arc<str>, Uid), Owner>,
    /// When the evictions of a namespace so far would have been done, one in a pause.
    paces: HashMap<Arc<str>, Duration>,
}

#[derive(Debug)]
struct Owner {
    /// When its Pods were seen to be stuck first, and last.
    first: Duration,
    last: Duration,
    /// How many were, at most, at once.
    most: usize,
    /// Which were evicted in this period, and when it began. They may be seen for a moment more.
    evicted: HashSet<Uid>,
    since: Duration,
}

impl EvictionLimiter {
    /// Which of the stuck Pods may be evicted now, and how long the first of the others has to wait.
    pub fn admit(&mut self, candidates: Vec<Candidate>, now: Duration) -> (Vec<Candidate>, Option<Duration>) {
        if candidates.is_empty() {
            return (candidates, None);
        }
        let is_late = |since: Duration| now.saturating_sub(since) >= EVICTION_PERIOD;
        self.owners.retain(|_, owner| !is_late(owner.last));
        self.paces.retain(|_, until| *until > now);
        let mut counts: HashMap<(Arc<str>, Uid), usize> = HashMap::new();
        for candidate in &candidates {
            *counts.entry(candidate.owner()).or_default() += 1;
        }
        for (key, count) in &counts {
            let new = Owner { first: now, last: now, most: 0, evicted: HashSet::new(), since: now };
            let owner = self.owners.entry(key.clone()).or_insert(new);
            if is_late(owner.since) {
                (owner.most, owner.evicted, owner.since) = (0, HashSet::new(), now);
            }
            (owner.last, owner.most) = (now, owner.most.max(*count));
        }
        let (mut admitted, mut wait) = (Vec::new(), None::<Duration>);
        let mut taken: HashMap<(Arc<str>, Uid), usize> = HashMap::new();
        for candidate in candidates {
            let key = candidate.owner();
            let Some(owner) = self.owners.get(&key).filter(|owner| !owner.evicted.contains(&candidate.uid))
            else {
                continue;
            };
            let taken = taken.entry(key).or_default();
            let left = if owner.evicted.len() + *taken >= owner.most {
                (owner.since + EVICTION_PERIOD).saturating_sub(now)
            } else {
                (owner.first + EVICTION_PATIENCE).saturating_sub(now).max(self.pace(&candidate, now))
            };
            if left.is_zero() {
                *taken += 1;
                let until = self.paces.entry(candidate.pod.namespace.clone()).or_insert(now);
                *until = (*until).max(now) + EVICTION_PAUSE;
                admitted.push(candidate);
            } else {
                wait = Some(wait.map_or(left, |wait| wait.min(left)));
            }
        }
        (admitted, wait)
    }

    /// Notes that a Pod was evicted.
    pub fn evicted(&mut self, candidate: &Candidate) {
        if let Some(owner) = self.owners.get_mut(&candidate.owner()) {
            owner.evicted.insert(candidate.uid.clone());
        }
    }

    /// How long the next Pod of its namespace has to wait.
    fn pace(&self, candidate: &Candidate, now: Duration) -> Duration {
        let until = self.paces.get(&candidate.pod.namespace).copied().unwrap_or_default();
        until.saturating_sub(now + EVICTION_PAUSE * (EVICTIONS_AT_ONCE - 1))
    }
}

impl Candidate {
    fn owner(&self) -> (Arc<str>, Uid) {
        (self.pod.namespace.clone(), self.controller.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pods of a controller in a namespace.
    fn pods(namespace: &str, controller: &str, names: std::ops::Range<usize>) -> Vec<Candidate> {
        let pod = |n: usize| Candidate {
            pod: NamespacedName::new(namespace, format!("{controller}-{n}").as_str()),
            uid: format!("{n}").as_str().into(),
            resource_version: "1".into(),
            controller: controller.into(),
        };
        names.map(pod).collect()
    }

    /// How many are evicted of those that are stuck.
    fn evict(limiter: &mut EvictionLimiter, stuck: Vec<Candidate>, now: Duration) -> usize {
        let (admitted, _) = limiter.admit(stuck, now);
        for pod in &admitted {
            limiter.evicted(pod);
        }
        admitted.len()
    }

    #[test]
    fn the_first_waits_also_after_a_restart() {
        for _ in 0..3 {
            let mut limiter = EvictionLimiter::default();
            let start = Duration::from_secs(77);
            assert_eq!(limiter.admit(pods("web", "rs", 0..3), start), (Vec::new(), Some(EVICTION_PATIENCE)));
            let soon = start + EVICTION_PATIENCE - Duration::from_secs(1);
            assert_eq!(
                limiter.admit(pods("web", "rs", 0..3), soon),
                (Vec::new(), Some(Duration::from_secs(1)))
            );
            assert_eq!(evict(&mut limiter, pods("web", "rs", 0..3), start + EVICTION_PATIENCE), 3);
        }
    }

    #[test]
    fn pods_that_come_back_stuck_are_not_evicted_for_ever() {
        let mut limiter = EvictionLimiter::default();
        let mut now = Duration::ZERO;
        let mut all = 0;
        // Three replicas, each time new ones.
        for round in 0..200 {
            all += evict(&mut limiter, pods("web", "rs", round * 3..round * 3 + 3), now);
            now += EVICTION_PAUSE * 3;
        }
        assert_eq!(all, 3);
        let (none, wait) = limiter.admit(pods("web", "rs", 900..903), now);
        assert!(none.is_empty() && wait.is_some_and(|wait| wait > EVICTION_PERIOD / 2), "{wait:?}");
        assert_eq!(
            evict(&mut limiter, pods("web", "rs", 900..903), now + EVICTION_PERIOD),
            0,
            "patience again"
        );
        assert_eq!(
            evict(&mut limiter, pods("web", "rs", 900..903), now + EVICTION_PERIOD + EVICTION_PATIENCE),
            3
        );
    }

    #[test]
    fn a_controller_whose_pods_get_stuck_one_after_the_other_gets_all_of_them_evicted() {
        let mut limiter = EvictionLimiter::default();
        limiter.admit(pods("web", "rs", 0..1), Duration::ZERO);
        assert_eq!(evict(&mut limiter, pods("web", "rs", 0..1), EVICTION_PATIENCE), 1);
        assert_eq!(evict(&mut limiter, pods("web", "rs", 1..6), EVICTION_PATIENCE), 4);
        assert_eq!(evict(&mut limiter, pods("web", "other", 0..1), EVICTION_PATIENCE * 2), 0);
    }

    #[test]
    fn a_pod_is_evicted_once_although_it_is_seen_for_a_moment_more() {
        let mut limiter = EvictionLimiter::default();
        limiter.admit(pods("web", "rs", 0..2), Duration::ZERO);
        assert_eq!(evict(&mut limiter, pods("web", "rs", 0..1), EVICTION_PATIENCE), 1);
        assert_eq!(limiter.admit(pods("web", "rs", 0..1), EVICTION_PATIENCE * 2), (Vec::new(), None));
    }

    #[test]
    fn one_that_was_refused_does_not_count() {
        let mut limiter = EvictionLimiter::default();
        limiter.admit(pods("web", "rs", 0..1), Duration::ZERO);
        for n in 1..10 {
            let (admitted, _) = limiter.admit(pods("web", "rs", 0..1), EVICTION_PATIENCE * n);
            assert_eq!(admitted.len(), 1, "a PodDisruptionBudget may let it go now");
        }
    }

    #[test]
    fn the_pods_of_a_namespace_are_evicted_at_a_pace_and_no_other_waits_for_them() {
        let mut limiter = EvictionLimiter::default();
        let stuck = || (0..100).flat_map(|n| pods("web", &format!("rs-{n}"), 0..1)).collect::<Vec<_>>();
        limiter.admit(stuck(), Duration::ZERO);
        limiter.admit(pods("db", "rs", 0..1), Duration::ZERO);
        let mut now = EVICTION_PATIENCE;
        let (admitted, wait) = limiter.admit(stuck(), now);
        assert_eq!((admitted.len(), wait), (EVICTIONS_AT_ONCE as usize, Some(EVICTION_PAUSE)));
        assert_eq!(limiter.admit(pods("db", "rs", 0..1), now).0.len(), 1);
        now += EVICTION_PAUSE;
        assert_eq!(limiter.admit(stuck(), now).0.len(), 1);
        now += EVICTION_PAUSE * EVICTIONS_AT_ONCE * 2;
        assert_eq!(limiter.admit(stuck(), now).0.len(), EVICTIONS_AT_ONCE as usize);
    }

    #[test]
    fn what_is_not_stuck_any_more_is_forgotten() {
        let mut limiter = EvictionLimiter::default();
        limiter.admit(pods("web", "rs", 0..1), Duration::ZERO);
        limiter.admit(pods("db", "rs", 0..1), EVICTION_PERIOD);
        assert_eq!(limiter.owners.len(), 1);
    }
}
