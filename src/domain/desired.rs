//! What one credential wants, everywhere: the value that the credential loop leaves for the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    content::{Content, Data, SourceError},
    default::DefaultWish,
    identity::{CredentialId, OwnerId},
    removal::Removal,
    rendered::RenderedSecret,
    targets::ClusterTargets,
    token::Minted,
    validity::Validity,
    verification::Verification,
    withdrawal::Consent,
};
use crate::api::TokenStatus;

/// What one credential wants, everywhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DesiredState {
    pub id: CredentialId,
    pub owner: OwnerId,
    /// Of the object; another one of the same name starts anew.
    pub uid: String,
    /// `metadata.generation` of the object.
    pub generation: i64,
    /// What the copies are called.
    pub secret_name: Arc<str>,
    /// The revision of the content, or of the last one.
    pub revision: Option<i64>,
    /// What is written, with the content that was accepted last; `None` while no content was ever accepted, so that copies stay as they are.
    pub secret: Option<Arc<RenderedSecret>>,
    /// What the status tells of the source.
    pub source: SourceState,
    /// What is known of whether the value works that the source gives; `None` while it gives none.
    pub verification: Option<Verification>,
    /// When the content is valid, where it is for a time only.
    pub validity: Option<Validity>,
    /// What is known of the tokens that are minted for it, by their keys in `auths`.
    pub tokens: BTreeMap<String, Minted>,
    /// The minted tokens in the content, by their keys in `auths`.
    pub distributed: BTreeMap<String, TokenStatus>,
    /// The clusters that the credential wants, by name.
    pub clusters: BTreeMap<Arc<str>, Arc<ClusterTargets>>,
    /// Whether all policies could be read when the clusters were worked out; without that, what merely has no consent
    /// in them may well have it.
    pub policies_readable: bool,
    /// Clusters that the credential names and that do not exist.
    pub unknown_clusters: Vec<Arc<str>>,
    /// What it wants of ServiceAccounts, where it is to be a default.
    pub default: Option<Arc<DefaultWish>>,
    /// Set while the credential is being deleted.
    pub removal: Option<Removal>,
    /// The request for a sync that was not answered yet.
    pub sync_request: Option<String>,
}

impl DesiredState {
    /// A state that wants nothing yet.
    pub fn blank(id: CredentialId) -> Self {
        Self {
            owner: id.owner(),
            uid: String::new(),
            generation: 0,
            secret_name: id.name.clone(),
            id,
            revision: None,
            secret: None,
            source: SourceState::NotRead,
            verification: None,
            validity: None,
            tokens: BTreeMap::new(),
            distributed: BTreeMap::new(),
            clusters: BTreeMap::new(),
            policies_readable: true,
            unknown_clusters: Vec::new(),
            default: None,
            removal: None,
            sync_request: None,
        }
    }

    /// What the newest content still waits for, so that an older one is distributed, or none.
    pub fn awaits(&self) -> Option<&'static str> {
        if self.removal.is_some() {
            return None;
        }
        match (&self.source, &self.verification) {
            (SourceState::Hashing { .. }, _) => Some("passwords are being hashed"),
            (SourceState::Failed(error), _) if error.is_minting() => Some("a token is being minted"),
            (_, Some(verification)) if verification.is_awaited() => Some("the new value is being verified"),
            _ => None,
        }
    }

    /// Whether clusters have to know of the step to another state.
    pub fn concerns_clusters(&self, next: &Self) -> bool {
        let (verification, tokens) = (next.verification.clone(), next.tokens.clone());
        Self { verification, tokens, ..self.clone() } != *next
    }

    /// Whether what has no consent is taken away by now. A state that was worked out while a policy could not be read
    /// takes nothing away, even if all can be read by now: the state that knows them is on its way.
    pub fn withdraws(&self, consent: Consent) -> bool {
        self.policies_readable && consent == Consent::Settled
    }
}

/// What is known of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceState {
    /// It gave the content; what was done to it on the way.
    Resolved(Vec<String>),
    /// It did not.
    Failed(SourceError),
    /// It was not read, as nothing may be written anywhere.
    NotRead,
    /// It was read, and its passwords are being hashed: those of the first content of this process, which mostly is the
    /// one that the copies have, or of a later one.
    Hashing { first: bool },
    /// This version cannot read the spec; what serde says.
    UnreadableSpec(String),
}

