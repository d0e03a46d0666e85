//! `deploy/install.yaml`, as docs/install.md has it used, rightly and wrongly.

use std::{collections::BTreeMap, fs};

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::{
    documented,
    hack::{hack, repository},
    install::{Cluster, DEPLOYED},
};
use crate::{
    chart::helm::{chart, helm},
    support::{Error, Operator, Result, wait::DEADLINE, wait_for},
};

const MANIFEST: &str = "deploy/install.yaml";

fn manifest() -> Result<String> {
    Ok(fs::read_to_string(repository().join(MANIFEST))?)
}

async fn apply(cluster: &Cluster) -> Result<String> {
    cluster.types(&documented::block("One manifest", "sh")?).await
}

/// What people and manifests say of each object: nothing that the controllers of the cluster write.
async fn said(cluster: &Cluster) -> Result<BTreeMap<String, Value>> {
    let found = cluster.types(&format!("kubectl get -f {MANIFEST} -o json --show-managed-fields")).await?;
    let mut found: Value = serde_json::from_str(&found)?;
    let items = found["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let said = items.into_iter().map(|mut item| {
        let name = format!("{} {}", item["kind"], item["metadata"]["name"]);
        if let Some(object) = item.as_object_mut() {
            object.remove("status");
        }
        if let Some(metadata) = item["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        if let Some(notes) = item["metadata"]["annotations"].as_object_mut() {
            notes.remove("deployment.kubernetes.io/revision");
        }
        if let Some(managers) = item["metadata"]["managedFields"].as_array_mut() {
            managers.retain(|manager| manager["manager"] == "kubectl");
            managers.iter_mut().for_each(|manager| manager["time"] = Value::Null);
        }
        (name, item)
    });
    Ok(said.collect())
}

async fn wait_ready(operator: &Operator) -> Result<()> {
    wait_for(DEADLINE, "the operator to be ready", async || {
        let answer = operator.get("/readyz").await?;
        if answer.status == 200 { Ok(()) } else { Err(Error::new(answer.body)) }
    })
    .await
}

#[tokio::test]
async fn the_manifest_is_what_the_chart_makes() -> Result<()> {
    hack("install-manifest", &["--check"]).await?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifest()?)?;
    // Whoever applies it by hand has no use for marks of Helm, and must not be told that Helm keeps it.
    for object in &objects {
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"].get("helm.sh/chart"), None, "{metadata}");
        assert_eq!(metadata["labels"].get("app.kubernetes.io/managed-by"), None, "{metadata}");
        let mut notes = metadata["annotations"].as_object().into_iter().flatten();
        assert!(notes.all(|(key, _)| !key.starts_with("helm.sh/")), "{metadata}");
        // What `helm test` runs would be there for ever.
        assert!(object["kind"] != "Pod" && object["kind"] != "Secret", "{metadata}");
        let namespace = metadata["namespace"].as_str().unwrap_or(DEPLOYED.namespace);
        assert_eq!(namespace, DEPLOYED.namespace, "{metadata}");
    }
    assert_eq!(objects[0]["kind"], "Namespace", "what is in it comes later");
    Ok(())
}

