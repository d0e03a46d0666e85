//! The archives of the program for people, and the manifest by which krew installs it as a plugin.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
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
async fn krew_installs_each_archive_of_a_release() -> Result<()> {
    let binary = tokio::task::spawn_blocking(operator_binary).await??.display().to_string();
    let work = tempfile::tempdir()?;
    let assets = work.path().join("assets");
    let folder = assets.display().to_string();
    let platforms = platforms()?;
    // One stands for all: what is packed is not looked at.
    let small = work.path().join("small");
    fs::write(&small, "a binary of another system")?;
    for (os, architecture) in &platforms {
        let of_this = os == std::env::consts::OS && architecture == here();
        let packed = if of_this { binary.clone() } else { small.display().to_string() };
        hack("package", &[&packed, os, architecture, &folder]).await?;
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
    }

    // As krew links it.
    let file = format!("claviger_{version}_{}_{}.tar.gz", std::env::consts::OS, here());
    if assets.join(&file).is_file() {
        let unpacked = unpack(&assets.join(&file), work.path())?;
        let link = work.path().join("kubectl-claviger");
        symlink(unpacked.join("claviger"), &link)?;
        let output = Command::new(&link).arg("--version").output()?;
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("kubectl-claviger {version}"));
    }
    // The same input makes the same archive.
    let again = work.path().join("again");
    hack("package", &[&small.display().to_string(), "windows", "amd64", &again.display().to_string()])
        .await?;
    let file = format!("claviger_{version}_windows_amd64.tar.gz");
    assert_eq!(digest(&again.join(&file))?, digest(&assets.join(&file))?);
    Ok(())
}

/// This processor in the words of krew.
fn here() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn unpack(archive: &Path, work: &Path) -> Result<std::path::PathBuf> {
    let folder = tempfile::tempdir_in(work)?.keep();
    let input = File::open(archive).context(archive.display())?;
    let status = Command::new("tar").args(["-xzf", "-", "-C"]).arg(&folder).stdin(input).status()?;
    if status.success() { Ok(folder) } else { Err(Error::new(format!("tar: {}", archive.display()))) }
}
