//! Whose a Secret is. A Secret that is not ours is never changed, adopted or deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use super::{
    identity::{CredentialId, OwnerId},
    labels,
};
use crate::api::{
    ANNOTATION_ADOPT, ANNOTATION_DELETION_POLICY, ANNOTATION_HUB, ANNOTATION_METADATA,
    ANNOTATION_RELEASED_FROM, ANNOTATION_REVISION, ANNOTATION_SOURCE, DeletionPolicy, LABEL_MANAGED_BY,
    LABEL_OWNER, MANAGER, Target,
};

/// Annotations of ours on a produced Secret.
const ANNOTATIONS: [&str; 6] = [
    ANNOTATION_SOURCE,
    ANNOTATION_HUB,
    ANNOTATION_REVISION,
    ANNOTATION_METADATA,
    ANNOTATION_DELETION_POLICY,
    ANNOTATION_RELEASED_FROM,
];

/// Value of [`ANNOTATION_DELETION_POLICY`].
const ORPHAN: &str = "Orphan";

/// Who we are on our copies: the id that they carry, and ids that we had before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// The id that copies carry.
    pub id: Arc<str>,
    former: BTreeSet<String>,
}

impl Hub {
    /// A hub that writes `id`, and takes copies over that carry one of the former ids.
    pub fn new(id: &str, former: impl IntoIterator<Item = String>) -> Self {
        Self { id: id.into(), former: former.into_iter().collect() }
    }

    /// Whether a copy with this id is ours.
    pub fn owns(&self, id: &str) -> bool {
        *self.id == *id || self.former.contains(id)
    }
}

/// As many labels and annotations as a target can have.
const MAX_LISTED: usize = 64;

/// Labels and annotations of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What cert-manager writes on the Secret of a Certificate.
const CERT_MANAGER_ANNOTATION: &str = "cert-manager.io/certificate-name";

/// The label of the Secrets that cert-manager watches.
const CERT_MANAGER_LABEL: &str = "controller.cert-manager.io/fao";

/// Whose a Secret is, seen from one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This credential's.
    Ours,
    /// Another credential's, of this hub or another.
    Other(String),
    /// Nobody's that we know of.
    Foreign,
}

impl Metadata {
    /// Judges a Secret that stands where a copy of `id` should.
    ///
    /// Either mark is enough: the owner label, or the source and hub annotations, so that a copy
    /// whose labels were removed by hand is put right rather than lost. No mark makes a Secret ours
    /// that cert-manager keeps.
    pub fn ownership(&self, id: &CredentialId, hub: &Hub) -> Ownership {
        if self.is_kept_by_another() {
            return Ownership::Foreign;
        }
        let (source, of) = (self.source(), self.hub());
        let called = |unknown: &str| source.as_ref().map_or_else(|| unknown.to_owned(), ToString::to_string);
        if let Some(of) = of.filter(|of| !hub.owns(of)) {
            // What stands there may be anybody's text.
            let of = if labels::is_value(of) { format!(" (id '{of}')") } else { String::new() };
            return Ownership::Other(format!("{} of another hub{of}", called("a credential")));
        }
        let managed = self.labels.get(LABEL_MANAGED_BY).is_some_and(|value| value == MANAGER);
        let ours = match (self.labels.get(LABEL_OWNER).filter(|_| managed), &source) {
            (Some(owner), _) => *owner == id.owner().to_string(),
            (None, Some(source)) if of.is_some() => source == id,
            (None, _) => return Ownership::Foreign,
        };
        if ours {
            return Ownership::Ours;
        }
        Ownership::Other(called("another credential"))
    }

    /// The credential that it says it is a copy of.
    pub fn source(&self) -> Option<CredentialId> {
        CredentialId::parse(self.annotations.get(ANNOTATION_SOURCE)?)
    }

    /// The id of the hub that it says it was written by.
    pub fn hub(&self) -> Option<&str> {
        self.annotations.get(ANNOTATION_HUB).map(String::as_str)
    }

    /// The owner by label, or, where that was removed, by the source annotation.
    pub fn owner(&self) -> Option<OwnerId> {
        let managed = self.labels.get(LABEL_MANAGED_BY).is_some_and(|by| by == MANAGER);
        let owner = self.labels.get(LABEL_OWNER).filter(|_| managed);
        if let Some(owner) = owner.and_then(|owner| OwnerId::from_label(owner)) {
            return Some(owner);
        }
        self.hub()?;
        Some(self.source()?.owner())
    }

    /// Whether another controller writes this Secret, whatever marks of ours it carries: the two
    /// would overwrite each other for ever.
    pub fn is_kept_by_another(&self) -> bool {
        self.annotations.contains_key(CERT_MANAGER_ANNOTATION) || self.labels.contains_key(CERT_MANAGER_LABEL)
    }

