//! Processor time in nanoseconds.
//!
//! `/proc/<pid>/stat` counts hundredths of a second, in which a single event is lost. `schedstat` of each thread counts
//! nanoseconds, but goes when the thread ends.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::support::{Error, Result};

/// The processor time of a process.
pub struct CpuClock {
    tasks: PathBuf,
    /// Nanoseconds by thread, also of threads that have ended since. Threads of a pool stay for seconds after their
    /// last work, so that a reading every few seconds misses nothing.
    threads: Mutex<HashMap<OsString, u64>>,
}

impl CpuClock {
    pub fn of(process: u32) -> Self {
        Self { tasks: format!("/proc/{process}/task").into(), threads: Mutex::default() }
    }

    /// Of the benchmark itself.
    pub fn own() -> Self {
        Self::of(std::process::id())
    }

    /// Seconds so far.
    pub fn seconds(&self) -> Result<f64> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for task in fs::read_dir(&self.tasks)? {
            let task = task?;
            // A thread may have ended meanwhile.
            if let Ok(nanoseconds) = nanoseconds(&task.path()) {
                threads.insert(task.file_name(), nanoseconds);
            }
        }
        Ok(threads.values().sum::<u64>() as f64 / 1e9)
    }
}

/// The processor time of one thread, from its directory in `/proc`.
pub fn nanoseconds(task: &Path) -> Result<u64> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    let first = text.split(' ').next().and_then(|first| first.parse().ok());
    first.ok_or_else(|| Error::new(format!("{}: no processor time", task.display())))
}
