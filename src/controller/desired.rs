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
    replaced: Arc<AtomicBool>,
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

    /// Puts a state in the place of the last one. Returns whether clusters have to know of it.
    pub fn publish(&self, state: DesiredState) -> bool {
        let mut states = self.states.write();
        let owner = state.owner;
        let (version, since) = match states.get(&owner) {
            Some(before) if before.state == state => return false,
            Some(before) if !before.concerns_clusters(&state) => {
                // It is the same to them: what they do for the one before goes on, and counts.
                let Published { version, since, .. } = **before;
                let published = Published { state, version, since, replaced: before.replaced.clone() };
                states.insert(owner, Arc::new(published));
                return false;
            }
            _ => (self.version.fetch_add(1, Ordering::Relaxed) + 1, Instant::now()),
        };
        let published = Published { state, version, since, replaced: Arc::default() };
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
