use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    PULL,
    form::{config, schema},
    from, hand, reflected, secret, told,
};
use crate::domain::{
    identity::{CredentialId, NamespacedName},
    import::{
        Existing, Groups, Listed, Move, Planned, Standing, advice, form::Form, group::Group, groups,
        manifests,
    },
};

/// A login that fits, made once as that takes a while.
fn quay() -> Form {
    static FORM: std::sync::OnceLock<Form> = std::sync::OnceLock::new();
    FORM.get_or_init(|| config(&["quay.io"]).unwrap()).clone()
}

/// The first group of what was found, with a login that fits.
fn moved(found: &Groups) -> Move {
    let group = found.groups[0].clone();
    Move { source: group.source, form: quay(), copies: group.copies }
}

fn named(objects: &[Value], kind: &str, pointer: &str) -> Vec<Value> {
    let of_kind = objects.iter().filter(|object| object["kind"] == kind);
    of_kind.map(|object| object.pointer(pointer).cloned().unwrap_or_default()).collect()
}

fn standing(metadata: Value, spec: Value) -> Standing {
    Standing::new(&serde_json::from_value(metadata).unwrap(), spec)
}

#[test]
fn what_is_there_already_is_added_to_and_never_taken_from() {
    let first = groups(vec![hand("p/reg"), hand("a/reg"), hand("b/reg")], &from(&["p"]));
    let made = manifests(&[moved(&first)], &Existing::default());
    assert_eq!(named(&made.objects, "Secret", "/metadata/uid"), ["uid of a/reg", "uid of b/reg"]);
    assert_eq!(named(&made.objects, "DistributionPolicy", "/metadata/name"), ["import-p"]);
    assert_eq!(made.objects[0]["kind"], "Secret", "they are handed over before a credential looks at them");

    // Applied, and one more came; both say more than an import would.
    let mut existing = Existing::default();
    let id = CredentialId { kind: PULL, namespace: "p".into(), name: "reg".into() };
    let mut spec = moved(&first).form.full;
    spec["target"] = json!({"namespaces": {"names": ["a", "z"]}});
    spec["description"] = "mine".into();
    existing.credentials.insert(id.clone(), standing(json!({}), spec));
    let policy = json!({"from": {"namespaces": {"names": ["p"]}}, "to": {"namespaces": {"names": ["z"]}}, "kinds": ["TlsCredential"]});
    existing.policies.insert("import-p".to_owned(), standing(json!({}), policy));
    let next = groups(vec![hand("p/reg"), hand("b/reg")], &from(&["p"]));
    let made = manifests(&[moved(&next)], &existing);
    let specs = named(&made.objects, "RegistryCredential", "/spec");
    assert_eq!(specs[0]["target"]["namespaces"]["names"], json!(["a", "b", "z"]));
    assert_eq!(specs[0]["description"], "mine");
    let policies = named(&made.objects, "DistributionPolicy", "/spec");
    assert_eq!(policies[0]["to"]["namespaces"]["names"], json!(["b", "z"]));
    assert_eq!(policies[0]["kinds"], json!(["RegistryCredential", "TlsCredential"]));
    assert!(made.credentials[0].exists);

    // Nothing new to say: the Secret is handed over, and that is all.
    existing.credentials.get_mut(&id).unwrap().spec["target"]["namespaces"]["names"] = json!(["b"]);
    let made = manifests(&[moved(&next)], &existing);
    assert!(named(&made.objects, "RegistryCredential", "").is_empty());

    // One that makes something else is left alone, and so is a policy of somebody else.
    existing.credentials.get_mut(&id).unwrap().spec["server"] = "another.example.com".into();
    existing.policies.get_mut("import-p").unwrap().spec["from"]["namespaces"]["names"] = json!(["q"]);
    let made = manifests(&[moved(&next)], &existing);
    assert_eq!(named(&made.objects, "RegistryCredential", "/metadata/name"), ["reg-2"]);
    assert_eq!(named(&made.objects, "RegistryCredential", "/spec/target/secretName"), ["reg"]);
    assert_eq!(named(&made.objects, "DistributionPolicy", "/metadata/name"), ["import-p-2"]);
    assert_eq!(
        named(&made.objects, "Secret", "/metadata/annotations/claviger.dev~1adopt"),
        ["RegistryCredential/p/reg-2"]
    );
}

