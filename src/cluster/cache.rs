//! What the operator keeps of a cluster, fed by watches and by its own writes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::{
    handler::Touched,
    interner::Interner,
    object::{MarkedSecret, SlimNamespace, SlimPod},
    reflector::name_of,
};
use crate::{
    api::{
        ANNOTATION_ALLOW_SWEEP, ANNOTATION_HUB, ANNOTATION_SOURCE, LABEL_MANAGED_BY, LABEL_OWNER, MANAGER,
    },
    domain::{
        content::produced_type,
        fingerprint::FingerprintKey,
        identity::{CredentialId, NamespacedName, OwnerId},
        meta::Uid,
        namespace::{Labels, Namespace},
        ownership::{Hub, Metadata},
        pod_secrets::is_finished,
        references::{ReferenceKind, References, User},
        snapshot::{Conflicts, Copies, ExistingCopy, Namespaces, Snapshot},
    },
};

/// The caches of one cluster.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Who we are: copies of another hub are not ours.
    hub: Arc<Hub>,
    namespaces: Namespaces,
    copies: Copies,
    references: References,
    conflicts: Conflicts,
    /// Who waits for a name to become free.
    waiters: HashMap<NamespacedName, HashSet<OwnerId>>,
    /// Writes of ours in flight: an event about such a copy is most likely our own echo.
    in_flight: HashMap<NamespacedName, InFlight>,
    /// While copies are listed: those with a write of ours in flight at any time since the list began. The list may
    /// show them as they were before or after it.
    exempt: Option<HashSet<NamespacedName>>,
    texts: Interner<str>,
    labels: Interner<Labels>,
    metadata: Interner<Metadata>,
    cluster_id: Option<Arc<str>>,
    /// Namespaces with an annotation by which an administrator lets a sweep go on.
    sweep_allowances: HashMap<Arc<str>, String>,
}

#[derive(Debug, Default)]
struct InFlight {
    /// The uid of the last object that a watch has shown to go meanwhile.
    deleted: Option<Uid>,
}

/// What an event changed, as far as credentials are concerned.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub touched: Vec<Touched>,
    /// How many copies were edited or deleted by another hand.
    pub drift: usize,
}

/// A Namespace that changed: its name, and how it was before and is now.
pub(crate) type NamespaceChange = (Arc<str>, Option<Namespace>, Option<Namespace>);

