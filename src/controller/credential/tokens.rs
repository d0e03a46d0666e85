//! Tokens that are minted for a credential.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::secrets;
use crate::{
    api::TokenStatus,
    controller::{Context, minting::Wanted},
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        content::{Content, Grants},
        credential::CredentialSpec,
        declared::Declared,
        read_back,
        revision::CopyDigest,
        token::{Minted, Token, is_login},
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
        grants: &Grants,
        own_identity: Option<bool>,
        now: Timestamp,
    ) -> BTreeMap<String, Minted> {
        let (id, minting) = (&declared.id, &context.stores.minting);
        let is_new = grants.values().flatten().any(|grant| minting.is_new(id, grant));
        let mut recorded = match is_new {
            true => self.recorded(context, declared, spec, grants, now).await.unwrap_or_default(),
            false => BTreeMap::new(),
        };
        // One that could not be renewed is tried at once.
        let conditions = declared.status().map_or(&[][..], |status| &status.conditions);
        let refreshed = condition::find(conditions, ConditionType::Refreshed);
        let is_renewed = refreshed.is_some_and(|told| ConditionStatus::of(told) == ConditionStatus::True);
        let wanted = grants.iter().filter_map(|(key, grant)| {
            let grant = grant.as_ref().ok()?.clone();
            let permitted = if grant.is_operators() { own_identity } else { Some(true) };
            let recorded = recorded.remove(key).map(|token| (token, is_renewed));
            Some((key.clone(), Wanted { grant, permitted, recorded }))
        });
        minting.sync(id, wanted.collect(), self.anew)
    }

    /// The tokens that copies have of these very identities: a restart mints nothing.
    async fn recorded(
        &self,
        context: &Context,
        declared: &Declared,
        spec: &dyn CredentialSpec,
        grants: &Grants,
        now: Timestamp,
    ) -> Option<BTreeMap<String, Token>> {
        let mut told = declared.recorded_tokens();
        told.retain(|key, token| {
            grants.get(key).and_then(|grant| grant.as_ref().ok()).is_some_and(|grant| {
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
