//! What an event changed in the cache of a cluster.

use std::sync::Arc;

use super::handler::{AccountChange, Touched};
use crate::domain::namespace::Namespace;

/// What an event changed, as far as credentials are concerned.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub touched: Vec<Touched>,
    /// How many copies were edited or deleted by another hand.
    pub drift: usize,
    pub namespaces: Vec<NamespaceChange>,
    /// Namespaces in which another Pod is stuck, or one no more.
    pub stuck: Vec<Arc<str>>,
    pub accounts: Vec<AccountChange>,
}

/// A Namespace that changed: its name, and how it was before and is now.
pub(crate) type NamespaceChange = (Arc<str>, Option<Namespace>, Option<Namespace>);

impl Changes {
    pub fn add(&mut self, other: Self) {
        self.touched.extend(other.touched);
        self.drift += other.drift;
        self.namespaces.extend(other.namespaces);
        self.stuck.extend(other.stuck);
        self.accounts.extend(other.accounts);
    }
}
