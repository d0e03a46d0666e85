//! Who is concerned by a change: from owner marks, sources and namespaces back to credentials.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::Stream;
use kube::{
    Resource, ResourceExt,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use super::{Guarded, wake::Wakes};
use crate::{
    api::{ClusterSelector, NamespaceSelector},
    domain::{
        Credential, CredentialId,
        ownership::OwnerId,
        selection::{LOCAL, NamespaceMatcher, canonical},
        view::{Key, Namespace},
    },
};

/// The version of a source of which changes may have been missed: newer than any.
pub const MISSED: u64 = u64::MAX;

/// The credentials of one kind, findable by what they depend on.
pub struct Index<K: Credential> {
    inner: Mutex<Inner<K>>,
    wakes: Arc<Wakes<ObjectRef<Guarded<K>>>>,
    operator_namespace: String,
}

struct Inner<K: Credential> {
    entries: HashMap<OwnerId, Entry<K>>,
    /// Which credentials read a Secret.
    readers: HashMap<Key, HashSet<OwnerId>>,
    /// The newest version of each source Secret that a watch has shown.
    versions: HashMap<Key, u64>,
    listing: Option<HashSet<OwnerId>>,
    ready: bool,
}

struct Entry<K: Credential> {
    reference: ObjectRef<Guarded<K>>,
    namespace: String,
    clusters: Option<ClusterSelector>,
    selector: Option<NamespaceSelector>,
    sources: Vec<Key>,
    deleting: bool,
}

impl<K: Credential> Entry<K> {
    /// Whether it may want anything of a cluster. Labels are not asked: a pass will.
    fn may_want(&self, cluster: &str) -> bool {
        match &self.clusters {
            None => cluster == LOCAL,
            Some(clusters) => {
                clusters.selector.is_some() || clusters.names.iter().any(|name| canonical(name) == cluster)
            }
        }
    }
}

/// What all kinds can be asked, whatever their type.
pub trait Listener: Send + Sync {
    /// Copies of an owner changed. Returns whether the owner is of this kind.
    fn owner(&self, owner: &OwnerId, urgent: bool) -> bool;
    /// A namespace of a cluster came, changed or went.
    fn namespace(&self, cluster: &str, name: &str, before: Option<&Namespace>, after: Option<&Namespace>);
    /// A member can be worked with, or no longer can.
    fn cluster(&self, cluster: &str);
    /// A Secret changed.
    fn secret(&self, key: &Key, version: u64);
    /// Everybody's sources may have changed.
    fn secrets_missed(&self);
    /// Everybody is to be looked at.
    fn all(&self);
    /// The kind's name.
    fn kind(&self) -> String;
    /// Whether all credentials of the kind are known.
    fn is_ready(&self) -> bool;
    /// Whether there is a credential with this mark.
    fn has(&self, owner: &OwnerId) -> bool;
}

impl<K: Credential> Index<K> {
    /// An empty index.
    #[must_use]
    pub fn new(operator_namespace: &str) -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: HashMap::new(),
                readers: HashMap::new(),
                versions: HashMap::new(),
                listing: None,
                ready: false,
            }),
            wakes: Arc::new(Wakes::new()),
            operator_namespace: operator_namespace.to_owned(),
        }
    }

    /// The kind's name.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match K::kind(&()) {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => "Credential",
        }
    }

    /// Who is to be looked at.
    pub fn wakes(&self) -> impl Stream<Item = ObjectRef<Guarded<K>>> + Send + 'static {
        self.wakes.clone().stream()
    }

    /// Takes in an event of the kind's own watch.
    pub fn observe(&self, event: &Event<Guarded<K>>) {
        let mut inner = self.lock();
        match event {
            Event::Init => inner.listing = Some(HashSet::new()),
            Event::InitApply(object) => {
                let owner = inner.set(object);
                if let Some(listing) = &mut inner.listing {
                    listing.insert(owner);
                }
            }
            Event::InitDone => {
                let listed = inner.listing.take().unwrap_or_default();
                let gone: Vec<OwnerId> =
                    inner.entries.keys().filter(|owner| !listed.contains(*owner)).cloned().collect();
                for owner in gone {
                    inner.remove(&owner);
                }
                inner.ready = true;
            }
            Event::Apply(object) => {
                inner.set(object);
            }
            Event::Delete(object) => inner.remove(&owner_of(object)),
        }
    }

    /// The newest version of a source that a watch has shown; 0 when it has shown none.
    #[must_use]
    pub fn version(&self, source: &Key) -> u64 {
        self.lock().versions.get(source).copied().unwrap_or(0)
    }

    /// Notes that a source of which changes may have been missed was read.
    pub fn caught_up(&self, source: &Key, version: u64) {
        let mut inner = self.lock();
        if inner.versions.get(source) == Some(&MISSED) {
            inner.versions.insert(source.clone(), version);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner_of<K: Credential>(object: &Guarded<K>) -> OwnerId {
    CredentialId::of_kind::<K>(object.meta()).owner()
}

impl<K: Credential> Inner<K> {
    fn set(&mut self, object: &Guarded<K>) -> OwnerId {
        let owner = owner_of(object);
        let namespace = object.namespace().unwrap_or_default();
        let (clusters, selector, names) = match &object.0 {
            Ok(object) => {
                let target = object.target();
                (target.clusters.clone(), target.namespaces.clone(), object.sources())
            }
            Err(_) => (None, None, Vec::new()),
        };
        let sources: Vec<Key> = names.into_iter().map(|name| Key::new(namespace.as_str(), name)).collect();
        self.forget_sources(&owner, &sources);
        for source in &sources {
            self.readers.entry(source.clone()).or_default().insert(owner.clone());
        }
        let entry = Entry {
            reference: ObjectRef::from_obj(object),
            namespace,
            clusters,
            selector,
            sources,
            deleting: object.meta().deletion_timestamp.is_some(),
        };
        self.entries.insert(owner.clone(), entry);
        owner
    }

    fn remove(&mut self, owner: &OwnerId) {
        self.forget_sources(owner, &[]);
        self.entries.remove(owner);
    }

    /// Drops the sources of an owner, but for those that it keeps.
    fn forget_sources(&mut self, owner: &OwnerId, keep: &[Key]) {
        let Some(entry) = self.entries.get(owner) else { return };
        for source in entry.sources.iter().filter(|source| !keep.contains(source)) {
            if let Some(readers) = self.readers.get_mut(source) {
                readers.remove(owner);
                if readers.is_empty() {
                    self.readers.remove(source);
                    self.versions.remove(source);
                }
            }
        }
    }
}

impl<K: Credential> Listener for Index<K> {
    fn owner(&self, owner: &OwnerId, urgent: bool) -> bool {
        let inner = self.lock();
        let Some(entry) = inner.entries.get(owner) else { return false };
        if urgent || entry.deleting {
            self.wakes.now(entry.reference.clone());
        } else {
            self.wakes.soon(entry.reference.clone());
        }
        true
    }

    fn namespace(&self, cluster: &str, name: &str, before: Option<&Namespace>, after: Option<&Namespace>) {
        for entry in self.lock().entries.values() {
            if !entry.may_want(cluster) && cluster != LOCAL {
                continue;
            }
            let concerned = entry.namespace == name
                || entry.selector.as_ref().is_some_and(|selector| {
                    let matcher = NamespaceMatcher::new(selector, &self.operator_namespace);
                    [before, after].into_iter().flatten().any(|seen| matcher.matches(name, &seen.labels))
                });
            if concerned {
                self.wakes.now(entry.reference.clone());
            }
        }
    }

    fn cluster(&self, cluster: &str) {
        for entry in self.lock().entries.values() {
            if entry.may_want(cluster) || entry.deleting {
                self.wakes.soon(entry.reference.clone());
            }
        }
    }

    fn secret(&self, key: &Key, version: u64) {
        let mut inner = self.lock();
        let Some(readers) = inner.readers.get(key) else { return };
        for entry in readers.iter().filter_map(|owner| inner.entries.get(owner)) {
            self.wakes.now(entry.reference.clone());
        }
        let newest = inner.versions.entry(key.clone()).or_default();
        *newest = version.max(*newest);
    }

    fn secrets_missed(&self) {
        let mut inner = self.lock();
        let sources: Vec<Key> = inner.readers.keys().cloned().collect();
        for source in sources {
            inner.versions.insert(source, MISSED);
        }
        drop(inner);
        self.all();
    }

    fn all(&self) {
        for entry in self.lock().entries.values() {
            self.wakes.now(entry.reference.clone());
        }
    }

    fn kind(&self) -> String {
        K::kind(&()).into_owned()
    }

    fn is_ready(&self) -> bool {
        self.lock().ready
    }

    fn has(&self, owner: &OwnerId) -> bool {
        self.lock().entries.contains_key(owner)
    }
}
