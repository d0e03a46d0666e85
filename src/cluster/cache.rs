//! What the operator keeps of a cluster, fed by watches and by its own writes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::{
    changes::Changes,
    interner::Interner,
    object::{MarkedSecret, SlimNamespace},
    own_writes::{Ending, OwnWrites},
    reflector::name_of,
};
use crate::{
    api::ANNOTATION_ALLOW_SWEEP,
    domain::{
        SecretBytes,
        attachment::Mark,
        connectivity::WatchedKind,
        content::{LAST_APPLIED, produced_type},
        fingerprint::{Fingerprint, FingerprintKey},
        identity::{NamespacedName, OwnerId},
        marks::Marks,
        meta::{ResourceVersion, Uid},
        namespace::{Labels, Namespace},
        ownership::{Hub, Metadata},
        reference_kind::{Kinds, ReferenceKind},
        references::{References, User},
        schedule::MAX_SWEEP_ALLOWANCE,
        snapshot::{ExistingCopy, Snapshot},
    },
};

/// The caches of one cluster.
pub(crate) struct Cache {
    began: Instant,
    /// Who we are: copies of another hub are not ours.
    pub(super) hub: Arc<Hub>,
    fingerprints: Arc<FingerprintKey>,
    pub(super) snapshot: Snapshot,
    /// Who waits for a name to become free.
    waiters: HashMap<NamespacedName, HashSet<OwnerId>>,
    /// Writes of ours to copies, each with the uid of the last object that was shown to go.
    copy_writes: OwnWrites<Option<Uid>>,
    pub(super) texts: Interner<str>,
    labels: Interner<Labels>,
    marks: Interner<Marks>,
    pub(super) entries: Interner<[Arc<str>]>,
    pub(super) attached: Interner<[Mark]>,
    /// Writes of ours to ServiceAccounts, each with the owner that it is for.
    pub(super) account_writes: OwnWrites<OwnerId>,
    /// Whether ServiceAccounts count as users of Secrets, and whether the operator runs there.
    pub(super) accounts_are_users: bool,
    pub(super) is_local: bool,
    /// The uid of `kube-system`, by which a cluster is known.
    pub cluster_id: Option<Arc<str>>,
    /// Namespaces with an annotation by which an administrator lets a sweep go on.
    sweep_allowances: HashMap<Arc<str>, String>,
    /// About how many bytes the labels of all namespaces take, and their annotation.
    pub(super) namespace_texts: usize,
}

impl Cache {
    /// `blocking` are the kinds whose objects hold the Secrets that they use.
    pub fn new(hub: Arc<Hub>, fingerprints: Arc<FingerprintKey>, blocking: Kinds) -> Self {
        Self {
            began: Instant::now(),
            hub,
            fingerprints,
            snapshot: Snapshot { references: References::new(blocking), ..Snapshot::default() },
            waiters: HashMap::new(),
            copy_writes: OwnWrites::default(),
            texts: Interner::default(),
            labels: Interner::default(),
            marks: Interner::default(),
            entries: Interner::default(),
            attached: Interner::default(),
            account_writes: OwnWrites::default(),
            accounts_are_users: true,
            is_local: true,
            cluster_id: None,
            sweep_allowances: HashMap::new(),
            namespace_texts: 0,
        }
    }

    /// The time on the clock of what is kept.
    pub fn clock(&self) -> Duration {
        self.began.elapsed()
    }

    /// What a plan looks at.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The clusters whose sweep may go on, as the annotation of a namespace lists them.
    pub fn sweep_allowance(&self, namespace: &str) -> &str {
        self.sweep_allowances.get(namespace).map_or("", String::as_str)
    }

    /// Puts a Namespace in.
    pub fn set_namespace(&mut self, mut object: SlimNamespace) -> Changes {
        let mut meta = std::mem::take(object.meta_mut());
        let name = self.texts.text(meta.name.as_deref().unwrap_or_default());
        if &*name == "kube-system" {
            self.cluster_id = meta.uid.as_deref().map(Into::into);
        }
        let allowed = meta.annotations.as_mut().and_then(|all| all.remove(ANNOTATION_ALLOW_SWEEP));
        let allowed = allowed.filter(|allowed| allowed.len() <= MAX_SWEEP_ALLOWANCE);
        self.namespace_texts += allowed.as_ref().map_or(0, String::len);
        let before = match allowed {
            Some(allowed) => self.sweep_allowances.insert(name.clone(), allowed),
            None => self.sweep_allowances.remove(&name),
        };
        self.namespace_texts -= before.map_or(0, |text| text.len());
        let terminating = meta.deletion_timestamp.is_some();
        let mut new = Namespace::new(&name, meta.labels.unwrap_or_default(), terminating);
        if self.snapshot.namespaces.get(&name) == Some(&new) {
            return Changes::default();
        }
        new.share(|labels| self.labels.share(labels));
        let before = self.snapshot.namespaces.insert(name.clone(), new.clone());
        self.namespace_texts += new.bytes();
        self.namespace_texts -= before.as_ref().map_or(0, Namespace::bytes);
        Changes { namespaces: vec![(name, before, Some(new))], ..Changes::default() }
    }

