//! Which objects of a cluster an owner has, by namespace.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::identity::{NamespacedName, OwnerId};

/// The names of objects, by owner.
#[derive(Debug, Default)]
pub(crate) struct OwnerIndex(HashMap<OwnerId, BTreeSet<NamespacedName>>);

impl OwnerIndex {
    pub fn insert(&mut self, owner: OwnerId, name: NamespacedName) {
        self.0.entry(owner).or_default().insert(name);
    }

    pub fn remove(&mut self, owner: &OwnerId, name: &NamespacedName) {
        if let Some(names) = self.0.get_mut(owner) {
            names.remove(name);
            if names.is_empty() {
                self.0.remove(owner);
            }
        }
    }

    /// What an owner has, by namespace.
    pub fn of(&self, owner: &OwnerId) -> impl Iterator<Item = &NamespacedName> {
        self.0.get(owner).into_iter().flatten()
    }

    /// What an owner has in one namespace.
    pub fn within(&self, owner: &OwnerId, namespace: &Arc<str>) -> impl Iterator<Item = &NamespacedName> {
        let first = NamespacedName { namespace: namespace.clone(), name: "".into() };
        let namespace = namespace.clone();
        let names = self.0.get(owner).into_iter().flat_map(move |names| names.range(first.clone()..));
        names.take_while(move |name| name.namespace == namespace)
    }

    pub fn has(&self, owner: &OwnerId) -> bool {
        self.0.contains_key(owner)
    }

    /// All who have something.
    pub fn owners(&self) -> impl Iterator<Item = &OwnerId> {
        self.0.keys()
    }
}
