//! All members as the API server has them, what is known of each between two looks, and which of them a change
//! concerns.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tokio::sync::SetOnce;

use super::keys::Queues;
use crate::{
    api::{ANNOTATION_FORCE_DELETE, MemberCluster, MemberClusterStatus},
    cluster::Guarded,
    domain::identity::NamespacedName,
    lock::Lock,
};

/// Members, by name.
pub(crate) struct MemberIndex {
    inner: Lock<Inner>,
    /// Set when each member that there was at the start has been looked at.
    pub started: SetOnce<()>,
    queues: Arc<Queues>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Arc<str>, Entry>,
    listed: bool,
}

/// What is known of one member.
#[derive(Clone)]
pub(crate) struct Entry {
    pub object: Arc<Guarded<MemberCluster>>,
    looked_at: bool,
    /// The Secret of `local` that says how to reach it.
    pub reads: Option<NamespacedName>,
    /// The id of its cluster.
    pub id: Option<String>,
    /// The address at which that was seen.
    pub seen_at: Option<String>,
    /// The status as it was written last, and its resourceVersion, until the watch shows it.
    pub written: Option<(String, MemberClusterStatus)>,
    /// Whether nothing was left to take back at the last look.
    pub settled: bool,
}

impl Entry {
    fn new(object: Arc<Guarded<MemberCluster>>) -> Self {
        let (id, seen_at) =
            shown(&object).map(|s| (s.cluster_id.clone(), s.server.clone())).unwrap_or_default();
        Self { object, looked_at: false, reads: None, id, seen_at, written: None, settled: false }
    }

    /// The status that the server has.
    pub fn status(&self) -> Option<&MemberClusterStatus> {
        match &self.written {
            Some((_, written)) => Some(written),
            None => shown(&self.object),
        }
    }

    /// Forgets what was written once the watch shows it or something newer.
    fn believe_the_watch(&mut self) {
        let number = |version: &str| version.parse::<u64>().ok();
        let shown = self.object.meta().resource_version.as_deref().and_then(number);
        if self.written.as_ref().is_some_and(|(version, _)| shown >= number(version)) {
            self.written = None;
        }
    }

    pub fn uid(&self) -> &str {
        self.object.meta().uid.as_deref().unwrap_or_default()
    }

    fn created(&self) -> Option<Timestamp> {
        self.object.meta().creation_timestamp.as_ref().map(|time| time.0)
    }
}

impl MemberIndex {
    pub fn new(queues: Arc<Queues>) -> Self {
        Self { inner: Lock::default(), started: SetOnce::new(), queues }
    }

    /// Puts a member in. Returns whether more changed than its status.
    pub fn set(&self, object: Guarded<MemberCluster>) -> bool {
        let name: Arc<str> = object.name_any().into();
        let object = Arc::new(object);
        let mut inner = self.inner.write();
        let before = inner.entries.get(&name);
        // A status that somebody else wrote is corrected.
        let changed =
            before.is_none_or(|before| differs(&before.object, &object) || before.status() != shown(&object));
        let mut entry = match before {
            Some(before) if before.object.meta().uid == object.meta().uid => {
                Entry { object, ..before.clone() }
            }
            _ => Entry::new(object),
        };
        entry.believe_the_watch();
        self.tell_adopted(&entry);
        inner.entries.insert(name, entry);
        changed
    }

    /// Takes a member out.
    pub fn remove(&self, name: &str) {
        let mut inner = self.inner.write();
        let Some(entry) = inner.entries.remove(name) else { return };
        self.tell_adopted(&entry);
        // Another member of the same cluster may have waited for this.
        if let Some(id) = &entry.id {
            self.wake_twins(&inner, name, id);
        }
        self.check_start(&inner);
    }

    /// All members are known.
    pub fn listed(&self) {
        let mut inner = self.inner.write();
        inner.listed = true;
        self.check_start(&inner);
    }

    pub fn names(&self) -> Vec<Arc<str>> {
        self.inner.read().entries.keys().cloned().collect()
    }

