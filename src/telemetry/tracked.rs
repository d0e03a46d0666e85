//! A metric family whose series leave with their cluster, so that clusters which come and go do
//! not add up for ever.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use prometheus_client::metrics::family::Family;

use crate::lock::Lock;

/// Labels, each with its value.
pub(super) type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// The label of the cluster, then `N` others.
type ClusterLabels<const N: usize> = ([(&'static str, Arc<str>); 1], Labels<N>);

#[derive(Debug)]
pub(super) struct Tracked<const N: usize, M> {
    /// What is registered; it shares its series with this one.
    pub(super) family: Family<ClusterLabels<N>, M>,
    series: Lock<HashMap<Arc<str>, HashSet<ClusterLabels<N>>>>,
}

impl<const N: usize, M: Clone> Tracked<N, M> {
    pub(super) fn new(constructor: fn() -> M) -> Self {
        Self { family: Family::new_with_constructor(constructor), series: Lock::default() }
    }

    /// The metric of one cluster and these labels.
    pub(super) fn of(&self, cluster: &str, labels: Labels<N>) -> M {
        let cluster: Arc<str> = cluster.into();
        let labels = ([("cluster", cluster.clone())], labels);
        if let Some(metric) = self.family.get(&labels) {
            return metric.clone();
        }
        self.series.write().entry(cluster).or_default().insert(labels.clone());
        self.family.get_or_create_owned(&labels)
    }

    pub(super) fn forget(&self, cluster: &str) {
        let gone = self.series.write().remove(cluster);
        for labels in gone.into_iter().flatten() {
            self.family.remove(&labels);
        }
    }
}
