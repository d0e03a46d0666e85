//! What a queue is asked to hold, and how work on it ends.

use std::{hash::Hash, sync::Arc, time::Duration};

/// What a key of a queue has to be.
pub(crate) trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    /// Keys of one group share workers, and so do those without one.
    fn group(&self) -> Option<Arc<str>> {
        None
    }
}

/// What is to be done about a key.
pub(crate) trait Work: Default + Send + Sync + 'static {
    fn merge(&mut self, other: Self);
}

impl Work for () {
    fn merge(&mut self, (): Self) {}
}

/// How the work on a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing is left until the key is added again.
    Done,
    /// It goes on after others had their turn.
    Again,
    /// It is looked at again after that long, or when it is added.
    After(Duration),
    /// It failed: it is tried again after the key's back-off.
    Retry,
}

impl Next {
    /// The same, but not later than after `wait`, where there is one.
    pub fn or_after(self, wait: Option<Duration>) -> Self {
        match (self, wait) {
            (Self::Done, Some(wait)) => Self::After(wait),
            (Self::After(before), Some(wait)) => Self::After(before.min(wait)),
            (next, _) => next,
        }
    }
}
