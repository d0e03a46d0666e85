//! `claviger crds`: prints, writes or checks the custom resource definitions.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::files;
use super::yaml::{ManifestError, print, to_yaml};

const HEADER: &str = "# Made by `claviger crds --write`; edits are lost.\n";

/// Prints the definitions as YAML on stdout, unless a flag says otherwise.
#[derive(Clone, Debug, Default, Args)]
pub struct CrdsArgs {
    /// Compare with the files in this directory; exit code 1 when they differ
    #[arg(long, env = "CLAVIGER_CRDS_CHECK", value_name = "DIR", conflicts_with = "write")]
    pub check: Option<PathBuf>,

    /// Write one file per definition into this directory
    #[arg(long, env = "CLAVIGER_CRDS_WRITE", value_name = "DIR")]
    pub write: Option<PathBuf>,
}

/// Carries out `claviger crds` on the definitions of this program.
///
/// # Errors
/// See [`ManifestError`].
pub fn run(args: &CrdsArgs, definitions: &[CustomResourceDefinition]) -> Result<(), ManifestError> {
    let files = files(definitions)?;
    if let Some(directory) = &args.check {
        check(directory, &files)
    } else if let Some(directory) = &args.write {
        write(directory, &files)
    } else {
        print(&mut io::stdout().lock(), &documents(&files))
    }
}

/// File name to content, `claviger.dev_<plural>.yaml`, in the order of names.
///
/// # Errors
/// A definition that has no YAML form.
pub fn files(definitions: &[CustomResourceDefinition]) -> Result<BTreeMap<String, String>, ManifestError> {
    let mut files = BTreeMap::new();
    for definition in definitions {
        let spec = &definition.spec;
        let name = format!("{}_{}.yaml", spec.group, spec.names.plural);
        let yaml = to_yaml(&name, definition)?;
        files.insert(name, format!("{HEADER}{yaml}"));
    }
    Ok(files)
}

fn documents(files: &BTreeMap<String, String>) -> String {
    files.values().map(|yaml| format!("---\n{yaml}")).collect()
}

fn write(directory: &Path, files: &BTreeMap<String, String>) -> Result<(), ManifestError> {
    files::write(directory, files)?;
    for name in leftovers(directory, files)? {
        let path = directory.join(name);
        std::fs::remove_file(&path).map_err(ManifestError::io(&path))?;
    }
    Ok(())
}

fn check(directory: &Path, files: &BTreeMap<String, String>) -> Result<(), ManifestError> {
    let mut differences = files::differences(directory, files)?;
    let leftovers = leftovers(directory, files)?;
    differences.extend(leftovers.iter().map(|name| format!("{name} (no such type)")));
    files::agree("crds", directory, differences)
}

/// Files that this program made for types that are gone. Other files in the directory are left alone.
fn leftovers(directory: &Path, files: &BTreeMap<String, String>) -> Result<Vec<String>, ManifestError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ManifestError::io(directory))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(ManifestError::io(directory))?.file_name();
        let Some(name) = name.to_str().filter(|name| !files.contains_key(*name)) else { continue };
        if Path::new(name).extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let content = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        if content.starts_with(HEADER) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DESCRIPTION: &str = "First line: with a colon, # a hash.\n\n  indented `code`\n- a dash\n\
        A long line that goes on and on, past eighty columns, past a hundred, and never finds an end \
        until here.";

    fn definition(plural: &str) -> CustomResourceDefinition {
        let long = format!("!has(self.server) || {} self.server.matches('^[a-z]{{1,63}}$')", "x ".repeat(60));
        serde_json::from_value(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.claviger.dev")},
            "spec": {
                "group": "claviger.dev",
                "scope": "Namespaced",
                "names": {"plural": plural, "kind": "Widget"},
                "versions": [{
                    "name": "v1alpha1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "description": DESCRIPTION,
                        "properties": {
                            "y": {"type": "string", "enum": ["Enforce", "Warn", "Off", "on", "yes", "no",
                                "null", "~", "1e3", "0x1f", "1:30", "012", "1_000", "", " x ", "2001-01-01",
                                "=", "<<", "true", "-", "- a", "a: b", "a #b", "@x", "`x", "%x", "*x", "&x", "!x",
                                "|", ">", "tab\there", "é\u{85}\u{2028}\u{feff}", "trailing\n", "\nleading", "a\n\n\n"]},
                            "interval": {"type": "string", "default": "1h", "pattern": r#"^\d+"'\\$"#},
                            "n": {"type": "integer", "minimum": 1, "maximum": 16384, "default": -1}
                        },
                        "x-kubernetes-validations": [{"rule": long, "message": "it's \"wrong\": fix it"}]
                    }}
                }]
            }
        }))
        .unwrap()
    }

    #[test]
    fn yaml_reads_back_as_the_same_definition() {
        let definition = definition("widgets");
        let files = files(std::slice::from_ref(&definition)).unwrap();
        let yaml = &files["claviger.dev_widgets.yaml"];
        let back: CustomResourceDefinition = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(back, definition);
        let value: Value = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(value, serde_json::to_value(&definition).unwrap());
        assert!(!yaml.lines().any(|line| !line.is_empty() && line.trim().is_empty()));
    }

    #[test]
    fn printing_separates_documents() {
        let files = files(&[definition("widgets"), definition("gadgets")]).unwrap();
        let text = documents(&files);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(documents.len(), 2);
        assert!(text.starts_with("---\n"));
    }

    #[test]
    fn check_accepts_what_write_wrote_and_names_what_differs() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("crds");
        let write = |definitions: &[CustomResourceDefinition]| {
            let args = CrdsArgs { write: Some(at.clone()), check: None };
            run(&args, definitions)
        };
        let check = |definitions: &[CustomResourceDefinition]| {
            let args = CrdsArgs { check: Some(at.clone()), write: None };
            run(&args, definitions).map_err(|e| e.to_string())
        };
        let both = [definition("widgets"), definition("gadgets")];
        let missing = check(&both).unwrap_err();
        assert!(missing.contains("claviger.dev_gadgets.yaml (missing)"), "{missing}");
        write(&both).unwrap();
        assert_eq!(check(&both), Ok(()));

        let widgets = at.join("claviger.dev_widgets.yaml");
        let edited = std::fs::read_to_string(&widgets).unwrap().replace("Namespaced", "Cluster");
        std::fs::write(&widgets, edited).unwrap();
        let differs = check(&both).unwrap_err();
        assert!(differs.contains("claviger.dev_widgets.yaml (from line "), "{differs}");
        assert!(differs.contains(&format!("claviger crds --write {}", at.display())), "{differs}");

        std::fs::write(at.join("kustomization.yaml"), "resources: []\n").unwrap();
        let leftover = check(&both[..1]).unwrap_err();
        assert!(leftover.contains("claviger.dev_gadgets.yaml (no such type)"), "{leftover}");
        write(&both[..1]).unwrap();
        assert_eq!(check(&both[..1]), Ok(()));
        assert!(at.join("kustomization.yaml").exists());
    }
}
