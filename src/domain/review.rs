//! What the API server said lately of the tokens that requests for metrics came with.

use std::{collections::HashMap, time::Instant};

use super::{
    fingerprint::Fingerprint,
    schedule::{MAX_REVIEWS, REVIEW_ALLOWED, REVIEW_KNOWN, REVIEW_REFUSED},
};

/// What the API server says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its user may read the metrics.
    Allowed,
    /// Its user may not.
    Forbidden,
    /// It is no user's.
    Unauthenticated,
}

/// The verdicts of late, by a keyed hash of the token. Their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Reviews(HashMap<Fingerprint, (Verdict, Instant)>);

impl Reviews {
    /// What holds of a token without asking again.
    pub fn get(&self, token: Fingerprint, now: Instant) -> Option<Verdict> {
        let (verdict, at) = self.0.get(&token)?;
        let holds = if *verdict == Verdict::Allowed { REVIEW_ALLOWED } else { REVIEW_REFUSED };
        (now.saturating_duration_since(*at) < holds).then_some(*verdict)
    }

    /// Whether a token was let in before, and not refused since.
    pub fn is_known(&self, token: Fingerprint) -> bool {
        self.0.get(&token).is_some_and(|(verdict, _)| *verdict == Verdict::Allowed)
    }

    /// Notes what was said of a token just now.
    pub fn note(&mut self, token: Fingerprint, verdict: Verdict, now: Instant) {
        self.0.remove(&token);
        self.0.retain(|_, (verdict, at)| {
            let kept = if *verdict == Verdict::Allowed { REVIEW_KNOWN } else { REVIEW_REFUSED };
            now.saturating_duration_since(*at) < kept
        });
        if self.0.len() >= MAX_REVIEWS {
            // Anybody can make up a token that is refused: those go first.
            let least = self.0.iter().min_by_key(|(_, (verdict, at))| (*verdict == Verdict::Allowed, *at));
            if let Some(token) = least.map(|(token, _)| *token) {
                self.0.remove(&token);
            }
        }
        self.0.insert(token, (verdict, now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fingerprint::FingerprintKey;
    use super::*;

    fn token(text: &str) -> Fingerprint {
        FingerprintKey::new([7; 32]).fingerprint("token", [("", text)])
    }

    #[test]
    fn a_verdict_holds_for_its_time() {
        let (mut reviews, start) = (Reviews::default(), Instant::now());
        for (name, verdict) in [
            ("prometheus", Verdict::Allowed),
            ("tenant", Verdict::Forbidden),
            ("made up", Verdict::Unauthenticated),
        ] {
            assert_eq!(reviews.get(token(name), start), None);
            reviews.note(token(name), verdict, start);
            assert_eq!(reviews.get(token(name), start), Some(verdict));
        }
        assert_eq!(reviews.get(token("tenant"), start + REVIEW_REFUSED), None);
        let late = start + REVIEW_ALLOWED - Duration::from_millis(1);
        assert_eq!(reviews.get(token("prometheus"), late), Some(Verdict::Allowed));
        assert_eq!(reviews.get(token("prometheus"), start + REVIEW_ALLOWED), None);
        assert!(reviews.is_known(token("prometheus")) && !reviews.is_known(token("tenant")));
        reviews.note(token("prometheus"), Verdict::Unauthenticated, start + REVIEW_ALLOWED);
        assert!(!reviews.is_known(token("prometheus")), "a token that was taken back");
    }

    /// Attack: tokens without end, to fill the memory, and to have those forgotten that are let in.
    #[test]
    fn made_up_tokens_take_no_room_from_good_ones() {
        let (mut reviews, start) = (Reviews::default(), Instant::now());
        reviews.note(token("prometheus"), Verdict::Allowed, start);
        for number in 0..10 * MAX_REVIEWS {
            let verdict = if number % 2 == 0 { Verdict::Unauthenticated } else { Verdict::Forbidden };
            reviews.note(token(&format!("made up {number}")), verdict, start);
            assert!(reviews.0.len() <= MAX_REVIEWS);
        }
        assert_eq!(reviews.get(token("prometheus"), start), Some(Verdict::Allowed));
        // Neither do those that were good once, such as the ones that kubelet has replaced.
        reviews.note(token("next"), Verdict::Allowed, start + REVIEW_KNOWN);
        assert_eq!(reviews.0.len(), 1);
    }
}
