//! Child processes that cannot outlive us, not even when we are killed with SIGKILL.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    error::{Context, Error, Result},
    progress::Heartbeat,
};

/// Runs `"$@"` with its output in the file `$1`, and kills it as soon as our end of stdin is closed,
/// which the kernel does for us however we die. Exits with the server's own status.
const WATCHDOG: &str = r#"
exec 3<&0 4>&1 >>"$1" 2>&1
shift
"$@" </dev/null 3<&- 4>&- &
server=$!
echo "$server" >&4
exec 4>&-
(while read -r _ <&3; do :; done; kill -9 "$server") 2>/dev/null &
guard=$!
exec 3<&-
wait "$server"
status=$?
# Not into the log that somebody was killed.
{ kill -9 "$guard"; wait "$guard"; } 2>/dev/null
exit "$status"
"#;

/// What builds a tool goes on beside tests, whose servers come first.
const BACKGROUND: [&str; 3] = ["nice", "-n", "15"];

/// How long a process may take to be gone after SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

pub struct Process {
    name: String,
    watchdog: Child,
    hold: Option<ChildStdin>,
    pid: u32,
    log: PathBuf,
    exit: Option<i32>,
}

impl Process {
    /// Starts `command` (its program, arguments, environment and directory) under a watchdog, with its
    /// output appended to `log`.
    pub fn spawn(name: &str, command: &Command, log: &Path) -> Result<Self> {
        Self::spawn_by(&[], name, command, log)
    }

    /// The same, for a builder: it leaves the processors to whatever else wants them.
    pub fn spawn_builder(name: &str, command: &Command, log: &Path) -> Result<Self> {
        Self::spawn_by(&BACKGROUND, name, command, log)
    }

    fn spawn_by(prefix: &[&str], name: &str, command: &Command, log: &Path) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args([OsStr::new("-c"), OsStr::new(WATCHDOG), OsStr::new("watchdog")]);
        shell.arg(log).args(prefix).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            shell.current_dir(dir);
        }
        // Its own process group: Ctrl-C in a terminal reaches us alone, and our end ends the rest.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut watchdog = shell.spawn().context(format!("starting {name}"))?;
        let hold = watchdog.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line
            .trim()
            .parse()
            .map_err(|_| Error::new(format!("starting {name}: no process id from its watchdog")))?;
        Ok(Self { name: name.to_owned(), watchdog, hold, pid, log: log.to_owned(), exit: None })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of the log, for an error message.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// The exit status once it has ended; 128 and the signal's number when a signal ended it.
    pub fn exit_status(&mut self) -> Result<Option<i32>> {
        if self.exit.is_none()
            && let Some(status) = self.watchdog.try_wait()?
        {
            self.exit = Some(status.code().unwrap_or(-1));
            self.hold = None;
        }
        Ok(self.exit)
    }

    /// Waits until it has ended well, and shows meanwhile that it is alive. Blocks.
    pub fn finish(&mut self, progress: &mut Heartbeat) -> Result<()> {
        loop {
            match self.exit_status()? {
                Some(0) => return Ok(()),
                Some(_) => {
                    return Err(Error::new(format!("{} failed:\n{}", self.name, self.log_tail())));
                }
                None => progress.beat()?,
            }
        }
    }

    /// An error with the end of the log when it is not running any more.
    pub fn check_running(&mut self) -> Result<()> {
        match self.exit_status()? {
            None => Ok(()),
            Some(status) => Err(Error::new(format!(
                "{} ended with status {status}; the end of its log:\n{}",
                self.name,
                self.log_tail()
            ))),
        }
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        if self.exit.is_some() || !send_signal(self.pid, signal)? {
            return Err(Error::new(format!("{} is not running any more", self.name)));
        }
        Ok(())
    }

    pub async fn wait_exit(&mut self, deadline: Duration) -> Result<i32> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(Error::new(format!(
                    "{} was still running after {deadline:?}; the end of its log:\n{}",
                    self.name,
                    self.log_tail()
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL, and gone on return. Blocks for some milliseconds.
    pub fn kill(&mut self) -> Result<()> {
        self.hold = None;
        let end = Instant::now() + KILL_DEADLINE;
        while self.exit_status()?.is_none() {
            if Instant::now() > end {
                return Err(Error::new(format!(
                    "{} (pid {}) did not die within {KILL_DEADLINE:?}",
                    self.name, self.pid
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{error}");
        }
    }
}

/// False when there is no such process (any more). `kill` as built into `sh`: not every image has the tool.
pub fn send_signal(pid: u32, signal: &str) -> Result<bool> {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$0" "$1" 2>/dev/null"#, signal, &pid.to_string()])
        .status()?;
    Ok(status.success())
}

pub fn is_alive(pid: u32) -> Result<bool> {
    send_signal(pid, "0")
}

/// The last lines of a file, at most 4 KiB.
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(no log: {error})"))
}
