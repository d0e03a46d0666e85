//! When each watch last had a good answer: the operator must never go silently deaf.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The age of the last good answer, per cluster and kind. Clones share one table.
#[derive(Clone, Debug)]
pub struct Freshness(Arc<Table>);

#[derive(Debug)]
struct Table {
    epoch: Instant,
    watches: RwLock<Clusters>,
}

type Clusters = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Answered>>>;

/// Times are milliseconds since the table's epoch, so that a mark is one atomic store.
#[derive(Debug)]
struct Answered {
    registered: u64,
    /// 0: never.
    last: AtomicU64,
}

/// One watch's entry, for marking without a look-up.
#[derive(Clone, Debug)]
pub struct Beat {
    epoch: Instant,
    answered: Arc<Answered>,
}

/// One watch and how old its last good answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) cluster: Arc<str>,
    pub(super) kind: Arc<str>,
    pub(super) age: Duration,
    /// False when there was no good answer at all: the age then counts from registration.
    pub(super) answered: bool,
}

impl Default for Freshness {
    fn default() -> Self {
        Self::new()
    }
}

impl Freshness {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        let epoch = Instant::now();
        Self(Arc::new(Table { epoch, watches: RwLock::default() }))
    }

    /// Announces a watch; its age counts from now until its first mark. Registering again changes
    /// nothing, so that a watch restarted in a loop cannot look young.
    pub fn register(&self, cluster: &str, kind: &str) -> Beat {
        self.register_at(cluster, kind, Instant::now())
    }

    /// A good answer for this watch arrived now. Ignored when it is not registered, as when its
    /// cluster was removed meanwhile.
    pub fn mark(&self, cluster: &str, kind: &str) {
        self.mark_at(cluster, kind, Instant::now());
    }

    /// Forgets every watch of a cluster.
    pub fn remove_cluster(&self, cluster: &str) {
        self.0.watches.write().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }

    /// (cluster, kind, age of the last good answer) of every watch, sorted.
    #[must_use]
    pub fn ages(&self) -> Vec<(Arc<str>, Arc<str>, Duration)> {
        let watches = self.watches(Instant::now());
        watches.into_iter().map(|w| (w.cluster, w.kind, w.age)).collect()
    }

    /// (kind, age) of the watches of one cluster whose last good answer is older than `limit`,
    /// sorted by kind. Empty for a cluster that is not known.
    #[must_use]
    pub fn stale(&self, cluster: &str, limit: Duration) -> Vec<(Arc<str>, Duration)> {
        let stale = self.stale_at(cluster, limit, Instant::now());
        stale.into_iter().map(|w| (w.kind, w.age)).collect()
    }

    pub(super) fn register_at(&self, cluster: &str, kind: &str, now: Instant) -> Beat {
        let registered = millis(self.0.epoch, now);
        let mut watches = self.0.watches.write().unwrap_or_else(PoisonError::into_inner);
        let answered = watches
            .entry(cluster.into())
            .or_default()
            .entry(kind.into())
            .or_insert_with(|| Arc::new(Answered { registered, last: AtomicU64::new(0) }));
        Beat { epoch: self.0.epoch, answered: Arc::clone(answered) }
    }

    fn mark_at(&self, cluster: &str, kind: &str, now: Instant) {
        let watches = self.0.watches.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(answered) = watches.get(cluster).and_then(|kinds| kinds.get(kind)) {
            answered.mark(millis(self.0.epoch, now));
        }
    }

    pub(super) fn watches(&self, now: Instant) -> Vec<Watch> {
        let now = millis(self.0.epoch, now);
        let watches = self.0.watches.read().unwrap_or_else(PoisonError::into_inner);
        watches
            .iter()
            .flat_map(|(cluster, kinds)| kinds.iter().map(move |(kind, a)| (cluster, kind, a)))
            .map(|(cluster, kind, answered)| answered.watch(cluster, kind, now))
            .collect()
    }

    pub(super) fn stale_at(&self, cluster: &str, limit: Duration, now: Instant) -> Vec<Watch> {
        let now = millis(self.0.epoch, now);
        let watches = self.0.watches.read().unwrap_or_else(PoisonError::into_inner);
        let Some((cluster, kinds)) = watches.get_key_value(cluster) else { return Vec::new() };
        kinds
            .iter()
            .map(|(kind, answered)| answered.watch(cluster, kind, now))
            .filter(|watch| watch.age > limit)
            .collect()
    }
}

impl Beat {
    /// A good answer for this watch arrived now.
    pub fn mark(&self) {
        self.answered.mark(millis(self.epoch, Instant::now()));
    }
}

impl Answered {
    fn mark(&self, now: u64) {
        // Never back in time, when two tasks mark at once; never 0, which means never.
        self.last.fetch_max(now.max(1), Ordering::Relaxed);
    }

    fn watch(&self, cluster: &Arc<str>, kind: &Arc<str>, now: u64) -> Watch {
        let last = self.last.load(Ordering::Relaxed);
        let since = if last == 0 { self.registered } else { last };
        Watch {
            cluster: Arc::clone(cluster),
            kind: Arc::clone(kind),
            age: Duration::from_millis(now.saturating_sub(since)),
            answered: last != 0,
        }
    }
}

fn millis(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_age_counts_from_registration_then_from_the_last_mark() {
        let freshness = Freshness::new();
        let start = Instant::now();
        freshness.register_at("local", "pods", start);
        let watch = freshness.watches(start + 30 * SECOND).remove(0);
        assert!(!watch.answered && watch.age >= 29 * SECOND, "{watch:?}");

        freshness.mark_at("local", "pods", start + 30 * SECOND);
        let watch = freshness.watches(start + 40 * SECOND).remove(0);
        assert!(watch.answered && watch.age == 10 * SECOND, "{watch:?}");
    }

    #[test]
    fn registering_again_does_not_make_a_deaf_watch_young() {
        let freshness = Freshness::new();
        let start = Instant::now();
        freshness.register_at("local", "pods", start);
        freshness.register_at("local", "pods", start + 60 * SECOND);
        assert_eq!(freshness.stale_at("local", 59 * SECOND, start + 60 * SECOND).len(), 1);
    }

    #[test]
    fn only_the_asked_cluster_and_only_beyond_the_limit() {
        let freshness = Freshness::new();
        let start = Instant::now();
        for (cluster, kind) in [("local", "pods"), ("local", "secrets"), ("east", "pods")] {
            freshness.register_at(cluster, kind, start);
        }
        freshness.mark_at("local", "secrets", start + 50 * SECOND);
        let stale = freshness.stale_at("local", 30 * SECOND, start + 60 * SECOND);
        assert_eq!(stale.iter().map(|w| &*w.kind).collect::<Vec<_>>(), ["pods"]);
        assert!(freshness.stale("nowhere", SECOND).is_empty());
    }

    #[test]
    fn a_removed_cluster_stays_away_until_registered_anew() {
        let freshness = Freshness::new();
        let beat = freshness.register("east", "pods");
        freshness.remove_cluster("east");
        beat.mark();
        freshness.mark("east", "pods");
        assert!(freshness.ages().is_empty());
        freshness.register("east", "pods");
        assert_eq!(freshness.ages().len(), 1);
    }
}
