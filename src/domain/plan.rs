//! From what is wanted and what is seen to what is to be done, for one cluster.

use std::{collections::HashMap, sync::Arc};

use crate::api::ANNOTATION_SOURCE;

use super::{
    consent::Consent,
    fingerprint::Fingerprint,
    ownership::{Metadata, OwnerId},
    selection::{NamespaceMatcher, opted_out},
    view::{ClusterView, Key, Namespace, ObservedCopy},
};

/// Which namespaces of a cluster a credential wants to reach, and which it may.
#[derive(Debug)]
pub struct Targets<'a> {
    /// Whether the credential wants anything of the cluster at all.
    pub cluster: bool,
    /// The name of the namespace of the credential.
    pub own_namespace: &'a str,
    /// The selector; `None` means the namespace of the credential's own name.
    pub selector: Option<NamespaceMatcher<'a>>,
    /// What the policies allow in the cluster.
    pub consent: Consent<'a>,
}

/// What one credential wants of a cluster.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The owner mark of its copies.
    pub owner: &'a OwnerId,
    /// What the copies are called.
    pub secret_name: &'a Arc<str>,
    /// Where they go.
    pub targets: Targets<'a>,
    /// Their content; `None` while the source cannot be used, so that copies stay as they are.
    pub content: Option<Fingerprint>,
    /// The revision of that content, or of the last one.
    pub revision: i64,
    /// Their labels and annotations.
    pub metadata: &'a Metadata,
}

/// Why a namespace cannot have its copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// A Secret of that name is not ours; the phrase says whose.
    SecretNameConflict(String),
    /// The write was refused or not answered.
    Write {
        /// A stable PascalCase reason.
        reason: &'static str,
        /// What the API server said.
        message: String,
    },
    /// Somebody made the copy immutable.
    SecretImmutable,
    /// No policy allows it.
    NotPermitted,
}

impl Failure {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SecretNameConflict(_) => "SecretNameConflict",
            Self::Write { reason, .. } => reason,
            Self::SecretImmutable => "SecretImmutable",
            Self::NotPermitted => "NotPermitted",
        }
    }

    /// What it is about, and the remedy.
    #[must_use]
    pub fn message(&self, namespace: &str, secret: &str) -> String {
        match self {
            Self::SecretNameConflict(owner) => format!(
                "Secret '{secret}' in namespace '{namespace}' belongs to {owner} and is left alone; delete or rename it, or choose another `spec.target.secretName`"
            ),
            Self::Write { message, .. } => format!("Secret '{secret}' in namespace '{namespace}': {message}"),
            Self::SecretImmutable => format!(
                "Secret '{secret}' in namespace '{namespace}' was made immutable; delete it, and it comes back with the right content"
            ),
            Self::NotPermitted => format!(
                "no DistributionPolicy allows this credential in namespace '{namespace}'; ask a cluster administrator for one, or leave the namespace out"
            ),
        }
    }

    /// Whether only a person can mend it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }
}

/// What is to be done in one cluster, and how things stand before it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Copies to make.
    pub create: Vec<Key>,
    /// Copies to put right, as they were seen.
    pub update: Vec<(Key, ObservedCopy)>,
    /// Copies to delete, as they were seen.
    pub delete: Vec<(Key, ObservedCopy)>,
    /// Copies to let go: our marks are taken off and the Secret stays.
    pub release: Vec<(Key, ObservedCopy)>,
    /// Copies that are not wanted but used: they stay, frozen.
    pub held: Vec<Key>,
    /// Namespaces that cannot have their copy.
    pub failures: Vec<(Arc<str>, Failure)>,
    /// Namespaces that should have a copy.
    pub desired: usize,
    /// Of these, the ones that have it, with the right content.
    pub synced: usize,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty() && self.release.is_empty()
    }
}

/// Plans for a credential that is to be kept in sync.
#[must_use]
pub fn keep(view: ClusterView<'_>, wanted: &Wanted<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut lines = MetadataMemo::default();
    for (namespace, seen) in view.namespaces {
        match wanted.targets.aim(namespace, seen) {
            Aim::None => {}
            Aim::NotPermitted => {
                plan.desired += 1;
                plan.failures.push((namespace.clone(), Failure::NotPermitted));
            }
            Aim::Copy => {
                plan.desired += 1;
                let key = Key { namespace: namespace.clone(), name: wanted.secret_name.clone() };
                plan_copy(view, wanted, key, &mut lines, &mut plan);
            }
        }
    }
    take_back_strays(view, wanted, &mut lines, &mut plan);
    plan
}

fn plan_copy(
    view: ClusterView<'_>,
    wanted: &Wanted<'_>,
    key: Key,
    lines: &mut MetadataMemo,
    plan: &mut Plan,
) {
    match view.copies.get(&key).filter(|copy| copy.owner == *wanted.owner) {
        Some(copy) if in_line(copy, wanted, lines) => plan.synced += 1,
        // Waits: for a source, or for somebody's finalizer.
        Some(copy) if wanted.content.is_none() || copy.terminating => {}
        Some(copy) if copy.immutable && wanted.content != Some(copy.content) => {
            plan.failures.push((key.namespace, Failure::SecretImmutable));
        }
        Some(copy) => plan.update.push((key, copy.clone())),
        None => match taken_by(view, &key) {
            Some(owner) => plan.failures.push((key.namespace, Failure::SecretNameConflict(owner))),
            None if wanted.content.is_some() => plan.create.push(key),
            None => {}
        },
    }
}

