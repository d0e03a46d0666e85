//! What holds for every object of the chart: its labels, its annotations, its namespace.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::helm::{only, template, template_with_tests, values};
use crate::support::{Error, Result};

/// Kinds of the chart that are in no namespace.
const GLOBAL: [&str; 8] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "DistributionPolicy",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Everything there is, but what people add.
async fn all() -> Result<Vec<Value>> {
    let full = ["--values", &values("full")].map(str::to_owned);
    let mut objects = Vec::new();
    // Either of the two monitors.
    let off = "serviceMonitor.enabled=false,podMonitor.enabled=true,podMonitor.namespace=monitoring";
    for sets in [
        &["--set", "extraObjects=null"][..],
        &[
            "--set",
            off,
            "--set",
            "extraObjects=null,podMonitor.authorization.credentials.name=x,podMonitor.authorization.credentials.key=y",
        ],
    ] {
        let args: Vec<&str> = full.iter().map(String::as_str).chain(sets.iter().copied()).collect();
        objects.extend(template_with_tests(&args).await?);
    }
    let kinds: BTreeSet<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    for kind in GLOBAL.into_iter().chain([
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    ]) {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
    Ok(objects)
}

#[tokio::test]
async fn labels_and_annotations_for_all_are_on_every_object() -> Result<()> {
    for object in all().await? {
        let (kind, metadata) = (&object["kind"], &object["metadata"]);
        assert_eq!(metadata["labels"]["team"], "platform", "{kind} {}", metadata["name"]);
        assert_eq!(metadata["labels"]["app.kubernetes.io/part-of"], "claviger", "{kind}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm", "{kind}");
        assert_eq!(metadata["annotations"]["contact"], "platform@example.com", "{kind} {}", metadata["name"]);
    }
    Ok(())
}

/// By a selector of the operator nothing else may be found, whatever people call their labels.
#[tokio::test]
async fn labels_for_all_replace_none_of_the_charts_own() -> Result<()> {
    let name =
        r"commonLabels.app\.kubernetes\.io/name=other,commonLabels.app\.kubernetes\.io/component=other";
    let objects = template_with_tests(&["--set", name]).await?;
    let deployment = only(&objects, "Deployment");
    let wanted = json!({
        "app.kubernetes.io/name": "claviger", "app.kubernetes.io/instance": "keys", "app.kubernetes.io/component": "operator",
    });
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], wanted);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (key, value) in wanted.as_object().into_iter().flatten() {
        assert_eq!(&labels[key], value, "{key}");
    }
    // The Service must not send scrapers to the self-test.
    assert_eq!(only(&objects, "Pod")["metadata"]["labels"]["app.kubernetes.io/component"], "self-test");
    Ok(())
}

/// Everything that stands in an object, but the note by which Helm knows the release.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(map) => {
            let rest = map.iter().filter(|(key, _)| *key != "meta.helm.sh/release-namespace");
            rest.for_each(|(_, value)| texts(value, into));
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_operator_can_be_in_another_namespace_than_the_release() -> Result<()> {
    for object in all().await? {
        let (kind, namespace) = (&object["kind"], object["metadata"].get("namespace"));
        let wanted = match kind.as_str().unwrap_or_default() {
            global if GLOBAL.contains(&global) => None,
            "ConfigMap" | "ServiceMonitor" | "PodMonitor" | "PrometheusRule" => Some(json!("monitoring")),
            _ => Some(json!("keys-home")),
        };
        assert_eq!(namespace.cloned(), wanted, "{kind}");
        let mut all = Vec::new();
        texts(&object, &mut all);
        let astray: Vec<_> = all.iter().filter(|text| text.contains("keys-system")).collect();
        assert!(astray.is_empty(), "{kind} {}: {astray:?}", object["metadata"]["name"]);
    }
    // Who the policies are about, where consent comes from, what is scraped, and what no selector reaches.
    let objects =
        template(&["--values", &values("full"), "--set", "distributionPolicy.fromNamespaces=null"]).await?;
    let of = |kind: &str| -> String {
        objects.iter().filter(|object| object["kind"] == kind).map(Value::to_string).collect()
    };
    let policies = of("ValidatingAdmissionPolicy");
    assert_eq!(policies.matches("system:serviceaccount:keys-home:keeper").count(), 3, "{policies}");
    for kind in [
        "ClusterRoleBinding",
        "DistributionPolicy",
        "MutatingAdmissionPolicy",
        "PrometheusRule",
        "RoleBinding",
        "ServiceMonitor",
    ] {
        assert!(of(kind).contains("keys-home"), "{kind}: {}", of(kind));
    }
    Ok(())
}

