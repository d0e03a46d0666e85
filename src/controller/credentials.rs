//! All credentials as the API server has them, and who reads which source.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    api::CredentialKind,
    domain::{
        declared::Declared,
        identity::{NamespacedName, OwnerId},
    },
    lock::Lock,
};

/// All credentials, findable by what they depend on.
#[derive(Default)]
pub(crate) struct Credentials(Lock<Inner>);

#[derive(Default)]
struct Inner {
    by_owner: HashMap<OwnerId, Arc<Declared>>,
    sources: HashMap<NamespacedName, Source>,
    listed: HashSet<CredentialKind>,
    /// Owners whose credential went through our finalizer in this process: what is left of their copies goes without
    /// a quiet period.
    finalized: HashSet<OwnerId>,
}

/// A Secret that credentials read.
#[derive(Default)]
struct Source {
    readers: HashSet<OwnerId>,
    /// The resourceVersion that all readers have read, or that there was no such Secret; `None` while one of them has
    /// to read it anew.
    read: Option<Option<String>>,
    /// Grows with each change that was not read yet.
    changes: u64,
    /// Whether the list in progress has shown it.
    shown: bool,
}

/// What differs from the credential as it was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// More than the status.
    Credential,
    /// The status alone.
    Status,
    Nothing,
}

impl Credentials {
    pub fn get(&self, owner: &OwnerId) -> Option<Arc<Declared>> {
        self.0.read().by_owner.get(owner).cloned()
    }

    pub fn has(&self, owner: &OwnerId) -> bool {
        self.0.read().by_owner.contains_key(owner)
    }

    pub fn owners(&self) -> Vec<OwnerId> {
        self.0.read().by_owner.keys().cloned().collect()
    }

    /// The credentials of one kind.
    pub fn of_kind(&self, kind: CredentialKind) -> Vec<Arc<Declared>> {
        self.0.read().by_owner.values().filter(|declared| declared.id.kind == kind).cloned().collect()
    }

    /// How many credentials of each kind there are in each namespace.
    pub fn counts(&self) -> HashMap<(CredentialKind, Arc<str>), usize> {
        let mut counts = HashMap::new();
        for declared in self.0.read().by_owner.values() {
            *counts.entry((declared.id.kind, declared.id.namespace.clone())).or_default() += 1;
        }
        counts
    }

    /// The credentials in a namespace.
    pub fn within(&self, namespace: &str) -> Vec<OwnerId> {
        let inner = self.0.read();
        let within = inner.by_owner.iter().filter(|(_, declared)| *declared.id.namespace == *namespace);
        within.map(|(owner, _)| *owner).collect()
    }

    /// Whether all credentials of all kinds are known, so that one that is not known is not there.
    pub fn is_listed(&self) -> bool {
        let inner = self.0.read();
        CredentialKind::ALL.iter().all(|kind| inner.listed.contains(kind))
    }

    pub fn listed(&self, kind: CredentialKind) {
        self.0.write().listed.insert(kind);
    }

    /// Puts a credential in.
    pub fn set(&self, declared: Declared) -> Difference {
        let owner = declared.id.owner();
        let mut inner = self.0.write();
        inner.set_sources(&owner, declared.source_secrets());
        let declared = Arc::new(declared);
        match inner.by_owner.insert(owner, declared.clone()) {
            Some(before) if !before.differs(&declared) => {
                if before.recorded == declared.recorded {
                    Difference::Nothing
                } else {
                    Difference::Status
                }
            }
            _ => Difference::Credential,
        }
    }

    /// Takes a credential out.
    pub fn remove(&self, owner: &OwnerId) {
        let mut inner = self.0.write();
        inner.set_sources(owner, Vec::new());
        inner.by_owner.remove(owner);
    }

    /// Our finalizer comes off.
    pub fn finalized(&self, owner: OwnerId) {
        self.0.write().finalized.insert(owner);
    }

    pub fn is_finalized(&self, owner: &OwnerId) -> bool {
        self.0.read().finalized.contains(owner)
    }

    /// Owners whose credential went through our finalizer.
    pub fn finalized_owners(&self) -> Vec<OwnerId> {
        self.0.read().finalized.iter().cloned().collect()
    }

    /// The credential is there again, or none of its copies is left.
    pub fn forget_finalized(&self, owner: &OwnerId) {
        self.0.write().finalized.remove(owner);
    }

    /// Counts the changes of sources, to tell whether they changed since they were read.
    pub fn source_changes(&self, sources: &[NamespacedName]) -> u64 {
        let inner = self.0.read();
        sources.iter().filter_map(|name| inner.sources.get(name)).map(|source| source.changes).sum()
    }

