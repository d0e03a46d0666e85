//! A metric family whose series leave with their cluster, so that clusters which come and go do
//! not add up for ever.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::family::Family;

/// Labels that name a cluster.
pub(super) trait OfCluster: Clone + Eq + Hash + Debug {
    fn cluster(&self) -> &Arc<str>;
}

#[derive(Debug)]
pub(super) struct Tracked<L, M> {
    family: Family<L, M>,
    series: Mutex<HashMap<Arc<str>, HashSet<L>>>,
}

impl<L: OfCluster, M: Clone> Tracked<L, M> {
    pub(super) fn new(constructor: fn() -> M) -> Self {
        let family = Family::new_with_constructor(constructor);
        Self { family, series: Mutex::default() }
    }

    /// The family to register; it shares its series with this one.
    pub(super) fn family(&self) -> Family<L, M> {
        self.family.clone()
    }

    pub(super) fn with(&self, labels: &L, update: impl FnOnce(&M)) {
        if let Some(metric) = self.family.get(labels) {
            update(&metric);
            return;
        }
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.entry(Arc::clone(labels.cluster())).or_default().insert(labels.clone());
        drop(series);
        update(&self.family.get_or_create(labels));
    }

    pub(super) fn forget(&self, cluster: &str) {
        let gone = self.series.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
        for labels in gone.into_iter().flatten() {
            self.family.remove(&labels);
        }
    }
}
