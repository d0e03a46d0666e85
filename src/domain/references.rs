//! Who uses which Secrets of a cluster.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    grants::{Grant, Grants},
    identity::NamespacedName,
    reference_kind::{GrantKind, Kinds, ReferenceKind, ReferencePolicy},
    schedule::{MAX_SECRETS_OF_NAMESPACE, MAX_SECRETS_OF_USER},
};

/// An object that may use Secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct User {
    pub kind: ReferenceKind,
    pub name: NamespacedName,
}

/// One way in which an object names a Secret of its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub kind: ReferenceKind,
    pub name: Arc<str>,
    /// The field, such as `spec.imagePullSecrets`; of a kind with a template, within that.
    pub field: &'static str,
}

/// A Secret that an object names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// `None` for that of the object.
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
    pub field: &'static str,
}

/// Which objects that are not finished name which Secrets.
#[derive(Debug)]
pub(crate) struct References {
    /// Kinds whose objects hold what they use.
    blocking: Kinds,
    by_secret: HashMap<NamespacedName, Vec<Reference>>,
    by_user: HashMap<User, Box<[Arc<str>]>>,
    /// Those across namespaces, by the Secret. Most clusters have none.
    foreign: BTreeMap<NamespacedName, Vec<(Arc<str>, Reference)>>,
    foreign_by_user: HashMap<User, Box<[NamespacedName]>>,
    grants: Grants,
    /// How many references the objects of a namespace make.
    by_namespace: HashMap<Arc<str>, usize>,
    counts: HashMap<ReferenceKind, usize>,
    bytes: usize,
}

impl Default for References {
    fn default() -> Self {
        Self::new(ReferencePolicy::default().blocking)
    }
}

/// What a reference takes, roughly, besides the name of the Secret.
const REFERENCE_BYTES: usize = 160;

impl References {
    /// `blocking` are the kinds whose objects hold what they use.
    pub fn new(blocking: Kinds) -> Self {
        Self {
            blocking,
            by_secret: HashMap::new(),
            by_user: HashMap::new(),
            foreign: BTreeMap::new(),
            foreign_by_user: HashMap::new(),
            grants: Grants::default(),
            by_namespace: HashMap::new(),
            counts: HashMap::new(),
            bytes: 0,
        }
    }

