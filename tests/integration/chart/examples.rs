//! What the chart tells people to write, and the names that its alerts look for.

use std::collections::BTreeSet;

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::pinned_kind,
};
use serde_json::{Value, json};

use super::{
    helm::{chart, only, template, values},
    release::installed,
};
use crate::{
    scenario::Scenario,
    support::{Error, Result, error::Context, wait::DEADLINE, wait_for},
};

/// Would the API server take these?
async fn dry_run(client: &Client, yaml: &str) -> Result<usize> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    for document in &documents {
        let object: DynamicObject = serde_json::from_value(document.clone())?;
        let types = object.types.clone().ok_or_else(|| Error::new("no kind"))?;
        let (resource, _) = pinned_kind(client, &GroupVersionKind::try_from(&types)?).await?;
        let api: Api<DynamicObject> = match types.kind.as_str() {
            "DistributionPolicy" | "MemberCluster" => Api::all_with(client.clone(), &resource),
            _ => Api::namespaced_with(client.clone(), "default", &resource),
        };
        let mut object = object;
        object.metadata.namespace = None;
        let name = object.metadata.name.clone().unwrap_or_default();
        let params = PatchParams { dry_run: true, ..PatchParams::apply("test").validation_strict() };
        api.patch(&name, &params, &Patch::Apply(&object)).await.context(yaml)?;
    }
    Ok(documents.len())
}

#[tokio::test]
async fn examples_in_notes_and_chart_are_accepted() -> Result<()> {
    let release = &installed().await?.release;
    let client = release.client().await?;
    let example: Vec<&str> = release
        .notes
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .skip_while(|line| !line.starts_with("apiVersion:"))
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(dry_run(&client, &example.join("\n")).await?, 1);

    let text = std::fs::read_to_string(chart().join("Chart.yaml"))?;
    let about: Value = serde_saphyr::from_str(&text)?;
    let annotation = |key: &str| -> Result<Vec<Value>> {
        let text = about["annotations"][key].as_str().ok_or_else(|| Error::new(key))?;
        Ok(serde_saphyr::from_str(text)?)
    };
    for example in annotation("artifacthub.io/crdsExamples")? {
        dry_run(&client, &example.to_string()).await?;
    }
    let told: BTreeSet<String> = annotation("artifacthub.io/crds")?
        .iter()
        .map(|crd| format!("{} {} {}", crd["kind"], crd["name"], crd["version"]).replace('"', ""))
        .collect();
    let are = claviger::api::crds().into_iter().map(|crd| {
        let name = crd.metadata.name.unwrap_or_default();
        format!("{} {name} {}", crd.spec.names.kind, crd.spec.versions[0].name)
    });
    assert_eq!(told, are.collect());
    Ok(())
}

/// Artifact Hub shows what it finds, and leaves out silently what it cannot read.
#[tokio::test]
async fn artifact_hub_is_told_everything() -> Result<()> {
    let about: Value = serde_saphyr::from_str(&std::fs::read_to_string(chart().join("Chart.yaml"))?)?;
    let notes = about["annotations"].as_object().ok_or_else(|| Error::new("no annotations"))?;
    let told: BTreeSet<&str> = notes.keys().filter_map(|key| key.strip_prefix("artifacthub.io/")).collect();
    let known = BTreeSet::from([
        "category",
        "changes",
        "containsSecurityUpdates",
        "crds",
        "crdsExamples",
        "images",
        "license",
        "links",
        "operator",
        "operatorCapabilities",
        "prerelease",
    ]);
    assert_eq!(told, known);
    let text = |key: &str| notes[&format!("artifacthub.io/{key}")].as_str().unwrap_or_default();
    let list = |key: &str| -> Result<Vec<Value>> { serde_saphyr::from_str(text(key)).context(key) };
    assert_eq!((text("category"), text("operator")), ("security", "true"));
    assert_eq!(text("license"), env!("CARGO_PKG_LICENSE"));
    let levels = ["Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"];
    assert!(levels.contains(&text("operatorCapabilities")), "{}", text("operatorCapabilities"));
    assert!(
        ["true", "false"].contains(&text("prerelease"))
            && ["true", "false"].contains(&text("containsSecurityUpdates"))
    );

    // The image that the chart runs, of the version of this program.
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
    let rendered =
        only(&template(&[]).await?, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
            .clone();
    let images = list("images")?;
    assert_eq!(images.iter().map(|image| &image["image"]).collect::<Vec<_>>(), [&rendered]);
    for change in list("changes")? {
        let kinds = ["added", "changed", "deprecated", "removed", "fixed", "security"];
        assert!(change["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)), "{change}");
        assert!(change["description"].as_str().is_some_and(|text| !text.is_empty()), "{change}");
    }
    let examples: BTreeSet<String> =
        list("crdsExamples")?.iter().map(|one| one["kind"].to_string()).collect();
    let crds = list("crds")?;
    assert_eq!(crds.iter().map(|crd| crd["kind"].to_string()).collect::<BTreeSet<_>>(), examples);
    for crd in crds {
        assert!(crd["displayName"].is_string() && crd["description"].is_string(), "{crd}");
    }
    for link in list("links")? {
        assert!(link["name"].is_string(), "{link}");
        let url = link["url"].as_str().unwrap_or_default();
        let own = about["home"].as_str().unwrap_or_default();
        assert!(url.starts_with(own), "{url}");
        // Pages of this repository are there.
        if let Some(path) = url.strip_prefix(own).and_then(|rest| rest.strip_prefix("/blob/main/")) {
            assert!(chart().join("../..").join(path).is_file(), "{path}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn alerts_look_for_what_the_operator_tells() -> Result<()> {
    let installed = installed().await?;
    let test = Scenario::alone(&installed.release.control_plane).await?;
    test.source("src", json!({"username": "me", "password": "the-password"})).await?;
    test.credential(
        "quay",
        json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}}),
    )
    .await?;
    test.wait_ready("quay", 1).await?;
    let series = format!(
        r#"claviger_credential_condition{{namespace="{}",name="quay",condition="Ready",status="true"}}"#,
        test.home.name
    );
    wait_for(DEADLINE, "the condition as a metric", async || {
        let found = installed.operator.metric(&series).await?;
        if found == Some(1.0) { Ok(()) } else { Err(Error::new(format!("{found:?}"))) }
    })
    .await?;
    let told = installed.operator.metrics().await?;

    let objects = template(&["--values", &values("full")]).await?;
    let rules = only(&objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut blind = Vec::new();
    for rule in &rules {
        let expression = rule["expr"].as_str().unwrap_or_default();
        let words = expression.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        let names: Vec<&str> = words.filter(|word| word.starts_with("claviger_")).collect();
        for name in &names {
            // Not all have a series: no certificate may be there to expire.
            let family = format!("# TYPE {name} ");
            assert!(told.lines().any(|line| line.starts_with(&family)), "no {name}");
        }
        if names.is_empty() {
            blind.push(&rule["alert"]);
        }
    }
    assert_eq!(blind, ["X"], "the values add that one");
    // Their labels too.
    for labels in [r#"condition="Ready",status="true""#, r#"condition="Verified",status="false""#] {
        assert!(told.contains(labels), "{labels}: {told}");
    }
    Ok(())
}
