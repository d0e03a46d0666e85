//! Writes of ours to ServiceAccounts that are in flight.

use std::collections::{HashMap, HashSet};

use crate::domain::identity::{NamespacedName, OwnerId};

#[derive(Debug, Default)]
pub(super) struct AccountWrites {
    /// Those in flight, and whose.
    in_flight: HashMap<NamespacedName, OwnerId>,
    /// While ServiceAccounts are listed: those that were written since the list began, which may show them as they were before.
    written: Option<HashSet<NamespacedName>>,
}

impl AccountWrites {
    pub fn begin(&mut self, name: &NamespacedName, owner: OwnerId) {
        self.in_flight.insert(name.clone(), owner);
    }

    /// A write ended, with an answer that shows the object after it, or without.
    pub fn end(&mut self, name: &NamespacedName, answered: bool) {
        self.in_flight.remove(name);
        if let Some(written) = self.written.as_mut().filter(|_| answered) {
            written.insert(name.clone());
        }
    }

    /// Whose write is in flight.
    pub fn writer(&self, name: &NamespacedName) -> Option<OwnerId> {
        self.in_flight.get(name).copied()
    }

    pub fn begin_list(&mut self) {
        self.written = Some(HashSet::new());
    }

    pub fn end_list(&mut self) {
        self.written = None;
    }

    /// Whether a list may show an object as it was before a write of ours. A write that was refused proves nothing: the
    /// state that it was for may be gone, with an etcd that was restored.
    pub fn is_written(&self, name: &NamespacedName) -> bool {
        self.written.as_ref().is_some_and(|written| written.contains(name))
    }
}
