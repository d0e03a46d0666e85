//! What is known of members between two looks, and who is concerned by a change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tokio::sync::watch;

use crate::{
    api::{AdoptedFrom, MemberCluster, MemberClusterStatus},
    cluster::Guarded,
    controller::{
        keys::{AdoptionKey, Queues},
        kubeconfigs::Kubeconfigs,
    },
    domain::identity::NamespacedName,
};

/// Members, by name.
pub(crate) struct MemberIndex {
    inner: Mutex<Inner>,
    /// Turns true when each member that there was at the start has been looked at.
    started: watch::Sender<bool>,
    queues: Arc<Queues>,
    kubeconfigs: Arc<Kubeconfigs>,
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
    reads: Option<NamespacedName>,
    /// What the cluster is known by.
    pub id: Option<String>,
    /// At which address that was seen.
    pub seen_at: Option<String>,
    /// The status as it was written last; a watch shows it later.
    pub status: Option<MemberClusterStatus>,
    /// Whether nothing was left to take back at the last look.
    pub settled: bool,
}

impl Entry {
    fn new(object: Arc<Guarded<MemberCluster>>) -> Self {
        let status = object.0.as_ref().ok().and_then(|object| object.status.as_ref());
        let (id, seen_at) = status.map(|s| (s.cluster_id.clone(), s.server.clone())).unwrap_or_default();
        Self { object, looked_at: false, reads: None, id, seen_at, status: None, settled: false }
    }

    pub fn uid(&self) -> &str {
        self.object.meta().uid.as_deref().unwrap_or_default()
    }

    fn created(&self) -> Option<Timestamp> {
        self.object.meta().creation_timestamp.as_ref().map(|time| time.0)
    }

    fn adopted_from(&self) -> Option<&AdoptedFrom> {
        self.object.0.as_ref().ok()?.spec.adopted_from.as_ref()
    }
}

impl MemberIndex {
    pub fn new(queues: Arc<Queues>, kubeconfigs: Arc<Kubeconfigs>) -> Self {
        Self { inner: Mutex::default(), started: watch::Sender::new(false), queues, kubeconfigs }
    }

    /// Puts a member in. Returns whether more changed than its status.
    pub fn set(&self, object: Guarded<MemberCluster>) -> bool {
        let name: Arc<str> = object.name_any().into();
        let object = Arc::new(object);
        let mut inner = self.lock();
        let before = inner.entries.get(&name);
        let changed = before.is_none_or(|before| differs(&before.object, &object));
        let entry = match before {
            Some(before) if before.uid() == object.meta().uid.as_deref().unwrap_or_default() => {
                Entry { object, ..before.clone() }
            }
            // A Secret that the one before it read is forgotten when this one's is noted.
            before => Entry { reads: before.and_then(|b| b.reads.clone()), ..Entry::new(object) },
        };
        self.tell_adopted(&entry);
        inner.entries.insert(name, entry);
        changed
    }

    /// Takes a member out.
    pub fn remove(&self, name: &str) {
        let mut inner = self.lock();
        let Some((name, entry)) = inner.entries.remove_entry(name) else { return };
        self.tell_adopted(&entry);
        self.kubeconfigs.set(&name, entry.reads.as_ref(), None);
        // Another member of the same cluster may have waited for this.
        let twins = inner.entries.iter().filter(|(_, twin)| twin.id.is_some() && twin.id == entry.id);
        for (twin, _) in twins {
            self.queues.member(twin);
        }
        self.check_start(&inner);
    }

    /// All members are known.
    pub fn listed(&self) {
        let mut inner = self.lock();
        inner.listed = true;
        self.check_start(&inner);
    }

    pub fn names(&self) -> Vec<Arc<str>> {
        self.lock().entries.keys().cloned().collect()
    }

    pub fn get(&self, name: &str) -> Option<Entry> {
        self.lock().entries.get(name).cloned()
    }

    /// How many members this version cannot read.
    pub fn unreadable(&self) -> usize {
        self.lock().entries.values().filter(|entry| entry.object.0.is_err()).count()
    }

    /// Members that were made of other tools' Secrets.
    pub fn adopted(&self) -> Vec<MemberCluster> {
        let inner = self.lock();
        let readable = inner.entries.values().filter_map(|entry| entry.object.0.as_ref().ok());
        readable.filter(|member| member.spec.adopted_from.is_some()).cloned().collect()
    }

    /// Ends when each member that there was at the start has been looked at.
    pub async fn started(&self) {
        // The sender lives as long as this does.
        let _ = self.started.subscribe().wait_for(|started| *started).await;
    }

    /// Changes what is known of a member, if it is still the same object.
    pub fn change(&self, name: &str, uid: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().entries.get_mut(name).filter(|entry| entry.uid() == uid) {
            change(entry);
        }
    }

    /// Notes that a member was looked at.
    pub fn looked_at(&self, name: &str) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(name) {
            entry.looked_at = true;
        }
        self.check_start(&inner);
    }

    /// Notes which Secret a member reads, so that it is looked at when that changes.
    pub fn reads(&self, name: &Arc<str>, uid: &str, secret: Option<NamespacedName>) {
        let mut before = None;
        self.change(name, uid, |entry| before = std::mem::replace(&mut entry.reads, secret.clone()));
        if before != secret {
            self.kubeconfigs.set(name, before.as_ref(), secret.as_ref());
        }
    }

    /// Notes what a member's cluster is known by, as seen at an address.
    pub fn seen(&self, name: &str, uid: &str, id: &str, server: Option<String>) {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid() == uid) else { return };
        let new = entry.id.as_deref() != Some(id);
        (entry.id, entry.seen_at) = (Some(id.to_owned()), server);
        if new {
            let twins = inner
                .entries
                .iter()
                .filter(|(other, twin)| &***other != name && twin.id.as_deref() == Some(id));
            for (twin, _) in twins {
                self.queues.member(twin);
            }
        }
    }

    /// The member that a cluster of this id belongs to, if that is one that was there before `name`.
    pub fn elder(&self, name: &str, id: &str) -> Option<String> {
        let inner = self.lock();
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

    fn tell_adopted(&self, entry: &Entry) {
        if let Some(from) = entry.adopted_from() {
            let secret = NamespacedName::new(from.namespace.as_str(), from.name.as_str());
            self.queues.adoption.add(AdoptionKey { tool: from.tool, secret }, ());
        }
    }

    fn check_start(&self, inner: &Inner) {
        if inner.listed && inner.entries.values().all(|entry| entry.looked_at) {
            self.started.send_if_modified(|started| !std::mem::replace(started, true));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something changed that concerns the member loop: all but the status and annotations of others.
fn differs(before: &Guarded<MemberCluster>, after: &Guarded<MemberCluster>) -> bool {
    use crate::api::ANNOTATION_FORCE_DELETE;
    let concern = |object: &Guarded<MemberCluster>| {
        let meta = object.meta();
        let forced = meta.annotations.as_ref().and_then(|all| all.get(ANNOTATION_FORCE_DELETE)).cloned();
        (
            meta.uid.clone(),
            meta.generation,
            meta.finalizers.clone(),
            meta.labels.clone(),
            meta.deletion_timestamp.clone(),
            forced,
        )
    };
    concern(before) != concern(after)
}
