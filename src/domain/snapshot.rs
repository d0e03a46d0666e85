//! What is known of one cluster: plain values that caches fill and plans read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    attachment::Accounts,
    fingerprint::Fingerprint,
    identity::{NamespacedName, OwnerId},
    marks::Marks,
    meta::{ResourceVersion, Uid},
    namespace::Namespace,
    owner_index::OwnerIndex,
    references::References,
    stuck::StuckPods,
};

/// What matters of a Secret that carries our marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExistingCopy {
    pub owner: OwnerId,
    pub uid: Uid,
    /// As it was when the copy was seen.
    pub resource_version: ResourceVersion,
    /// `None` when no kind produces Secrets of its type.
    pub type_: Option<&'static str>,
    /// A keyed hash of its type and data.
    pub content: Fingerprint,
    /// Shared by all copies that have the same.
    pub marks: Arc<Marks>,
    /// Whether it holds nothing but what a plain Secret has; else it must be read before it is
    /// replaced, so that finalizers and the like of others survive.
    pub plain: bool,
    pub immutable: bool,
    /// Whether it is being deleted, and waits for somebody's finalizer.
    pub terminating: bool,
}

/// The Secrets of a cluster that carry our marks.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    by_name: HashMap<NamespacedName, ExistingCopy>,
    by_owner: OwnerIndex,
}

impl Copies {
    pub fn get(&self, name: &NamespacedName) -> Option<&ExistingCopy> {
        self.by_name.get(name)
    }

    /// Puts a copy in; returns the one that was there.
    pub fn insert(&mut self, name: NamespacedName, copy: ExistingCopy) -> Option<ExistingCopy> {
        let owner = copy.owner;
        let before = self.by_name.insert(name.clone(), copy);
        if let Some(before) = before.as_ref().filter(|before| before.owner != owner) {
            self.by_owner.remove(&before.owner, &name);
        }
        self.by_owner.insert(owner, name);
        before
    }

    /// Takes a copy out.
    pub fn remove(&mut self, name: &NamespacedName) -> Option<ExistingCopy> {
        let copy = self.by_name.remove(name)?;
        self.by_owner.remove(&copy.owner, name);
        Some(copy)
    }

    /// The copies of one owner, by namespace.
    pub fn of<'a>(&'a self, owner: &OwnerId) -> impl Iterator<Item = (&'a NamespacedName, &'a ExistingCopy)> {
        self.by_owner.of(owner).filter_map(|name| Some((name, self.by_name.get(name)?)))
    }

    /// The copies of one owner in one namespace.
    pub fn within<'a>(
        &'a self,
        owner: &OwnerId,
        namespace: &Arc<str>,
    ) -> impl Iterator<Item = (&'a NamespacedName, &'a ExistingCopy)> {
        self.by_owner.within(owner, namespace).filter_map(|name| Some((name, self.by_name.get(name)?)))
    }

    pub fn has(&self, owner: &OwnerId) -> bool {
        self.by_owner.has(owner)
    }

    pub fn owners(&self) -> impl Iterator<Item = &OwnerId> {
        self.by_owner.owners()
    }

    pub fn names(&self) -> impl Iterator<Item = &NamespacedName> {
        self.by_name.keys()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// All that a plan for one cluster looks at, taken under one lock.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub namespaces: BTreeMap<Arc<str>, Namespace>,
    pub copies: Copies,
    pub references: References,
    /// Pods that cannot pull an image.
    pub stuck: StuckPods,
    pub accounts: Accounts,
    /// Names where a Secret that is not ours is in the way, and whose it is, as a phrase.
    pub conflicts: HashMap<NamespacedName, String>,
}

impl Snapshot {
    /// Whether an owner has copies, or something attached.
    pub fn has(&self, owner: &OwnerId) -> bool {
        self.copies.has(owner) || self.accounts.has(owner)
    }

    /// All owners that have; some come twice.
    pub fn owners(&self) -> impl Iterator<Item = &OwnerId> {
        self.copies.owners().chain(self.accounts.owners())
    }

    /// Whether something uses a Secret that holds it, so that it must not be deleted.
    pub fn is_in_use(&self, name: &NamespacedName) -> bool {
        self.references.hold(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fingerprint::FingerprintKey;

    #[test]
    fn the_copies_of_an_owner_are_found_by_namespace() {
        let mut copies = Copies::default();
        let owner = OwnerId::from_label(&"a".repeat(24)).unwrap();
        let copy = |owner: &OwnerId| ExistingCopy {
            owner: *owner,
            uid: "u".into(),
            resource_version: "1".into(),
            type_: Some("t"),
            content: FingerprintKey::new([0; 32]).fingerprint("t", []),
            marks: Arc::default(),
            plain: true,
            immutable: false,
            terminating: false,
        };
        for (namespace, name) in [("web", "b"), ("web", "a"), ("web-2", "a"), ("db", "z")] {
            copies.insert(NamespacedName::new(namespace, name), copy(&owner));
        }
        let within = |copies: &Copies, namespace: &str| {
            copies
                .within(&owner, &namespace.into())
                .map(|(name, _)| name.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(within(&copies, "web"), ["a", "b"]);
        assert_eq!(within(&copies, "db"), ["z"]);
        assert!(within(&copies, "we").is_empty());
        copies.insert(NamespacedName::new("web", "a"), copy(&OwnerId::from_label(&"b".repeat(24)).unwrap()));
        assert_eq!(within(&copies, "web"), ["b"], "it has another owner now");
        assert_eq!((copies.of(&owner).count(), copies.len()), (3, 4));
        for name in copies.names().cloned().collect::<Vec<_>>() {
            copies.remove(&name);
        }
        assert!(!copies.has(&owner) && copies.owners().count() == 0);
    }
}