    pub fn get(&self, name: &str) -> Option<Entry> {
        self.inner.read().entries.get(name).cloned()
    }

    /// How many members this version cannot read.
    pub fn unreadable(&self) -> usize {
        self.inner.read().entries.values().filter(|entry| entry.object.0.is_err()).count()
    }

    /// Members that were made of other tools' Secrets.
    pub fn adopted(&self) -> Vec<MemberCluster> {
        let inner = self.inner.read();
        let readable = inner.entries.values().filter_map(|entry| entry.object.0.as_ref().ok());
        readable.filter(|member| member.spec.adopted_from.is_some()).cloned().collect()
    }

    /// Changes what is known of a member, if it is still the same object.
    pub fn change(&self, name: &str, uid: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.inner.write().entries.get_mut(name).filter(|entry| entry.uid() == uid) {
            change(entry);
        }
    }

    /// Notes that a member was looked at.
    pub fn looked_at(&self, name: &str) {
        let mut inner = self.inner.write();
        if let Some(entry) = inner.entries.get_mut(name) {
            entry.looked_at = true;
        }
        self.check_start(&inner);
    }

    /// The members that read a Secret of `local` for which this is true.
    pub fn readers(&self, is_meant: impl Fn(&NamespacedName) -> bool) -> Vec<Arc<str>> {
        let inner = self.inner.read();
        let readers = inner.entries.iter().filter(|(_, entry)| entry.reads.as_ref().is_some_and(&is_meant));
        readers.map(|(name, _)| name.clone()).collect()
    }

    /// Notes the id of a member's cluster, as seen at an address.
    pub fn seen(&self, name: &str, uid: &str, id: &str, server: Option<String>) {
        let mut inner = self.inner.write();
        let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid() == uid) else { return };
        entry.seen_at = server;
        if entry.id.as_deref() != Some(id) {
            entry.id = Some(id.to_owned());
            self.wake_twins(&inner, name, id);
        }
    }

    /// The member that a cluster of this id belongs to, if that is another one that was created before `name`.
    pub fn elder(&self, name: &str, id: &str) -> Option<String> {
        let inner = self.inner.read();
        let own = inner.entries.get_key_value(name).map(|(name, entry)| (entry.created(), name))?;
        inner
            .entries
            .iter()
            .filter(|(_, entry)| entry.id.as_deref() == Some(id))
            .map(|(other, entry)| (entry.created(), other))
            .filter(|rank| *rank < own)
            .min()
            .map(|(_, other)| other.to_string())
    }

    /// Wakes the other members of a cluster.
    fn wake_twins(&self, inner: &Inner, name: &str, id: &str) {
        for (twin, entry) in &inner.entries {
            if &**twin != name && entry.id.as_deref() == Some(id) {
                self.queues.member(twin);
            }
        }
    }

    fn tell_adopted(&self, entry: &Entry) {
        let member = entry.object.0.as_ref().ok();
        if let Some(from) = member.and_then(|member| member.spec.adopted_from.as_ref()) {
            self.queues.adoption.add(from.clone(), ());
        }
    }

    fn check_start(&self, inner: &Inner) {
        if inner.listed && inner.entries.values().all(|entry| entry.looked_at) {
            // Once is enough.
            let _ = self.started.set(());
        }
    }
}

/// The status that the watch shows.
fn shown(object: &Guarded<MemberCluster>) -> Option<&MemberClusterStatus> {
    object.0.as_ref().ok()?.status.as_ref()
}

/// Whether something changed that concerns the member loop: all but the status and annotations of others.
fn differs(before: &Guarded<MemberCluster>, after: &Guarded<MemberCluster>) -> bool {
    let (old, new) = (before.meta(), after.meta());
    old.uid != new.uid
        || old.generation != new.generation
        || old.finalizers != new.finalizers
        || old.labels != new.labels
        || old.deletion_timestamp != new.deletion_timestamp
        || before.annotations().get(ANNOTATION_FORCE_DELETE)
            != after.annotations().get(ANNOTATION_FORCE_DELETE)
}
