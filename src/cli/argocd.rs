//! `claviger argocd`: prints, writes or checks what makes Argo CD understand the custom resources.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, json};

use super::files;
use super::yaml::{ManifestError, print, to_yaml};
use crate::api::CredentialKind;

const HEADER: &str = "# Made by `claviger argocd --write`; edits are lost.\n";
const CONFIG_MAP: &str = "argocd-cm.yaml";

// For all kinds with a status.
const HEALTH: &str = include_str!("argocd/health.lua");
// For credentials.
const DISCOVERY: &str = include_str!("argocd/discovery.lua");
const SYNC: &str = include_str!("argocd/sync.lua");

/// Prints a patch of the ConfigMap `argocd-cm` on stdout, unless a flag says otherwise.
#[derive(Clone, Debug, Default, Args)]
pub struct ArgoCdArgs {
    /// Compare with the files in this directory; exit code 1 when they differ
    #[arg(long, env = "CLAVIGER_ARGOCD_CHECK", value_name = "DIR", conflicts_with = "write")]
    pub check: Option<PathBuf>,

    /// Write all forms into this directory: the patch, values of the chart argo-cd, and the folders of Argo CD's sources
    #[arg(long, env = "CLAVIGER_ARGOCD_WRITE", value_name = "DIR")]
    pub write: Option<PathBuf>,
}

/// Carries out `claviger argocd`.
///
/// # Errors
/// See [`ManifestError`].
pub fn run(args: &ArgoCdArgs) -> Result<(), ManifestError> {
    let files = files()?;
    if let Some(directory) = &args.check {
        let differences = files::differences(directory, &files)?;
        files::agree("argocd", directory, differences)
    } else if let Some(directory) = &args.write {
        files::write(directory, &files)
    } else {
        print(&mut io::stdout().lock(), files.get(CONFIG_MAP).map_or("", String::as_str))
    }
}

/// Path to content.
///
/// # Errors
/// None, unless a script has no YAML form.
pub fn files() -> Result<BTreeMap<String, String>, ManifestError> {
    let mut files = BTreeMap::new();
    let mut keys = Map::new();
    // Wildcards would do for health, but actions need the exact kind.
    let mut key = |what, kind, value: String| {
        keys.insert(format!("resource.customizations.{what}.claviger.dev_{kind}"), value.into());
    };
    let credentials = CredentialKind::ALL.iter().map(|kind| kind.name());
    for kind in credentials.clone().chain(["MemberCluster"]) {
        key("health", kind, HEALTH.to_owned());
        files.insert(format!("resource_customizations/claviger.dev/{kind}/health.lua"), HEALTH.to_owned());
    }
    let definitions = json!([{"name": "sync", "action.lua": SYNC}]);
    let actions = to_yaml("actions", &json!({"discovery.lua": DISCOVERY, "definitions": definitions}))?;
    for kind in credentials {
        key("actions", kind, actions.clone());
        let folder = format!("resource_customizations/claviger.dev/{kind}/actions");
        files.insert(format!("{folder}/discovery.lua"), DISCOVERY.to_owned());
        files.insert(format!("{folder}/sync/action.lua"), SYNC.to_owned());
    }
    let values = json!({"configs": {"cm": keys}});
    // No namespace: that of Argo CD is not the same everywhere.
    let patch =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": keys});
    for (name, content) in [(CONFIG_MAP, patch), ("values.yaml", values)] {
        files.insert(name.to_owned(), format!("{HEADER}{}", to_yaml(name, &content)?));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ANNOTATION_SYNC;

    #[test]
    fn the_action_sets_the_annotation_that_asks_for_a_sync() {
        assert!(SYNC.contains(&format!("annotations[\"{ANNOTATION_SYNC}\"] = ")));
    }

    #[test]
    fn scripts_stand_in_yaml_as_a_person_wrote_them() {
        let files = files().unwrap();
        for name in [CONFIG_MAP, "values.yaml"] {
            let yaml = &files[name];
            for script in [HEALTH, DISCOVERY, SYNC] {
                let lines = script.lines().filter(|line| !line.is_empty());
                for line in lines {
                    assert!(yaml.lines().any(|found| found.trim() == line.trim()), "{name}: {line}");
                }
            }
        }
    }
}
