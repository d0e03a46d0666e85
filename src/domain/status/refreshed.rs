//! Condition `Refreshed`: whether the tokens that were minted are renewed in time.

use k8s_openapi::jiff::Timestamp;

use crate::domain::{
    condition::{ConditionStatus, Verdict},
    desired::DesiredState,
    reason::Reason,
    token::MintError,
};

/// `None` where no tokens are minted.
pub(super) fn refreshed(desired: &DesiredState, now: Timestamp) -> Option<Verdict> {
    let DesiredState { tokens, distributed, .. } = desired;
    if tokens.is_empty() && distributed.is_empty() {
        return None;
    }
    let end = |key: &str| distributed.get(key).map(|token| token.expiration_time.0);
    // Of several, whose it is has to be told.
    let token = |key: &str| {
        let are_several = tokens.len() > 1 || distributed.len() > 1;
        if are_several { format!("token for '{key}'") } else { "token".to_owned() }
    };
    let lost =
        MintError::identity_missing("no token can be minted: the Secret of the identity cannot be read");
    let without = distributed.keys().filter(|_| tokens.is_empty()).map(|key| (key, &lost));
    let mut failed =
        tokens.iter().filter_map(|(key, minted)| Some((key, minted.error.as_ref()?))).chain(without);
    if let Some((key, error)) = failed.next() {
        let token = token(key);
        let stays = match end(key) {
            Some(at) if at > now => {
                format!("the last {token} stays, and is valid until {at:.0}")
            }
            Some(at) => format!("the last {token} expired at {at:.0}"),
            None => format!("no {token} has been minted yet"),
        };
        return Some(Verdict::new(ConditionStatus::False, error.reason, format!("{error}; {stays}")));
    }
    let is_minting = tokens.values().any(|minted| minted.token.is_none());
    let waits = is_minting || tokens.keys().any(|key| end(key).is_none());
    let first_end = tokens.keys().filter_map(|key| Some((end(key)?, key))).min();
    Some(match first_end {
        Some((at, key)) if at <= now => {
            let text =
                format!("the {} expired at {at:.0}, and the next one is not distributed yet", token(key));
            Verdict::new(ConditionStatus::False, Reason::Expired, text)
        }
        Some((at, key)) if !waits => {
            let text =
                format!("the {} is valid until {at:.0}; the next one is minted long before that", token(key));
            Verdict::new(ConditionStatus::True, Reason::Refreshed, text)
        }
        _ => {
            let minted = "a token was minted, but is not distributed yet";
            let text = if is_minting { "a token is being minted" } else { minted };
            Verdict::new(ConditionStatus::Unknown, Reason::Progressing, text)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::{
        api::{CredentialKind, TokenStatus},
        domain::{
            identity::CredentialId,
            token::{MintError, Minted, Token},
        },
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Of each: whether there is a token, whether the last try failed, and until when the distributed one is good.
    fn desired(of: &[(bool, bool, Option<i64>)]) -> DesiredState {
        let id = CredentialId {
            kind: CredentialKind::RegistryCredential,
            namespace: "team".into(),
            name: "ecr".into(),
        };
        let mut state = DesiredState::blank(id);
        for (n, (token, error, expires)) in of.iter().enumerate() {
            let token = token.then(|| {
                let (username, password) = ("AWS".into(), "p".into());
                Arc::new(Token { username, password, expires: NOW, life: Duration::ZERO })
            });
            let error = error.then(|| MintError::new(Reason::TokenRefused, "sts refuses"));
            state.tokens.insert(format!("key-{n}"), Minted { token, error });
            if let Some(at) = expires {
                let expiration_time = Time(Timestamp::from_second(*at).unwrap());
                let token = TokenStatus { expiration_time, secret_version: None, subject: String::new() };
                state.distributed.insert(format!("key-{n}"), token);
            }
        }
        state
    }

    fn told(of: &[(bool, bool, Option<i64>)]) -> (ConditionStatus, Reason, String) {
        let verdict = refreshed(&desired(of), NOW).unwrap();
        (verdict.status, verdict.reason, verdict.message)
    }

    #[test]
    fn what_stays_while_a_token_cannot_be_renewed_is_told() {
        let (status, reason, text) = told(&[(true, true, Some(60))]);
        assert_eq!((status, reason), (ConditionStatus::False, Reason::TokenRefused));
        assert_eq!(text, "sts refuses; the last token stays, and is valid until 1970-01-01T00:01:00Z");
        assert!(told(&[(true, true, Some(-60))]).2.contains("expired at"));
        assert!(told(&[(false, true, None)]).2.contains("no token has been minted yet"));
        assert_eq!(told(&[(false, false, None)]).1, Reason::Progressing);
        assert_eq!(told(&[(true, false, Some(60))]).0, ConditionStatus::True);
        assert_eq!(refreshed(&desired(&[]), NOW), None);
        // Its Secret was deleted.
        let mut lost = desired(&[(true, false, Some(60))]);
        lost.tokens.clear();
        let verdict = refreshed(&lost, NOW).unwrap();
        assert_eq!((verdict.status, verdict.reason), (ConditionStatus::False, Reason::IdentityMissing));
        assert!(verdict.message.contains("is valid until 1970-01-01T00:01:00Z"), "{}", verdict.message);
    }

    #[test]
    fn what_counts_is_what_the_secrets_have() {
        let (status, reason, _) = told(&[(true, false, Some(-60))]);
        assert_eq!((status, reason), (ConditionStatus::False, Reason::Expired), "the next one is held back");
        assert_eq!(told(&[(true, false, None)]).0, ConditionStatus::Unknown, "the first one is");
    }

    #[test]
    fn of_several_the_one_that_is_meant_is_named() {
        assert!(told(&[(true, false, Some(90)), (true, true, Some(60))]).2.contains("for 'key-1'"));
        let (status, _, text) = told(&[(true, false, Some(90)), (true, false, Some(60))]);
        assert!(
            status == ConditionStatus::True
                && text.contains("for 'key-1' is valid until 1970-01-01T00:01:00Z"),
            "{text}"
        );
    }
}
