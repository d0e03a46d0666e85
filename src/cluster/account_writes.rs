//! Writes of ours to ServiceAccounts that are in flight.

use std::collections::{HashMap, HashSet};

use crate::domain::identity::{NamespacedName, OwnerId};

#[derive(Debug, Default)]
pub(super) struct AccountWrites {
    /// Those in flight, and whose.
    in_flight: HashMap<NamespacedName, OwnerId>,
    /// While ServiceAccounts are listed: those with a write in flight since the list began, before or after which it shows them.
    exempt: Option<HashSet<NamespacedName>>,
}

impl AccountWrites {
    pub fn begin(&mut self, name: &NamespacedName, owner: OwnerId) {
        self.in_flight.insert(name.clone(), owner);
        if let Some(exempt) = &mut self.exempt {
            exempt.insert(name.clone());
        }
    }

    pub fn end(&mut self, name: &NamespacedName) {
        self.in_flight.remove(name);
    }

    /// Whose write is in flight.
    pub fn writer(&self, name: &NamespacedName) -> Option<OwnerId> {
        self.in_flight.get(name).copied()
    }

    pub fn begin_list(&mut self) {
        self.exempt = Some(self.in_flight.keys().cloned().collect());
    }

    pub fn end_list(&mut self) {
        self.exempt = None;
    }

    /// Whether a list may show an object as it was before a write of ours.
    pub fn is_exempt(&self, name: &NamespacedName) -> bool {
        self.exempt.as_ref().is_some_and(|exempt| exempt.contains(name))
    }
}