/// Applied again, it would be undone, would push into other clusters, or would not reach the copies.
#[test]
fn what_others_keep_or_what_reaches_further_is_not_added_to() {
    let found = groups(vec![hand("p/reg"), hand("b/reg")], &from(&["p"]));
    let id = CredentialId { kind: PULL, namespace: "p".into(), name: "reg".into() };
    let made = |metadata: Value, target: Value, policy_metadata: Value, policy: Value| {
        let mut spec = moved(&found).form.full;
        spec["target"] = target;
        let existing = Existing {
            credentials: [(id.clone(), standing(metadata, spec))].into(),
            policies: [("import-p".to_owned(), standing(policy_metadata, policy))].into(),
            ..Existing::default()
        };
        let objects = manifests(&[moved(&found)], &existing).objects;
        let of = |kind| named(&objects, kind, "/metadata/name");
        (of("RegistryCredential"), of("DistributionPolicy"), objects)
    };
    let own = || json!({"namespaces": {"names": ["a"]}});
    let policy = |to: Value, from: Value| json!({"from": from, "to": to});
    let from_p = || json!({"namespaces": {"names": ["p"]}});
    let (credentials, policies, _) = made(json!({}), own(), json!({}), policy(own(), from_p()));
    assert_eq!(
        (credentials, policies),
        (vec![json!("reg")], vec![json!("import-p")]),
        "they can be added to"
    );

    let elsewhere = json!({"namespaces": {"names": ["a"]}, "clusters": {"names": ["east"]}});
    let excluding = json!({"namespaces": {"names": ["a"], "exclude": ["b"]}});
    for (metadata, target) in [
        (json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}), own()),
        (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}), own()),
        (json!({"managedFields": [{"manager": "helm"}]}), own()),
        (json!({}), elsewhere),
        (json!({}), excluding),
    ] {
        let (credentials, policies, _) =
            made(metadata.clone(), target.clone(), metadata.clone(), policy(target.clone(), from_p()));
        assert_eq!(credentials, [json!("reg-2")], "{metadata} {target}");
        assert_eq!(policies, [json!("import-p-2")], "{metadata} {target}");
    }
    let others = json!({"namespaces": {"names": ["p"], "selector": {}}});
    let (_, policies, _) = made(json!({}), own(), json!({}), policy(own(), others));
    assert_eq!(policies, [json!("import-p-2")], "it is for other namespaces, too");
}

#[test]
fn labels_and_annotations_are_applied_again() {
    let found = groups(vec![hand("p/reg"), hand("b/reg")], &from(&["p"]));
    let id = CredentialId { kind: PULL, namespace: "p".into(), name: "reg".into() };
    let metadata = || {
        json!({"labels": {"team": "red"}, "uid": "u", "annotations": {
            "example.com/a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"}})
    };
    let policy = json!({"from": {"namespaces": {"names": ["p"]}}, "to": {"namespaces": {"names": ["z"]}}});
    let existing = Existing {
        credentials: [(id, standing(metadata(), moved(&found).form.full))].into(),
        policies: [("import-p".to_owned(), standing(metadata(), policy))].into(),
        ..Existing::default()
    };
    let made = manifests(&[moved(&found)], &existing);
    let (labels, annotations) = (json!({"team": "red"}), json!({"example.com/a": "b"}));
    for (kind, expected) in [
        (
            "RegistryCredential",
            json!({"namespace": "p", "name": "reg", "labels": labels, "annotations": annotations}),
        ),
        ("DistributionPolicy", json!({"name": "import-p", "labels": labels, "annotations": annotations})),
    ] {
        assert_eq!(named(&made.objects, kind, "/metadata"), [expected]);
    }
}

#[test]
fn lists_stay_as_short_as_the_schema_wants_them() {
    let copies = (0..1_500).map(|n| hand(&format!("n{n:04}/reg")));
    let all = copies.chain([hand("p/reg")]).collect();
    let made = manifests(&[moved(&groups(all, &from(&["p"])))], &Existing::default());
    for kind in ["RegistryCredential", "DistributionPolicy"] {
        let pointer = if kind == "RegistryCredential" { "/spec/target" } else { "/spec/to" };
        let names = named(&made.objects, kind, &format!("{pointer}/namespaces/names"));
        let lengths: Vec<usize> = names.iter().map(|names| names.as_array().unwrap().len()).collect();
        assert_eq!(lengths, [1_024, 476], "{kind}");
    }
    for object in made.objects.iter().filter(|object| object["kind"] == "RegistryCredential") {
        let (_, faults) = crate::domain::manifest::judge(&schema(PULL), object);
        assert!(faults.is_empty(), "{faults:?}");
    }
}

