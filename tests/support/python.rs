//! Real programs written in Python, installed once per machine.
//!
//! Each folder `tests/<name>` with a `requirements.txt` pins packages: all that are needed, as no other is installed.

use std::{fs, path::PathBuf, process::Command};

use sha2::{Digest, Sha256};

use super::{
    build_cache::BuildCache,
    error::{Context, Error, Result},
    process::Process,
    progress::{Heartbeat, say},
};

/// The Python of an environment of its own that has the packages of `tests/<name>/requirements.txt`. Installed when it is
/// not there yet, which blocks: call it through `spawn_blocking` where other work shares the thread.
pub fn python(name: &str) -> Result<PathBuf> {
    python_with("python3", &BuildCache::of_user()?, name)
}

/// The same by any interpreter, in any cache.
pub fn python_with(interpreter: &str, cache: &BuildCache, name: &str) -> Result<PathBuf> {
    let requirements =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name).join("requirements.txt");
    let text = fs::read_to_string(&requirements).context(requirements.display())?;
    let version = version(interpreter, name)?;
    // A virtual environment belongs to the interpreter that has made it.
    let hash = Sha256::digest(format!("{text}\n{version}"));
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let short = version.split(' ').next().unwrap_or_default();
    let key = format!("{name}-python-{short}-{os}-{arch}-{hash}");
    let folder = cache.folder(&key, &format!("{name} for Python {short}"), |out| {
        let log = out.join("install.log");
        say(&format!("to be installed: {name}, for Python {short}"))?;
        let mut venv = Command::new(interpreter);
        venv.args(["-I", "-m", "venv"]).arg(out.join("venv"));
        run("python3 -m venv (on Debian it needs the package python3-venv)", &venv, &log)?;
        let mut pip = Command::new(out.join("venv/bin/python"));
        pip.args([
            "-I",
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar=off",
        ])
        .args(["--no-deps", "--only-binary=:all:", "--requirement"])
        .arg(&requirements);
        run("pip install", &pip, &log)
    })?;
    Ok(folder.join("venv/bin/python"))
}

/// The version and the path of the interpreter that is on PATH.
fn version(interpreter: &str, name: &str) -> Result<String> {
    let asked = "import platform, sys; print(platform.python_version(), sys.executable)";
    let output = Command::new(interpreter).args(["-I", "-c", asked]).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        _ => Err(Error::new(format!(
            "{name} must be installed once, and there is no Python on PATH: install Python 3.10 or newer, with venv, as \
             `{interpreter}`"
        ))),
    }
}

fn run(name: &str, command: &Command, log: &std::path::Path) -> Result<()> {
    let mut progress = Heartbeat::new(format!("{name}, once per machine"));
    Process::spawn_builder(name, command, log)?.finish(&mut progress)
}
