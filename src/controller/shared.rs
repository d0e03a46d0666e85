//! What credentials share: a login is tried once, and a token is minted once, whoever wants it.

use std::collections::{HashMap, hash_map::Entry};

use super::keys::SharedKey;
use crate::domain::{fingerprint::Fingerprint, identity::OwnerId};

/// What credentials share, each kept as long as one of them wants it.
pub(super) struct Shared<T, R> {
    pub(super) items: HashMap<Fingerprint, Item<T, R>>,
    pub(super) by_owner: HashMap<OwnerId, Vec<Fingerprint>>,
}

/// What some credentials share.
pub(super) struct Item<T, R> {
    pub key: SharedKey,
    pub value: T,
    /// Who wants it, and what each wants of it.
    pub readers: HashMap<OwnerId, R>,
}

impl<T, R> Default for Shared<T, R> {
    fn default() -> Self {
        Self { items: HashMap::new(), by_owner: HashMap::new() }
    }
}

impl<T, R> Shared<T, R> {
    /// An owner wants these, and those that it wanted before no more. What nobody wants is forgotten.
    pub fn keep(&mut self, owner: &OwnerId, wanted: &[Fingerprint]) {
        let before = self.by_owner.remove(owner).unwrap_or_default();
        for id in before.into_iter().filter(|id| !wanted.contains(id)) {
            let Entry::Occupied(mut item) = self.items.entry(id) else { continue };
            item.get_mut().readers.remove(owner);
            if item.get().readers.is_empty() {
                item.remove();
            }
        }
        if !wanted.is_empty() {
            self.by_owner.insert(*owner, wanted.to_vec());
        }
    }

    /// An item, which is made when there is none; then `key` is its key.
    pub fn entry(&mut self, key: SharedKey, new: impl FnOnce() -> T) -> &mut Item<T, R> {
        let make = || Item { key: key.clone(), value: new(), readers: HashMap::new() };
        self.items.entry(key.id).or_insert_with(make)
    }
}
