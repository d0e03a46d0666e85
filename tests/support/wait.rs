//! Waiting for a state, never for a time.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::error::{Error, Result};

/// Enough for anything on loopback when both cores are busy with other tests, and with what builds a tool for them.
pub const DEADLINE: Duration = Duration::from_secs(60);

const INTERVAL: Duration = Duration::from_millis(20);

/// What one look can answer: `bool`, `Option<T>`, or `Result<T, E>` whose error is the state that was seen
/// instead, shown when the time is up.
pub trait Look {
    type Found;
    fn found(self) -> Result<Self::Found, String>;
}

impl Look for bool {
    type Found = ();
    fn found(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".into()) }
    }
}

impl<T> Look for Option<T> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".into())
    }
}

impl<T, E: Display> Look for std::result::Result<T, E> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Looks every 20 ms until something is found. Errors of a look are not final: they are the last state seen.
pub async fn wait_for<L: Look>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> L,
) -> Result<L::Found> {
    let end = Instant::now() + deadline;
    let mut last = String::from("no answer to the first look");
    loop {
        match timeout_at(end, look()).await.map(Look::found) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(state)) => last = state,
            Err(_) => {}
        }
        if Instant::now() + INTERVAL > end {
            return Err(Error::new(format!("waited {deadline:?} for {what}; last seen: {last}")));
        }
        sleep(INTERVAL).await;
    }
}

/// Looks time and again for as long as `period`, and fails as soon as what should stay so is not found any more: for
/// what must not happen. Errors of a look are final.
pub async fn stays<L: Look>(
    period: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> L,
) -> Result<L::Found> {
    let began = Instant::now();
    loop {
        let found = look().await.found().map_err(|state| {
            Error::new(format!("after {:?} no more: {what}; seen: {state}", began.elapsed()))
        })?;
        if began.elapsed() >= period {
            return Ok(found);
        }
        sleep(5 * INTERVAL).await;
    }
}
