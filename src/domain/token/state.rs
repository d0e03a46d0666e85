//! What is known of the tokens of a credential, and when the next one is due.

use std::{sync::Arc, time::Duration};

use super::outcome::{MintError, Token};
use crate::domain::schedule::{MAX_RETRY_AFTER, MIN_REFRESH, MINT_REFUSED_RETRY, MINT_RETRY};

/// What is known of one token of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Minted {
    pub token: Option<Arc<Token>>,
    /// Why the last try gave none.
    pub error: Option<MintError>,
}

/// How long after a token was minted the next one is: half of its life, as AWS's own provider for kubelet has it. `jitter`
/// is a random number from 0 to 1.
pub(crate) fn next_mint(life: Duration, jitter: f64) -> Duration {
    life.mul_f64(0.45 + 0.1 * jitter).max(MIN_REFRESH)
}

/// How long after a failure it is tried again. `in_a_row` counts failures; `left` is how long the token that there is
/// is still good.
pub(crate) fn retry_mint(error: &MintError, in_a_row: u32, left: Option<Duration>, jitter: f64) -> Duration {
    let usual = if error.is_refusal() { MINT_REFUSED_RETRY } else { MINT_RETRY }.wait(in_a_row, jitter);
    let asked = error.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    let wait = usual.max(asked.mul_f64(1.0 + 0.1 * jitter));
    // Never so late that the token ends before.
    left.map_or(wait, |left| wait.min(left.mul_f64(0.5)).max(MINT_RETRY.first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reason::Reason;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_next_one_is_minted_at_about_half_of_the_life() {
        assert_eq!(next_mint(12 * HOUR, 0.5), 6 * HOUR);
        assert!(next_mint(HOUR, 0.0) >= HOUR.mul_f64(0.44) && next_mint(HOUR, 1.0) <= HOUR.mul_f64(0.56));
        assert_eq!(next_mint(Duration::from_secs(1), 0.5), MIN_REFRESH, "a cloud cannot make it busy");
    }

    #[test]
    fn a_failure_is_tried_again_before_the_token_ends() {
        let error = MintError::new(Reason::TokenRefused, "m");
        let late = retry_mint(&error, 40, None, 1.0);
        assert_eq!(late, MINT_REFUSED_RETRY.limit);
        assert!(retry_mint(&error, 40, Some(Duration::from_secs(120)), 1.0) <= Duration::from_secs(60));
        let asked = MintError { retry_after: Some(Duration::from_secs(900)), ..error };
        assert!(retry_mint(&asked, 1, Some(HOUR), 0.0) >= Duration::from_secs(900));
        assert!(retry_mint(&asked, 1, Some(Duration::from_secs(600)), 0.0) <= Duration::from_secs(300));
        let forever = MintError { retry_after: Some(Duration::MAX), ..asked };
        assert!(retry_mint(&forever, 1, None, 1.0) <= MAX_RETRY_AFTER.mul_f64(1.1));
    }
}
