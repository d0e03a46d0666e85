//! What each credential wants, as the credential loop has left it last.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::domain::{desired::DesiredState, identity::OwnerId};

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
    states: RwLock<HashMap<OwnerId, Arc<Published>>>,
    version: AtomicU64,
}

impl DesiredStates {
    pub fn get(&self, owner: &OwnerId) -> Option<Arc<Published>> {
        self.read().get(owner).cloned()
    }

    /// Looks at each.
    pub fn each(&self, mut look: impl FnMut(&OwnerId, &Published)) {
        for (owner, published) in self.read().iter() {
            look(owner, published);
        }
    }

    /// Puts a state in the place of the last one. Returns whether it differs from that.
    pub fn publish(&self, state: DesiredState) -> bool {
        let mut states = self.write();
        if states.get(&state.owner).is_some_and(|published| published.state == state) {
            return false;
        }
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let owner = state.owner.clone();
        let published = Published { state, version, since: Instant::now(), replaced: AtomicBool::new(false) };
        if let Some(before) = states.insert(owner, Arc::new(published)) {
            before.replaced.store(true, Ordering::Relaxed);
        }
        true
    }

    /// The credential is gone.
    pub fn remove(&self, owner: &OwnerId) {
        if let Some(before) = self.write().remove(owner) {
            before.replaced.store(true, Ordering::Relaxed);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<OwnerId, Arc<Published>>> {
        self.states.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<OwnerId, Arc<Published>>> {
        self.states.write().unwrap_or_else(PoisonError::into_inner)
    }
}
