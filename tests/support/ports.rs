//! Free loopback ports.

use std::{
    collections::HashSet,
    net::TcpListener,
    sync::{LazyLock, Mutex, PoisonError},
};

use super::error::{Error, Result};

const ATTEMPTS: u32 = 3;

/// Below the ranges from which Linux (32768 up) and macOS (49152 up) take the ports of outgoing
/// connections, so that a port stays ours while a server that owns it is stopped and started again.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Those that were given to somebody here: an operator that several tests share may remember what it was told at one.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that was free a moment ago, and is given once by this process. Another process may still take it first: whoever starts a server
/// on it tries again with another one, see [`until_free`].
pub fn free_port() -> Result<u16> {
    for _ in 0..500 {
        let port = rand::random_range(RANGE);
        let is_new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if is_new && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new(format!("no free loopback port in {}-{}", RANGE.start, RANGE.end)))
}

/// Starts a server, which asks for a port each time, until it has lost no race for it.
pub async fn until_free<T>(start: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match start().await {
            Err(error) if is_taken(&error.to_string()) => {}
            other => return other,
        }
    }
    start().await
}

/// Whether a server's log says that it lost the race for its port.
pub fn is_taken(log: &str) -> bool {
    log.to_lowercase().contains("address already in use")
}