    fn remove_namespace(&mut self, name: &str) -> Changes {
        let allowed = self.sweep_allowances.remove(name);
        self.namespace_texts -= allowed.map_or(0, |text| text.len());
        let removed = self.snapshot.namespaces.remove_entry(name);
        self.namespace_texts -= removed.as_ref().map_or(0, |(_, before)| before.bytes());
        let removed = removed.map(|(name, before)| (name, Some(before), None));
        Changes { namespaces: removed.into_iter().collect(), ..Changes::default() }
    }

    /// Reads a Secret that carries our marks; `None` when it lacks an owner, or is another's to write: of
    /// another controller, or of another hub.
    fn read_copy(&mut self, secret: &MarkedSecret) -> Option<ExistingCopy> {
        let meta = secret.meta();
        let metadata = metadata_of(meta);
        let known = || {
            self.snapshot
                .copies
                .get(&name_of(meta))
                .is_some_and(|known| known.uid == meta.uid.as_deref().unwrap_or_default().into())
        };
        // One that lost the id of its hub is ours only if we have seen it with that.
        let ours = metadata.hub().map_or_else(known, |of| self.hub.owns(of));
        let owner = metadata.owner().filter(|_| ours && !metadata.is_kept_by_another())?;
        let data = secret.data.iter();
        let data = data.map(|(key, value)| (key.as_str(), value.as_ref().map_or("", SecretBytes::text)));
        let content = self.fingerprints.fingerprint(&secret.type_, data);
        Some(self.copy(meta, owner, produced_type(&secret.type_), content, &metadata, secret.immutable))
    }

    /// A copy, as what its Secret holds besides its metadata is known.
    pub fn copy(
        &mut self,
        meta: &ObjectMeta,
        owner: OwnerId,
        type_: Option<&'static str>,
        content: Fingerprint,
        metadata: &Metadata,
        immutable: bool,
    ) -> ExistingCopy {
        ExistingCopy {
            owner,
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            type_,
            content,
            plain: meta.finalizers.as_ref().is_none_or(Vec::is_empty)
                && meta.owner_references.as_ref().is_none_or(Vec::is_empty)
                && !metadata.has_others()
                && !immutable,
            immutable,
            terminating: meta.deletion_timestamp.is_some(),
            marks: self.marks.share(Arc::new(Marks::of(metadata))),
        }
    }

    /// A list begins.
    pub fn begin_list(&mut self, kind: WatchedKind) {
        match kind {
            WatchedKind::Copies => self.copy_writes.begin_list(),
            WatchedKind::ACCOUNTS => self.account_writes.begin_list(),
            _ => {}
        }
    }

    /// A list ended that does not show some of what is known. Returns also those copies of which it cannot tell whether
    /// they are there, as they were written meanwhile: they have to be read.
    pub fn end_list(
        &mut self,
        kind: WatchedKind,
        vanished: Vec<NamespacedName>,
    ) -> (Vec<NamespacedName>, Changes) {
        let written = match kind {
            WatchedKind::Copies => self.copy_writes.end_list(),
            _ => HashMap::new(),
        };
        let (unsure, gone): (Vec<_>, Vec<_>) =
            vanished.into_iter().partition(|name| written.contains_key(name));
        let mut changes = match kind {
            WatchedKind::Secrets => self.retry_conflicts(),
            _ => Changes::default(),
        };
        for name in gone {
            changes.add(self.remove(kind, &name, None));
        }
        (unsure, changes)
    }

