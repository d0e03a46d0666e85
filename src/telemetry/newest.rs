//! Connections of which only the newest stay open.

use std::collections::VecDeque;

use tokio::task::{AbortHandle, Id};

use crate::lock::Lock;

/// The newest connections of a kind: one more than its limit cuts the oldest off.
#[derive(Debug)]
pub(super) struct Newest {
    limit: usize,
    oldest_first: Lock<VecDeque<AbortHandle>>,
}

impl Newest {
    pub fn new(limit: usize) -> Self {
        Self { limit, oldest_first: Lock::default() }
    }

    /// Adds the connection that `start` makes. [`Newest::take`] of that connection waits for it.
    pub fn add(&self, start: impl FnOnce() -> AbortHandle) {
        let mut oldest_first = self.oldest_first.write();
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= self.limit
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(start());
    }

    /// Takes a connection out, whose place another one may have from here on; `None` when it has been cut off.
    pub fn take(&self, connection: Id) -> Option<AbortHandle> {
        let mut oldest_first = self.oldest_first.write();
        let place = oldest_first.iter().position(|open| open.id() == connection)?;
        oldest_first.remove(place)
    }

    #[cfg(test)]
    /// How many are open.
    pub fn open(&self) -> usize {
        self.oldest_first.read().iter().filter(|connection| !connection.is_finished()).count()
    }
}
