//! What is known of members between two passes, and who is concerned by a change.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::watcher::Event};
use tokio::sync::watch;

use crate::{
    api::{AdoptedFrom, ClusterTool, MemberCluster, MemberClusterStatus},
    controller::{Guarded, Roster, Wakes},
    domain::view::Key,
};

/// Members, by name.
pub struct Register {
    inner: Mutex<Inner>,
    /// Turns true when each member that there was at the start has been looked at.
    started: watch::Sender<bool>,
    roster: Arc<Roster>,
    /// Secrets of other tools whose members changed or went.
    pub adopted: Arc<Wakes<(ClusterTool, Key)>>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    listing: Option<HashSet<String>>,
    listed: bool,
}

/// What is known of one member.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    uid: String,
    created: Option<Timestamp>,
    adopted_from: Option<AdoptedFrom>,
    looked_at: bool,
    reads: Option<Key>,
    /// What the cluster is known by.
    pub id: Option<String>,
    /// At which address that was seen.
    pub seen_at: Option<String>,
    /// The status as it was written last; a watch shows it later.
    pub status: Option<MemberClusterStatus>,
    /// Whether nothing was left to take back at the last look.
    pub settled: bool,
    /// Passes in a row that failed.
    pub failures: u32,
}

impl Register {
    pub fn new(roster: Arc<Roster>) -> Self {
        Self {
            inner: Mutex::default(),
            started: watch::Sender::default(),
            roster,
            adopted: Arc::new(Wakes::new()),
        }
    }

    /// Takes in an event of the watch. Returns the members that are gone.
    pub fn observe(&self, event: &Event<Guarded<MemberCluster>>) -> Vec<String> {
        let mut inner = self.lock();
        let mut gone = Vec::new();
        match event {
            Event::Init => inner.listing = Some(HashSet::new()),
            Event::InitApply(object) | Event::Apply(object) => {
                let name = inner.set(object);
                if let (Event::InitApply(_), Some(listing)) = (event, &mut inner.listing) {
                    listing.insert(name.clone());
                }
                self.tell_adopted(inner.entries.get(&name));
            }
            Event::InitDone => {
                let listed = inner.listing.take().unwrap_or_default();
                gone = inner.entries.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                inner.listed = true;
            }
            Event::Delete(object) => gone.push(object.name_any()),
        }
        for name in &gone {
            let entry = inner.entries.remove(name);
            self.tell_adopted(entry.as_ref());
            let Some(entry) = entry else { continue };
            self.forget_source(name, entry.reads.as_ref());
            // Another member of the same cluster may have waited for this.
            for (other, twin) in &inner.entries {
                if twin.id.is_some() && twin.id == entry.id {
                    self.roster.members.now(other.clone());
                }
            }
        }
        self.check_start(&inner);
        gone
    }

    /// Whether all members are known.
    pub fn is_listed(&self) -> bool {
        self.lock().listed
    }

    /// Ends when each member that there was at the start has been looked at.
    pub async fn started(&self) {
        // The sender lives as long as this does.
        let _ = self.started.subscribe().wait_for(|started| *started).await;
    }

    /// What is known of a member; nothing of another object of its name.
    pub fn recall(&self, name: &str, uid: &str) -> Entry {
        self.lock().entries.get(name).filter(|entry| entry.uid == uid).cloned().unwrap_or_default()
    }

    /// Changes what is known of a member, if it is still the same object. Returns whether it is.
    pub fn change(&self, name: &str, uid: &str, change: impl FnOnce(&mut Entry)) -> bool {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid == uid) else { return false };
        change(entry);
        true
    }

    /// Whether there is a member of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.lock().entries.contains_key(name)
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
    pub fn reads(&self, name: &str, uid: &str, key: Option<Key>) {
        let before = {
            let mut inner = self.lock();
            let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid == uid) else { return };
            if entry.reads == key {
                return;
            }
            std::mem::replace(&mut entry.reads, key.clone())
        };
        self.forget_source(name, before.as_ref());
        if let Some(key) = key {
            let mut readers = self.roster.kubeconfigs.lock().unwrap_or_else(PoisonError::into_inner);
            readers.entry(key).or_default().insert(name.to_owned());
        }
    }

    /// Notes what a member's cluster is known by, as seen at an address.
    pub fn seen(&self, name: &str, uid: &str, id: &str, server: Option<String>) {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid == uid) else { return };
        let new = entry.id.as_deref() != Some(id);
        (entry.id, entry.seen_at) = (Some(id.to_owned()), server);
        if new {
            for (other, twin) in &inner.entries {
                if other != name && twin.id.as_deref() == Some(id) {
                    self.roster.members.now(other.clone());
                }
            }
        }
    }

    /// The member that a cluster of this id belongs to, if that is one that was there before `name`.
    pub fn elder(&self, name: &str, id: &str) -> Option<String> {
        let inner = self.lock();
        let rank = |name: &str, entry: &Entry| (entry.created, name.to_owned());
        let own = inner.entries.get(name).map(|entry| rank(name, entry))?;
        inner
            .entries
            .iter()
            .filter(|(other, entry)| entry.id.as_deref() == Some(id) && rank(other, entry) < own)
            .map(|(other, entry)| rank(other, entry))
            .min()
            .map(|(_, other)| other)
    }

    fn tell_adopted(&self, entry: Option<&Entry>) {
        if let Some(from) = entry.and_then(|entry| entry.adopted_from.as_ref()) {
            self.adopted.now((from.tool, Key::new(from.namespace.as_str(), from.name.as_str())));
        }
    }

    fn forget_source(&self, name: &str, key: Option<&Key>) {
        let Some(key) = key else { return };
        let mut readers = self.roster.kubeconfigs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = readers.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                readers.remove(key);
            }
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

impl Inner {
    fn set(&mut self, object: &Guarded<MemberCluster>) -> String {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        let entry = self.entries.entry(name.clone()).or_default();
        if entry.uid != uid {
            // A Secret that the one before it read is forgotten when this one's is noted.
            *entry = Entry { uid, reads: entry.reads.take(), ..Entry::default() };
        }
        entry.created = object.meta().creation_timestamp.as_ref().map(|time| time.0);
        if let Ok(object) = &object.0 {
            entry.adopted_from.clone_from(&object.spec.adopted_from);
            if let (None, Some(status)) = (&entry.id, &object.status) {
                (entry.id, entry.seen_at) = (status.cluster_id.clone(), status.server.clone());
            }
        }
        name
    }
}