/// The content that goes to the clusters: the candidate that the source gave, where it was accepted, else the last good
/// one. Parts that are `held` back, or missing, are those of the last good one; see
/// [`super::credential::CredentialSpec::compose`]. They are left out only where it `is_first`, as nothing was ever
/// distributed: else copies have them, although it may not be known what they are.
pub(crate) fn accepted(
    candidate: Option<&Result<Arc<Content>, SourceError>>,
    held: &BTreeSet<String>,
    last_good: Option<&Arc<Content>>,
    is_first: bool,
    compose: impl FnOnce(&Content, &BTreeSet<&str>, &Content) -> Option<Content>,
) -> Option<Arc<Content>> {
    let Some(Ok(candidate)) = candidate else { return last_good.cloned() };
    let kept: BTreeSet<&str> = held.iter().chain(candidate.missing.keys()).map(String::as_str).collect();
    if kept.is_empty() {
        return Some(candidate.clone());
    }
    let nothing = Content { data: Data::new(), ..Content::clone(candidate) };
    let before = match last_good {
        Some(good) => good,
        None if is_first => &nothing,
        None => return None,
    };
    compose(candidate, &kept, before).map(Arc::new).or_else(|| last_good.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CredentialKind;

    #[test]
    fn a_bad_value_never_replaces_a_good_one() {
        let content =
            |key: &'static str| Arc::new(Content::new("Opaque", BTreeMap::from([(key.into(), "v".into())])));
        let (good, new) = (content("a"), content("b"));
        let missing = || Err(SourceError::not_found("src"));
        let none = BTreeSet::new();
        let accepted = |candidate: Option<&_>, held, last_good| {
            accepted(candidate, held, last_good, true, |_, _, _| None)
        };
        assert_eq!(accepted(Some(&Ok(new.clone())), &none, Some(&good)), Some(new.clone()));
        assert_eq!(accepted(Some(&missing()), &none, Some(&good)), Some(good.clone()));
        assert_eq!(accepted(None, &none, Some(&good)), Some(good.clone()));
        assert_eq!(accepted(Some(&missing()), &none, None), None);
        let held = BTreeSet::from(["a".to_owned()]);
        assert_eq!(accepted(Some(&Ok(new.clone())), &held, Some(&good)), Some(good.clone()));
        assert_eq!(accepted(Some(&Ok(new)), &held, None), None);
    }

    #[test]
    fn a_part_that_is_held_is_left_out_only_where_nothing_was_ever_distributed() {
        let content = Content::new("Opaque", Data::new());
        let missing = BTreeMap::from([("a".to_owned(), SourceError::not_found("src"))]);
        let lost = Content { missing, ..content.clone() };
        let (held, none) = (BTreeSet::from(["a".to_owned()]), BTreeSet::new());
        for (candidate, held) in [(content, &held), (lost, &none)] {
            let candidate = Ok(Arc::new(candidate));
            let accepted = |last_good: Option<&_>, is_first| {
                let compose = |content: &Content, _: &BTreeSet<&str>, _: &Content| Some(content.clone());
                accepted(Some(&candidate), held, last_good, is_first, compose).is_some()
            };
            assert!(accepted(None, true));
            assert!(!accepted(None, false), "the copies may have it");
            assert!(accepted(candidate.as_ref().ok(), false));
        }
    }

    #[test]
    fn a_state_without_all_policies_takes_nothing_away() {
        let id = CredentialId {
            kind: CredentialKind::RegistryCredential,
            namespace: "team-a".into(),
            name: "quay".into(),
        };
        let blank = DesiredState::blank(id);
        let state = |policies_readable| DesiredState { policies_readable, ..blank.clone() };
        assert!(state(true).withdraws(Consent::Settled));
        assert!(!state(true).withdraws(Consent::Unknown));
        assert!(
            !state(false).withdraws(Consent::Settled),
            "policies can be read by now, and this does not know them"
        );
    }
}
