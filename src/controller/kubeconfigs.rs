//! Which Secrets of `local` say how to reach which members.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::identity::NamespacedName;

/// Secrets of `local` that members read, and the members.
#[derive(Default)]
pub(crate) struct Kubeconfigs(Mutex<HashMap<NamespacedName, HashSet<Arc<str>>>>);

impl Kubeconfigs {
    /// Notes which Secret a member reads now, and which it read before.
    pub fn set(&self, member: &Arc<str>, before: Option<&NamespacedName>, now: Option<&NamespacedName>) {
        let mut readers = self.lock();
        if let Some(before) = before
            && let Some(names) = readers.get_mut(before)
        {
            names.remove(member);
            if names.is_empty() {
                readers.remove(before);
            }
        }
        if let Some(now) = now {
            readers.entry(now.clone()).or_default().insert(member.clone());
        }
    }

    /// Who reads a Secret.
    pub fn readers(&self, secret: &NamespacedName) -> Vec<Arc<str>> {
        self.lock().get(secret).into_iter().flatten().cloned().collect()
    }

    /// Who reads any.
    pub fn all(&self) -> Vec<Arc<str>> {
        self.lock().values().flatten().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, HashSet<Arc<str>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
