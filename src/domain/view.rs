//! What is known of one cluster: plain values that caches fill and plans read.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    fingerprint::Fingerprint,
    ownership::{Metadata, OwnerId},
};

/// Namespace and name of a Secret or a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// The namespaces of a cluster, by name.
pub type Namespaces = BTreeMap<Arc<str>, Namespace>;

/// What matters of a Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted. Nothing is ever written there then.
    pub terminating: bool,
}

/// What matters of a Secret that carries our mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedCopy {
    /// Its owner.
    pub owner: OwnerId,
    /// Its uid.
    pub uid: Box<str>,
    /// Its resourceVersion when it was seen.
    pub resource_version: Box<str>,
    /// A keyed hash of its type and data.
    pub content: Fingerprint,
    /// Its labels and annotations, shared by all copies that have the same.
    pub metadata: Arc<Metadata>,
    /// Whether it holds nothing but what a plain Secret has; else it must be read before it is
    /// replaced, so that finalizers and the like of others survive.
    pub plain: bool,
    /// Whether somebody made it immutable.
    pub immutable: bool,
    /// Whether it is being deleted, and waits for somebody's finalizer.
    pub terminating: bool,
}

/// The Secrets of a cluster that carry our mark.
#[derive(Debug, Default)]
pub struct Copies {
    by_key: HashMap<Key, ObservedCopy>,
    by_owner: HashMap<OwnerId, HashSet<Key>>,
}

impl Copies {
    /// The copy at a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&ObservedCopy> {
        self.by_key.get(key)
    }

    /// Puts a copy in; returns the one that was there.
    pub fn insert(&mut self, key: Key, copy: ObservedCopy) -> Option<ObservedCopy> {
        let owner = copy.owner.clone();
        let before = self.by_key.insert(key.clone(), copy);
        if let Some(before) = &before
            && before.owner != owner
        {
            self.forget(&before.owner, &key);
        }
        self.by_owner.entry(owner).or_default().insert(key);
        before
    }

    /// Takes a copy out.
    pub fn remove(&mut self, key: &Key) -> Option<ObservedCopy> {
        let copy = self.by_key.remove(key)?;
        self.forget(&copy.owner, key);
        Some(copy)
    }

    /// The copies of one owner.
    pub fn of<'a>(&'a self, owner: &OwnerId) -> impl Iterator<Item = (&'a Key, &'a ObservedCopy)> {
        self.by_owner
            .get(owner)
            .into_iter()
            .flatten()
            .filter_map(|key| self.by_key.get(key).map(|copy| (key, copy)))
    }

    /// Whether an owner has any copy here.
    #[must_use]
    pub fn has(&self, owner: &OwnerId) -> bool {
        self.by_owner.get(owner).is_some_and(|keys| !keys.is_empty())
    }

    /// Everybody who owns a copy here.
    pub fn owners(&self) -> impl Iterator<Item = &OwnerId> {
        self.by_owner.keys()
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.by_key.keys()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    fn forget(&mut self, owner: &OwnerId, key: &Key) {
        if let Some(keys) = self.by_owner.get_mut(owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }
}

/// One way in which a Pod names a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUse {
    /// The Pod's name; its namespace is the Secret's.
    pub pod: Arc<str>,
    /// The field, such as `spec.imagePullSecrets`.
    pub field: &'static str,
}

/// Which Pods that are not finished name which Secrets.
#[derive(Debug, Default)]
pub struct PodReferences {
    by_secret: HashMap<Key, Vec<PodUse>>,
    by_pod: HashMap<Key, Box<[Arc<str>]>>,
}

impl PodReferences {
    /// Who uses a Secret.
    #[must_use]
    pub fn of(&self, secret: &Key) -> &[PodUse] {
        self.by_secret.get(secret).map_or(&[], Vec::as_slice)
    }