    /// What a produced Secret of `id` carries.
    pub fn desired(
        id: &CredentialId,
        hub: &str,
        revision: i64,
        target: &Target,
        deletion_policy: DeletionPolicy,
    ) -> Self {
        let mut labels = target.labels.clone();
        labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGER.to_owned());
        labels.insert(LABEL_OWNER.to_owned(), id.owner().to_string());
        let mut annotations = target.annotations.clone();
        annotations.insert(ANNOTATION_SOURCE.to_owned(), id.to_string());
        annotations.insert(ANNOTATION_HUB.to_owned(), hub.to_owned());
        annotations.insert(ANNOTATION_REVISION.to_owned(), revision.to_string());
        if deletion_policy == DeletionPolicy::Orphan {
            // A cluster that is away when the credential goes is treated right later.
            annotations.insert(ANNOTATION_DELETION_POLICY.to_owned(), ORPHAN.to_owned());
        }
        let extra: Vec<String> = target
            .labels
            .keys()
            .map(|key| format!("l:{key}"))
            .chain(target.annotations.keys().map(|key| format!("a:{key}")))
            .collect();
        if !extra.is_empty() {
            annotations.insert(ANNOTATION_METADATA.to_owned(), extra.join(","));
        }
        Self { labels, annotations }
    }

    /// This metadata brought in line with `desired`: what we once put there and no longer want
    /// goes, what others put there stays.
    pub fn merged(&self, desired: &Self) -> Self {
        let mut merged = self.without_ours();
        merged.labels.extend(desired.labels.clone());
        merged.annotations.extend(desired.annotations.clone());
        merged
    }

    /// This metadata without our marks, as a copy of `id` that is let go has it.
    pub fn released(&self, id: &CredentialId) -> Self {
        let mut rest = self.without_ours();
        rest.annotations.insert(ANNOTATION_RELEASED_FROM.to_owned(), id.to_string());
        rest
    }

    fn without_ours(&self) -> Self {
        let (mut rest, listed) = (self.clone(), self.listed());
        rest.labels.retain(|key, value| !is_our_label(&listed, key, value));
        rest.annotations.retain(|key, _| !is_our_annotation(&listed, key));
        rest
    }

    /// The labels and annotations that are ours: always, or as this metadata says.
    pub fn ours(&self) -> impl Iterator<Item = (&String, &String)> {
        let listed = Rc::new(self.listed());
        let of_labels = listed.clone();
        let labels = self.labels.iter().filter(move |(key, value)| is_our_label(&of_labels, key, value));
        labels.chain(self.annotations.iter().filter(move |(key, _)| is_our_annotation(&listed, key)))
    }

    /// Whether somebody else put a label or an annotation there.
    pub fn has_others(&self) -> bool {
        let listed = self.listed();
        self.labels.iter().any(|(key, value)| !is_our_label(&listed, key, value))
            || self.annotations.keys().any(|key| !is_our_annotation(&listed, key))
    }

    /// What we put there for a target. More than a target can have was not written by us.
    fn listed(&self) -> Listed<'_> {
        let listed = self.annotations.get(ANNOTATION_METADATA).map_or("", String::as_str);
        listed.split(',').take(MAX_LISTED).filter_map(|entry| entry.split_once(':')).collect()
    }

    /// Whether the copy is to be left when its credential is gone.
    pub fn is_to_be_orphaned(&self) -> bool {
        self.annotations.get(ANNOTATION_DELETION_POLICY).is_some_and(|policy| policy == ORPHAN)
    }

    /// Whether the owner of this Secret, which is not ours, hands it over to a credential.
    pub fn is_handed_to(&self, id: &CredentialId) -> bool {
        !self.is_kept_by_another()
            && self
                .annotations
                .get(ANNOTATION_ADOPT)
                .is_some_and(|to| CredentialId::parse(to).as_ref() == Some(id))
    }

    /// The revision of the content, where it can be read.
    pub fn revision(&self) -> Option<i64> {
        self.annotations.get(ANNOTATION_REVISION)?.parse().ok()
    }
}

/// Keys of labels, after an `l`, and of annotations, after an `a`.
type Listed<'a> = BTreeSet<(&'a str, &'a str)>;

fn is_our_label(listed: &Listed<'_>, key: &str, value: &str) -> bool {
    key == LABEL_OWNER || (key == LABEL_MANAGED_BY && value == MANAGER) || listed.contains(&("l", key))
}

