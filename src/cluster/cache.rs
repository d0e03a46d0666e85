//! What we keep of a cluster, fed by watches and by our own writes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::object::{MarkedSecret, SlimNamespace, SlimPod};
use crate::{
    api::{ANNOTATION_HUB, ANNOTATION_SOURCE, LABEL_MANAGED_BY, LABEL_OWNER, MANAGER},
    domain::{
        credential::CredentialId,
        fingerprint::FingerprintKey,
        ownership::{Hub, Metadata, OwnerId},
        references::is_finished,
        view::{ClusterView, Conflicts, Copies, Key, Namespace, Namespaces, ObservedCopy, PodReferences},
    },
};

/// The caches of one cluster.
#[derive(Debug)]
pub struct Cache {
    /// The id of our hub: copies of another are not ours.
    hub: Arc<Hub>,
    namespaces: Namespaces,
    copies: Copies,
    references: PodReferences,
    conflicts: Conflicts,
    /// Who waits for a name to become free.
    waiters: HashMap<Key, HashSet<OwnerId>>,
    /// What we are writing just now: an event about it is most likely our own echo.
    writing: HashSet<Key>,
    texts: HashSet<Arc<str>>,
    metadata: HashSet<Arc<Metadata>>,
    cluster_id: Option<Arc<str>>,
}

/// What an event changed, as far as credentials are concerned.
#[derive(Debug, Default)]
pub struct Changes {
    /// Owners of copies that changed by another hand.
    pub owners: HashSet<OwnerId>,
    /// Owners of copies whose users changed.
    pub users: HashSet<OwnerId>,
    /// Owners who waited for a name that is free now.
    pub freed: HashSet<OwnerId>,
    /// Whether a copy was edited or deleted by another hand.
    pub drift: usize,
}

