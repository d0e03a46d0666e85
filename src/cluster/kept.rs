//! How much of a cluster is kept.

use super::cache::Cache;
use crate::domain::{
    connectivity::WatchedKind, identity::NamespacedName, reference_kind::ReferenceKind, references::User,
};

/// What an entry takes, roughly, besides texts of its own.
const NAMESPACE_BYTES: usize = 256;
const COPY_BYTES: usize = 320;
const USER_BYTES: usize = 256;
const ACCOUNT_BYTES: usize = 256;

impl Cache {
    /// How many objects of a kind are kept.
    pub fn count(&self, kind: WatchedKind) -> usize {
        match kind {
            WatchedKind::Namespaces => self.snapshot().namespaces.len(),
            WatchedKind::Copies => self.snapshot().copies.len(),
            WatchedKind::Users(kind @ ReferenceKind::ServiceAccount) => {
                // One may be both.
                self.snapshot().references.users(kind).max(self.snapshot().accounts.len())
            }
            WatchedKind::Users(kind) => self.snapshot().references.users(kind),
            // Few, and bounded by namespace.
            WatchedKind::Grants(_) | WatchedKind::Secrets => 0,
        }
    }

    /// Whether an object is kept.
    pub fn has(&self, kind: WatchedKind, name: &NamespacedName) -> bool {
        let snapshot = self.snapshot();
        match kind {
            WatchedKind::Namespaces => snapshot.namespaces.contains_key(&name.name),
            WatchedKind::Copies => snapshot.copies.get(name).is_some(),
            WatchedKind::Users(kind) => {
                snapshot.references.has(&User { kind, name: name.clone() })
                    || kind == ReferenceKind::ServiceAccount && snapshot.accounts.get(name).is_some()
            }
            WatchedKind::Grants(_) | WatchedKind::Secrets => false,
        }
    }

    /// About how many bytes of the cluster are kept.
    pub fn kept(&self) -> usize {
        let of = |kind, bytes: usize| self.count(kind) * bytes;
        of(WatchedKind::Namespaces, NAMESPACE_BYTES)
            + of(WatchedKind::Copies, COPY_BYTES)
            + self.snapshot().references.all_users() * USER_BYTES
            + self.snapshot().accounts.len() * ACCOUNT_BYTES
            + self.snapshot().accounts.bytes()
            + self.namespace_texts
            + self.snapshot().references.bytes()
            + self.snapshot().stuck.bytes()
    }
}
