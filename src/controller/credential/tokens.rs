//! Tokens that are minted for a credential.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::secrets;
use crate::{
    api::TokenStatus,
    controller::{Context, minting::Wanted},
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        content::{Content, Data, Inputs, SourceSecret},
        credential::CredentialSpec,
        declared::Declared,
        read_back,
        revision::CopyDigest,
        token::{Grant, Minted, Token, is_login},
    },
};

/// What the tokens of a credential follow from, besides its spec and its source.
pub(super) struct Tokens<'a> {
    pub copies: &'a [CopyDigest],
    /// What was known of them when the source was read last.
    pub before: Option<&'a BTreeMap<String, Minted>>,
    /// A person wants new ones.
    pub anew: bool,
}

impl Tokens<'_> {
    /// Has the tokens minted that a credential wants, and says what is known of them.
    pub async fn sync(
        &self,
        context: &Context,
        declared: &Declared,
        spec: &dyn CredentialSpec,
        sources: &[SourceSecret],
        own_identity: Option<bool>,
        now: Timestamp,
    ) -> BTreeMap<String, Minted> {
        let (id, minting) = (&declared.id, &context.stores.minting);
        let (hashes, none) = (&Data::new(), &BTreeMap::new());
        let inputs = Inputs { sources, existing: None, hashes, minted: none, now, entropy: &[0; 32] };
        let grants = spec.grants(inputs);
        let is_new = grants.values().any(|grant| minting.is_new(id, grant));
        let mut recorded = match is_new {
            true => self.recorded(context, declared, spec, &grants, now).await.unwrap_or_default(),
            false => BTreeMap::new(),
        };
        // One that could not be renewed is tried at once.
        let conditions = declared.status().map_or(&[][..], |status| &status.conditions);
        let refreshed = condition::find(conditions, ConditionType::Refreshed);
        let is_renewed = refreshed.is_some_and(|told| ConditionStatus::of(told) == ConditionStatus::True);
        let wanted = grants.into_iter().map(|(key, grant)| {
            let permitted = if grant.is_operators() { own_identity } else { Some(true) };
            let recorded = recorded.remove(&key).map(|token| (token, is_renewed));
            (key, Wanted { grant, permitted, recorded })
        });
        minting.sync(id, wanted.collect(), self.anew)
    }

    /// The tokens that copies have of these very identities: a restart mints nothing.
    async fn recorded(
        &self,
        context: &Context,
        declared: &Declared,
        spec: &dyn CredentialSpec,
        grants: &BTreeMap<String, Grant>,
        now: Timestamp,
    ) -> Option<BTreeMap<String, Token>> {
        let mut told = declared.recorded_tokens();
        told.retain(|key, token| {
            grants.get(key).is_some_and(|grant| {
                let end = token.expiration_time.0;
                let is_of_it =
                    grant.secret_version == token.secret_version && grant.subject() == token.subject;
                // A later end was written by a clock that was wrong.
                is_of_it && end > now && end <= now + grant.longest_life()
            })
        });
        if told.is_empty() {
            return None;
        }
        let revision = declared.status().and_then(|status| status.revision);
        let places = read_back::last_good(self.copies, revision, &declared.id.namespace);
        let copy = secrets::read_back(context, &places).await?;
        let content = Content::from_copy(copy, None, BTreeMap::new())?;
        let token = |(key, token): (String, TokenStatus)| {
            let (username, password) = spec.pair(&content, &key)?;
            // Somebody may have edited the copy.
            if !is_login(&username, &password) {
                return None;
            }
            let expires = token.expiration_time.0;
            Some((
                key,
                Token { username, password, expires, life: expires.duration_since(now).unsigned_abs() },
            ))
        };
        Some(told.into_iter().filter_map(token).collect())
    }
}
