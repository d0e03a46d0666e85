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

impl Validity {
    /// Where in its time a content is: `NotYetValid`, `Valid`, `ExpiringSoon` in its last 30 days, or `Expired`.
    pub fn at(&self, now: Timestamp) -> Reason {
        if now < self.not_before {
            Reason::NotYetValid
        } else if now > self.not_after {
            Reason::Expired
        } else if self.not_after.duration_since(now) < SOON {
            Reason::ExpiringSoon
        } else {
            Reason::Valid
        }
    }

    /// Whether the content may be used.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// When that changes next without anybody doing anything.
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
            Reason::NotYetValid => format!("is not valid before {}", self.not_before),
            Reason::ExpiringSoon => format!("expires soon, at {}; renew it", self.not_after),
            Reason::Expired => format!("expired at {}; renew it", self.not_after),
            _ => format!("is valid until {}", self.not_after),
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
        assert_eq!(phases, [Reason::NotYetValid, Reason::Valid, Reason::ExpiringSoon, Reason::Expired]);
        assert_eq!(validity.at(at(100)), Reason::ExpiringSoon, "the last moment counts");
    }

    #[test]
    fn a_short_life_is_never_more_than_expiring_soon() {
        let validity = Validity { not_before: at(10), not_after: at(12) };
        assert_eq!(validity.at(at(11)), Reason::ExpiringSoon);
        assert!(validity.next_change(at(11)).unwrap() > at(12));
    }
}