    /// Puts a Pod's references in the place of those it had; returns the names of the Secrets in
    /// its namespace for which something changed.
    pub fn set(&mut self, pod: &Key, uses: Vec<(Arc<str>, &'static str)>) -> Vec<Arc<str>> {
        if uses.is_empty() && !self.by_pod.contains_key(pod) {
            return Vec::new();
        }
        let before = self.take(pod);
        let mut after: Vec<(Arc<str>, &'static str)> = Vec::with_capacity(uses.len());
        for (secret, field) in uses {
            // A Pod that names a Secret twice is one user; the first field tells enough.
            if !after.iter().any(|(name, _)| *name == secret) {
                after.push((secret, field));
            }
        }
        let mut changed: Vec<Arc<str>> = before
            .iter()
            .filter(|(name, field)| !after.iter().any(|(n, f)| n == name && f == field))
            .map(|(name, _)| name.clone())
            .collect();
        for (name, field) in &after {
            if !before.iter().any(|(n, f)| n == name && f == field) && !changed.contains(name) {
                changed.push(name.clone());
            }
        }
        if !after.is_empty() {
            self.by_pod.insert(pod.clone(), after.iter().map(|(name, _)| name.clone()).collect());
        }
        for (name, field) in after {
            let key = Key { namespace: pod.namespace.clone(), name };
            self.by_secret.entry(key).or_default().push(PodUse { pod: pod.name.clone(), field });
        }
        changed
    }

    /// Pods that are known to name a Secret.
    pub fn pods(&self) -> impl Iterator<Item = &Key> {
        self.by_pod.keys()
    }

    fn take(&mut self, pod: &Key) -> Vec<(Arc<str>, &'static str)> {
        let names = self.by_pod.remove(pod).unwrap_or_default();
        let mut taken = Vec::with_capacity(names.len());
        for name in names {
            let key = Key { namespace: pod.namespace.clone(), name };
            if let Some(uses) = self.by_secret.get_mut(&key) {
                if let Some(at) = uses.iter().position(|user| user.pod == pod.name) {
                    taken.push((key.name.clone(), uses.swap_remove(at).field));
                }
                if uses.is_empty() {
                    self.by_secret.remove(&key);
                }
            }
        }
        taken
    }
}

/// Names where a Secret that is not ours stands in the way, and whose it is, as a phrase.
pub type Conflicts = HashMap<Key, String>;

/// All that a plan for one cluster looks at.
#[derive(Clone, Copy, Debug)]
pub struct ClusterView<'a> {
    /// Its namespaces.
    pub namespaces: &'a Namespaces,
    /// Our Secrets in it.
    pub copies: &'a Copies,
    /// Who uses Secrets in it.
    pub references: &'a PodReferences,
    /// Where names are taken.
    pub conflicts: &'a Conflicts,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Key {
        Key::new("web", name)
    }

    #[test]
    fn references_follow_a_pod_through_its_life() {
        let mut references = PodReferences::default();
        let quay: Arc<str> = "quay".into();
        let tls: Arc<str> = "tls".into();
        assert_eq!(
            references.set(
                &pod("a"),
                vec![(quay.clone(), "spec.imagePullSecrets"), (quay.clone(), "spec.volumes")]
            ),
            std::slice::from_ref(&quay)
        );
        assert!(references.set(&pod("a"), vec![(quay.clone(), "spec.imagePullSecrets")]).is_empty());
        references.set(&pod("b"), vec![(quay.clone(), "spec.volumes"), (tls.clone(), "spec.volumes")]);
        assert_eq!(references.of(&Key::new("web", "quay")).len(), 2);
        assert_eq!(references.of(&Key::new("other", "quay")).len(), 0);
        assert_eq!(references.set(&pod("a"), vec![]), std::slice::from_ref(&quay));
        assert_eq!(references.set(&pod("b"), vec![]).len(), 2);
        assert!(references.of(&Key::new("web", "quay")).is_empty());
        assert_eq!(references.pods().count(), 0);
    }
}
