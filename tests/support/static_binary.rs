//! The static binary of the image, as `hack/build-binary` builds it, in a profile that costs less than that of a release.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    build_cache::BuildCache,
    discovery::skipped,
    error::{Context, Error, Result},
    operator_binary::without_ours,
    process::Process,
    progress::{Heartbeat, say},
};

/// Built outside the clone: some minutes the first time on a machine, then what has changed. None, and says so, where this
/// machine cannot build for musl. Blocks.
pub fn static_binary(log: &Path) -> Result<Option<PathBuf>> {
    const WHAT: &str = "the static binary, and what is made of it";
    if !cfg!(target_os = "linux") {
        skipped(WHAT, "it is built on Linux")?;
        return Ok(None);
    }
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if !is_there(&target)? {
        let added = Command::new("rustup").args(["target", "add", &target]).output();
        if !added.is_ok_and(|output| output.status.success()) {
            skipped(WHAT, &format!("the target {target} cannot be added to this toolchain"))?;
            return Ok(None);
        }
    }
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/build-binary"));
    without_ours(&mut command);
    let folder = BuildCache::of_user()?.dir().join("static-binary");
    command.args(["--profile", "dev"]).env("CARGO_TARGET_DIR", &folder);
    for (variable, value) in
        [("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_STRIP", "symbols")]
    {
        command.env(variable, value);
    }
    let mut progress = Heartbeat::new("building the static binary, minutes the first time".to_owned());
    let mut build = Process::spawn("hack/build-binary", &command, log)?;
    loop {
        match build.exit_status()? {
            Some(0) => break,
            Some(_) => return Err(Error::new(format!("hack/build-binary failed:\n{}", build.log_tail()))),
            None => progress.beat()?,
        }
    }
    say(&format!("the static binary was built in {} s", progress.seconds()))?;
    let printed = build.log();
    let path = printed.lines().rev().map(PathBuf::from).find(|path| path.is_absolute() && path.is_file());
    path.map(Some)
        .ok_or_else(|| Error::new(format!("hack/build-binary names no file:\n{}", build.log_tail())))
}

fn is_there(target: &str) -> Result<bool> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    let folder = String::from_utf8_lossy(&output.context("rustc")?.stdout).trim().to_owned();
    Ok(Path::new(&folder).is_dir())
}
