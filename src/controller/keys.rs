//! The keys of the loops, and their queues.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    api::{AdoptedFrom, ClusterTool},
    domain::{
        identity::{NamespacedName, OwnerId},
        schedule::{RECONCILE_RETRY, WORKERS, WORKERS_PER_CLUSTER},
    },
    queue::{Key, Queue, Work},
};

/// A key of the credential loop and of the status loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CredentialKey(pub OwnerId);

/// A key of the sync loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SyncKey {
    pub owner: OwnerId,
    pub cluster: Arc<str>,
}

/// A key of the member loop: the name of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MemberKey(pub Arc<str>);

/// A key of the adoption loop: a Secret of another tool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AdoptionKey {
    pub tool: ClusterTool,
    pub secret: NamespacedName,
}

impl AdoptionKey {
    pub fn of(from: &AdoptedFrom) -> Self {
        let secret = NamespacedName::new(from.namespace.as_str(), from.name.as_str());
        Self { tool: from.tool, secret }
    }
}

/// What has to be looked at in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    pub all: bool,
    pub namespaces: HashSet<Arc<str>>,
}

impl Dirty {
    pub fn all() -> Self {
        Self { all: true, namespaces: HashSet::new() }
    }

    pub fn namespace(name: Arc<str>) -> Self {
        Self { all: false, namespaces: HashSet::from([name]) }
    }
}

impl Work for Dirty {
    fn merge(&mut self, other: Self) {
        self.all |= other.all;
        if self.all {
            self.namespaces = HashSet::new();
        } else {
            self.namespaces.extend(other.namespaces);
        }
    }
}

macro_rules! ungrouped {
    ($($key:ty),+) => {
        $(impl Key for $key {
            type Group = ();

            fn group(&self) {}
        })+
    };
}

ungrouped!(CredentialKey, MemberKey, AdoptionKey);

impl Key for SyncKey {
    /// No cluster takes another's workers.
    type Group = Arc<str>;

    fn group(&self) -> Arc<str> {
        self.cluster.clone()
    }
}

/// The queues of all loops.
pub(crate) struct Queues {
    pub credential: Arc<Queue<CredentialKey, ()>>,
    pub sync: Arc<Queue<SyncKey, Dirty>>,
    pub status: Arc<Queue<CredentialKey, ()>>,
    pub member: Arc<Queue<MemberKey, ()>>,
    pub adoption: Arc<Queue<AdoptionKey, ()>>,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            credential: Arc::new(Queue::new(WORKERS, RECONCILE_RETRY)),
            sync: Arc::new(Queue::new(WORKERS_PER_CLUSTER, RECONCILE_RETRY)),
            status: Arc::new(Queue::new(WORKERS, RECONCILE_RETRY)),
            member: Arc::new(Queue::new(WORKERS, RECONCILE_RETRY)),
            adoption: Arc::new(Queue::new(1, RECONCILE_RETRY)),
        }
    }
}

impl Queues {
    pub fn credential(&self, owner: &OwnerId) {
        self.credential.add(CredentialKey(owner.clone()), ());
    }

    pub fn status(&self, owner: &OwnerId) {
        self.status.add(CredentialKey(owner.clone()), ());
    }

    pub fn sync(&self, owner: &OwnerId, cluster: &Arc<str>, dirty: Dirty) {
        self.sync.add(SyncKey { owner: owner.clone(), cluster: cluster.clone() }, dirty);
    }

    pub fn member(&self, name: &str) {
        self.member.add(MemberKey(name.into()), ());
    }

    /// Lets nothing new begin.
    pub fn close(&self) {
        self.credential.close();
        self.sync.close();
        self.status.close();
        self.member.close();
        self.adoption.close();
    }
}

/// What a loop remembers of its keys between two turns. A key is never worked on twice at once, so that it can be
/// taken out meanwhile.
pub(crate) struct Memories<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Memories<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + std::hash::Hash, V: Default> Memories<K, V> {
    pub fn take(&self, key: &K) -> V {
        self.lock().remove(key).unwrap_or_default()
    }

    pub fn put(&self, key: K, value: V) {
        self.lock().insert(key, value);
    }

    pub fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
