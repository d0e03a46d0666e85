//! What is kept of the labels and annotations of a copy: little, whatever others write there.

use sha2::{Digest, Sha256};

use super::{
    identity::{CredentialId, first},
    ownership::Metadata,
};

/// What is kept of the labels and annotations of a copy. Thousands of copies share one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Marks {
    /// The credential that it says it is a copy of.
    pub source: Option<CredentialId>,
    /// Whether it says which hub wrote it.
    pub has_hub: bool,
    /// The revision of the content, where it can be read.
    pub revision: Option<i64>,
    /// Whether the copy is to be left when its credential is gone.
    pub orphan: bool,
    /// Of the labels and annotations that are ours to write.
    digest: [u8; 16],
}

impl Marks {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            source: metadata.source(),
            has_hub: metadata.hub().is_some(),
            revision: metadata.revision(),
            orphan: metadata.is_to_be_orphaned(),
            digest: digest(metadata),
        }
    }

    /// Whether all labels and annotations that are ours to write are the same.
    pub fn is_in_line(&self, desired: &Self) -> bool {
        self.digest == desired.digest
    }
}

fn digest(metadata: &Metadata) -> [u8; 16] {
    let mut hash = Sha256::new();
    for (key, value) in metadata.ours() {
        for part in [key, value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    first(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CredentialKind, DeletionPolicy, Target};

    fn desired(revision: i64, labels: &[(&str, &str)]) -> Metadata {
        let kind = CredentialKind::RegistryCredential;
        let id = CredentialId { kind, namespace: "platform".into(), name: "quay".into() };
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let target = Target { labels, ..Target::default() };
        Metadata::desired(&id, "hub", revision, &target, DeletionPolicy::Protect)
    }

    fn edited(edit: impl FnOnce(&mut Metadata)) -> Marks {
        let mut metadata = desired(1, &[("team", "a")]);
        edit(&mut metadata);
        Marks::of(&metadata)
    }

    #[test]
    fn what_others_write_leaves_no_trace_and_what_is_ours_counts() {
        let marks = edited(|_| ());
        let text = "x".repeat(90 << 10);
        assert_eq!(marks, edited(|metadata| drop(metadata.annotations.insert("note".into(), text))));
        assert_eq!(marks, edited(|metadata| drop(metadata.labels.insert("audited".into(), "yes".into()))));
        let edits: [fn(&mut Metadata); 5] = [
            |metadata| drop(metadata.labels.insert("team".into(), "b".into())),
            |metadata| drop(metadata.labels.remove("team")),
            |metadata| drop(metadata.annotations.remove("claviger.dev/target-metadata")),
            |metadata| drop(metadata.annotations.insert("claviger.dev/hub".into(), "another".into())),
            |metadata| *metadata = desired(2, &[("team", "a")]),
        ];
        for edit in edits {
            assert!(!edited(edit).is_in_line(&marks));
        }
        assert!(!Marks::of(&desired(1, &[("team", "a"), ("tier", "x")])).is_in_line(&marks));
    }

    #[test]
    fn a_forged_source_is_read_as_a_name_or_not_at_all() {
        let forged = |source: &str| {
            edited(|metadata| drop(metadata.annotations.insert("claviger.dev/source".into(), source.into())))
        };
        assert!(forged("RegistryCredential/platform/other").source.is_some());
        let long = format!("RegistryCredential/platform/{}", "x".repeat(254));
        for source in
            [long.as_str(), "RegistryCredential/platform/a b", "RegistryCredential/\u{1b}[2J/x", "x"]
        {
            assert_eq!(forged(source).source, None, "{source}");
        }
    }
}