    /// Notes that a credential has read a source, so that an event about this very version is not news. Returns those who
    /// have read another version and must read it again.
    pub fn source_read(&self, name: &NamespacedName, resource_version: Option<String>) -> Vec<OwnerId> {
        let mut inner = self.0.write();
        inner.sources.get_mut(name).map(|source| source.was_read(resource_version)).unwrap_or_default()
    }

    /// A Secret came, changed or went. Returns those who read it.
    pub fn source_changed(&self, name: &NamespacedName, resource_version: Option<&str>) -> Vec<OwnerId> {
        // Most Secrets are nobody's source.
        if !self.0.read().sources.contains_key(name) {
            return Vec::new();
        }
        let mut inner = self.0.write();
        let Some(source) = inner.sources.get_mut(name) else { return Vec::new() };
        source.was_shown(resource_version)
    }

    /// A complete list of Secrets begins.
    pub fn sources_listing(&self) {
        for source in self.0.write().sources.values_mut() {
            source.shown = false;
        }
    }

    /// A complete list of Secrets ended. Returns those whose source it did not show although it was read once.
    pub fn sources_listed(&self) -> HashSet<OwnerId> {
        let mut inner = self.0.write();
        let gone =
            inner.sources.values_mut().filter(|source| !source.shown && matches!(source.read, Some(Some(_))));
        gone.flat_map(Source::changed).collect()
    }
}

impl Source {
    /// One of the readers has read a version; it may be the first to see it.
    fn was_read(&mut self, resource_version: Option<String>) -> Vec<OwnerId> {
        let differs = self.read.as_ref().is_some_and(|read| *read != resource_version);
        if differs && self.readers.len() > 1 {
            return self.changed();
        }
        self.read = Some(resource_version);
        Vec::new()
    }

    /// A list or an event has shown a version; `None` when it has shown that the Secret is gone.
    fn was_shown(&mut self, resource_version: Option<&str>) -> Vec<OwnerId> {
        self.shown |= resource_version.is_some();
        let is_known = self.read.as_ref().is_some_and(|read| read.as_deref() == resource_version);
        if is_known && resource_version.is_some() { Vec::new() } else { self.changed() }
    }

    fn changed(&mut self) -> Vec<OwnerId> {
        self.read = None;
        self.changes = self.changes.wrapping_add(1);
        self.readers.iter().cloned().collect()
    }
}

impl Inner {
    fn set_sources(&mut self, owner: &OwnerId, sources: Vec<NamespacedName>) {
        if let Some(before) = self.by_owner.get(owner).map(|declared| declared.source_secrets()) {
            for name in before.iter().filter(|name| !sources.contains(name)) {
                if let Some(source) = self.sources.get_mut(name) {
                    source.readers.remove(owner);
                    if source.readers.is_empty() {
                        self.sources.remove(name);
                    }
                }
            }
        }
        for name in sources {
            self.sources.entry(name).or_default().readers.insert(*owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> Option<String> {
        Some(number.to_string())
    }

    fn source(readers: &[&str]) -> Source {
        let readers =
            readers.iter().map(|&reader| OwnerId::from_label(&reader.repeat(24)).unwrap()).collect();
        Source { readers, ..Source::default() }
    }

    #[test]
    fn what_the_only_reader_has_read_is_no_news() {
        let mut source = source(&["a"]);
        assert!(source.was_read(version(1)).is_empty() && source.was_shown(Some("1")).is_empty());
        assert!(source.was_read(version(2)).is_empty() && source.was_shown(Some("2")).is_empty());
        assert_eq!((source.was_shown(Some("3")).len(), source.changes), (1, 1));
        assert_eq!(source.was_shown(None).len(), 1, "it is gone");
    }

    #[test]
    fn what_one_reader_has_read_before_its_event_came_is_news_for_the_others() {
        let mut source = source(&["a", "b"]);
        assert!(source.was_read(version(1)).is_empty() && source.was_read(version(1)).is_empty());
        assert_eq!(source.was_read(version(2)).len(), 2, "the other one has version 1");
        assert!(source.was_read(version(2)).is_empty() && source.was_read(version(2)).is_empty());
        assert!(source.was_shown(Some("2")).is_empty());

        assert_eq!(source.was_shown(None).len(), 2);
        assert!(source.was_read(None).is_empty());
        assert_eq!(source.was_read(version(3)).len(), 2, "the other one knows of none");
    }

    #[test]
    fn a_reader_that_was_slower_than_the_event_reads_again() {
        let mut source = source(&["a", "b"]);
        source.was_read(version(1));
        assert_eq!(source.was_shown(Some("2")).len(), 2);
        // One is answered with version 3 already; its event comes before the other one has its answer.
        assert!(source.was_read(version(3)).is_empty() && source.was_shown(Some("3")).is_empty());
        assert_eq!(source.was_read(version(2)).len(), 2);
    }
}
