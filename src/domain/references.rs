//! Who uses which Secrets of a cluster.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{identity::NamespacedName, schedule::MAX_SECRETS_OF_USER};

/// What kind of object uses a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ReferenceKind {
    Pod,
}

impl ReferenceKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
        }
    }

    /// Whether a user of this kind holds back the deletion of the Secret.
    pub fn blocks(self) -> bool {
        match self {
            Self::Pod => true,
        }
    }
}

/// An object that may use Secrets. It is in the namespace of the Secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct User {
    pub kind: ReferenceKind,
    pub name: NamespacedName,
}

/// One way in which an object names a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub kind: ReferenceKind,
    pub name: Arc<str>,
    /// The field, such as `spec.imagePullSecrets`.
    pub field: &'static str,
}

/// Which objects that are not finished name which Secrets.
#[derive(Debug, Default)]
pub(crate) struct References {
    by_secret: HashMap<NamespacedName, Vec<Reference>>,
    by_user: HashMap<User, Box<[Arc<str>]>>,
    bytes: usize,
}

/// What a reference takes, roughly, besides the name of the Secret.
const REFERENCE_BYTES: usize = 160;

impl References {
    /// Who uses a Secret.
    pub fn of(&self, secret: &NamespacedName) -> &[Reference] {
        self.by_secret.get(secret).map_or(&[], Vec::as_slice)
    }

    /// How many users hold back the deletion of a Secret.
    pub fn blocking(&self, secret: &NamespacedName) -> usize {
        self.of(secret).iter().filter(|reference| reference.kind.blocks()).count()
    }

    /// Replaces the references of a user; returns the names of the Secrets in its namespace for which something
    /// changed.
    pub fn set(&mut self, user: &User, uses: Vec<(Arc<str>, &'static str)>) -> Vec<Arc<str>> {
        if uses.is_empty() && !self.by_user.contains_key(user) {
            return Vec::new();
        }
        let before = self.take(user);
        let mut after: BTreeMap<Arc<str>, &'static str> = BTreeMap::new();
        for (secret, field) in uses {
            // One that names a Secret twice is one user; the first field tells enough.
            if after.len() < MAX_SECRETS_OF_USER || after.contains_key(&secret) {
                after.entry(secret).or_insert(field);
            }
        }
        let gone = before.iter().filter(|(name, field)| after.get(*name) != Some(field));
        let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
        let changed = gone.chain(new).map(|(name, _)| name.clone()).collect();
        if !after.is_empty() {
            self.by_user.insert(user.clone(), after.keys().cloned().collect());
        }
        for (name, field) in after {
            self.bytes += REFERENCE_BYTES + name.len();
            let secret = NamespacedName { namespace: user.name.namespace.clone(), name };
            let reference = Reference { kind: user.kind, name: user.name.name.clone(), field };
            self.by_secret.entry(secret).or_default().push(reference);
        }
        changed
    }

    /// About how many bytes all references take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a Pod of this name is known to use Secrets.
    pub fn has(&self, pod: &NamespacedName) -> bool {
        self.by_user.contains_key(&User { kind: ReferenceKind::Pod, name: pod.clone() })
    }

    /// Those that are known to use Secrets.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &User> {
        self.by_user.keys()
    }

    fn take(&mut self, user: &User) -> BTreeMap<Arc<str>, &'static str> {
        let names = self.by_user.remove(user).unwrap_or_default();
        let mut taken = BTreeMap::new();
        for name in names {
            self.bytes -= REFERENCE_BYTES + name.len();
            let secret = NamespacedName { namespace: user.name.namespace.clone(), name };
            if let Some(references) = self.by_secret.get_mut(&secret) {
                let is_of = |one: &Reference| one.kind == user.kind && one.name == user.name.name;
                if let Some(at) = references.iter().position(is_of) {
                    taken.insert(secret.name.clone(), references.swap_remove(at).field);
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

    /// Whoever makes Pods could fill the memory with names.
    #[test]
    fn of_a_pod_that_names_countless_secrets_a_few_are_kept() {
        let mut references = References::default();
        let uses =
            |from: usize| (from..from + 1000).map(|n| (n.to_string().into(), "spec.volumes")).collect();
        assert_eq!(references.set(&pod("a"), uses(0)).len(), MAX_SECRETS_OF_USER);
        assert_eq!(references.set(&pod("a"), uses(2000)).len(), 2 * MAX_SECRETS_OF_USER);
        assert_eq!(references.set(&pod("a"), Vec::new()).len(), MAX_SECRETS_OF_USER);
        assert!(references.by_secret.is_empty());
    }

    fn pod(name: &str) -> User {
        User { kind: ReferenceKind::Pod, name: NamespacedName::new("web", name) }
    }

    #[test]
    fn references_follow_a_pod_through_its_life() {
        let mut references = References::default();
        let quay: Arc<str> = "quay".into();
        let tls: Arc<str> = "tls".into();
        let twice = vec![(quay.clone(), "spec.imagePullSecrets"), (quay.clone(), "spec.volumes")];
        assert_eq!(references.set(&pod("a"), twice), std::slice::from_ref(&quay));
        assert!(references.set(&pod("a"), vec![(quay.clone(), "spec.imagePullSecrets")]).is_empty());
        references.set(&pod("b"), vec![(quay.clone(), "spec.volumes"), (tls.clone(), "spec.volumes")]);
        assert_eq!(references.blocking(&NamespacedName::new("web", "quay")), 2);
        assert_eq!(references.of(&NamespacedName::new("other", "quay")).len(), 0);
        assert_eq!(references.set(&pod("a"), vec![]), std::slice::from_ref(&quay));
        assert_eq!(references.set(&pod("b"), vec![]).len(), 2);
        assert!(references.of(&NamespacedName::new("web", "quay")).is_empty());
        assert_eq!(references.users().count(), 0);
    }
}
