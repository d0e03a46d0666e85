//! What is generated from the types is committed as it is, in both of its places.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use claviger::{
    api,
    cli::{argocd, crds, member_rbac},
};

use crate::support::{Result, operator_binary};

fn committed(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("folder").map(|entry| entry.expect("entry").path());
    let named = entries.map(|path| {
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("text"))
    });
    named.collect()
}

#[test]
fn definitions_are_those_of_the_types() -> Result<()> {
    let wanted = crds::files(&api::crds())?;
    for folder in ["crds", "charts/claviger/files/crds"] {
        let found = committed(folder);
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&wanted), "{folder}");
        for (name, text) in &wanted {
            let same = found[name] == *text;
            assert!(same, "{folder}/{name} is out of date: claviger crds --write {folder}");
        }
    }
    Ok(())
}

#[test]
fn the_binary_prints_and_checks_them() -> Result<()> {
    let claviger = |args: &[&str]| -> Result<Output> {
        let mut command = Command::new(operator_binary()?);
        Ok(command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output()?)
    };
    let printed = String::from_utf8(claviger(&["crds"])?.stdout)?;
    let wanted: String = crds::files(&api::crds())?.values().map(|yaml| format!("---\n{yaml}")).collect();
    assert_eq!(printed, wanted);
    for folder in ["crds", "charts/claviger/files/crds"] {
        assert!(claviger(&["crds", "--check", folder])?.status.success(), "{folder}");
    }
    let elsewhere = claviger(&["crds", "--check", "src"])?;
    assert_eq!(elsewhere.status.code(), Some(1));
    let message = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert!(message.contains("claviger.dev_registrycredentials.yaml (missing)"), "{message}");
    Ok(())
}

#[test]
fn the_rights_in_a_member_are_those_that_the_binary_prints() -> Result<()> {
    let wanted = member_rbac::manifests(&member_rbac::MemberRbacArgs::default())?;
    let file = "docs/member-rbac.yaml";
    let found = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    assert!(found == wanted, "{file} is out of date: claviger member-rbac > {file}");
    let printed = Command::new(operator_binary()?).arg("member-rbac").output()?;
    assert_eq!(String::from_utf8(printed.stdout)?, wanted);
    Ok(())
}

#[test]
fn what_argo_cd_needs_is_what_the_binary_makes() -> Result<()> {
    const FOLDER: &str = "docs/argocd";
    let claviger = |args: &[&str]| -> Result<Output> {
        let mut command = Command::new(operator_binary()?);
        Ok(command.arg("argocd").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output()?)
    };
    let wanted = argocd::files()?;
    let checked = claviger(&["--check", FOLDER])?;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(String::from_utf8(claviger(&[])?.stdout)?, wanted["argocd-cm.yaml"]);
    // Scripts of kinds that are gone would be contributed.
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name =
                path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER))?.display().to_string();
            assert!(!name.ends_with(".lua") || wanted.contains_key(&name), "{name} is made by nothing");
            folders.extend(path.is_dir().then_some(path));
        }
    }

    let elsewhere = tempfile::tempdir()?;
    let there = elsewhere.path().display().to_string();
    let missing = claviger(&["--check", &there])?;
    assert_eq!(missing.status.code(), Some(1));
    let message = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(message.contains(&format!("fix with: claviger argocd --write {there}")), "{message}");
    assert!(claviger(&["--write", &there])?.status.success());
    assert!(claviger(&["--check", &there])?.status.success());
    Ok(())
}

#[test]
fn definitions_fit_into_the_annotation_of_kubectl_apply() -> Result<()> {
    for crd in api::crds() {
        let size = serde_json::to_string(&crd)?.len();
        // 256 KiB for all annotations together.
        assert!(size < 200 * 1024, "{size} bytes");
    }
    Ok(())
}
