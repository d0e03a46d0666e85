//! How many ServiceAccounts stand how for a default.

/// Counts of the ServiceAccounts of one namespace, or of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountCounts {
    /// Those that exist and should name the Secret.
    pub desired: u32,
    /// Of these, the ones that do.
    pub attached: u32,
    /// Of these, the ones that no policy allows, and whose names are not told.
    pub concealed: u32,
    /// Those where another default has a higher priority.
    pub outranked: u32,
    /// Those that stay attached because consent went only a moment ago.
    pub deferred: u32,
}

impl AccountCounts {
    /// Each count of this one and of another, put together.
    pub fn zip(self, other: Self, with: fn(u32, u32) -> u32) -> Self {
        Self {
            desired: with(self.desired, other.desired),
            attached: with(self.attached, other.attached),
            concealed: with(self.concealed, other.concealed),
            outranked: with(self.outranked, other.outranked),
            deferred: with(self.deferred, other.deferred),
        }
    }
}