impl Cache {
    /// Empty caches of a cluster to which `hub` pushes.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            namespaces: Namespaces::default(),
            copies: Copies::default(),
            references: PodReferences::default(),
            conflicts: Conflicts::default(),
            waiters: HashMap::new(),
            writing: HashSet::new(),
            texts: HashSet::new(),
            metadata: HashSet::new(),
            cluster_id: None,
        }
    }

    /// What a plan looks at.
    #[must_use]
    pub fn view(&self) -> ClusterView<'_> {
        ClusterView {
            namespaces: &self.namespaces,
            copies: &self.copies,
            references: &self.references,
            conflicts: &self.conflicts,
        }
    }

    /// The uid of `kube-system`, by which a cluster is known.
    #[must_use]
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster_id.clone()
    }

    /// One shared copy of a text.
    pub fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(found) = self.texts.get(text) {
            return found.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }

    /// One shared copy of labels and annotations.
    pub fn intern_metadata(&mut self, metadata: Metadata) -> Arc<Metadata> {
        if let Some(found) = self.metadata.get(&metadata) {
            return found.clone();
        }
        let new = Arc::new(metadata);
        self.metadata.insert(new.clone());
        new
    }

    /// Drops texts and metadata that nothing refers to any more.
    pub fn compact(&mut self) {
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.metadata.retain(|metadata| Arc::strong_count(metadata) > 1);
    }

    /// Puts a Namespace in; returns how it was before, when something changed.
    pub fn set_namespace(&mut self, object: SlimNamespace) -> Option<(Arc<str>, Option<Namespace>)> {
        let meta = object.meta_owned();
        let name = self.intern(meta.name.as_deref().unwrap_or_default());
        if &*name == "kube-system" {
            self.cluster_id = meta.uid.as_deref().map(Into::into);
        }
        let new = Namespace {
            labels: meta.labels.unwrap_or_default(),
            terminating: meta.deletion_timestamp.is_some(),
        };
        let before = self.namespaces.insert(name.clone(), new);
        (before.as_ref() != self.namespaces.get(&name)).then_some((name, before))
    }

    /// Takes a Namespace out.
    pub fn remove_namespace(&mut self, name: &str) -> Option<(Arc<str>, Option<Namespace>)> {
        self.namespaces.remove_entry(name).map(|(name, before)| (name, Some(before)))
    }

    /// Names of all Namespaces.
    pub fn namespace_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.namespaces.keys()
    }

    /// Reads a Secret that carries our mark; `None` when it lacks an owner, or is another's to write: of
    /// another controller, or of another hub.
    pub fn read_copy(&mut self, secret: &MarkedSecret, key: &FingerprintKey) -> Option<(Key, ObservedCopy)> {
        let meta = secret.meta();
        let metadata = metadata_of(meta);
        let another_hub = metadata.annotations.get(ANNOTATION_HUB).is_some_and(|of| !self.hub.owns(of));
        let owner = owner_of(meta).filter(|_| !another_hub && !metadata.is_kept_by_another())?;
        let owner = OwnerId::from_label(self.intern(&owner));
        let place = Key {
            namespace: self.intern(meta.namespace.as_deref().unwrap_or_default()),
            name: self.intern(meta.name.as_deref().unwrap_or_default()),
        };
        let copy = ObservedCopy {
            owner,
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            content: key.fingerprint(
                &secret.type_,
                secret.data.iter().map(|(key, value)| (key.as_str(), value.expose())),
            ),
            plain: meta.finalizers.as_ref().is_none_or(Vec::is_empty)
                && meta.owner_references.is_none()
                && !secret.immutable,
            immutable: secret.immutable,
            terminating: meta.deletion_timestamp.is_some(),
            metadata: self.intern_metadata(metadata),
        };
        Some((place, copy))
    }

    /// Puts a copy in that a watch brought. An event that is older than what we wrote is ignored.
    pub fn observe_copy(&mut self, key: Key, copy: ObservedCopy) -> Changes {
        let mut changes = Changes::default();
        if let Some(known) = self.copies.get(&key) {
            let newer =
                parse(&copy.resource_version) >= parse(&known.resource_version) || known.uid != copy.uid;
            if !newer {
                return changes;
            }
            if known.owner == copy.owner
                && known.content == copy.content
                && known.metadata == copy.metadata
                && known.terminating == copy.terminating
                && known.immutable == copy.immutable
            {
                self.copies.insert(key, copy);
                return changes;
            }
            if !self.writing.contains(&key) {
                changes.owners.insert(known.owner.clone());
                changes.drift += usize::from(known.owner == copy.owner && !copy.terminating);
            }
        }
        if !self.writing.contains(&key) {
            changes.owners.insert(copy.owner.clone());
        }
        self.copies.insert(key, copy);
        changes
    }

    /// A write of ours begins.
    pub fn writing(&mut self, key: &Key) {
        self.writing.insert(key.clone());
    }

    /// A write of ours ended without a new copy.
    pub fn written(&mut self, key: &Key) {
        self.writing.remove(key);
    }

    /// Puts a copy in that we wrote. Returns false when another hand was there after us already.
    pub fn wrote_copy(&mut self, key: Key, copy: ObservedCopy) -> bool {
        self.writing.remove(&key);
        self.conflicts.remove(&key);
        let overtaken = self.copies.get(&key).is_some_and(|known| {
            known.uid == copy.uid && parse(&known.resource_version) > parse(&copy.resource_version)
        });
        if !overtaken {
            self.copies.insert(key, copy);
        }
        !overtaken
    }

    /// Takes a copy out that is gone. `ours` tells that we deleted it.
    pub fn remove_copy(&mut self, key: &Key, ours: bool) -> Changes {
        let mut changes = self.freed(key);
        if ours {
            self.writing.remove(key);
        }
        if let Some(copy) = self.copies.remove(key)
            && !ours
        {
            changes.drift += usize::from(self.namespaces.get(&key.namespace).is_some_and(|n| !n.terminating));
            changes.owners.insert(copy.owner);
        }
        changes
    }

    /// A Secret that is not ours changed or went, so that its name may be free.
    pub fn freed(&mut self, key: &Key) -> Changes {
        self.conflicts.remove(key);
        Changes { freed: self.waiters.remove(key).unwrap_or_default(), ..Changes::default() }
    }

    /// Remembers that a name is taken, and by whom. Returns false when `waiter`, who had begun to wait
    /// before it looked, was told meanwhile that something changed: then it must look again.
    pub fn taken(&mut self, key: Key, owner: String, waiter: &OwnerId) -> bool {
        let waits = self.waiters.get(&key).is_some_and(|waiters| waiters.contains(waiter));
        if waits {
            self.conflicts.insert(key, owner);
        }
        waits
    }

    /// Forgets all taken names, so that they are tried again.
    pub fn retry_conflicts(&mut self) {
        self.conflicts.clear();
    }

    /// Notes who waits for a name.
    pub fn wait_for(&mut self, key: Key, owner: OwnerId) {
        self.waiters.entry(key).or_default().insert(owner);
    }

    /// Puts a Pod's references in; returns the owners of copies whose users changed.
    pub fn set_pod(&mut self, pod: &SlimPod) -> Changes {
        let meta = pod.meta();
        let key = Key {
            namespace: self.intern(meta.namespace.as_deref().unwrap_or_default()),
            name: meta.name.as_deref().unwrap_or_default().into(),
        };
        let mut uses = Vec::new();
        if !is_finished(pod.status.phase.as_deref(), meta.deletion_timestamp.is_some()) {
            pod.spec.visit(|name, field| uses.push((name, field)));
        }
        let uses = uses.into_iter().map(|(name, field)| (self.intern(name), field)).collect();
        self.set_references(&key, uses)
    }

    /// Takes a Pod out.
    pub fn remove_pod(&mut self, key: &Key) -> Changes {
        self.set_references(key, Vec::new())
    }

    /// Pods that are known to use Secrets.
    pub fn pods(&self) -> impl Iterator<Item = &Key> {
        self.references.pods()
    }

    /// All copies.
    pub fn copy_keys(&self) -> impl Iterator<Item = &Key> {
        self.copies.keys()
    }

    fn set_references(&mut self, pod: &Key, uses: Vec<(Arc<str>, &'static str)>) -> Changes {
        let changed = self.references.set(pod, uses);
        let users = changed
            .into_iter()
            .filter_map(|name| self.copies.get(&Key { namespace: pod.namespace.clone(), name }))
            .map(|copy| copy.owner.clone())
            .collect();
        Changes { users, ..Changes::default() }
    }
}

