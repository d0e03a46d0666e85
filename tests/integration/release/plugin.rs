//! The archives of the program for people, and the manifest by which krew installs it as a plugin.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::hack::{hack, repository};
use crate::support::{Error, Result, error::Context, operator_binary};

/// What the release workflow builds.
fn platforms() -> Result<Vec<(String, String)>> {
    let workflow = fs::read_to_string(repository().join(".github/workflows/release.yml"))?;
    let workflow: Value = serde_saphyr::from_str(&workflow)?;
    let matrix = &workflow["jobs"]["binary"]["strategy"]["matrix"]["include"];
    let word = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let rows = matrix.as_array().ok_or_else(|| Error::new("no matrix of binaries"))?;
    Ok(rows.iter().map(|row| (word(row, "os"), word(row, "architecture"))).collect())
}

fn digest(path: &Path) -> Result<String> {
    let hash = Sha256::digest(fs::read(path).context(path.display())?);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[tokio::test]
async fn the_archives_of_a_release_are_what_krew_takes() -> Result<()> {
    let work = tempfile::tempdir()?;
    let assets = work.path().join("assets");
    let folder = assets.display().to_string();
    let platforms = platforms()?;
    // A script stands for the program: what is packed is not looked at.
    let program = work.path().join("program");
    fs::write(&program, "#!/bin/sh\necho packed\n")?;
    let program = program.display().to_string();
    for (os, architecture) in &platforms {
        hack("package", &[&program, os, architecture, &folder]).await?;
    }

    let manifest: Value = serde_saphyr::from_str(&hack("krew-manifest", &[&folder]).await?)?;
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!((&manifest["kind"], &manifest["metadata"]["name"]), (&"Plugin".into(), &"claviger".into()));
    let spec = &manifest["spec"];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(spec["version"], format!("v{version}"));
    let short = spec["shortDescription"].as_str().unwrap_or_default();
    assert!(!short.is_empty() && short.len() <= 50 && !short.contains('\n'), "{short}");
    let listed = spec["platforms"].as_array().cloned().unwrap_or_default();
    assert_eq!(listed.len(), platforms.len());
    for (os, architecture) in &platforms {
        let words = serde_json::json!({"os": os, "arch": architecture});
        let platform = listed.iter().find(|one| one["selector"]["matchLabels"] == words);
        let platform = platform.ok_or_else(|| Error::new(format!("no {os} on {architecture}: {spec:#}")))?;
        assert!(["linux", "darwin", "windows"].contains(&os.as_str()), "krew has no {os}");
        assert!(["amd64", "arm64"].contains(&architecture.as_str()), "krew has no {architecture}");
        let file = format!("claviger_{version}_{os}_{architecture}.tar.gz");
        let uri = format!("https://github.com/claviger/claviger/releases/download/v{version}/{file}");
        assert_eq!(platform["uri"], uri);
        assert_eq!(platform["sha256"], digest(&assets.join(&file))?);
        let suffix = if os == "windows" { ".exe" } else { "" };
        assert_eq!(platform["bin"], format!("claviger{suffix}"));
        let unpacked = unpack(&assets.join(&file), work.path())?;
        let mut files: Vec<String> = fs::read_dir(&unpacked)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        files.sort();
        assert_eq!(files, ["LICENSE".to_owned(), format!("claviger{suffix}")]);
        let output = Command::new(unpacked.join(format!("claviger{suffix}"))).output()?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "packed\n", "what is in {file} cannot be run");
    }

    // The same input makes the same archive.
    let again = work.path().join("again");
    hack("package", &[&program, "windows", "amd64", &again.display().to_string()]).await?;
    let file = format!("claviger_{version}_windows_amd64.tar.gz");
    assert_eq!(digest(&again.join(&file))?, digest(&assets.join(&file))?);
    Ok(())
}

/// As krew links it, by its name.
#[tokio::test]
async fn the_program_is_the_plugin_by_its_name() -> Result<()> {
    let binary = tokio::task::spawn_blocking(operator_binary).await??;
    let work = tempfile::tempdir()?;
    let link = work.path().join("kubectl-claviger");
    symlink(binary, &link)?;
    let output = Command::new(&link).arg("--version").output()?;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(printed, format!("kubectl-claviger {}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

fn unpack(archive: &Path, work: &Path) -> Result<PathBuf> {
    let folder = tempfile::tempdir_in(work)?.keep();
    let input = File::open(archive).context(archive.display())?;
    let status = Command::new("tar").args(["-xzf", "-", "-C"]).arg(&folder).stdin(input).status()?;
    if status.success() { Ok(folder) } else { Err(Error::new(format!("tar: {}", archive.display()))) }
}
