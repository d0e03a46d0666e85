//! Which Pods use which Secrets of a cluster.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::identity::NamespacedName;

/// One Pod that names a Secret in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub pod: Arc<str>,
    /// The field, such as `spec.imagePullSecrets`.
    pub field: &'static str,
}

/// Which Pods that are not finished name which Secrets.
#[derive(Debug, Default)]
pub(crate) struct References {
    by_secret: HashMap<NamespacedName, Vec<Reference>>,
    by_pod: HashMap<NamespacedName, Box<[Arc<str>]>>,
}

impl References {
    /// Who uses a Secret.
    pub fn of(&self, secret: &NamespacedName) -> &[Reference] {
        self.by_secret.get(secret).map_or(&[], Vec::as_slice)
    }

    /// Replaces the references of a Pod; returns the names of the Secrets in its namespace for which something
    /// changed.
    pub fn set(&mut self, pod: &NamespacedName, uses: Vec<(Arc<str>, &'static str)>) -> BTreeSet<Arc<str>> {
        if uses.is_empty() && !self.by_pod.contains_key(pod) {
            return BTreeSet::new();
        }
        let before = self.take(pod);
        let mut after: Vec<(Arc<str>, &'static str)> = Vec::with_capacity(uses.len());
        for (secret, field) in uses {
            // A Pod that names a Secret twice is one user; the first field tells enough.
            if !after.iter().any(|(name, _)| *name == secret) {
                after.push((secret, field));
            }
        }
        let gone = before.iter().filter(|one| !after.contains(one));
        let new = after.iter().filter(|one| !before.contains(one));
        let changed: BTreeSet<Arc<str>> = gone.chain(new).map(|(name, _)| name.clone()).collect();
        if !after.is_empty() {
            self.by_pod.insert(pod.clone(), after.iter().map(|(name, _)| name.clone()).collect());
        }
        for (name, field) in after {
            let secret = NamespacedName { namespace: pod.namespace.clone(), name };
            self.by_secret.entry(secret).or_default().push(Reference { pod: pod.name.clone(), field });
        }
        changed
    }

    /// Pods that are known to use Secrets.
    pub fn pods(&self) -> impl Iterator<Item = &NamespacedName> {
        self.by_pod.keys()
    }

    fn take(&mut self, pod: &NamespacedName) -> Vec<(Arc<str>, &'static str)> {
        let names = self.by_pod.remove(pod).unwrap_or_default();
        let mut taken = Vec::with_capacity(names.len());
        for name in names {
            let secret = NamespacedName { namespace: pod.namespace.clone(), name };
            if let Some(references) = self.by_secret.get_mut(&secret) {
                if let Some(at) = references.iter().position(|one| one.pod == pod.name) {
                    taken.push((secret.name.clone(), references.swap_remove(at).field));
                }
                if references.is_empty() {
                    self.by_secret.remove(&secret);
                }
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> NamespacedName {
        NamespacedName::new("web", name)
    }

    #[test]
    fn references_follow_a_pod_through_its_life() {
        let mut references = References::default();
        let quay: Arc<str> = "quay".into();
        let tls: Arc<str> = "tls".into();
        let twice = vec![(quay.clone(), "spec.imagePullSecrets"), (quay.clone(), "spec.volumes")];
        assert_eq!(references.set(&pod("a"), twice), BTreeSet::from([quay.clone()]));
        assert!(references.set(&pod("a"), vec![(quay.clone(), "spec.imagePullSecrets")]).is_empty());
        references.set(&pod("b"), vec![(quay.clone(), "spec.volumes"), (tls.clone(), "spec.volumes")]);
        assert_eq!(references.of(&NamespacedName::new("web", "quay")).len(), 2);
        assert_eq!(references.of(&NamespacedName::new("other", "quay")).len(), 0);
        assert_eq!(references.set(&pod("a"), vec![]), BTreeSet::from([quay.clone()]));
        assert_eq!(references.set(&pod("b"), vec![]).len(), 2);
        assert!(references.of(&NamespacedName::new("web", "quay")).is_empty());
        assert_eq!(references.pods().count(), 0);
    }
}