trait MetaOwned {
    fn meta_owned(self) -> ObjectMeta;
}

impl<K: Resource> MetaOwned for K {
    fn meta_owned(mut self) -> ObjectMeta {
        std::mem::take(self.meta_mut())
    }
}

/// Labels and annotations, without what may hold a value: `kubectl apply` keeps the whole object
/// that it applied in an annotation.
pub fn metadata_of(meta: &ObjectMeta) -> Metadata {
    Metadata {
        labels: meta.labels.clone().unwrap_or_default(),
        annotations: meta
            .annotations
            .iter()
            .flatten()
            .filter(|(key, _)| *key != LAST_APPLIED)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The owner by label, or, where that was removed, by the source annotation.
fn owner_of(meta: &ObjectMeta) -> Option<String> {
    let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key));
    if let Some(owner) =
        label(LABEL_OWNER).filter(|_| label(LABEL_MANAGED_BY).is_some_and(|by| by == MANAGER))
    {
        return Some(owner.clone());
    }
    let annotations = meta.annotations.as_ref()?;
    annotations.get(ANNOTATION_HUB)?;
    let id = CredentialId::parse(annotations.get(ANNOTATION_SOURCE)?)?;
    Some(id.owner().as_str().to_owned())
}

/// A resourceVersion as a number: Kubernetes has made them comparable (KEP-5504); what does not
/// parse is taken for the newest.
fn parse(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(u64::MAX)
}

/// The key of an object.
pub fn key_of(meta: &ObjectMeta) -> Key {
    Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
