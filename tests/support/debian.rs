//! Programs of Debian's packages, without installing any: no service is started, and nothing is configured.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    build_cache::BuildCache,
    error::{Context, Error, Result},
};

/// A program that is installed, else the one in the package, which is unpacked once per machine and version. `program` is
/// its path in the package, and with `asked` it prints its version. Only for programs that need no library but those of
/// every system. Blocks: call it through `spawn_blocking` where other work shares the thread.
pub fn debian(package: &str, program: &str, asked: &str) -> Result<PathBuf> {
    let path = Path::new(program);
    let installed = [PathBuf::from(path.file_name().unwrap_or_default()), Path::new("/").join(path)];
    for program in installed {
        if output(Command::new(&program).arg(asked)).is_ok() {
            return Ok(program);
        }
    }
    let unpacked = match unpacked(package) {
        Ok(unpacked) => unpacked,
        // The package lists may be missing or old; only root may fetch them.
        Err(_) => {
            output(Command::new("apt-get").args(["update", "-qq"]))?;
            unpacked(package)?
        }
    };
    let program = unpacked.join(path);
    output(Command::new(&program).arg(asked))?;
    Ok(program)
}

/// Runs a program to its end; its output, or what it says is wrong.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().context(&name)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::new(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// The folder with the files of a package, of the version that the package lists name.
fn unpacked(package: &str) -> Result<PathBuf> {
    let policy = output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))?;
    let version =
        candidate(&policy).ok_or_else(|| Error::new(format!("apt-cache knows no package {package}")))?;
    let plain = version.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-', "_");
    let key = format!("debian-{package}-{plain}-{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let folder = BuildCache::of_user()?.folder(&key, &format!("{package} {version}"), |out| {
        let wanted = format!("{package}={version}");
        output(Command::new("apt-get").args(["download", "-qq", &wanted]).current_dir(out))?;
        let file = fs::read_dir(out)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| Error::new("apt-get downloaded nothing"))?;
        output(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(out.join("files")))?;
        Ok(fs::remove_file(file)?)
    })?;
    Ok(folder.join("files"))
}

/// The version that `apt-cache policy` says would be installed.
fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?.trim();
    (version != "(none)").then_some(version)
}

#[cfg(test)]
mod tests {
    use super::candidate;

    #[test]
    fn the_version_to_install_is_read() {
        let policy = |version: &str| {
            format!("rclone:\n  Installed: (none)\n  Candidate: {version}\n  Version table:\n     1.60.1\n")
        };
        assert_eq!(candidate(&policy("1.60.1+dfsg-2+b5")), Some("1.60.1+dfsg-2+b5"));
        assert_eq!(candidate(&policy("(none)")), None);
        assert_eq!(candidate(""), None);
    }
}