impl Cache {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            namespaces: Namespaces::default(),
            copies: Copies::default(),
            references: References::default(),
            conflicts: Conflicts::default(),
            waiters: HashMap::new(),
            in_flight: HashMap::new(),
            exempt: None,
            texts: Interner::default(),
            labels: Interner::default(),
            metadata: Interner::default(),
            cluster_id: None,
            sweep_allowances: HashMap::new(),
        }
    }

    /// What a plan looks at.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            namespaces: &self.namespaces,
            copies: &self.copies,
            references: &self.references,
            conflicts: &self.conflicts,
        }
    }

    /// The uid of `kube-system`, by which a cluster is known.
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster_id.clone()
    }

    /// The clusters whose sweep may go on, as the annotation of a namespace lists them.
    pub fn sweep_allowance(&self, namespace: &str) -> &str {
        self.sweep_allowances.get(namespace).map_or("", String::as_str)
    }

    /// Puts a Namespace in; `None` when nothing changed.
    pub fn set_namespace(&mut self, mut object: SlimNamespace) -> Option<NamespaceChange> {
        let meta = std::mem::take(object.meta_mut());
        let name = self.texts.text(meta.name.as_deref().unwrap_or_default());
        if &*name == "kube-system" {
            self.cluster_id = meta.uid.as_deref().map(Into::into);
        }
        match meta.annotations.as_ref().and_then(|all| all.get(ANNOTATION_ALLOW_SWEEP)) {
            Some(allowed) => self.sweep_allowances.insert(name.clone(), allowed.clone()),
            None => self.sweep_allowances.remove(&name),
        };
        let terminating = meta.deletion_timestamp.is_some();
        let mut new = Namespace::new(&name, meta.labels.unwrap_or_default(), terminating);
        if self.namespaces.get(&name) == Some(&new) {
            return None;
        }
        new.share(|labels| self.labels.share(labels));
        let before = self.namespaces.insert(name.clone(), new.clone());
        Some((name, before, Some(new)))
    }

    /// Takes a Namespace out.
    pub fn remove_namespace(&mut self, name: &str) -> Option<NamespaceChange> {
        self.sweep_allowances.remove(name);
        self.namespaces.remove_entry(name).map(|(name, before)| (name, Some(before), None))
    }

    /// Reads a Secret that carries our marks; `None` when it lacks an owner, or is another's to write: of
    /// another controller, or of another hub.
    pub fn read_copy(
        &mut self,
        secret: &MarkedSecret,
        key: &FingerprintKey,
    ) -> Option<(NamespacedName, ExistingCopy)> {
        let meta = secret.meta();
        let metadata = metadata_of(meta);
        let another_hub = metadata.annotations.get(ANNOTATION_HUB).is_some_and(|of| !self.hub.owns(of));
        let owner = owner_of(meta).filter(|_| !another_hub && !metadata.is_kept_by_another())?;
        let name = self.name(meta);
        let copy = ExistingCopy {
            owner: OwnerId::from_label(self.texts.text(&owner)),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            type_: produced_type(&secret.type_),
            content: key.fingerprint(
                &secret.type_,
                secret.data.iter().map(|(key, value)| (key.as_str(), value.expose())),
            ),
            plain: meta.finalizers.as_ref().is_none_or(Vec::is_empty)
                && meta.owner_references.is_none()
                && !secret.immutable,
            immutable: secret.immutable,
            terminating: meta.deletion_timestamp.is_some(),
            metadata: self.share(metadata),
        };
        Some((name, copy))
    }

    /// One shared copy of labels and annotations.
    pub fn share(&mut self, metadata: Metadata) -> Arc<Metadata> {
        self.metadata.share(Arc::new(metadata))
    }

    /// A list of copies begins.
    pub fn begin_list(&mut self) {
        self.exempt = Some(self.in_flight.keys().cloned().collect());
    }

    /// A list of copies ended. Returns those of which it cannot tell whether they are there, as they were written
    /// meanwhile: they have to be read.
    pub fn end_list(&mut self, not_shown: Vec<NamespacedName>) -> (Vec<NamespacedName>, Changes) {
        let exempt = self.exempt.take().unwrap_or_default();
        let mut changes = Changes::default();
        let mut unsure = Vec::new();
        for name in not_shown {
            if exempt.contains(&name) {
                unsure.push(name);
            } else {
                changes.add(self.remove_copy(&name, None));
            }
        }
        (unsure, changes)
    }

    /// Puts a copy in that a watch or a list brought.
    pub fn observe_copy(&mut self, name: NamespacedName, copy: ExistingCopy, listed: bool) -> Changes {
        let mut changes = Changes::default();
        if let Some(known) = self.copies.get(&name) {
            // Within one watch, and between it and our own writes, a larger number is newer. A list is believed
            // whatever was known, but for what was written while it was read.
            let comparable = !listed || self.exempt.as_ref().is_some_and(|exempt| exempt.contains(&name));
            if comparable
                && known.uid == copy.uid
                && copy.resource_version.is_older_than(&known.resource_version)
            {
                return changes;
            }
            if known.owner == copy.owner
                && known.content == copy.content
                && known.metadata == copy.metadata
                && known.terminating == copy.terminating
                && known.immutable == copy.immutable
            {
                self.copies.insert(name, copy);
                return changes;
            }
            if !self.in_flight.contains_key(&name) {
                changes.touched.push((known.owner.clone(), name.namespace.clone()));
                changes.drift += usize::from(known.owner == copy.owner && !copy.terminating);
            }
        }
        if !self.in_flight.contains_key(&name) {
            changes.touched.push((copy.owner.clone(), name.namespace.clone()));
        }
        self.copies.insert(name, copy);
        changes
    }

    /// Takes a copy out that is gone, as a list or an event with its uid shows.
    pub fn remove_copy(&mut self, name: &NamespacedName, uid: Option<&str>) -> Changes {
        let mut changes = self.freed(name);
        let uid = uid.map(Uid::from);
        if let (Some(in_flight), Some(uid)) = (self.in_flight.get_mut(name), &uid) {
            in_flight.deleted = Some(uid.clone());
        }
        // The end of an older object of this name says nothing of the one that is there now.
        let other = |copy: &ExistingCopy| uid.as_ref().is_some_and(|uid| copy.uid != *uid);
        if self.copies.get(name).is_none_or(other) {
            return changes;
        }
        if let Some(copy) = self.copies.remove(name) {
            let writable = self.namespaces.get(&name.namespace).is_some_and(|n| !n.terminating);
            changes.drift += usize::from(writable && !self.in_flight.contains_key(name));
            changes.touched.push((copy.owner, name.namespace.clone()));
        }
        changes
    }

    /// A write of ours begins.
    pub fn begin_write(&mut self, name: &NamespacedName) {
        self.in_flight.insert(name.clone(), InFlight::default());
        if let Some(exempt) = &mut self.exempt {
            exempt.insert(name.clone());
        }
    }

    /// A write of ours ended without a new copy.
    pub fn end_write(&mut self, name: &NamespacedName) {
        self.in_flight.remove(name);
    }

    /// Puts a copy in that we wrote. Returns false when another hand was there after us already.
    pub fn wrote_copy(&mut self, name: NamespacedName, copy: ExistingCopy) -> bool {
        let deleted = self.in_flight.remove(&name).and_then(|in_flight| in_flight.deleted);
        self.conflicts.remove(&name);
        if deleted.is_some_and(|uid| uid == copy.uid) {
            // The watch was faster than the answer, and showed its end too.
            return false;
        }
        let overtaken = self.copies.get(&name).is_some_and(|known| {
            known.uid == copy.uid && copy.resource_version.is_older_than(&known.resource_version)
        });
        if !overtaken {
            self.copies.insert(name, copy);
        }
        !overtaken
    }

    /// Takes a copy out that we deleted or released. Returns those who waited for the name.
    pub fn removed_copy(&mut self, name: &NamespacedName) -> Changes {
        self.in_flight.remove(name);
        let changes = self.freed(name);
        self.copies.remove(name);
        changes
    }

    /// A Secret that is not ours changed or went, so that its name may be free.
    pub fn freed(&mut self, name: &NamespacedName) -> Changes {
        self.conflicts.remove(name);
        let waiters = self.waiters.remove(name).unwrap_or_default();
        let touched = waiters.into_iter().map(|owner| (owner, name.namespace.clone())).collect();
        Changes { touched, drift: 0 }
    }

    /// Notes who waits for names that are taken. Returns whether one of them is free by now.
    pub fn wait_for(&mut self, names: Vec<NamespacedName>, owner: &OwnerId) -> bool {
        let mut free = false;
        for name in names {
            let foreign = self.conflicts.contains_key(&name);
            free |= !foreign && self.copies.get(&name).is_none_or(|copy| copy.owner == *owner);
            self.waiters.entry(name).or_default().insert(owner.clone());
        }
        free
    }

    /// Remembers that a name is taken, and by whom. Returns false when `waiter`, who had begun to wait
    /// before it looked, was told meanwhile that something changed: then it must look again.
    pub fn taken(&mut self, name: NamespacedName, owner: String, waiter: &OwnerId) -> bool {
        let waits = self.waiters.get(&name).is_some_and(|waiters| waiters.contains(waiter));
        if waits {
            self.conflicts.insert(name, owner);
        }
        waits
    }

    /// Forgets all taken names, so that they are tried again.
    pub fn retry_conflicts(&mut self) -> Changes {
        self.conflicts.clear();
        let waiters = std::mem::take(&mut self.waiters);
        let touched = waiters
            .into_iter()
            .flat_map(|(name, owners)| owners.into_iter().map(move |owner| (owner, name.namespace.clone())));
        Changes { touched: touched.collect(), drift: 0 }
    }

    /// Puts a Pod's references in.
    pub fn set_pod(&mut self, pod: &SlimPod) -> Changes {
        let meta = pod.meta();
        let mut uses = Vec::new();
        if !is_finished(pod.status.phase.as_deref(), meta.deletion_timestamp.is_some()) {
            pod.spec.visit(|name, field| uses.push((name, field)));
        }
        let uses = uses.into_iter().map(|(name, field)| (self.texts.text(name), field)).collect();
        let namespace = self.texts.text(meta.namespace.as_deref().unwrap_or_default());
        self.set_references(namespace, meta.name.as_deref().unwrap_or_default(), uses)
    }

    /// Takes a Pod out.
    pub fn remove_pod(&mut self, name: &NamespacedName) -> Changes {
        self.set_references(name.namespace.clone(), &name.name, Vec::new())
    }

    fn set_references(
        &mut self,
        namespace: Arc<str>,
        pod: &str,
        uses: Vec<(Arc<str>, &'static str)>,
    ) -> Changes {
        let name = NamespacedName { namespace: namespace.clone(), name: pod.into() };
        let changed = self.references.set(&User { kind: ReferenceKind::Pod, name }, uses);
        let touched = changed
            .into_iter()
            .filter_map(|name| self.copies.get(&NamespacedName { namespace: namespace.clone(), name }))
            .map(|copy| (copy.owner.clone(), namespace.clone()))
            .collect();
        Changes { touched, drift: 0 }
    }

    fn name(&mut self, meta: &ObjectMeta) -> NamespacedName {
        NamespacedName {
            namespace: self.texts.text(meta.namespace.as_deref().unwrap_or_default()),
            name: self.texts.text(meta.name.as_deref().unwrap_or_default()),
        }
    }
}

impl Changes {
    pub fn add(&mut self, other: Self) {
        self.touched.extend(other.touched);
        self.drift += other.drift;
    }
}

/// Labels and annotations, without what may hold a value: `kubectl apply` keeps the whole object
/// that it applied in an annotation.
pub(super) fn metadata_of(meta: &ObjectMeta) -> Metadata {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
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

/// Namespace and name of an object.
pub(super) fn key_of<K: Resource>(object: &K) -> NamespacedName {
    name_of(object.meta())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