    /// Who uses a Secret, with their namespaces. One of another namespace counts as far as that of the Secret allows it.
    pub fn of<'a>(
        &'a self,
        secret: &'a NamespacedName,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Reference)> {
        let own = self.by_secret.get(secret).into_iter().flatten();
        let foreign = self.foreign.get(secret).into_iter().flatten();
        let allowed = |(from, of): &&(Arc<str>, Reference)| self.grants.allow(of.kind, from, secret);
        let foreign = foreign.filter(allowed).map(|(from, reference)| (from, reference));
        own.map(|reference| (&secret.namespace, reference)).chain(foreign)
    }

    /// Whether a user of this kind holds back the deletion of the Secret.
    pub fn blocks(&self, kind: ReferenceKind) -> bool {
        self.blocking.contains(kind)
    }

    /// Whether something uses a Secret that holds it.
    pub fn hold(&self, secret: &NamespacedName) -> bool {
        self.of(secret).any(|(_, reference)| self.blocks(reference.kind))
    }

    /// How many use a Secret, and how many of these hold back its deletion.
    pub fn count(&self, secret: &NamespacedName) -> (usize, usize) {
        self.of(secret).fold((0, 0), |(users, blocking), (_, reference)| {
            (users + 1, blocking + usize::from(self.blocks(reference.kind)))
        })
    }

    /// Replaces the references of a user; returns the Secrets for which something changed.
    ///
    /// Of a namespace whose objects name very many Secrets, further references are kept only to what `is_copy`, but for those of
    /// Pods, which quotas bound.
    pub fn set(
        &mut self,
        user: &User,
        uses: Vec<Use>,
        is_copy: impl Fn(&NamespacedName) -> bool,
    ) -> Vec<NamespacedName> {
        if uses.is_empty() && !self.has(user) {
            return Vec::new();
        }
        let before = self.take(user);
        let after = self.kept(user, uses, is_copy);
        let gone = before.iter().filter(|(name, field)| after.get(*name) != Some(field));
        let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
        let changed = gone.chain(new).map(|(name, _)| name.clone()).collect();
        self.put(user, after);
        changed
    }

    /// What is kept of the Secrets that a user names. One that names a Secret twice is one user; the first field tells enough.
    fn kept(
        &self,
        user: &User,
        uses: Vec<Use>,
        is_copy: impl Fn(&NamespacedName) -> bool,
    ) -> BTreeMap<NamespacedName, &'static str> {
        let namespace = &user.name.namespace;
        let others = self.by_namespace.get(namespace).copied().unwrap_or_default();
        let mut kept = BTreeMap::new();
        for Use { namespace: of, name, field } in uses {
            let is_own = of.as_ref().is_none_or(|of| of == namespace);
            if !is_own && user.kind.grant().is_none() {
                continue;
            }
            let secret = NamespacedName { namespace: of.unwrap_or_else(|| namespace.clone()), name };
            let is_wanted = user.kind == ReferenceKind::Pod
                || others + kept.len() < MAX_SECRETS_OF_NAMESPACE
                || is_own && is_copy(&secret);
            let has_room = kept.len() < MAX_SECRETS_OF_USER && is_wanted;
            if has_room || kept.contains_key(&secret) {
                kept.entry(secret).or_insert(field);
            }
        }
        kept
    }

    fn put(&mut self, user: &User, uses: BTreeMap<NamespacedName, &'static str>) {
        if uses.is_empty() {
            return;
        }
        *self.counts.entry(user.kind).or_default() += 1;
        *self.by_namespace.entry(user.name.namespace.clone()).or_default() += uses.len();
        let (mut own, mut foreign) = (Vec::new(), Vec::new());
        for (secret, field) in uses {
            self.bytes += REFERENCE_BYTES + secret.name.len();
            let reference = Reference { kind: user.kind, name: user.name.name.clone(), field };
            if secret.namespace == user.name.namespace {
                own.push(secret.name.clone());
                self.by_secret.entry(secret).or_default().push(reference);
            } else {
                foreign.push(secret.clone());
                let from = user.name.namespace.clone();
                self.foreign.entry(secret).or_default().push((from, reference));
            }
        }
        if !own.is_empty() {
            self.by_user.insert(user.clone(), own.into());
        }
        if !foreign.is_empty() {
            self.foreign_by_user.insert(user.clone(), foreign.into());
        }
    }

    fn take(&mut self, user: &User) -> BTreeMap<NamespacedName, &'static str> {
        let mut taken = BTreeMap::new();
        for name in self.by_user.remove(user).unwrap_or_default() {
            let secret = NamespacedName { namespace: user.name.namespace.clone(), name };
            if let Some(references) = self.by_secret.get_mut(&secret) {
                let is_of = |one: &Reference| one.kind == user.kind && one.name == user.name.name;
                if let Some(at) = references.iter().position(is_of) {
                    taken.insert(secret.clone(), references.swap_remove(at).field);
                }
                if references.is_empty() {
                    self.by_secret.remove(&secret);
                }
            }
        }
        for secret in self.foreign_by_user.remove(user).unwrap_or_default() {
            if let Some(references) = self.foreign.get_mut(&secret) {
                let is_of = |(from, one): &(Arc<str>, Reference)| {
                    *from == user.name.namespace && one.kind == user.kind && one.name == user.name.name
                };
                if let Some(at) = references.iter().position(is_of) {
                    taken.insert(secret.clone(), references.swap_remove(at).1.field);
                }
                if references.is_empty() {
                    self.foreign.remove(&secret);
                }
            }
        }
        self.bytes -= taken.keys().map(|secret| REFERENCE_BYTES + secret.name.len()).sum::<usize>();
        if !taken.is_empty() {
            lower(&mut self.counts, &user.kind, 1);
            lower(&mut self.by_namespace, &user.name.namespace, taken.len());
        }
        taken
    }

    /// Replaces what an object lets those of other namespaces use; returns the Secrets for which something may have changed.
    pub fn set_grants(
        &mut self,
        kind: GrantKind,
        object: &NamespacedName,
        grants: Vec<Grant>,
    ) -> Vec<NamespacedName> {
        if !self.grants.set(kind, object, grants) {
            return Vec::new();
        }
        let first = NamespacedName { namespace: object.namespace.clone(), name: "".into() };
        let here = self.foreign.range(first..).map(|(secret, _)| secret);
        here.take_while(|secret| secret.namespace == object.namespace).cloned().collect()
    }

    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// About how many bytes all references take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an object is known to use Secrets.
    pub fn has(&self, user: &User) -> bool {
        self.by_user.contains_key(user) || self.foreign_by_user.contains_key(user)
    }

    /// How many objects of a kind are known to use Secrets.
    pub fn users(&self, kind: ReferenceKind) -> usize {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// How many objects are known to use Secrets.
    pub fn all_users(&self) -> usize {
        self.counts.values().sum()
    }

    /// The objects of a kind that are known to use Secrets.
    pub fn names(&self, kind: ReferenceKind) -> impl Iterator<Item = &NamespacedName> {
        let foreign = self.foreign_by_user.keys().filter(|user| !self.by_user.contains_key(*user));
        let all = self.by_user.keys().chain(foreign).filter(move |user| user.kind == kind);
        // Mostly there is none, of kinds that a cluster lacks.
        all.take(self.users(kind)).map(|user| &user.name)
    }
}

fn lower<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K, by: usize) {
    if let Some(count) = counts.get_mut(key) {
        *count -= by;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "references_tests.rs"]
mod tests;
