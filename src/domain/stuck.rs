//! Pods that cannot pull an image, and those of them that only a Secret lacks which became a default after they were created.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    failure::Failure,
    identity::NamespacedName,
    meta::{ResourceVersion, Uid},
    pod_status::PullFailure,
    registry::kubelet::Key,
    schedule::{MAX_LISTED_STUCK, MAX_STUCK, MAX_STUCK_OF_NAMESPACE},
};

/// What is kept of a Pod that cannot pull an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StuckPod {
    pub uid: Uid,
    /// As it was seen: what has begun to run since is not evicted.
    pub resource_version: ResourceVersion,
    pub service_account: Arc<str>,
    /// What it cannot pull, as registry and repository.
    pub images: Box<[Arc<str>]>,
    /// The pull Secrets that it names.
    pub pull_secrets: Box<[Arc<str>]>,
    /// Of what makes another Pod when this one goes, as long as that costs nothing: no container has run.
    pub controller: Option<Uid>,
    /// When it was created.
    pub since: Timestamp,
    pub reason: PullFailure,
}

impl StuckPod {
    /// Whether the Pod would have the Secret had it been created later, and kubelet would try it for an image that cannot be
    /// pulled now. `entries` are the pull Secrets of its ServiceAccount: a Pod that names others has a list of its own, and
    /// gets none from there.
    pub fn lacks(&self, secret: &str, entries: &[Arc<str>], keys: &[Key]) -> bool {
        !self.pull_secrets.iter().any(|name| **name == *secret)
            && self.pull_secrets.iter().all(|name| entries.contains(name))
            && self.images.iter().any(|image| keys.iter().any(|key| key.is_used_for(image)))
    }
}

/// The Pods of a cluster that cannot pull an image.
#[derive(Debug, Default)]
pub(crate) struct StuckPods {
    by_namespace: HashMap<Arc<str>, BTreeMap<Arc<str>, StuckPod>>,
    count: usize,
}

/// What one takes, roughly, with its names.
const POD_BYTES: usize = 320;

impl StuckPods {
    /// Puts in, or takes out, what is known of a Pod. Returns whether that is news.
    ///
    /// Of a namespace, and of the cluster, no more are kept than so many: whoever may create Pods could have any number of them
    /// stuck.
    pub fn set(&mut self, name: &NamespacedName, pod: Option<StuckPod>) -> bool {
        let Some(mut pod) = pod else { return self.remove(name) };
        let known = self.by_namespace.get_mut(&name.namespace);
        let count = known.as_ref().map_or(0, |pods| pods.len());
        if let Some(known) = known.and_then(|pods| pods.get_mut(&name.name)) {
            if known.uid == pod.uid {
                // What kubelet calls it changes with each try.
                pod.reason = known.reason;
            }
            let version = pod.resource_version.clone();
            pod.resource_version = known.resource_version.clone();
            let is_news = *known != pod;
            *known = StuckPod { resource_version: version, ..pod };
            return is_news;
        }
        if self.count >= MAX_STUCK || count >= MAX_STUCK_OF_NAMESPACE {
            return false;
        }
        self.count += 1;
        self.by_namespace.entry(name.namespace.clone()).or_default().insert(name.name.clone(), pod);
        true
    }

    fn remove(&mut self, name: &NamespacedName) -> bool {
        let Some(pods) = self.by_namespace.get_mut(&name.namespace) else { return false };
        let removed = pods.remove(&name.name).is_some();
        self.count -= usize::from(removed);
        if pods.is_empty() {
            self.by_namespace.remove(&name.namespace);
        }
        removed
    }

    /// Those of a namespace, by name.
    pub fn within(&self, namespace: &str) -> impl Iterator<Item = (&Arc<str>, &StuckPod)> {
        self.by_namespace.get(namespace).into_iter().flatten()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = NamespacedName> {
        self.by_namespace.iter().flat_map(|(namespace, pods)| {
            pods.keys().map(|name| NamespacedName { namespace: namespace.clone(), name: name.clone() })
        })
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        self.count * POD_BYTES
    }
}

/// A stuck Pod as it is told of. The oldest comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListedPod {
    pub since: Timestamp,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub reason: &'static str,
}

/// The Pods that are stuck for lack of one Secret, in a namespace or in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub total: usize,
    /// The oldest.
    pub oldest: Vec<ListedPod>,
    /// Why one that was to be evicted could not be.
    pub refused: Option<Failure>,
}

impl Stuck {
    /// Those of a namespace.
    pub fn of<'a>(
        namespace: &Arc<str>,
        pods: impl IntoIterator<Item = (&'a Arc<str>, &'a StuckPod)>,
    ) -> Self {
        let mut stuck = Self::default();
        for (name, pod) in pods {
            stuck.total += 1;
            stuck.oldest.push(ListedPod {
                since: pod.since,
                namespace: namespace.clone(),
                name: name.clone(),
                reason: pod.reason.as_str(),
            });
        }
        stuck.cut();
        stuck
    }

    /// Those of several namespaces together.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for Self { total, oldest, refused } in all {
            sum.total += total;
            sum.oldest.extend_from_slice(oldest);
            sum.refused = sum.refused.or_else(|| refused.clone());
        }
        sum.cut();
        sum
    }

    fn cut(&mut self) {
        self.oldest.sort_unstable();
        self.oldest.truncate(MAX_LISTED_STUCK);
        self.oldest.shrink_to_fit();
    }
}

#[cfg(test)]
#[path = "stuck_tests.rs"]
mod tests;