    /// All that is known of one kind.
    pub fn known(&self, kind: WatchedKind) -> Vec<NamespacedName> {
        match kind {
            WatchedKind::Namespaces => {
                let cluster_wide =
                    |name: &Arc<str>| NamespacedName { namespace: "".into(), name: name.clone() };
                self.snapshot.namespaces.keys().map(cluster_wide).collect()
            }
            WatchedKind::Copies => self.snapshot.copies.names().cloned().collect(),
            WatchedKind::ACCOUNTS => self.known_accounts(),
            WatchedKind::Users(kind) => self.known_users(kind),
            WatchedKind::Grants(kind) => self.snapshot.references.grants().objects(kind).collect(),
            WatchedKind::Secrets => Vec::new(),
        }
    }

    /// Takes out what is gone, as a list or an event with its uid shows.
    pub fn remove(&mut self, kind: WatchedKind, name: &NamespacedName, uid: Option<&str>) -> Changes {
        match kind {
            WatchedKind::Namespaces => self.remove_namespace(&name.name),
            WatchedKind::Copies => self.remove_copy(name, uid),
            WatchedKind::Users(kind) => {
                let mut changes = self.set_uses(&User { kind, name: name.clone() }, Vec::new());
                match kind {
                    ReferenceKind::Pod => changes.add(self.change_stuck(name, None)),
                    ReferenceKind::ServiceAccount => changes.add(self.remove_account(name)),
                    _ => {}
                }
                changes
            }
            WatchedKind::Grants(kind) => {
                let secrets = self.snapshot.references.set_grants(kind, name, Vec::new());
                self.touched(secrets)
            }
            WatchedKind::Secrets => self.freed(name),
        }
    }

    /// The resourceVersion of a copy.
    pub fn version(&self, name: &NamespacedName) -> Option<ResourceVersion> {
        self.snapshot.copies.get(name).map(|copy| copy.resource_version.clone())
    }

    /// Puts a copy in that a watch, a list or a read brought; `None` when it is not ours. `listed` tells that it holds
    /// whatever was known.
    pub fn observe_copy(&mut self, secret: &MarkedSecret, listed: bool) -> Option<Changes> {
        let copy = self.read_copy(secret)?;
        let name = NamespacedName {
            namespace: self.texts.text(secret.meta().namespace.as_deref().unwrap_or_default()),
            name: self.texts.text(secret.meta().name.as_deref().unwrap_or_default()),
        };
        let mut changes = Changes::default();
        let known = self.snapshot.copies.get(&name);
        if self.is_comparable(&name, listed) && known.is_some_and(|known| is_older(&copy, known)) {
            return Some(changes);
        }
        let same = |known: &ExistingCopy| {
            known.owner == copy.owner
                && known.content == copy.content
                && known.marks == copy.marks
                && known.terminating == copy.terminating
                && known.immutable == copy.immutable
        };
        if self.copy_writes.get(&name).is_none() && !known.is_some_and(same) {
            if let Some(known) = known {
                changes.touched.push((known.owner, name.namespace.clone()));
                changes.drift += usize::from(known.owner == copy.owner && !copy.terminating);
            }
            changes.touched.push((copy.owner, name.namespace.clone()));
        }
        self.snapshot.copies.insert(name, copy);
        Some(changes)
    }

    /// A watch or a list shows a Secret that is not ours, or not any more: a copy that was there is gone, unless it is
    /// newer than what is shown.
    pub fn observe_foreign(&mut self, meta: &ObjectMeta, listed: bool) -> Changes {
        let name = name_of(meta);
        let shown: ResourceVersion = meta.resource_version.as_deref().unwrap_or_default().into();
        let newer = self.is_comparable(&name, listed)
            && self
                .snapshot
                .copies
                .get(&name)
                .is_some_and(|known| shown.is_older_than(&known.resource_version));
        if newer {
            return self.freed(&name);
        }
        let mut changes = self.remove_copy(&name, meta.uid.as_deref());
        changes.add(self.remove_copy(&name, None));
        changes
    }

    /// Whether the resourceVersion of what is shown tells if it is newer than what is known. Within one watch, and between
    /// it and our own writes, a larger number is newer. A list is believed whatever was known, but for what was written
    /// while it was read.
    fn is_comparable(&self, name: &NamespacedName, listed: bool) -> bool {
        !listed || self.copy_writes.is_answered(name)
    }

