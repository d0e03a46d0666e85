//! The static binary of the image, as `hack/build-binary` builds it, in a profile that costs less than that of a release.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    build_cache::BuildCache,
    error::{Context, Error, Result},
    operator_binary::{cargo, without_ours},
    process::Process,
    progress::{Heartbeat, say},
    skips::skipped,
};

/// The folder that all clones build in, for the dependencies that are there already.
const FOLDER: &str = "static-binary";

/// Builds it from this clone, and leaves it at `to`: some minutes the first time on a machine, then what our own code takes.
/// False, and says so, where this machine cannot build for musl. Blocks.
pub fn static_binary(to: &Path, log: &Path) -> Result<bool> {
    const WHAT: &str = "the static binary, and what is made of it";
    if !cfg!(target_os = "linux") {
        skipped(WHAT, "it is built on Linux")?;
        return Ok(false);
    }
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if !is_there(&target)? {
        let added = Command::new("rustup").args(["target", "add", &target]).output();
        if !added.is_ok_and(|output| output.status.success()) {
            skipped(WHAT, &format!("the target {target} cannot be added to this toolchain"))?;
            return Ok(false);
        }
    }
    let cache = BuildCache::of_user()?;
    // Over the copy, too: the next clone builds its own in the same place.
    let _lock = lock(&cache)?;
    let folder = cache.dir().join(FOLDER);
    forget_ours(&folder, &target)?;
    let built = build(&folder, log)?;
    fs::copy(&built, to).context(built.display())?;
    Ok(true)
}

/// Held while one builds. The kernel takes it back however the process ends.
fn lock(cache: &BuildCache) -> Result<File> {
    fs::create_dir_all(cache.dir()).context(cache.dir().display())?;
    let lock = File::create(cache.lock_file(FOLDER))?;
    if lock.try_lock().is_err() {
        say("another process builds the static binary, waiting for it")?;
        lock.lock()?;
    }
    Ok(lock)
}

/// Has our own code compiled anew. Cargo tells by file times whether that is needed, and what is there may come from a clone
/// with other files that are newer.
fn forget_ours(folder: &Path, target: &str) -> Result<()> {
    let mut command = cargo();
    command.args(["clean", "--quiet", "--locked", "--package", env!("CARGO_PKG_NAME"), "--profile", "dev"]);
    let output = command.args(["--target", target]).env("CARGO_TARGET_DIR", folder).output();
    let output = output.context("cargo clean")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!("cargo clean: {}", String::from_utf8_lossy(&output.stderr))))
}

/// The path of what was built.
fn build(folder: &Path, log: &Path) -> Result<PathBuf> {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/build-binary"));
    without_ours(&mut command);
    command.args(["--profile", "dev"]).env("CARGO_TARGET_DIR", folder);
    for (variable, value) in
        [("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_STRIP", "symbols")]
    {
        command.env(variable, value);
    }
    let mut progress = Heartbeat::new("building the static binary, minutes the first time".to_owned());
    let mut build = Process::spawn_builder("hack/build-binary", &command, log)?;
    build.finish(&mut progress)?;
    say(&format!("the static binary was built in {} s", progress.seconds()))?;
    let printed = build.log();
    let path = printed.lines().rev().map(PathBuf::from).find(|path| path.is_absolute() && path.is_file());
    path.ok_or_else(|| Error::new(format!("hack/build-binary names no file:\n{}", build.log_tail())))
}

fn is_there(target: &str) -> Result<bool> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    let folder = String::from_utf8_lossy(&output.context("rustc")?.stdout).trim().to_owned();
    Ok(Path::new(&folder).is_dir())
}
