//! Running Helm.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{self, Error, Result, error::Context};

pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/claviger")
}

/// One of the chart's own sets of values, by name.
pub fn values(name: &str) -> String {
    chart().join(format!("ci/{name}-values.yaml")).display().to_string()
}

/// What Helm prints. What it prints when it fails is the error.
pub async fn helm(kubeconfig: Option<&Path>, args: &[&str]) -> Result<String> {
    let program = tokio::task::spawn_blocking(support::helm).await??;
    // Nothing of the user's: no repositories, plugins or contexts.
    let home = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command.args(args).env("HOME", home.path()).env_remove("KUBECONFIG");
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("HELM_") {
            command.env_remove(key);
        }
    }
    for (key, folder) in
        [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
    {
        command.env(key, home.path().join(folder));
    }
    if let Some(path) = kubeconfig {
        command.env("KUBECONFIG", path);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context("helm")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Error::new(format!("helm {}: {}{}", args.join(" "), text(&output.stdout), text(&output.stderr))))
}

/// The objects that `helm template` makes, of a release `keys` in namespace `keys-system`, without those of `helm test`.
pub async fn template(args: &[&str]) -> Result<Vec<Value>> {
    template_with_tests(&[&["--skip-tests"], args].concat()).await
}

/// The same with them.
pub async fn template_with_tests(args: &[&str]) -> Result<Vec<Value>> {
    let chart = chart().display().to_string();
    let mut all = vec!["template", "keys", &chart, "--namespace=keys-system"];
    // Helm knows the types of its own version only.
    all.push("--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy");
    all.extend(args);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&helm(None, &all).await?)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The one object of a kind.
pub fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}
