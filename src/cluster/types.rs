//! Which of the types that not every cluster has are there, and which of them may be read.

use std::collections::{HashMap, HashSet};

use kube::api::ApiResource;
use tokio::sync::watch;

use super::dynamic::resource_of;
use crate::{domain::connectivity::WatchedKind, lock::Lock};

/// Which optional types a cluster has, and which of them may not be read.
#[derive(Default)]
pub(super) struct Types {
    discovered: watch::Sender<Discovered>,
    denied: Lock<HashSet<WatchedKind>>,
}

/// What a cluster has.
#[derive(Clone, Debug, Default)]
pub(super) struct Discovered {
    /// How often it was asked.
    pub rounds: u64,
    /// Whether it ever said what it has, or that this is not for us to know.
    is_known: bool,
    served: HashMap<WatchedKind, ApiResource>,
}

impl Discovered {
    /// Where objects of a kind are, if the cluster has such a type.
    pub fn get(&self, kind: WatchedKind) -> Option<ApiResource> {
        resource_of(kind, || self.served.get(&kind).cloned())
    }
}

impl Types {
    /// What is known, and what will be.
    pub fn subscribe(&self) -> watch::Receiver<Discovered> {
        self.discovered.subscribe()
    }

    /// Where objects of a kind are, if the cluster has such a type.
    pub fn get(&self, kind: WatchedKind) -> Option<ApiResource> {
        self.discovered.borrow().get(kind)
    }

    /// Whether it is known if the cluster has such a type.
    pub fn is_known(&self, kind: WatchedKind) -> bool {
        let discovered = self.discovered.borrow();
        discovered.is_known || discovered.get(kind).is_some()
    }

    /// The cluster was asked; `None` when it did not say, as it must not where it `is_denied`.
    pub fn asked(&self, served: Option<HashMap<WatchedKind, ApiResource>>, is_denied: bool) {
        self.discovered.send_modify(|discovered| {
            discovered.rounds += 1;
            discovered.is_known |= is_denied || served.is_some();
            if let Some(served) = served {
                discovered.served = served;
            }
        });
    }

    /// Whether objects of a kind may not be read, as its watch has found.
    pub fn is_denied(&self, kind: WatchedKind) -> bool {
        self.denied.read().contains(&kind)
    }

    /// Notes whether objects of a kind may be read. Returns whether that is news.
    pub fn set_denied(&self, kind: WatchedKind, denied: bool) -> bool {
        let mut all = self.denied.write();
        if denied { all.insert(kind) } else { all.remove(&kind) }
    }
}
