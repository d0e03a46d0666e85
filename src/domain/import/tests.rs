mod form;
mod manifests;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::{
    Chosen, Groups, IMPORTED, Left, Listed, groups,
    marks::{Obstacle, Tool},
    secret::kind_of_type,
};
use crate::{
    api::CredentialKind,
    domain::{content::ReadSecret, fingerprint::FingerprintKey, gitops::GitOps},
};

const PULL: CredentialKind = CredentialKind::RegistryCredential;

/// A pull Secret with this value and metadata.
fn secret(place: &str, value: &str, more: Value) -> Listed {
    let (namespace, name) = place.split_once('/').unwrap();
    let mut meta = json!({"namespace": namespace, "name": name, "uid": format!("uid of {place}"),
        "resourceVersion": format!("7{}", place.len())});
    if let (Value::Object(meta), Value::Object(more)) = (&mut meta, more) {
        meta.extend(more);
    }
    let data = json!({".dockerconfigjson": k8s_openapi::ByteString(value.as_bytes().to_vec())});
    let object = json!({"metadata": meta, "type": kind_of_type(PULL), "data": data});
    let secret: Secret = serde_json::from_value(object).unwrap();
    Listed::new(PULL, ReadSecret(secret), &FingerprintKey::new([7; 32])).unwrap()
}

fn reflected(place: &str, source: &str) -> Listed {
    secret(place, "x", json!({"annotations": {"reflector.v1.k8s.emberstack.com/reflects": source}}))
}

fn hand(place: &str) -> Listed {
    secret(place, "x", json!({}))
}

/// Sources with their copies, then what is left with its reason.
fn told(found: &Groups) -> Vec<String> {
    let copies =
        |copies: &[Listed]| copies.iter().map(|copy| copy.place.to_string()).collect::<Vec<_>>().join(" ");
    let groups =
        found.groups.iter().map(|group| format!("{} -> {}", group.source.place, copies(&group.copies)));
    let left = found
        .left
        .iter()
        .map(|left| format!("{} {} in {}", left.why.reason(), left.name, left.namespaces.join(" ")));
    groups.chain(left).collect()
}

fn from(namespaces: &[&str]) -> Chosen {
    Chosen { sources: namespaces.iter().map(|&name| name.to_owned()).collect(), ..Chosen::default() }
}

#[test]
fn a_copy_goes_to_the_source_that_it_names() {
    let all = vec![hand("p/reg"), reflected("a/reg", "p/reg"), reflected("b/other", "p/reg")];
    assert_eq!(told(&groups(all, &Chosen::default())), ["p/reg -> a/reg b/other"]);
}

#[test]
fn what_names_no_source_is_left_until_a_person_says_it() {
    let all = || vec![hand("p/reg"), reflected("a/reg", "p/reg"), hand("b/reg"), hand("c/reg")];
    assert_eq!(
        told(&groups(all(), &Chosen::default())),
        ["p/reg -> a/reg", "NoSource reg in b c"],
        "who has the value is not asked for"
    );
    assert_eq!(told(&groups(all(), &from(&["none", "p"]))), ["p/reg -> a/reg b/reg c/reg"]);
}

/// Tenants write what they want on their own Secrets.
#[test]
fn a_forged_mark_gets_nobody_elses_secret() {
    // `evil` names its own Secret as the source of a copy of its own; the others are made by hand.
    let all = vec![
        hand("p/reg"),
        hand("a/reg"),
        secret("evil/reg", "x", json!({"creationTimestamp": "2001-01-01T00:00:00Z"})),
        reflected("evil/copy", "evil/reg"),
    ];
    assert_eq!(told(&groups(all, &Chosen::default())), ["evil/reg -> evil/copy", "NoSource reg in a p"]);
    // It claims to be pushed, by the version that copies carry, which only the real source has.
    let pushing = |place: &str, version: &str| {
        let annotations = json!({"replicator.v1.mittwald.de/replicate-to": ".*"});
        secret(place, "x", json!({"annotations": annotations, "resourceVersion": version}))
    };
    let pushed = secret(
        "a/reg",
        "x",
        json!({"annotations": {"replicator.v1.mittwald.de/replicated-from-version": "41"}}),
    );
    let all = vec![pushing("p/reg", "41"), pushing("evil/reg", "42"), pushed];
    assert_eq!(told(&groups(all, &Chosen::default())), ["p/reg -> a/reg", "NoSource reg in evil"]);
    // A chain of copies has no source, nor has a circle.
    let all = vec![reflected("a/reg", "b/reg"), reflected("b/reg", "a/reg")];
    assert_eq!(told(&groups(all, &Chosen::default())), ["NotInLine reg in a", "NotInLine reg in b"]);
}

