//! How long to wait before the next try.

use std::time::Duration;

/// Exponential back-off with jitter, as arithmetic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub first: Duration,
    pub limit: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row, between half and all of the doubled time.
    /// `jitter` is a random number from 0 to 1.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
        let full = self.first.saturating_mul(factor).min(self.limit);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_never_beyond() {
        let backoff = Backoff { first: Duration::from_millis(500), limit: Duration::from_secs(60) };
        assert_eq!(backoff.wait(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff.wait(2, 1.0), Duration::from_secs(1));
        assert_eq!(backoff.wait(2, 0.0), Duration::from_millis(500));
        assert_eq!(backoff.wait(40, 1.0), Duration::from_secs(60));
        assert_eq!(backoff.wait(u32::MAX, 5.0), Duration::from_secs(60));
    }
}