    /// Takes a copy out that is gone, as a list or an event with its uid shows.
    pub fn remove_copy(&mut self, name: &NamespacedName, uid: Option<&str>) -> Changes {
        let mut changes = self.freed(name);
        let uid = uid.map(Uid::from);
        if let (Some(deleted), Some(uid)) = (self.copy_writes.get_mut(name), &uid) {
            *deleted = Some(uid.clone());
        }
        // The end of an older object of this name says nothing of the one that is there now.
        let other = |copy: &ExistingCopy| uid.as_ref().is_some_and(|uid| copy.uid != *uid);
        if self.snapshot.copies.get(name).is_none_or(other) {
            return changes;
        }
        if let Some(copy) = self.snapshot.copies.remove(name) {
            let writable = self.snapshot.namespaces.get(&name.namespace).is_some_and(|n| !n.terminating);
            changes.drift += usize::from(writable && self.copy_writes.get(name).is_none());
            changes.touched.push((copy.owner, name.namespace.clone()));
        }
        changes
    }

    /// A write of ours begins.
    pub fn begin_write(&mut self, name: &NamespacedName) {
        self.copy_writes.begin(name, None);
    }

    /// A write of ours ended without a new copy.
    pub fn end_write(&mut self, name: &NamespacedName) {
        self.copy_writes.end(name, Ending::Unanswered);
    }

    /// Puts a copy in that we wrote. Returns false when another hand was there after us already.
    pub fn wrote_copy(&mut self, name: NamespacedName, copy: ExistingCopy) -> bool {
        let deleted = self.copy_writes.end(&name, Ending::Answered).flatten();
        self.snapshot.conflicts.remove(&name);
        if deleted.is_some_and(|uid| uid == copy.uid) {
            // The watch was faster than the answer, and showed its end too.
            return false;
        }
        let overtaken = self.snapshot.copies.get(&name).is_some_and(|known| is_older(&copy, known));
        if !overtaken {
            self.snapshot.copies.insert(name, copy);
        }
        !overtaken
    }

    /// Takes a copy out that we deleted or released. Returns those who waited for the name.
    pub fn removed_copy(&mut self, name: &NamespacedName) -> Changes {
        self.copy_writes.end(name, Ending::Unanswered);
        let changes = self.freed(name);
        self.snapshot.copies.remove(name);
        changes
    }

    /// A Secret that is not ours changed or went, so that its name may be free.
    pub fn freed(&mut self, name: &NamespacedName) -> Changes {
        self.snapshot.conflicts.remove(name);
        let waiters = self.waiters.remove(name).unwrap_or_default();
        let touched = waiters.into_iter().map(|owner| (owner, name.namespace.clone())).collect();
        Changes { touched, ..Changes::default() }
    }

    /// Notes who waits for names that are taken. Returns whether one of them is free by now.
    pub fn wait_for(&mut self, names: Vec<NamespacedName>, owner: &OwnerId) -> bool {
        let mut free = false;
        for name in names {
            let foreign = self.snapshot.conflicts.contains_key(&name);
            free |= !foreign && self.snapshot.copies.get(&name).is_none_or(|copy| copy.owner == *owner);
            self.waiters.entry(name).or_default().insert(*owner);
        }
        free
    }

    /// Remembers that a name is taken, and by whom. Returns false when `waiter`, who had begun to wait
    /// before it looked, was told meanwhile that something changed: then it must look again.
    pub fn taken(&mut self, name: NamespacedName, owner: String, waiter: &OwnerId) -> bool {
        let waits = self.waiters.get(&name).is_some_and(|waiters| waiters.contains(waiter));
        if waits {
            self.snapshot.conflicts.insert(name, owner);
        }
        waits
    }

    /// Forgets all taken names, so that they are tried again.
    pub fn retry_conflicts(&mut self) -> Changes {
        self.snapshot.conflicts.clear();
        let waiters = std::mem::take(&mut self.waiters);
        let touched = waiters
            .into_iter()
            .flat_map(|(name, owners)| owners.into_iter().map(move |owner| (owner, name.namespace.clone())));
        Changes { touched: touched.collect(), ..Changes::default() }
    }
}

/// Labels and annotations, without the one that holds values.
pub(super) fn metadata_of(meta: &ObjectMeta) -> Metadata {
    let annotations = meta.annotations.iter().flatten().filter(|(key, _)| *key != LAST_APPLIED);
    let annotations = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
    Metadata { labels: meta.labels.clone().unwrap_or_default(), annotations }
}

/// Whether a copy is as it was before the same object was seen again.
fn is_older(copy: &ExistingCopy, than: &ExistingCopy) -> bool {
    copy.uid == than.uid && copy.resource_version.is_older_than(&than.resource_version)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
