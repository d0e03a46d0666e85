//! A directory for one control plane or one operator, gone when its owner is gone.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::error::{Error, Result};

/// Removes `$1` when our end of stdin is closed without a word, so when we are killed or end without
/// dropping (statics are never dropped). Tries for a while: the servers are dying at the same moment.
const SWEEPER: &str = r#"
if read -r _; then exit 0; fi
for _ in 1 2 3 4 5; do
  sleep 0.5
  rm -rf "$1" 2>/dev/null
  [ -e "$1" ] || exit 0
done
"#;

pub struct Workdir {
    path: PathBuf,
    sweeper: Mutex<Child>,
    kept: AtomicBool,
}

impl Workdir {
    pub fn new(prefix: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", SWEEPER, "sweeper"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let sweeper = command.spawn()?;
        let workdir = Self { path: dir.keep(), sweeper: Mutex::new(sweeper), kept: AtomicBool::new(false) };
        if std::env::var_os("CLAVIGER_KEEP").is_some_and(|value| value == "1") {
            workdir.keep();
        }
        Ok(workdir)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Leaves the directory where it is, and says where.
    pub fn keep(&self) {
        if !self.kept.swap(true, Ordering::SeqCst) {
            self.dismiss_sweeper();
            eprintln!("kept: {}", self.path.display());
        }
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::write(&path, content).map_err(|error| Error::from(error).context(path.display()))?;
        Ok(path)
    }

    fn dismiss_sweeper(&self) {
        let Ok(mut sweeper) = self.sweeper.lock() else {
            return;
        };
        if let Some(mut stdin) = sweeper.stdin.take() {
            // Its end is not our concern: should it be gone, there is nothing to dismiss.
            let _ = stdin.write_all(b"keep\n");
        }
        let _ = sweeper.wait();
    }
}

/// Copies a directory with all that is in it, to one that does not exist yet.
pub fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &copy)?;
        } else {
            std::fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if thread::panicking() {
            self.keep();
        }
        if !self.kept.load(Ordering::SeqCst) {
            self.dismiss_sweeper();
            if let Err(error) = std::fs::remove_dir_all(&self.path) {
                eprintln!("{}: {error}", self.path.display());
            }
        }
    }
}