#[tokio::test]
async fn people_can_add_objects_which_are_templates() -> Result<()> {
    let objects = template(&["--values", &values("full")]).await?;
    let is_added =
        |object: &&Value| object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("extra"));
    let added: Vec<_> = objects.iter().filter(is_added).collect();
    let places: Vec<_> =
        added.iter().map(|one| (&one["metadata"]["name"], &one["metadata"]["namespace"])).collect();
    assert_eq!(places, [(&json!("extra"), &json!("keys-home")), (&json!("extra-text"), &json!("keys-home"))]);
    assert_eq!(added[0]["data"]["release"], "keys");
    Ok(())
}

#[tokio::test]
async fn definitions_have_annotations_of_their_own() -> Result<()> {
    let args = ["--set", "crds.annotations.note=of the platform,commonAnnotations.note=of all"];
    let objects = template(&args).await?;
    let definitions: Vec<_> =
        objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition").collect();
    assert_eq!(definitions.len(), claviger::api::crds().len());
    for crd in definitions {
        let annotations = &crd["metadata"]["annotations"];
        let wanted = json!({"note": "of the platform", "helm.sh/resource-policy": "keep"});
        assert_eq!(*annotations, wanted, "{}", crd["metadata"]["name"]);
        assert_eq!(crd["spec"]["group"], "claviger.dev");
    }
    Ok(())
}

#[tokio::test]
async fn a_budget_is_there_where_it_does_not_hold_up_drains() -> Result<()> {
    for (sets, wanted) in [
        ("", Some(json!({"maxUnavailable": 1}))),
        ("replicaCount=0", None),
        ("replicaCount=1", None),
        ("replicaCount=3", Some(json!({"maxUnavailable": 1}))),
        ("replicaCount=3,podDisruptionBudget.minAvailable=50%", Some(json!({"minAvailable": "50%"}))),
        ("replicaCount=1,podDisruptionBudget.minAvailable=1", None),
        ("podDisruptionBudget.enabled=false", None),
    ] {
        let args = if sets.is_empty() { Vec::new() } else { vec!["--set", sets] };
        let objects = template(&args).await?;
        let budget = objects.iter().find(|object| object["kind"] == "PodDisruptionBudget");
        let found = budget.map(|budget| {
            let mut spec = budget["spec"].clone();
            let selector = spec["selector"]["matchLabels"].take();
            assert_eq!(selector, only(&objects, "Deployment")["spec"]["selector"]["matchLabels"]);
            let fields = spec.as_object_mut().ok_or_else(|| Error::new("no spec"))?;
            fields.retain(|key, _| ["minAvailable", "maxUnavailable"].contains(&key.as_str()));
            Ok::<_, Error>(spec)
        });
        assert_eq!(found.transpose()?, wanted, "{sets}");
    }
    Ok(())
}

#[tokio::test]
async fn pods_are_scraped_where_there_is_no_service() -> Result<()> {
    let monitor = async |sets: &str| template(&["--set", "podMonitor.enabled=true", "--set", sets]).await;
    let objects =
        monitor("service.enabled=false,podMonitor.interval=30s,podMonitor.labels.release=kps").await?;
    let monitor_of = only(&objects, "PodMonitor");
    let spec = &monitor_of["spec"];
    assert_eq!(monitor_of["metadata"]["labels"]["release"], "kps");
    let pod = &only(&objects, "Deployment")["spec"]["template"];
    for (key, value) in spec["selector"]["matchLabels"].as_object().into_iter().flatten() {
        assert_eq!(&pod["metadata"]["labels"][key], value, "{key}");
    }
    let endpoint = &spec["podMetricsEndpoints"][0];
    assert_eq!(
        *endpoint,
        json!({"port": "http", "path": "/metrics", "honorLabels": true, "interval": "30s"})
    );
    assert_eq!(pod["spec"]["containers"][0]["ports"][0]["name"], "http");
    assert_eq!(spec["namespaceSelector"]["matchNames"], json!(["keys-system"]));
    let secret = "metrics.authentication.enabled=true,podMonitor.authorization.credentials.name=scraper,\
                  podMonitor.authorization.credentials.key=token";
    let objects = monitor(secret).await?;
    let endpoint = &only(&objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["authorization"], json!({"credentials": {"name": "scraper", "key": "token"}}));
    Ok(())
}
