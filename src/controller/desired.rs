//! What each credential wants, as the credential loop has left it last.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{
    domain::{desired::DesiredState, identity::OwnerId},
    lock::Lock,
};

/// A desired state, until another one takes its place.
pub(crate) struct Published {
    state: DesiredState,
    /// A larger one is newer, whoever's it is.
    pub version: u64,
    pub since: Instant,
    replaced: AtomicBool,
}

impl Published {
    /// Whether another state has taken its place, so that nothing more is to be done for this one.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }
}

impl Deref for Published {
    type Target = DesiredState;

    fn deref(&self) -> &DesiredState {
        &self.state
    }
}

/// What each credential wants.
#[derive(Default)]
pub(crate) struct DesiredStates {
    states: Lock<HashMap<OwnerId, Arc<Published>>>,
    version: AtomicU64,
}

impl DesiredStates {
    pub fn get(&self, owner: &OwnerId) -> Option<Arc<Published>> {
        self.states.read().get(owner).cloned()
    }

    /// Looks at each.
    pub fn each(&self, mut look: impl FnMut(&OwnerId, &Published)) {
        for (owner, published) in self.states.read().iter() {
            look(owner, published);
        }
    }

    /// Puts a state in the place of the last one. Returns whether it differs from that.
    pub fn publish(&self, state: DesiredState) -> bool {
        let mut states = self.states.write();
        if states.get(&state.owner).is_some_and(|published| published.state == state) {
            return false;
        }
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let owner = state.owner;
        let published = Published { state, version, since: Instant::now(), replaced: AtomicBool::new(false) };
        if let Some(before) = states.insert(owner, Arc::new(published)) {
            before.replaced.store(true, Ordering::Relaxed);
        }
        true
    }

    /// The credential is gone.
    pub fn remove(&self, owner: &OwnerId) {
        if let Some(before) = self.states.write().remove(owner) {
            before.replaced.store(true, Ordering::Relaxed);
        }
    }
}
