//! Contents that are valid for a time only, such as certificates.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::reason::Reason;

/// So long before its end a content is said to expire soon.
pub const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// From when to when a content is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

/// Where in its time a content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before it.
    NotYetValid,
    /// In it.
    Valid,
    /// In its last 30 days.
    ExpiringSoon,
    /// After it.
    Expired,
}

impl Phase {
    /// The stable reason.
    pub fn reason(self) -> Reason {
        match self {
            Self::NotYetValid => Reason::NotYetValid,
            Self::Valid => Reason::Valid,
            Self::ExpiringSoon => Reason::ExpiringSoon,
            Self::Expired => Reason::Expired,
        }
    }

    /// Whether the content may be used.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Valid | Self::ExpiringSoon)
    }
}

impl Validity {
    /// Where in its time a content is.
    pub fn at(&self, now: Timestamp) -> Phase {
        if now < self.not_before {
            Phase::NotYetValid
        } else if now > self.not_after {
            Phase::Expired
        } else if self.not_after.duration_since(now) < SOON {
            Phase::ExpiringSoon
        } else {
            Phase::Valid
        }
    }

    /// When the phase changes next without anybody doing anything.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let soon = self.not_after.checked_sub(SOON).unwrap_or(self.not_before);
        // The last moment is still valid, so the look comes a second later.
        let over = self.not_after.checked_add(SignedDuration::from_secs(1)).unwrap_or(self.not_after);
        let soon = soon.checked_add(SignedDuration::from_secs(1)).unwrap_or(soon);
        [self.not_before, soon, over].into_iter().filter(|at| *at > now).min()
    }

    /// A sentence's end on how things stand.
    pub fn problem(&self, now: Timestamp) -> String {
        match self.at(now) {
            Phase::NotYetValid => format!("is not valid before {}", self.not_before),
            Phase::Valid => format!("is valid until {}", self.not_after),
            Phase::ExpiringSoon => format!("expires soon, at {}; renew it", self.not_after),
            Phase::Expired => format!("expired at {}; renew it", self.not_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * DAY).unwrap()
    }

    #[test]
    fn every_phase_comes_by_itself() {
        let validity = Validity { not_before: at(10), not_after: at(100) };
        let mut now = at(0);
        let mut phases = vec![validity.at(now)];
        while let Some(next) = validity.next_change(now) {
            assert!(next > now);
            now = next;
            phases.push(validity.at(now));
        }
        assert_eq!(phases, [Phase::NotYetValid, Phase::Valid, Phase::ExpiringSoon, Phase::Expired]);
        assert_eq!(validity.at(at(100)), Phase::ExpiringSoon, "the last moment counts");
    }

    #[test]
    fn a_short_life_is_never_more_than_expiring_soon() {
        let validity = Validity { not_before: at(10), not_after: at(12) };
        assert_eq!(validity.at(at(11)), Phase::ExpiringSoon);
        assert!(validity.next_change(at(11)).unwrap() > at(12));
    }
}
