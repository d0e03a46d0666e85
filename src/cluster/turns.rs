//! Who may write to a ServiceAccount next.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::{identity::NamespacedName, schedule::ACCOUNT_TURNS};

/// Turns of those who write to the same ServiceAccount: without them, many credentials for one new namespace would mostly
/// get in each other's way.
pub(super) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..ACCOUNT_TURNS).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    pub async fn of(&self, name: &NamespacedName) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % (self.0.len().max(1) as u64)).unwrap_or_default();
        Some(self.0.get(at)?.lock().await)
    }
}
