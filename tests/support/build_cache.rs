//! Folders of built programs, made once per machine and shared by all clones and test processes.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use super::{
    error::{Context, Error, Result},
    progress::Heartbeat,
};

pub struct BuildCache {
    dir: PathBuf,
}

impl BuildCache {
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The user's, outside the clone, so that a fresh clone or `cargo clean` does not cost the minutes again.
    pub fn of_user() -> Result<Self> {
        Self::from_environment(|name| std::env::var_os(name))
    }

    /// The same for any environment.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|cache| Self::at(cache.join("claviger")))
            .ok_or_else(|| Error::new("neither XDG_CACHE_HOME nor HOME says where programs can be cached"))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the build of `key` writes before it is complete.
    pub fn unfinished(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.unfinished"))
    }

    /// What a build holds while it runs. The kernel takes it back however the process ends.
    pub fn lock_file(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.lock"))
    }

    /// The folder of `key`. When it is not there, `build` fills an empty one, `what` for people to read; only one
    /// process builds at a time, and a folder that is there is always complete. Blocks.
    pub fn folder(&self, key: &str, what: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let finished = self.dir.join(key);
        if finished.is_dir() {
            return Ok(finished);
        }
        fs::create_dir_all(&self.dir).context(self.dir.display())?;
        let lock = File::create(self.lock_file(key))?;
        let mut wait = Heartbeat::new(format!("another process builds {what}, waiting for it"));
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => wait.beat()?,
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        if finished.is_dir() {
            return Ok(finished);
        }
        let unfinished = self.unfinished(key);
        // We hold the lock: nobody is building, so this is what an interrupted build has left.
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context(unfinished.display())?;
        }
        fs::create_dir(&unfinished).context(unfinished.display())?;
        build(&unfinished)?;
        fs::rename(&unfinished, &finished).context(finished.display())?;
        Ok(finished)
    }
}
