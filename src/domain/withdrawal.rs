//! Withdrawal is slow: what merely is not there any more takes copies away only after a quiet period.

use std::time::Duration;

use super::schedule::SWEEP_BRAKE;

/// Whether a lack of consent takes copies away by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// It does.
    Settled,
    /// Policies changed only a moment ago: look again after that long.
    Settling(Duration),
    /// A policy cannot be read, so that nobody knows what is allowed.
    Unknown,
}

impl Consent {
    /// `quiet` is how long no policy has changed or gone.
    pub fn judge(quiet: Duration, grace: Duration, unreadable: usize) -> Self {
        if unreadable > 0 {
            return Self::Unknown;
        }
        match grace.checked_sub(quiet).filter(|left| !left.is_zero()) {
            Some(left) => Self::Settling(left),
            None => Self::Settled,
        }
    }
}

/// What is known of an owner of copies in a cluster whose credential is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    /// For how long the credential has been missing.
    pub age: Duration,
    /// Whether it went through our finalizer, so that a person has deleted it for sure.
    pub finalized: bool,
    /// Whether the cluster is being removed, and is to be emptied.
    pub leaving: bool,
    /// Whether most owners are missing there, and nobody has allowed the sweep to go on.
    pub braked: bool,
}

/// What becomes of the copies of an owner that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Those that nothing uses go.
    Now,
    /// Nothing yet: look again after that long.
    Wait(Duration),
    /// Nothing, until an administrator says so.
    Held,
}

impl Missing {
    pub fn judge(self, grace: Duration) -> Sweep {
        if self.finalized || self.leaving {
            return Sweep::Now;
        }
        match grace.checked_sub(self.age).filter(|left| !left.is_zero()) {
            Some(left) => Sweep::Wait(left),
            None if self.braked => Sweep::Held,
            None => Sweep::Now,
        }
    }
}

/// Whether so many owners are missing in a cluster that the hub is more likely to be wrong than right.
pub(crate) fn is_braked(owners: usize, missing: usize) -> bool {
    missing > SWEEP_BRAKE && missing * 2 > owners
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn consent_settles_after_a_quiet_period_and_never_while_a_policy_cannot_be_read() {
        assert_eq!(Consent::judge(secs(10), secs(30), 0), Consent::Settling(secs(20)));
        assert_eq!(Consent::judge(secs(30), secs(30), 0), Consent::Settled);
        assert_eq!(Consent::judge(secs(0), secs(0), 0), Consent::Settled);
        assert_eq!(Consent::judge(secs(999), secs(30), 1), Consent::Unknown);
    }

    #[test]
    fn a_missing_owner_is_swept_after_a_while_and_one_that_was_deleted_at_once() {
        let missing = Missing { age: secs(1), finalized: false, leaving: false, braked: false };
        assert_eq!(missing.judge(GRACE), Sweep::Wait(secs(599)));
        assert_eq!(Missing { age: GRACE, ..missing }.judge(GRACE), Sweep::Now);
        assert_eq!(Missing { age: GRACE, braked: true, ..missing }.judge(GRACE), Sweep::Held);
        assert_eq!(Missing { finalized: true, braked: true, ..missing }.judge(GRACE), Sweep::Now);
        assert_eq!(Missing { leaving: true, braked: true, ..missing }.judge(GRACE), Sweep::Now);
    }

    #[test]
    fn the_brake_is_for_many_and_most() {
        assert!(is_braked(20, 11) && !is_braked(22, 11));
        assert!(!is_braked(10, 10), "ten may well be all that a team has");
        assert!(is_braked(11, 11));
    }
}