/// Whose the Secret is that stands in the way of a copy, as a phrase.
fn taken_by(view: ClusterView<'_>, key: &Key) -> Option<String> {
    if let Some(other) = view.copies.get(key) {
        let source = other.metadata.annotations.get(ANNOTATION_SOURCE);
        return Some(source.map_or_else(|| "another credential".to_owned(), Clone::clone));
    }
    view.conflicts.get(key).cloned()
}

/// Whether a copy is what is wanted. Without a source, the last revision is the measure.
fn in_line(copy: &ObservedCopy, wanted: &Wanted<'_>, lines: &mut MetadataMemo) -> bool {
    match wanted.content {
        Some(content) => {
            copy.content == content && !copy.terminating && lines.in_line(&copy.metadata, wanted.metadata)
        }
        None => !copy.terminating && copy.metadata.revision() == Some(wanted.revision),
    }
}

/// What a credential wants with a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// Nothing: it is not meant, or refuses.
    None,
    /// A copy, which nobody allows.
    NotPermitted,
    /// A copy.
    Copy,
}

impl Targets<'_> {
    fn aim(&self, name: &str, namespace: &Namespace) -> Aim {
        let meant = self.cluster
            && match &self.selector {
                Some(matcher) => matcher.matches(name, &namespace.labels),
                None => name == self.own_namespace,
            };
        if !meant || namespace.terminating || (!self.consent.is_own(name) && opted_out(&namespace.labels)) {
            Aim::None
        } else if self.consent.allows(name, &namespace.labels) {
            Aim::Copy
        } else {
            Aim::NotPermitted
        }
    }

    /// Whether any namespace may get a copy. Where none may, the source is not even read.
    #[must_use]
    pub fn any(&self, view: ClusterView<'_>) -> bool {
        view.namespaces.iter().any(|(name, namespace)| self.aim(name, namespace) == Aim::Copy)
    }
}

/// Copies that are no longer wanted: deleted when nobody uses them, else held. Where the copy only
/// moves to another name, the old one stays until the new one is in place.
fn take_back_strays(view: ClusterView<'_>, wanted: &Wanted<'_>, lines: &mut MetadataMemo, plan: &mut Plan) {
    for (key, copy) in view.copies.of(wanted.owner) {
        if !writable(view, key) {
            continue;
        }
        let wanted_here = view
            .namespaces
            .get(&key.namespace)
            .is_some_and(|namespace| wanted.targets.aim(&key.namespace, namespace) == Aim::Copy);
        if wanted_here && key.name == *wanted.secret_name {
            continue;
        }
        let moves_on = wanted_here && {
            let successor = Key { namespace: key.namespace.clone(), name: wanted.secret_name.clone() };
            !view
                .copies
                .get(&successor)
                .is_some_and(|new| new.owner == *wanted.owner && in_line(new, wanted, lines))
        };
        if moves_on || !view.references.of(key).is_empty() {
            plan.held.push(key.clone());
        } else if !copy.terminating {
            plan.delete.push((key.clone(), copy.clone()));
        }
    }
}

/// What becomes of the copies of a credential that is going, or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// All stay as they are.
    Keep,
    /// All go.
    Remove,
    /// Those go that nobody uses; the others wait for the sweep.
    RemoveUnused,
    /// All stay for good, without our marks.
    Release,
}

/// Plans for the copies of a credential that is going, or gone.
#[must_use]
pub fn dismiss(view: ClusterView<'_>, owner: &OwnerId, disposition: Disposition) -> Plan {
    let mut plan = Plan::default();
    for (key, copy) in view.copies.of(owner).filter(|(key, _)| writable(view, key)) {
        let used = !view.references.of(key).is_empty();
        match disposition {
            Disposition::Keep => plan.held.push(key.clone()),
            Disposition::RemoveUnused if used => plan.held.push(key.clone()),
            Disposition::Remove | Disposition::RemoveUnused if !copy.terminating => {
                plan.delete.push((key.clone(), copy.clone()));
            }
            Disposition::Release => plan.release.push((key.clone(), copy.clone())),
            Disposition::Remove | Disposition::RemoveUnused => {}
        }
    }
    plan
}

/// A terminating namespace is never written to; its copies go with it.
fn writable(view: ClusterView<'_>, key: &Key) -> bool {
    view.namespaces.get(&key.namespace).is_some_and(|namespace| !namespace.terminating)
}

/// Remembers which shared metadata was found in line, as thousands of copies share one value.
#[derive(Default)]
struct MetadataMemo(HashMap<*const Metadata, bool>);

impl MetadataMemo {
    fn in_line(&mut self, seen: &Arc<Metadata>, desired: &Metadata) -> bool {
        *self.0.entry(Arc::as_ptr(seen)).or_insert_with(|| seen.merged(desired) == **seen)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
