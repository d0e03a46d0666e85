//! How repairs are slowed down that something else makes necessary again and again.

use std::time::Duration;

use super::backoff::Backoff;

/// How repairs of one kind are slowed down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepairPace {
    /// How many come at once.
    pub burst: u32,
    /// Between two of them after that.
    pub pause: Backoff,
    /// What was left alone for so long is repaired at once again.
    pub calm: Duration,
}
