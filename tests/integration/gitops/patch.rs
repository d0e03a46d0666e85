//! The forms in which Argo CD gets its scripts: all say the same, and are applied as docs/argocd.md says.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::judge::read;
use crate::{lab::Lab, support::Result, uninstall};

#[test]
fn the_values_of_the_chart_and_the_patch_say_the_same() -> Result<()> {
    let patch: Value = serde_saphyr::from_str(&read("docs/argocd/argocd-cm.yaml")?)?;
    let values: Value = serde_saphyr::from_str(&read("docs/argocd/values.yaml")?)?;
    assert_eq!(values["configs"]["cm"], patch["data"]);
    let keys: Vec<&String> = patch["data"].as_object().expect("keys").keys().collect();
    assert_eq!(keys.len(), 5 + 4, "{keys:?}");
    Ok(())
}

#[tokio::test]
async fn the_command_of_the_docs_adds_the_scripts_and_leaves_the_rest() -> Result<()> {
    let docs = read("docs/argocd.md")?;
    let block = docs.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    assert!(block.contains("docs/argocd/argocd-cm.yaml"), "{block}");
    let lab = Lab::bare().await?;
    let client = lab.control_plane.client().await?;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "argocd"}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client, "argocd");
    let theirs = json!({"metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}}, "data": {"url": "https://argocd.example.com"}});
    maps.create(&PostParams::default(), &serde_json::from_value(theirs)?).await?;

    uninstall::run(&lab, block.to_owned()).await?;
    let patch: Value = serde_saphyr::from_str(&read("docs/argocd/argocd-cm.yaml")?)?;
    let mut wanted = patch["data"].clone();
    wanted["url"] = json!("https://argocd.example.com");
    let found = maps.get("argocd-cm").await?;
    assert_eq!(serde_json::to_value(found.data)?, wanted);
    assert_eq!(found.metadata.labels.unwrap_or_default().len(), 1);
    // Twice is as good as once.
    let again = uninstall::run(&lab, block.to_owned()).await?;
    assert!(again.contains("no change"), "{again}");
    Ok(())
}
