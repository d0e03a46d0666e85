//! Condition `Refreshed`: whether the tokens that were minted are renewed in time.

use k8s_openapi::jiff::Timestamp;

use crate::domain::{
    condition::{ConditionStatus, Verdict},
    desired::DesiredState,
    reason::Reason,
};

/// `None` where no tokens are minted.
pub(super) fn refreshed(desired: &DesiredState, now: Timestamp) -> Option<Verdict> {
    if desired.tokens.is_empty() {
        return None;
    }
    let minted = || desired.tokens.values();
    if let Some(error) = minted().find_map(|minted| minted.error.as_ref()) {
        let stays = match desired.expires {
            Some(at) if at > now => {
                format!("the token that was minted last stays, and is good until {at:.0}")
            }
            Some(at) => format!("the token that was minted last stays, and has expired at {at:.0}"),
            None => "no token was minted yet".to_owned(),
        };
        return Some(Verdict::new(ConditionStatus::False, error.reason, format!("{error}; {stays}")));
    }
    let waits = minted().any(|minted| minted.token.is_none());
    Some(match desired.expires.filter(|_| !waits) {
        None => Verdict::new(ConditionStatus::Unknown, Reason::Progressing, "a token is being minted"),
        Some(at) => {
            let text = format!("the token is good until {at:.0}; the next one is minted long before");
            Verdict::new(ConditionStatus::True, Reason::Refreshed, text)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        api::CredentialKind,
        domain::{
            identity::CredentialId,
            token::{MintError, Minted, Token},
        },
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn desired(token: bool, error: bool, expires: Option<i64>) -> DesiredState {
        let expires = expires.map(|at| Timestamp::from_second(at).unwrap());
        let token = token.then(|| {
            let (username, password) = ("AWS".to_owned(), "p".into());
            Arc::new(Token { username, password, expires: NOW, life: Duration::ZERO })
        });
        let error = error.then(|| MintError::new(Reason::TokenRefused, "sts refuses"));
        let id = CredentialId {
            kind: CredentialKind::RegistryCredential,
            namespace: "team".into(),
            name: "ecr".into(),
        };
        let tokens = [("key".to_owned(), Minted { token, error })].into();
        DesiredState { tokens, expires, ..DesiredState::blank(id) }
    }

    #[test]
    fn what_stays_while_a_token_cannot_be_renewed_is_told() {
        let told = |token, error, expires| {
            let verdict = refreshed(&desired(token, error, expires), NOW).unwrap();
            (verdict.status, verdict.reason, verdict.message)
        };
        let (status, reason, text) = told(true, true, Some(60));
        assert_eq!((status, reason), (ConditionStatus::False, Reason::TokenRefused));
        assert_eq!(
            text,
            "sts refuses; the token that was minted last stays, and is good until 1970-01-01T00:01:00Z"
        );
        assert!(told(true, true, Some(-60)).2.contains("has expired"));
        assert!(told(false, true, None).2.contains("no token was minted yet"));
        assert_eq!(told(false, false, None).1, Reason::Progressing);
        assert_eq!(told(true, false, Some(60)).0, ConditionStatus::True);
        let none = DesiredState { tokens: [].into(), ..desired(false, false, None) };
        assert_eq!(refreshed(&none, NOW), None);
    }
}