/// A source that goes would take the credential with it.
#[test]
fn what_is_being_deleted_is_no_source() {
    let going =
        || secret("p/reg", "x", json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}));
    let all = vec![going(), reflected("a/reg", "p/reg"), hand("b/reg")];
    assert_eq!(told(&groups(all, &Chosen::default())), ["NotInLine reg in a", "NoSource reg in b p"]);
    let all = vec![going(), hand("b/reg")];
    assert_eq!(told(&groups(all, &from(&["p"]))), ["NoSource reg in b p"]);
}

#[test]
fn a_copy_with_another_content_than_its_source_is_left() {
    let all =
        vec![secret("p/reg", "new", json!({})), reflected("a/reg", "p/reg"), reflected("b/reg", "gone/reg")];
    let found = groups(all, &Chosen::default());
    assert_eq!(told(&found), ["NotInLine reg in a", "NotInLine reg in b"]);
    assert_eq!(found.alone, 1);
    assert!(found.left[1].why.message().contains("gone/reg"));
}

#[test]
fn people_choose_what_moves() {
    let all = || {
        let more = ["a/reg", "b/reg", "c/reg", "a/other"];
        std::iter::once("p/reg").chain(more).map(hand).collect::<Vec<_>>()
    };
    let only = |chosen: Chosen| told(&groups(all(), &Chosen { sources: vec!["p".to_owned()], ..chosen }));
    let set = |name: &str| BTreeSet::from([name.to_owned()]);
    assert_eq!(
        only(Chosen { namespace: Some("a".to_owned()), ..Chosen::default() }),
        ["p/reg -> a/other a/reg"]
    );
    assert_eq!(only(Chosen { names: set("other"), ..Chosen::default() }), ["p/reg -> a/other"]);
    assert_eq!(only(Chosen { exclude: set("a"), ..Chosen::default() }), ["p/reg -> b/reg c/reg"]);
    let closed = BTreeMap::from([("b".to_owned(), "is shut")]);
    assert_eq!(
        only(Chosen { closed, exclude: set("a"), ..Chosen::default() }),
        ["p/reg -> c/reg", "NamespaceRefuses reg in b"]
    );
}

#[test]
fn what_somebody_else_keeps_is_no_copy_and_may_be_a_source() {
    for (metadata, obstacle) in [
        (json!({"annotations": {"cert-manager.io/certificate-name": "x"}}), Obstacle::CertManager),
        (json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}), Obstacle::GitOps(GitOps::ArgoCd)),
        (json!({"annotations": {"meta.helm.sh/release-name": "x"}}), Obstacle::GitOps(GitOps::Helm)),
        (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}), Obstacle::GitOps(GitOps::Flux)),
        (json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}), Obstacle::Terminating),
    ] {
        let kept = secret("a/reg", "x", metadata.clone());
        assert_eq!(kept.marks.obstacle, Some(obstacle), "{metadata}");
        let found = groups(vec![hand("p/reg"), kept.clone()], &from(&["p"]));
        assert!(found.groups.is_empty() && found.left[0].why == Left::Obstacle(obstacle), "{metadata}");
        let found = groups(vec![kept, hand("b/reg")], &from(&["a"]));
        // What is being deleted is no source.
        let stays = obstacle != Obstacle::Terminating;
        let expected = if stays { "a/reg -> b/reg" } else { "NoSource reg in a b" };
        assert_eq!(told(&found), [expected], "{metadata}");
    }
    // kubernetes-replicator copies the labels of the source.
    let copy = json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"},
        "annotations": {"replicator.v1.mittwald.de/replicated-from-version": "1"}});
    assert_eq!(secret("a/reg", "x", copy).marks.obstacle, None);
    let ours =
        json!({"labels": {"app.kubernetes.io/managed-by": "claviger", "claviger.dev/owner": "a".repeat(24)}});
    let found = groups(vec![hand("p/reg"), secret("a/reg", "x", ours)], &from(&["p"]));
    assert!(told(&found).is_empty(), "{found:?}");
}

