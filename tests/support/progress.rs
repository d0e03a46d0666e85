//! Shows a person that something long is alive.

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::error::{Error, Result};

/// A cold build takes about 7 minutes on two cores; this only ends one that hangs.
const DEADLINE: Duration = Duration::from_secs(3600);
const POLL: Duration = Duration::from_millis(50);

type Report = Box<dyn Fn(&str) + Send>;

static REPORT: Mutex<Option<Report>> = Mutex::new(None);

/// From now on `report` gets the lines, for a screen that draws one line again and again.
pub fn report_to(report: impl Fn(&str) + Send + 'static) {
    *lock() = Some(Box::new(report));
}

/// How often it is good to say that something goes on.
pub fn interval() -> Duration {
    Duration::from_secs(if lock().is_some() { 1 } else { 15 })
}

/// To the real stderr if nobody else wants it: `eprintln!` would be held back by the test runner until the test
/// has ended.
pub fn say(line: &str) -> Result<()> {
    match lock().as_ref() {
        Some(report) => report(line),
        None => writeln!(std::io::stderr().lock(), "{line}")?,
    }
    Ok(())
}

/// Only where a line can be drawn again: too much for a log.
pub fn whisper(line: &str) {
    if let Some(report) = lock().as_ref() {
        report(line);
    }
}

fn lock() -> MutexGuard<'static, Option<Report>> {
    REPORT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows that something long is alive, and ends it when it is too long.
pub struct Heartbeat {
    what: String,
    /// How far it is, to be shown next time.
    pub done: String,
    start: Instant,
    next: Instant,
}

impl Heartbeat {
    pub fn new(what: String) -> Self {
        let start = Instant::now();
        Self { what, done: String::new(), start, next: start }
    }

    pub fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    pub fn say(&mut self) -> Result<()> {
        self.next = Instant::now() + interval();
        let seconds = self.seconds();
        let so_far = if seconds == 0 { "...".to_owned() } else { format!("... {seconds} s") };
        say(&format!("{} {so_far}{}", self.what, self.done))
    }

    pub fn is_due(&self) -> bool {
        Instant::now() > self.next
    }

    pub fn beat(&mut self) -> Result<()> {
        if self.start.elapsed() > DEADLINE {
            return Err(Error::new(format!("gave up after {DEADLINE:?}: {}", self.what)));
        }
        if self.is_due() {
            self.say()?;
        }
        thread::sleep(POLL);
        Ok(())
    }
}
