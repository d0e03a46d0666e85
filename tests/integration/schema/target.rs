//! Where a Secret goes, what it is called and what it carries.

use serde_json::{Map, Value, json};

use super::{ACCEPTED, Case, custom};
use crate::support::Result;

fn namespaces(selector: Value) -> Value {
    json!({"target": {"namespaces": selector}})
}

#[tokio::test]
async fn a_target_names_its_secret() -> Result<()> {
    const NAME: &[&str] = &["spec.target.secretName", "must be a valid Secret name: lower-case letters"];
    let name = |name: &str| json!({"target": {"secretName": name}});
    let cases: Vec<Case<'_>> = vec![
        ("name", name("quay-pull.v1"), ACCEPTED),
        ("253", name(&"s".repeat(253)), ACCEPTED),
        ("254", name(&"s".repeat(254)), &["spec.target.secretName", "more than 253"]),
        ("capitals", name("Quay"), NAME),
        ("slash", name("web/quay"), NAME),
        ("dot first", name(".quay"), NAME),
        ("empty", name(""), &["spec.target.secretName", "at least 1"]),
        ("an empty target", json!({"target": {}}), ACCEPTED),
        (
            "a type",
            json!({"target": {"type": "kubernetes.io/service-account-token"}}),
            &["unknown field \"spec.target.type\""],
        ),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn namespaces_are_selected_by_name_and_label() -> Result<()> {
    const VALUES: &[&str] =
        &["matchExpressions[0]", "`values` must be given for In and NotIn, and may not be given for Exists"];
    let many = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let expression =
        |requirement: Value| namespaces(json!({"selector": {"matchExpressions": [requirement]}}));
    let cases: Vec<Case<'_>> = vec![
        ("none", namespaces(json!({})), ACCEPTED),
        ("all", namespaces(json!({"selector": {}})), ACCEPTED),
        ("names", namespaces(json!({"names": ["web", "9-lives"], "exclude": ["sandbox"]})), ACCEPTED),
        (
            "labels",
            namespaces(json!({"selector": {"matchLabels": {"team": "billing", "example.com/x": ""}}})),
            ACCEPTED,
        ),
        (
            "wildcard",
            namespaces(json!({"names": ["*"]})),
            &["spec.target.namespaces.names[0]", "should match"],
        ),
        (
            "capitals",
            namespaces(json!({"exclude": ["Web"]})),
            &["spec.target.namespaces.exclude[0]", "should match"],
        ),
        ("empty name", namespaces(json!({"names": [""]})), &["spec.target.namespaces.names[0]"]),
        ("name of 64", namespaces(json!({"names": ["n".repeat(64)]})), &["names[0]", "more than 63"]),
        (
            "one twice",
            namespaces(json!({"names": ["web", "web"]})),
            &["spec.target.namespaces.names[1]: Duplicate value"],
        ),
        ("1024 names", namespaces(json!({"names": many(1024)})), ACCEPTED),
        (
            "1025 names",
            namespaces(json!({"names": many(1025)})),
            &["spec.target.namespaces.names", "must have at most 1024 items"],
        ),
        (
            "1025 left out",
            namespaces(json!({"exclude": many(1025)})),
            &["exclude", "must have at most 1024 items"],
        ),
        ("In", expression(json!({"key": "env", "operator": "In", "values": ["prod", "test"]})), ACCEPTED),
        ("NotIn", expression(json!({"key": "env", "operator": "NotIn", "values": ["prod"]})), ACCEPTED),
        ("Exists", expression(json!({"key": "env", "operator": "Exists"})), ACCEPTED),
        (
            "DoesNotExist",
            expression(json!({"key": "env", "operator": "DoesNotExist", "values": []})),
            ACCEPTED,
        ),
        ("In nothing", expression(json!({"key": "env", "operator": "In"})), VALUES),
        ("NotIn an empty list", expression(json!({"key": "env", "operator": "NotIn", "values": []})), VALUES),
        (
            "Exists with values",
            expression(json!({"key": "env", "operator": "Exists", "values": ["prod"]})),
            VALUES,
        ),
        (
            "Gt",
            expression(json!({"key": "env", "operator": "Gt", "values": ["1"]})),
            &["operator", "Unsupported value"],
        ),
        ("no key", expression(json!({"operator": "Exists"})), &["key: Required value"]),
        (
            "regular expression",
            namespaces(json!({"pattern": "^team-.*$"})),
            &["unknown field \"spec.target.namespaces.pattern\""],
        ),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn clusters_are_selected_by_name_and_label() -> Result<()> {
    let clusters = |selector: Value| json!({"target": {"clusters": selector}});
    let many = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>();
    let cases: Vec<Case<'_>> = vec![
        ("none", clusters(json!({})), ACCEPTED),
        ("all", clusters(json!({"selector": {}})), ACCEPTED),
        ("names", clusters(json!({"names": ["local", "us-east-1"], "exclude": ["lab"]})), ACCEPTED),
        ("the name that Argo CD has for local", clusters(json!({"names": ["in-cluster"]})), ACCEPTED),
        ("labels", clusters(json!({"selector": {"matchLabels": {"env": "prod"}}})), ACCEPTED),
        (
            "both, and namespaces",
            json!({"target": {"namespaces": {"selector": {}}, "clusters": {"names": ["a"], "selector": {}}}}),
            ACCEPTED,
        ),
        ("wildcard", clusters(json!({"names": ["*"]})), &["spec.target.clusters.names[0]", "should match"]),
        (
            "an address",
            clusters(json!({"names": ["https://10.0.0.1:6443"]})),
            &["spec.target.clusters.names[0]", "should match"],
        ),
        (
            "adopted in a namespace",
            clusters(json!({"names": ["team.blue"], "exclude": ["team.red"]})),
            ACCEPTED,
        ),
        ("dots", clusters(json!({"names": ["a.b.c"]})), &["spec.target.clusters.names[0]", "should match"]),
        ("capitals", clusters(json!({"exclude": ["Lab"]})), &["spec.target.clusters.exclude[0]"]),
        ("name of 63", clusters(json!({"names": ["c".repeat(63)]})), ACCEPTED),
        ("name of 128", clusters(json!({"names": ["c".repeat(128)]})), &["names[0]", "more than 127"]),
        (
            "one twice",
            clusters(json!({"names": ["east", "east"]})),
            &["spec.target.clusters.names[1]: Duplicate value"],
        ),
        ("256 names", clusters(json!({"names": many(256)})), ACCEPTED),
        ("257 names", clusters(json!({"names": many(257)})), &["names", "must have at most 256 items"]),
        (
            "257 left out",
            clusters(json!({"exclude": many(257)})),
            &["exclude", "must have at most 256 items"],
        ),
        (
            "In nothing",
            clusters(json!({"selector": {"matchExpressions": [{"key": "env", "operator": "In"}]}})),
            &["spec.target.clusters.selector.matchExpressions[0]", "`values` must be given for In"],
        ),
        (
            "a server",
            clusters(json!({"server": "https://kubernetes.default.svc"})),
            &["unknown field \"spec.target.clusters.server\""],
        ),
    ];
    custom().check(&cases).await
}

/// What tools, and we, take for a sign that a Secret is theirs or is for them.
pub const MARKERS: [&str; 25] = [
    "claviger.dev/owner",
    "claviger.dev/source",
    "argocd.argoproj.io/instance",
    "argocd.argoproj.io/secret-type",
    "argocd.argoproj.io/tracking-id",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "fluxcd.io/x",
    "helm.sh/chart",
    "helm.sh/resource-policy",
    "meta.helm.sh/release-name",
    "objectset.rio.cattle.io/hash",
    "fleet.cattle.io/bundle-id",
    "cert-manager.io/certificate-name",
    "controller.cert-manager.io/fao",
    "kapp.k14s.io/app",
    "applyset.kubernetes.io/part-of",
    "config.kubernetes.io/owning-inventory",
    "config.k8s.io/owning-inventory",
    "cli-utils.sigs.k8s.io/inventory-id",
    "cluster.x-k8s.io/cluster-name",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubernetes.io/service-account.name",
    "node.kubernetes.io/x",
    "batch.kubernetes.io/job-name",
];

const ORDINARY: [&str; 8] = [
    "team",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/name",
    "example.com/x",
    "Billing_1.x",
    "not-helm.shop/x",
    "myargoproj.io.example.com/x",
    "xkubernetes.io/x",
];

#[tokio::test]
async fn ownership_markers_are_refused_and_ordinary_metadata_is_not() -> Result<()> {
    const REFUSED: &str = "may not contain ownership markers of Claviger, Argo CD, Flux, Helm, Rancher, kapp, \
                           cert-manager or Kubernetes: these tools would take the copies for their own";
    for field in ["labels", "annotations"] {
        let path = format!("spec.target.{field}");
        let expected: &[&str] = &[&path, REFUSED];
        let with = |key: &str| json!({"target": {field: {"team": "billing", key: "x"}}});
        let mut cases: Vec<Case<'_>> = MARKERS.iter().map(|key| (*key, with(key), expected)).collect();
        cases.extend(ORDINARY.iter().map(|key| (*key, with(key), ACCEPTED)));
        for key in ["app.kubernetes.io/managed-by", "app.kubernetes.io/instance"] {
            cases.push((key, with(key), if field == "labels" { expected } else { ACCEPTED }));
        }
        custom().check(&cases).await?;
    }
    Ok(())
}

#[tokio::test]
async fn metadata_is_what_kubernetes_takes() -> Result<()> {
    let labels = |key: &str, value: &str| json!({"target": {"labels": {key: value}}});
    let annotations = |key: &str, value: &str| json!({"target": {"annotations": {key: value}}});
    let many = |field: &str, count: usize| {
        let map: Map<String, Value> = (0..count).map(|n| (format!("k{n}"), json!("v"))).collect();
        json!({"target": {field: map}})
    };
    let prefixed = |length: usize| format!("{}/x", "p".repeat(length));
    let cases: Vec<Case<'_>> = vec![
        ("empty label", labels("team", ""), ACCEPTED),
        ("an owner", labels("owner", "web"), ACCEPTED),
        ("what Helm lists releases by", labels("owner", "helm"), &["spec.target.labels", "Helm"]),
        ("label value of 63", labels("team", &"v".repeat(63)), ACCEPTED),
        ("label value of 64", labels("team", &"v".repeat(64)), &["spec.target.labels.team", "more than 63"]),
        ("label value with a space", labels("team", "a b"), &["spec.target.labels.team", "should match"]),
        (
            "label value with a hyphen last",
            labels("team", "a-"),
            &["spec.target.labels.team", "should match"],
        ),
        ("label key of 63", labels(&"k".repeat(63), "v"), ACCEPTED),
        (
            "label key of 64",
            labels(&"k".repeat(64), "v"),
            &["spec.target.labels", "must have valid label keys"],
        ),
        ("label key with a space", labels("a b", "v"), &["spec.target.labels", "must have valid label keys"]),
        ("empty label key", labels("", "v"), &["spec.target.labels", "must have valid label keys"]),
        ("two slashes", labels("a/b/c", "v"), &["spec.target.labels", "must have valid label keys"]),
        (
            "prefix in capitals",
            labels("Example.com/x", "v"),
            &["spec.target.labels", "must have valid label keys"],
        ),
        (
            "prefix with two dots",
            labels("a..b/x", "v"),
            &["spec.target.labels", "must have valid label keys"],
        ),
        ("a long prefix", labels(&prefixed(253), "v"), ACCEPTED),
        (
            "too long a prefix",
            labels(&prefixed(254), "v"),
            &["spec.target.labels", "may have at most 253 characters before the '/'"],
        ),
        ("32 labels", many("labels", 32), ACCEPTED),
        ("33 labels", many("labels", 33), &["spec.target.labels", "must have at most 32 items"]),
        ("annotation", annotations("example.com/note", "any text: {\"x\": 1}\n"), ACCEPTED),
        ("annotation of 1024", annotations("note", &"v".repeat(1024)), ACCEPTED),
        (
            "annotation of 1025",
            annotations("note", &"v".repeat(1025)),
            &["spec.target.annotations.note", "more than 1024"],
        ),
        (
            "annotation key with a space",
            annotations("a b", "v"),
            &["spec.target.annotations", "must have valid annotation keys"],
        ),
        (
            "33 annotations",
            many("annotations", 33),
            &["spec.target.annotations", "must have at most 32 items"],
        ),
    ];
    custom().check(&cases).await
}
