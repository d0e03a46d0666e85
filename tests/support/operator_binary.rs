//! Where the operator's binary is.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{
    error::{Context, Error, Result},
    progress,
};

/// Cargo builds the binary for integration tests and benchmarks and says where it is; for examples it does
/// neither, so there it is built here, in the profile of the caller. Blocks while it does.
pub fn operator_binary() -> Result<PathBuf> {
    match option_env!("CARGO_BIN_EXE_claviger") {
        Some(path) => Ok(PathBuf::from(path)),
        None => build(),
    }
}

/// Cargo, to be run in the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    without_ours(&mut command);
    command
}

/// For a command that runs cargo itself.
pub fn without_ours(command: &mut Command) {
    // Set by the cargo that runs us. Build scripts look at them, and would run again for each change.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&key);
        }
    }
}

fn build() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let mut command = cargo();
    command
        .args(["build", "--quiet", "--bin", "claviger", "--profile", &profile()?])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    if let Some(example) = example(&program) {
        // Together with the caller, which is there already: so it shares all dependencies with it. Alone, it would
        // have them compiled anew, without the features that development dependencies add.
        command.args(["--example", &example]);
    }
    let mut cargo = command.spawn().context("cargo build --bin claviger")?;
    let mut executable = None;
    let mut compiled = 0;
    for line in cargo.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        if message["reason"] == "compiler-artifact" && message["fresh"] == false {
            compiled += 1;
            let name = message["target"]["name"].as_str().unwrap_or_default();
            progress::whisper(&format!("compiling the operator: {name} ({compiled} so far)"));
        }
        if message["target"]["name"] == "claviger"
            && let Some(path) = message["executable"].as_str()
        {
            executable = Some(PathBuf::from(path));
        }
    }
    if !cargo.wait()?.success() {
        return Err(Error::new("cargo build --bin claviger failed"));
    }
    executable.ok_or_else(|| Error::new("cargo build --bin claviger named no executable"))
}

/// The name of an example that runs from `target/<profile>/examples/`.
fn example(program: &Path) -> Option<String> {
    let folder = program.parent()?.file_name()?;
    (folder == "examples").then(|| program.file_stem()?.to_str().map(str::to_owned))?
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