#[test]
fn accounts_that_name_it_everywhere_can_keep_getting_it() {
    let found = groups(vec![hand("p/reg"), hand("a/reg"), hand("b/reg")], &from(&["p"]));
    let accounts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let existing = Existing {
        accounts: BTreeMap::from([
            (NamespacedName::new("a", "reg"), accounts(&["default", "builder"])),
            (NamespacedName::new("b", "reg"), accounts(&["default"])),
        ]),
        ..Existing::default()
    };
    let made = manifests(&[moved(&found)], &existing);
    assert_eq!(made.credentials[0].accounts, ["default"]);
    assert_eq!(named(&made.objects, "RegistryCredential", "/spec/default"), [Value::Null]);
    let made = manifests(&[moved(&found)], &Existing { defaults: true, ..existing });
    let wanted = json!({"enabled": true, "serviceAccounts": ["default"]});
    assert_eq!(named(&made.objects, "RegistryCredential", "/spec/default"), [wanted]);
    assert_eq!(named(&made.objects, "DistributionPolicy", "/spec/allowDefault"), [json!(true)]);
}

fn planned(copies: Vec<Listed>) -> Planned {
    let source = hand("p/reg");
    let found = Groups { groups: vec![Group { source, copies }], ..Groups::default() };
    manifests(&[moved(&found)], &Existing::default()).credentials.remove(0)
}

#[test]
fn people_are_told_what_to_stop_and_never_a_command_of_others() {
    let owned = |name: &str| json!({"ownerReferences": [{"apiVersion": "images.banzaicloud.io/v1alpha1", "kind": "ImagePullSecret", "name": name, "uid": "u"}]});
    let told = advice(&[planned(vec![
        secret("a/reg", "x", owned("pull")),
        secret("b/reg", "x", owned("x; rm -rf ~")),
    ])]);
    assert!(told.before[0].starts_with("Stop imps ("), "{told:?}");
    let text = told.after.join("\n");
    assert!(
        text.contains("kubectl delete imagepullsecrets.images.banzaicloud.io pull --cascade=orphan"),
        "{text}"
    );
    assert!(!text.contains("rm -rf"), "{text}");
    let told = advice(&[planned(vec![reflected("a/reg", "p/reg")])]);
    assert!(told.after[0].contains("reflector.v1.k8s.emberstack.com/auto-reflects-"), "{told:?}");
    assert_eq!(advice(&[planned(vec![hand("a/reg")])]), crate::domain::import::advice::Advice::default());
}

/// In the source's own namespace there is another name only: a credential that writes its own source would never see it
/// change.
#[test]
fn a_source_is_never_a_copy() {
    let all = vec![hand("p/reg"), hand("p/other"), hand("a/reg")];
    let found = groups(all, &from(&["p"]));
    // The first by age and name.
    assert_eq!(told(&found), ["p/other -> a/reg p/reg"]);
    let made = manifests(&[moved(&found)], &Existing::default());
    let targets = named(&made.objects, "RegistryCredential", "/spec/target/namespaces/names");
    assert_eq!(targets, [json!(["a", "p"])], "{:#?}", made.objects);
    assert_eq!(made.consent["p"], BTreeSet::from(["a".to_owned()]), "its own namespace needs no consent");
}

proptest! {
    /// Whatever stands in a Secret, what is printed has only names that the API server takes.
    #[test]
    fn no_text_of_others_is_printed(text in ".{0,80}") {
        let forged = json!({"annotations": {
            "reflector.v1.k8s.emberstack.com/reflects": text,
            "replicator.v1.mittwald.de/replicated-from-version": text,
        }, "ownerReferences": [{"apiVersion": "a/v1", "kind": text, "name": text, "uid": text}]});
        let found = groups(vec![hand("p/reg"), secret("a/reg", "x", forged)], &from(&["p"]));
        let made = manifests(&[moved(&found)], &Existing::default());
        let clean = manifests(&[moved(&groups(vec![hand("p/reg"), hand("a/reg")], &from(&["p"])))], &Existing::default());
        prop_assert_eq!(made.objects, clean.objects);
    }
}