fn is_our_annotation(listed: &Listed<'_>, key: &str) -> bool {
    ANNOTATIONS.contains(&key) || listed.contains(&("a", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(id: &str) -> Hub {
        Hub::new(id, [])
    }

    #[test]
    fn a_hub_takes_over_what_it_wrote_under_another_id() {
        let copy = desired("old", 3, &Target::default());
        let heir = Hub::new("new", ["old".to_owned()]);
        assert_eq!(copy.ownership(&id("quay"), &heir), Ownership::Ours);
        let Ownership::Other(whose) = copy.ownership(&id("quay"), &hub("new")) else { panic!("taken") };
        assert!(whose.contains("another hub (id 'old')"), "so that people know what to put into the flag");
    }

    fn id(name: &str) -> CredentialId {
        CredentialId {
            kind: crate::api::CredentialKind::RegistryCredential,
            namespace: "platform".into(),
            name: name.into(),
        }
    }

    fn desired(hub: &str, revision: i64, target: &Target) -> Metadata {
        Metadata::desired(&id("quay"), hub, revision, target, DeletionPolicy::Protect)
    }

    #[test]
    fn a_copy_tells_how_it_is_to_be_left() {
        let target = Target::default();
        let orphan = Metadata::desired(&id("quay"), "hub", 1, &target, DeletionPolicy::Orphan);
        assert!(orphan.is_to_be_orphaned());
        // Another policy is another copy: the annotation goes when it is merged.
        assert!(!orphan.merged(&desired("hub", 1, &target)).is_to_be_orphaned());
        let left = orphan.released(&id("quay"));
        assert_eq!(left.annotations.keys().collect::<Vec<_>>(), [ANNOTATION_RELEASED_FROM]);
        assert_eq!((left.ownership(&id("quay"), &hub("hub")), left.owner()), (Ownership::Foreign, None));
        // Where it is handed over later, that is a thing of the past.
        assert!(!left.merged(&orphan).annotations.contains_key(ANNOTATION_RELEASED_FROM));
    }

    #[test]
    fn a_secret_is_handed_over_to_the_very_credential_that_is_named() {
        let mut foreign = Metadata::default();
        assert!(!foreign.is_handed_to(&id("quay")));
        foreign.annotations.insert(ANNOTATION_ADOPT.into(), id("quay").to_string());
        assert!(foreign.is_handed_to(&id("quay")) && !foreign.is_handed_to(&id("other")));
        foreign.annotations.insert("cert-manager.io/certificate-name".into(), "web".into());
        assert!(!foreign.is_handed_to(&id("quay")), "two controllers would overwrite each other");
    }

    fn target(labels: &[&str]) -> Target {
        Target {
            labels: labels.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect(),
            ..Target::default()
        }
    }

    #[test]
    fn a_copy_is_ours_from_every_side_and_nobody_elses() {
        let copy = desired("hub", 3, &Target::default());
        assert_eq!(copy.ownership(&id("quay"), &hub("hub")), Ownership::Ours);
        assert_eq!(
            copy.ownership(&id("other"), &hub("hub")),
            Ownership::Other("RegistryCredential/platform/quay".into())
        );
        assert!(matches!(copy.ownership(&id("quay"), &hub("hub2")), Ownership::Other(_)));
        assert_eq!(Metadata::default().ownership(&id("quay"), &hub("hub")), Ownership::Foreign);
    }

    #[test]
    fn a_copy_with_its_labels_removed_is_still_ours() {
        let mut copy = desired("hub", 3, &Target::default());
        copy.labels.clear();
        assert_eq!(copy.ownership(&id("quay"), &hub("hub")), Ownership::Ours);
        copy.annotations.remove(ANNOTATION_HUB);
        assert_eq!(copy.ownership(&id("quay"), &hub("hub")), Ownership::Foreign);
    }

    #[test]
    fn an_owner_label_without_our_mark_is_no_proof() {
        let mut copy = desired("hub", 3, &Target::default());
        copy.annotations.clear();
        assert_eq!(copy.ownership(&id("quay"), &hub("hub")), Ownership::Ours);
        copy.labels.insert(LABEL_MANAGED_BY.into(), "Helm".into());
        assert_eq!(copy.ownership(&id("quay"), &hub("hub")), Ownership::Foreign);
    }

    #[test]
    fn what_cert_manager_keeps_is_foreign_whatever_marks_it_carries() {
        let copy = desired("hub", 3, &Target::default());
        let mut issued = copy.clone();
        issued.annotations.insert("cert-manager.io/certificate-name".into(), "web".into());
        assert_eq!(issued.ownership(&id("quay"), &hub("hub")), Ownership::Foreign);
        let mut watched = copy;
        watched.labels.insert("controller.cert-manager.io/fao".into(), "true".into());
        assert_eq!(watched.ownership(&id("quay"), &hub("hub")), Ownership::Foreign);
    }

    #[test]
    fn merging_takes_back_only_what_we_gave() {
        let mut seen = desired("hub", 3, &target(&["team", "tier"]));
        seen.labels.insert("audited".into(), "yes".into());
        let merged = seen.merged(&desired("hub", 4, &target(&["team"])));
        assert!(merged.labels.contains_key("team") && merged.labels.contains_key("audited"));
        assert!(!merged.labels.contains_key("tier"));
        assert_eq!(merged.revision(), Some(4));
        let left = merged.without_ours();
        assert_eq!(left.labels.keys().collect::<Vec<_>>(), ["audited"]);
        assert!(left.annotations.is_empty());
    }
}
