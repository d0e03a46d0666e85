//! The keys of the loops, and their queues. The credential and the status loop work on owners.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use crate::{
    api::AdoptedFrom,
    domain::{
        fingerprint::Fingerprint,
        identity::OwnerId,
        schedule::{
            MINTS_PER_NAMESPACE, RECONCILE_RETRY, VERIFICATIONS_PER_NAMESPACE, WORKERS, WORKERS_PER_CLUSTER,
        },
    },
    lock::Lock,
    queue::{Key, Queue, Work},
};

/// A key of the sync loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SyncKey {
    pub owner: OwnerId,
    pub cluster: Arc<str>,
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

/// A credential whose passwords are hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HashKey {
    pub owner: OwnerId,
    pub namespace: Arc<str>,
}

impl Key for HashKey {
    /// Of each namespace one at a time.
    fn group(&self) -> Option<Arc<str>> {
        Some(self.namespace.clone())
    }
}

/// A login that is tried at its server, or a token that is minted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SharedKey {
    pub id: Fingerprint,
    /// Whose places it takes: the namespace of the credential that wanted it first; none for tokens by the operator's own
    /// identity.
    pub namespace: Option<Arc<str>>,
}

impl Key for SharedKey {
    fn group(&self) -> Option<Arc<str>> {
        self.namespace.clone()
    }
}

impl Key for OwnerId {}

impl Key for Arc<str> {}

impl Key for AdoptedFrom {}

impl Key for SyncKey {
    /// No cluster takes another's workers.
    fn group(&self) -> Option<Arc<str>> {
        Some(self.cluster.clone())
    }
}

/// The queues of all loops.
pub(crate) struct Queues {
    pub credential: Arc<Queue<OwnerId, ()>>,
    pub hash: Arc<Queue<HashKey, ()>>,
    pub verification: Arc<Queue<SharedKey, ()>>,
    pub mint: Arc<Queue<SharedKey, ()>>,
    pub sync: Arc<Queue<SyncKey, Dirty>>,
    pub status: Arc<Queue<OwnerId, ()>>,
    /// By the name of the member.
    pub member: Arc<Queue<Arc<str>, ()>>,
    /// By the name of the policy.
    pub policy: Arc<Queue<Arc<str>, ()>>,
    /// By the Secret of another tool.
    pub adoption: Arc<Queue<AdoptedFrom, ()>>,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            credential: Arc::new(Queue::new(WORKERS, RECONCILE_RETRY)),
            hash: Arc::new(Queue::new(1, RECONCILE_RETRY)),
            verification: Arc::new(Queue::new(VERIFICATIONS_PER_NAMESPACE, RECONCILE_RETRY)),
            mint: Arc::new(Queue::new(MINTS_PER_NAMESPACE, RECONCILE_RETRY)),
            sync: Arc::new(Queue::new(WORKERS_PER_CLUSTER, RECONCILE_RETRY)),
            status: Arc::new(Queue::new(WORKERS, RECONCILE_RETRY)),
            member: Arc::new(Queue::new(WORKERS, RECONCILE_RETRY)),
            policy: Arc::new(Queue::new(1, RECONCILE_RETRY)),
            adoption: Arc::new(Queue::new(1, RECONCILE_RETRY)),
        }
    }
}

impl Queues {
    pub fn credential(&self, owner: &OwnerId) {
        self.credential.add(*owner, ());
    }

    pub fn credentials(&self, owners: impl IntoIterator<Item = OwnerId>) {
        for owner in owners {
            self.credential.add(owner, ());
        }
    }

    pub fn status(&self, owner: &OwnerId) {
        self.status.add(*owner, ());
    }

    pub fn sync(&self, owner: &OwnerId, cluster: &Arc<str>, dirty: Dirty) {
        self.sync.add(SyncKey { owner: *owner, cluster: cluster.clone() }, dirty);
    }

    pub fn member(&self, name: &str) {
        self.member.add(name.into(), ());
    }

    pub fn members(&self, names: impl IntoIterator<Item = Arc<str>>) {
        for name in names {
            self.member.add(name, ());
        }
    }

    pub fn policy(&self, name: &str) {
        self.policy.add(name.into(), ());
    }

    pub fn policies(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.policy(&name);
        }
    }

    /// Lets nothing new begin.
    pub fn close(&self) {
        self.credential.close();
        self.hash.close();
        self.verification.close();
        self.mint.close();
        self.sync.close();
        self.status.close();
        self.member.close();
        self.policy.close();
        self.adoption.close();
    }
}

/// What a loop remembers of its keys between two turns. A key is never worked on twice at once, so that it can be
/// taken out meanwhile.
pub(crate) type Memories<K, V> = Lock<HashMap<K, V>>;

impl<K: Eq + Hash, V: Default> Memories<K, V> {
    pub fn take(&self, key: &K) -> V {
        self.write().remove(key).unwrap_or_default()
    }

    pub fn put(&self, key: K, value: V) {
        self.write().insert(key, value);
    }

    pub fn forget(&self, key: &K) {
        self.write().remove(key);
    }
}
