//! The times of leader election.

use std::time::Duration;

/// So that candidates do not ask in step.
const JITTER: f64 = 0.2;

/// How long a lease lasts and how often it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait, after the last change they saw, before they take over.
    pub lease_duration: Duration,
    /// A leader that could not renew for this long stops to lead.
    pub renew_deadline: Duration,
    /// Between two tries, of a leader to renew and of a candidate to acquire.
    pub retry_period: Duration,
}

impl Timing {
    /// Checks that a leader stops before others may take over, and gets to retry before that.
    ///
    /// # Errors
    /// Names the two values that do not fit.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.lease_duration < Duration::from_secs(1) {
            return Err("the lease duration must be at least 1s");
        }
        if self.lease_duration <= self.renew_deadline {
            return Err("the lease duration must be longer than the renew deadline");
        }
        if self.renew_deadline <= self.retry_period.mul_f64(1.0 + JITTER) {
            return Err("the renew deadline must be longer than 1.2 times the retry period");
        }
        if self.retry_period.is_zero() {
            return Err("the retry period must be longer than 0s");
        }
        Ok(())
    }

    /// Leaves a leader the time for a second try before its deadline.
    pub(super) fn call_timeout(&self) -> Duration {
        self.renew_deadline / 2
    }

    pub(super) fn jittered_retry(&self) -> Duration {
        self.retry_period.mul_f64(1.0 + JITTER * rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Default for Timing {
        /// 15 s, 10 s, 2 s: the values of Kubernetes' own components, and the defaults of our flags.
        fn default() -> Self {
            Self {
                lease_duration: Duration::from_secs(15),
                renew_deadline: Duration::from_secs(10),
                retry_period: Duration::from_secs(2),
            }
        }
    }

    #[test]
    fn times_that_would_let_two_lead_are_refused() {
        let seconds = Duration::from_secs;
        assert!(Timing::default().check().is_ok());
        for (lease_duration, renew_deadline, retry_period) in
            [(10, 10, 2), (15, 2, 2), (15, 10, 0), (0, 10, 2)]
        {
            let timing = Timing {
                lease_duration: seconds(lease_duration),
                renew_deadline: seconds(renew_deadline),
                retry_period: seconds(retry_period),
            };
            assert!(timing.check().is_err(), "{timing:?}");
        }
    }
}
