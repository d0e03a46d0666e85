//! Labels and annotations, which whoever can write a Secret or a Namespace chooses.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{check, generate, grows_with_its_input};
use crate::{
    api::{
        ANNOTATION_ADOPT, ANNOTATION_DELETION_POLICY, ANNOTATION_HUB, ANNOTATION_METADATA,
        ANNOTATION_REVISION, ANNOTATION_SOURCE, CredentialKind, DeletionPolicy, LABEL_MANAGED_BY,
        LABEL_OWNER, MANAGER, Target,
    },
    domain::{
        attachment::Mark,
        condition::ConditionType,
        content::ReadSecret,
        fingerprint::FingerprintKey,
        identity::{CredentialId, OwnerId},
        import::{Claim, Listed},
        labels::{is_dns_label, is_dns_subdomain, is_key, is_value},
        marks::Marks,
        meta::{ResourceVersion, Uid},
        ownership::{Hub, Metadata, Ownership},
        reason::Reason,
        schedule::{MAX_MARKS, MAX_MARKS_BYTES},
    },
};

fn id() -> CredentialId {
    CredentialId {
        kind: CredentialKind::RegistryCredential,
        namespace: "platform".into(),
        name: "quay".into(),
    }
}

fn texts() -> Vec<Vec<u8>> {
    let owner = id().owner().to_string();
    let texts = [
        "RegistryCredential/platform/quay",
        "TlsCredential/a-b/c.d",
        "hub-eu",
        "7",
        "-9223372036854775808",
        "+1",
        "Orphan",
        "true",
        "l:team,a:note,l:example.com/tier",
        "local,east-1, west",
        &owner,
        "6cc8c0dc-0b8a-4f5c-9c60-00000000000a",
        "18446744073709551615",
        "Ready",
        "SecretNameConflict",
        "quay-pull=hub-eu/platform/quay,x=/a/b",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// What a text says is bounded, or comes back as it was.
fn reads(text: &str) -> Result<(), TestCaseError> {
    let attached = Mark::parse_all(text, &Hub::new("hub-eu", []), true);
    prop_assert!(attached.len() <= MAX_MARKS && text.len() <= MAX_MARKS_BYTES || attached.is_empty());
    for mark in attached {
        prop_assert!(text.contains(&mark.to_string()) && is_dns_subdomain(&mark.secret));
        prop_assert_eq!(mark.owner, mark.id.owner());
    }
    if let Some(id) = CredentialId::parse(text) {
        prop_assert_eq!(id.to_string(), text);
        prop_assert!(is_dns_label(&id.namespace) && is_dns_subdomain(&id.name) && text.len() < 400);
    }
    if let Some(owner) = OwnerId::from_label(text) {
        prop_assert_eq!(owner.to_string(), text);
    }
    prop_assert_eq!(Uid::from(text).to_string(), text);
    let version = ResourceVersion::from(text);
    prop_assert_eq!(version.to_string(), text);
    prop_assert!(!version.is_older_than(&version));
    prop_assert!(!is_value(text) || text.len() <= 63);
    prop_assert!(!is_key(text) || text.len() <= 317);
    prop_assert!(Reason::parse(text).is_none_or(|reason| reason.as_str() == text));
    prop_assert!(ConditionType::parse(text).is_none_or(|type_| type_.as_str() == text));
    Ok(())
}

/// A copy with a text in the place of each mark.
fn judges(text: &str) -> Result<(), TestCaseError> {
    let hub = Hub::new("hub", []);
    let sound = Metadata::desired(&id(), "hub", 7, &Target::default(), DeletionPolicy::Protect);
    let marks = [
        ANNOTATION_SOURCE,
        ANNOTATION_HUB,
        ANNOTATION_REVISION,
        ANNOTATION_METADATA,
        ANNOTATION_DELETION_POLICY,
        ANNOTATION_ADOPT,
        text,
    ];
    let edited = marks.map(|key| {
        let mut edited = sound.clone();
        edited.annotations.insert(key.to_owned(), text.to_owned());
        edited
    });
    let labelled = [LABEL_MANAGED_BY, LABEL_OWNER, text].map(|key| {
        let mut edited = sound.clone();
        edited.labels.insert(key.to_owned(), text.to_owned());
        edited
    });
    for metadata in edited.iter().chain(&labelled) {
        let marks = Marks::of(metadata);
        prop_assert!(format!("{marks:?}").len() < 1024, "{:?}", marks);
        if let Ownership::Other(whose) = metadata.ownership(&id(), &hub) {
            prop_assert!(whose.len() < 600 && !whose.contains(char::is_control), "{}", whose);
        }
        let merged = metadata.merged(&sound);
        prop_assert_eq!(merged.ownership(&id(), &hub) == Ownership::Foreign, metadata.is_kept_by_another());
        prop_assert!(Marks::of(&merged).is_in_line(&Marks::of(&sound)));
        let rest = metadata.released(&id());
        // It says where it came from, and nothing else.
        prop_assert!(rest.ours().count() == 1 && rest.owner().is_none());
        prop_assert!(rest.labels.get(LABEL_MANAGED_BY).is_none_or(|by| by != MANAGER));
        prop_assert!(!metadata.is_handed_to(&id()) || text == id().to_string());
    }
    Ok(())
}

/// Marks of other tools on a Secret that is imported: what is kept of them are names.
#[test]
fn marks_of_other_tools_are_names_or_ignored() {
    let keys = [
        "reflector.v1.k8s.emberstack.com/reflects",
        "replicator.v1.mittwald.de/replicate-from",
        "kubectl.kubernetes.io/last-applied-configuration",
    ];
    check(generate::from(texts()), |input| {
        let text = String::from_utf8_lossy(input);
        for key in keys {
            let owner = json!({"apiVersion": text, "kind": text, "name": text, "uid": text});
            let managed = json!({"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:metadata": {text.as_ref(): text}}});
            let secret = json!({"type": "kubernetes.io/tls", "metadata": {"namespace": "a", "name": "b",
                "annotations": {key: text}, "ownerReferences": [owner], "managedFields": [managed]}});
            let secret = ReadSecret(serde_json::from_value(secret).unwrap());
            let listed = Listed::new(CredentialKind::TlsCredential, secret, &FingerprintKey::new([0; 32]));
            let marks = listed.unwrap().marks;
            if let Some(claim) = &marks.claim {
                prop_assert!(
                    matches!(claim, Claim::Named(place) if is_dns_label(&place.namespace) && is_dns_subdomain(&place.name))
                );
            }
            for owner in marks.owners {
                prop_assert!(
                    is_dns_subdomain(&owner.name)
                        && owner.kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
                );
            }
        }
        Ok(())
    });
}

#[test]
fn marks_are_read_or_ignored() {
    check(generate::from(texts()), |input| {
        let text = String::from_utf8_lossy(input);
        reads(&text)?;
        judges(&text)
    });
}

/// Found: the list of what we put on a copy was read anew for each of its labels and annotations. A long list and many
/// of these took seconds for each event.
#[test]
fn many_labels_and_a_long_list_of_them_take_no_time() {
    let label = |n: usize| (format!("{n:05x}"), String::new());
    let metadata = |size: usize, list: String| Metadata {
        labels: (0..size / 12).map(label).collect(),
        annotations: BTreeMap::from([(ANNOTATION_METADATA.to_owned(), list)]),
    };
    let read = |value: &[u8]| {
        let list = String::from_utf8_lossy(value).into_owned();
        let metadata = metadata(value.len(), list);
        let _ = (Marks::of(&metadata), metadata.released(&id()), metadata.has_others());
    };
    grows_with_its_input("one long entry", 2 << 20, |size| b"x".repeat(size), read);
    grows_with_its_input("many entries", 2 << 20, |size| b"l:00001,".repeat(size / 8), read);
}
