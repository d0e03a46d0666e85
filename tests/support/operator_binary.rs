//! Where the operator's binary is.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::error::{Context, Error, Result};

/// Cargo builds the binary for integration tests and benchmarks and says where it is; for examples it does
/// neither, so there it is built here, in the profile of the caller. Blocks while it does.
pub fn operator_binary() -> Result<PathBuf> {
    match option_env!("CARGO_BIN_EXE_claviger") {
        Some(path) => Ok(PathBuf::from(path)),
        None => build(),
    }
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["build", "--quiet", "--bin", "claviger", "--profile", &profile()?])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cargo build --bin claviger")?;
    if !output.status.success() {
        return Err(Error::new("cargo build --bin claviger failed"));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "claviger")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Error::new("cargo build --bin claviger named no executable"))
}

/// From `target/<profile>/examples/<this program>`.
fn profile() -> Result<String> {
    let program = std::env::current_exe()?;
    let folder = program
        .ancestors()
        .skip(1)
        .filter_map(Path::file_name)
        .find(|name| *name != "examples" && *name != "deps")
        .map(|name| name.to_string_lossy().into_owned());
    match folder.as_deref() {
        None => Err(Error::new(format!("no profile in {}", program.display()))),
        Some("debug") => Ok("dev".into()),
        Some(profile) => Ok(profile.to_owned()),
    }
}
