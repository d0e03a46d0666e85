//! A real API server takes every object of the chart, field by field: one that it does not know is refused, not dropped.

use std::{collections::BTreeSet, fs};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};

use super::helm::{template_with_tests, values};
use crate::support::{
    ControlPlane, Error, Result, apply_yaml, discovery::serves_mutating_policies, go_module::downloaded,
    wait::DEADLINE, wait_for,
};

/// The Prometheus operator's own, which the chart makes objects of.
const MONITORING: [&str; 3] = ["podmonitors", "prometheusrules", "servicemonitors"];

async fn install_monitoring(client: &Client) -> Result<()> {
    let module = tokio::task::spawn_blocking(|| downloaded("prometheus-operator")).await??;
    for plural in MONITORING {
        let file = format!("example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml");
        apply_yaml(client, &fs::read_to_string(module.join(file))?).await?;
    }
    Ok(())
}

/// Applies an object, with nothing in it that the server does not know.
async fn apply(client: &Client, object: &Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let types = object.types.clone().ok_or_else(|| Error::new("no kind"))?;
    let name = object.metadata.name.clone().unwrap_or_default();
    // A definition that was just applied is not served at once.
    let (resource, capabilities) = wait_for(DEADLINE, &format!("{types:?} to be served"), async || {
        pinned_kind(client, &GroupVersionKind::try_from(&types).map_err(|error| error.to_string())?)
            .await
            .map_err(|error| error.to_string())
    })
    .await?;
    let api: Api<DynamicObject> = match (capabilities.scope, &object.metadata.namespace) {
        (Scope::Cluster, None) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (scope, namespace) => {
            return Err(Error::new(format!("{} {name}: {scope:?} in {namespace:?}", types.kind)));
        }
    };
    let annotations = object.metadata.annotations.as_ref();
    let hook = annotations.and_then(|annotations| annotations.get("helm.sh/hook-delete-policy"));
    if hook.is_some_and(|policy| policy.contains("before-hook-creation")) {
        // As Helm does it.
        api.delete(&name, &DeleteParams::default()).await.map(drop).or_else(|error| match error {
            kube::Error::Api(status) if status.code == 404 => Ok(()),
            error => Err(error),
        })?;
    }
    let params = PatchParams::apply("test").force().validation_strict();
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    applied.map(drop).map_err(|error| Error::new(format!("{} {name}: {error}", types.kind)))
}

#[tokio::test]
async fn every_object_is_accepted_field_by_field() -> Result<()> {
    let control_plane = ControlPlane::builder().start().await?;
    let client = control_plane.client().await?;
    install_monitoring(&client).await?;
    for name in ["keys-system", "keys-home", "monitoring"] {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    }
    let full = values("full");
    let pods = "--set=serviceMonitor.enabled=false,podMonitor.enabled=true,podMonitor.namespace=monitoring,podMonitor.interval=30s,\
                podMonitor.scrapeTimeout=10s,podMonitor.authorization.credentials.name=x,podMonitor.authorization.credentials.key=token,\
                podMonitor.relabelings[0].action=labelmap,podMonitor.relabelings[0].regex=x,podMonitor.metricRelabelings[0].action=labeldrop,\
                podMonitor.metricRelabelings[0].regex=y";
    let has_policies = serves_mutating_policies(&client, "an admission policy for defaults").await?;
    let mut kinds = BTreeSet::new();
    for args in [&[][..], &["--values", &full], &["--values", &full, pods]] {
        let mut objects = template_with_tests(args).await?;
        // What others need comes first: definitions, and the accounts of Pods.
        objects.sort_by_key(|object| match object["kind"].as_str().unwrap_or_default() {
            "CustomResourceDefinition" | "ServiceAccount" => 0,
            _ => 1,
        });
        objects.retain(|object| {
            has_policies
                || !object["kind"].as_str().is_some_and(|kind| kind.starts_with("MutatingAdmissionPolicy"))
        });
        for object in &objects {
            apply(&client, object).await?;
            kinds.extend(object["kind"].as_str().map(str::to_owned));
        }
    }
    for kind in ["DistributionPolicy", "Pod", "PodMonitor", "PrometheusRule", "ServiceMonitor"] {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
    assert_eq!(kinds.contains("MutatingAdmissionPolicy"), has_policies);
    // The server looks at fields: one that is misspelt is refused.
    let objects = template_with_tests(&["--values", &full]).await?;
    let monitor = objects.iter().find(|object| object["kind"] == "ServiceMonitor");
    let mut monitor = monitor.cloned().ok_or_else(|| Error::new("no ServiceMonitor"))?;
    monitor["spec"]["endpoints"][0]["honourLabels"] = json!(true);
    let refused = apply(&client, &monitor).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("honourLabels"), "{refused}");
    Ok(())
}