#[test]
fn tools_are_known_by_what_they_write() {
    let owner = |kind: &str| json!({"ownerReferences": [{"apiVersion": "x/v1", "kind": kind, "name": "o", "uid": "u"}]});
    for (place, metadata, tool) in [
        (
            "a/x",
            json!({"annotations": {"reflector.v1.k8s.emberstack.com/reflects": "p/x"}}),
            Some(Tool::Reflector),
        ),
        (
            "a/x",
            json!({"annotations": {"replicator.v1.mittwald.de/replicate-from": "p/x"}}),
            Some(Tool::Replicator),
        ),
        ("a/x", json!({"labels": {"images.banzaicloud.io/owner-uid": "u"}}), Some(Tool::Imps)),
        ("a/x", owner("ImagePullSecret"), Some(Tool::Imps)),
        ("a/x", owner("ClusterPullSecret"), Some(Tool::RegistryCreds)),
        ("a/awsecr-cred", json!({}), Some(Tool::RegistryCreds)),
        (
            "a/x",
            json!({"annotations": {"app.kubernetes.io/managed-by": "imagepullsecret-patcher"}}),
            Some(Tool::ImagePullSecretPatcher),
        ),
        (
            "a/x",
            json!({"labels": {"reconcile.external-secrets.io/managed": "true"}}),
            Some(Tool::ExternalSecrets),
        ),
        ("a/x", owner("ExternalSecret"), Some(Tool::ExternalSecrets)),
        ("a/x", owner("Deployment"), None),
        ("a/x", json!({"annotations": {"reflector.v1.k8s.emberstack.com/reflection-allowed": "true"}}), None),
    ] {
        assert_eq!(secret(place, "x", metadata.clone()).marks.made_by, tool, "{metadata}");
    }
}

#[test]
fn what_kubectl_applied_is_seen_and_what_an_import_applied_is_not() {
    let applied = |object: Value| {
        let text = object.to_string();
        let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": text});
        secret("a/x", "x", json!({ "annotations": annotations })).marks.applied
    };
    let adopt = json!({"claviger.dev/adopt": "RegistryCredential/p/x"});
    assert!(!applied(json!({"metadata": {"name": "x", "annotations": adopt}, "type": "t"})));
    for lost in [
        json!({"data": {"a": "b"}}),
        json!({"stringData": {"a": "b"}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"immutable": true}),
        json!(""),
    ] {
        assert!(applied(lost.clone()), "{lost}");
    }
    let fields = |manager: &str, operation: &str, fields: Value| {
        let entry =
            json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields});
        secret("a/x", "x", json!({ "managedFields": [entry] })).marks.applied
    };
    assert!(fields("kubectl", "Apply", json!({"f:data": {"f:a": {}}})));
    assert!(fields("kubectl", "Apply", json!({"f:metadata": {"f:annotations": {"f:a": {}}}})));
    assert!(!fields(
        "kubectl",
        "Apply",
        json!({"f:metadata": {"f:annotations": {"f:claviger.dev/adopt": {}}}})
    ));
    assert!(!fields("kubectl-create", "Update", json!({"f:data": {}})));
    assert!(!fields("flux", "Apply", json!({"f:data": {}})));
}

/// In one of type Opaque can be anything.
#[test]
fn secrets_without_a_type_of_their_own_are_not_looked_at() {
    assert!(IMPORTED.iter().all(|(_, type_)| *type_ != "Opaque"));
    for kind in CredentialKind::ALL {
        let object = json!({"metadata": {"namespace": "a", "name": "x"}, "type": "Opaque"});
        let secret: Secret = serde_json::from_value(object).unwrap();
        assert!(Listed::new(*kind, ReadSecret(secret), &FingerprintKey::new([7; 32])).is_none(), "{kind:?}");
    }
}