#[tokio::test]
async fn one_manifest_installs_upgrades_and_goes() -> Result<()> {
    let cluster = Cluster::new().await?;
    // In the wrong order.
    let refused = cluster.refusal(&documented::block("A first credential", "sh")?).await;
    assert!(refused.contains(&documented::refusal("no matches for kind")?), "{refused}");
    cluster.types("kubectl delete secret quay-robot").await?;

    apply(&cluster).await?;
    let operator = cluster.operator("claviger-1").await?;
    let secret = cluster.first_credential().await?;

    // Once more.
    let before = said(&cluster).await?;
    apply(&cluster).await?;
    let after = said(&cluster).await?;
    assert_eq!(before.len(), serde_saphyr::from_multiple::<Value>(&manifest()?)?.len());
    for (name, object) in &before {
        let now = after.get(name).ok_or_else(|| Error::new(format!("{name} is gone")))?;
        for (field, value) in object.as_object().into_iter().flatten() {
            assert_eq!(now[field], *value, "{field} of {name} was changed");
        }
    }

    // Over an edited object: nothing of it is lost without a word.
    let edit =
        "kubectl -n claviger-system set image deployment/claviger claviger=registry.example.com/edited:1";
    cluster.types(edit).await?;
    let refused = cluster.refusal(&documented::block("One manifest", "sh")?).await;
    for part in [documented::refusal("conflict with")?.as_str(), "kubectl-set", ".image"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let deployments: Api<Deployment> =
        Api::namespaced(cluster.control_plane.client().await?, DEPLOYED.namespace);
    let image = async || -> Result<Option<String>> {
        let found = deployments.get(DEPLOYED.name).await?;
        Ok(found.spec.template.spec.and_then(|spec| spec.containers[0].image.clone()))
    };
    assert_eq!(image().await?.as_deref(), Some("registry.example.com/edited:1"));

    // The next version.
    let version = env!("CARGO_PKG_VERSION");
    let next = tempfile::tempdir()?;
    let file = next.path().join("install.yaml");
    fs::write(&file, manifest()?.replace(version, "99.0.0"))?;
    cluster.types(&format!("kubectl apply --server-side --force-conflicts -f {}", file.display())).await?;
    assert_eq!(image().await?.as_deref(), Some("ghcr.io/claviger/claviger:99.0.0"));
    assert_eq!(operator.terminate(DEADLINE).await?, 0);
    let operator = cluster.operator("claviger-2").await?;
    cluster.types("kubectl wait --for=condition=Ready registrycredential/quay --timeout=30s").await?;
    let kept = cluster.first_secret().await?;
    assert_eq!((kept.uid(), kept.resource_version()), (secret.uid(), secret.resource_version()));

    // And away with it.
    let commands = documented::blocks("Uninstalling", "sh")?;
    assert_eq!(commands.len(), 2, "{commands:#?}");
    cluster.types(&commands[0]).await?;
    assert!(cluster.first_secret().await.is_err(), "the Secret of a deleted credential stays");
    assert_eq!(operator.terminate(DEADLINE).await?, 0);
    cluster.types(&commands[1]).await?;
    let client = cluster.control_plane.client().await?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone()).list(&Default::default()).await?;
    assert!(definitions.iter().all(|crd| crd.spec.group != "claviger.dev"));
    assert!(Api::<Namespace>::all(client).get_opt(DEPLOYED.namespace).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_operator_without_definitions_says_what_it_lacks_and_goes_on_when_they_come() -> Result<()> {
    let cluster = Cluster::new().await?;
    let text = manifest()?;
    let rest: Vec<&str> =
        text.split("\n---\n").filter(|part| !part.contains("kind: CustomResourceDefinition")).collect();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rest.yaml");
    fs::write(&file, rest.join("\n---\n"))?;
    cluster.types(&format!("kubectl apply --server-side -f {}", file.display())).await?;

    let operator = DEPLOYED.operator(&cluster.control_plane, "claviger-1").await?;
    let operator = operator.without_waiting().start().await?;
    let missing = documented::refusal("registrycredentials")?;
    wait_for(DEADLINE, "the definition to be missed", async || operator.logs().contains(&missing)).await?;
    assert_eq!(operator.readyz().await?, 503);
    apply(&cluster).await?;
    wait_ready(&operator).await?;
    cluster.first_credential().await.map(drop)
}

#[tokio::test]
async fn helm_takes_over_what_the_manifest_has_made() -> Result<()> {
    let cluster = Cluster::new().await?;
    apply(&cluster).await?;
    let operator = cluster.operator("claviger-1").await?;
    let secret = cluster.first_credential().await?;
    // Not by itself. A person must say who owns the objects.
    let refused = cluster.refusal(&documented::blocks("Helm", "sh")?[0]).await;
    assert!(refused.contains(&documented::refusal("cannot be imported")?), "{refused}");

    cluster.types(&documented::block("Upgrading", "sh")?).await?;
    let deployments: Api<Deployment> =
        Api::namespaced(cluster.control_plane.client().await?, DEPLOYED.namespace);
    let labels = deployments.get(DEPLOYED.name).await?.labels().clone();
    assert_eq!(labels.get("app.kubernetes.io/managed-by").map(String::as_str), Some("Helm"));
    assert_eq!(operator.terminate(DEADLINE).await?, 0);
    let operator = cluster.operator("claviger-2").await?;
    cluster.types("kubectl wait --for=condition=Ready registrycredential/quay --timeout=30s").await?;
    let kept = cluster.first_secret().await?;
    assert_eq!((kept.uid(), kept.resource_version()), (secret.uid(), secret.resource_version()));
    operator.check_running()
}

#[tokio::test]
async fn clusters_that_are_too_old_are_told_by_the_chart() -> Result<()> {
    let chart = chart().display().to_string();
    let tried = helm(None, &["template", "claviger", &chart, "--kube-version=1.30.9"]).await;
    let refused = tried.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains(&documented::refusal("kubeVersion")?), "{refused}");
    helm(None, &["template", "claviger", &chart, "--kube-version=1.31.0"]).await?;
    let policy = ["--kube-version=1.33.13", "--set=defaults.admissionPolicy.enabled=true"];
    let tried = helm(None, &["template", "claviger", &chart, policy[0], policy[1]]).await;
    let refused = tried.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains(&documented::refusal("MutatingAdmissionPolicy")?), "{refused}");
    Ok(())
}
