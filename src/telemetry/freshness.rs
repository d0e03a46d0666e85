//! When each watch last had a good answer, so that a watch that gets none any more is noticed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lock::Lock;

/// The age of the last good answer, per cluster and kind. Clones share one table.
#[derive(Clone, Debug, Default)]
pub struct Freshness(Arc<Lock<Clusters>>);

type Clusters = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Beat>>;

/// One watch's entry, for marking without a look-up.
#[derive(Clone, Debug)]
pub struct Beat {
    registered: Instant,
    is_vital: bool,
    last: Arc<Lock<Option<Instant>>>,
}

/// One watch and how old its last good answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub cluster: Arc<str>,
    pub kind: Arc<str>,
    pub age: Duration,
    /// False when there was no good answer at all: the age then counts from registration.
    pub answered: bool,
    /// Whether a cluster cannot be worked with without it.
    pub is_vital: bool,
}

impl Freshness {
    /// Announces a watch; its age counts from now until its first mark. Registering again changes
    /// nothing, so that a watch restarted in a loop cannot look young.
    pub fn register(&self, cluster: &str, kind: &str, is_vital: bool) -> Beat {
        self.register_at(cluster, kind, is_vital, Instant::now())
    }

    /// Forgets a watch that was given up.
    pub fn remove(&self, cluster: &str, kind: &str) {
        if let Some(kinds) = self.0.write().get_mut(cluster) {
            kinds.remove(kind);
        }
    }

    /// Forgets every watch of a cluster.
    pub fn remove_cluster(&self, cluster: &str) {
        self.0.write().remove(cluster);
    }

    /// The watches of one cluster whose last good answer is older than `limit` at a time, sorted by kind. Empty for a
    /// cluster that is not known.
    pub(crate) fn stale(&self, cluster: &str, limit: Duration, now: Instant) -> Vec<Watch> {
        let clusters = self.0.read();
        let Some((cluster, kinds)) = clusters.get_key_value(cluster) else { return Vec::new() };
        let watches = kinds.iter().map(|(kind, beat)| beat.watch(cluster, kind, now));
        watches.filter(|watch| watch.age > limit).collect()
    }

    /// All watches, sorted.
    pub(super) fn watches(&self, now: Instant) -> Vec<Watch> {
        let clusters = self.0.read();
        let watches = clusters.iter().flat_map(|(cluster, kinds)| {
            kinds.iter().map(move |(kind, beat)| beat.watch(cluster, kind, now))
        });
        watches.collect()
    }

    pub(super) fn register_at(&self, cluster: &str, kind: &str, is_vital: bool, now: Instant) -> Beat {
        let mut clusters = self.0.write();
        let kinds = clusters.entry(cluster.into()).or_default();
        kinds
            .entry(kind.into())
            .or_insert_with(|| Beat { registered: now, is_vital, last: Arc::default() })
            .clone()
    }
}

impl Beat {
    /// A good answer for this watch arrived now.
    pub fn mark(&self) {
        self.mark_at(Instant::now());
    }

    fn mark_at(&self, now: Instant) {
        *self.last.write() = Some(now);
    }

    fn watch(&self, cluster: &Arc<str>, kind: &Arc<str>, now: Instant) -> Watch {
        let last = *self.last.read();
        let age = now.saturating_duration_since(last.unwrap_or(self.registered));
        let (cluster, kind) = (cluster.clone(), kind.clone());
        Watch { cluster, kind, age, answered: last.is_some(), is_vital: self.is_vital }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_age_counts_from_registration_then_from_the_last_mark() {
        let freshness = Freshness::default();
        let start = Instant::now();
        let beat = freshness.register_at("local", "pods", true, start);
        let watch = freshness.watches(start + 30 * SECOND).remove(0);
        assert!(!watch.answered && watch.age >= 29 * SECOND, "{watch:?}");

        beat.mark_at(start + 30 * SECOND);
        let watch = freshness.watches(start + 40 * SECOND).remove(0);
        assert!(watch.answered && watch.age == 10 * SECOND, "{watch:?}");
    }

    #[test]
    fn registering_again_does_not_make_a_deaf_watch_young() {
        let freshness = Freshness::default();
        let start = Instant::now();
        freshness.register_at("local", "pods", true, start);
        freshness.register_at("local", "pods", true, start + 60 * SECOND);
        assert_eq!(freshness.stale("local", 59 * SECOND, start + 60 * SECOND).len(), 1);
    }

    #[test]
    fn only_the_asked_cluster_and_only_beyond_the_limit() {
        let freshness = Freshness::default();
        let start = Instant::now();
        for (cluster, kind) in [("local", "pods"), ("local", "secrets"), ("east", "pods")] {
            freshness.register_at(cluster, kind, true, start);
        }
        freshness.register("local", "secrets", true).mark_at(start + 50 * SECOND);
        let stale = freshness.stale("local", 30 * SECOND, start + 60 * SECOND);
        assert_eq!(stale.iter().map(|w| &*w.kind).collect::<Vec<_>>(), ["pods"]);
        assert!(freshness.stale("nowhere", SECOND, start + 60 * SECOND).is_empty());
    }

    #[test]
    fn a_removed_cluster_stays_away_until_registered_anew() {
        let freshness = Freshness::default();
        let beat = freshness.register("east", "pods", true);
        freshness.remove_cluster("east");
        beat.mark();
        assert!(freshness.watches(Instant::now()).is_empty());
        freshness.register("east", "pods", true);
        freshness.register("east", "gateways", false);
        freshness.remove("east", "gateways");
        freshness.remove("nowhere", "gateways");
        assert_eq!(freshness.watches(Instant::now()).len(), 1);
    }
}
