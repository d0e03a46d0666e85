//! Shows a person that something long is alive.

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::error::Result;

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
