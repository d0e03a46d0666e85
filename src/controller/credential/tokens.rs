//! Tokens that are minted for a credential.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::secrets;
use crate::{
    api::TokenStatus,
    controller::Context,
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        content::{Content, Data, Inputs, SourceSecret},
        credential::CredentialSpec,
        declared::Declared,
        read_back,
        reason::Reason,
        revision::CopyDigest,
        schedule::MAX_TOKEN_LIFE,
        token::{Grant, Identity, MintError, Minted, Token},
    },
};

/// What tokens of an earlier process are found by.
pub(super) struct Tokens<'a> {
    pub copies: &'a [CopyDigest],
    /// A person wants new ones.
    pub anew: bool,
}

impl Tokens<'_> {
    /// Has the tokens minted that a credential wants, and says what is known of them.
    pub async fn look(
        &self,
        context: &Context,
        declared: &Declared,
        spec: &dyn CredentialSpec,
        sources: &[SourceSecret],
        own_identity: bool,
        now: Timestamp,
    ) -> BTreeMap<String, Minted> {
        let (id, minting) = (&declared.id, &context.stores.minting);
        let (hashes, none) = (&Data::new(), &BTreeMap::new());
        let inputs = Inputs { sources, existing: None, hashes, minted: none, now, entropy: &[0; 32] };
        let mut grants = spec.grants(inputs);
        let mut refused = BTreeMap::new();
        grants.retain(|key, grant| {
            let is_permitted = own_identity || !matches!(grant.identity, Identity::Operator(_));
            if !is_permitted {
                refused.insert(key.clone(), Minted { token: None, error: Some(not_permitted()) });
            }
            is_permitted
        });
        let is_new = grants.values().any(|grant| minting.is_new(id, grant));
        let recorded = if is_new { self.recorded(context, declared, spec, &grants, now).await } else { None };
        let mut minted = minting.look(id, grants, recorded.unwrap_or_default(), self.anew);
        minted.extend(refused);
        minted
    }

    /// The tokens that copies have, where nothing has changed since they were minted: a restart mints nothing.
    async fn recorded(
        &self,
        context: &Context,
        declared: &Declared,
        spec: &dyn CredentialSpec,
        grants: &BTreeMap<String, Grant>,
        now: Timestamp,
    ) -> Option<BTreeMap<String, Token>> {
        let status = declared.status()?;
        let refreshed = condition::find(&status.conditions, ConditionType::Refreshed)?;
        // Else what is told is about a token of another identity, or one that could not be renewed.
        let is_told = ConditionStatus::of(refreshed) == ConditionStatus::True
            && status.observed_generation == Some(declared.generation());
        let mut told = declared.recorded_tokens();
        told.retain(|key, token| {
            token.expiration_time.0 > now
                && grants.get(key).is_some_and(|grant| grant.secret_version == token.secret_version)
        });
        if !is_told || told.is_empty() {
            return None;
        }
        let copy = secrets::read_back(context, &read_back::last_good(self.copies, status.revision)).await?;
        let content = Content::from_copy(copy, None, BTreeMap::new())?;
        let token = |(key, token): (String, TokenStatus)| {
            let (username, password) = spec.pair(&content, &key)?;
            let expires = token.expiration_time.0;
            let life = expires.duration_since(now).unsigned_abs().min(MAX_TOKEN_LIFE);
            Some((key, Token { username, password, expires, life }))
        };
        Some(told.into_iter().filter_map(token).collect())
    }
}

fn not_permitted() -> MintError {
    MintError::new(
        Reason::IdentityNotPermitted,
        "no DistributionPolicy allows this credential to use the identity of Claviger; ask a cluster administrator for one with `allowOperatorIdentity`, or use `serviceAccountRef` or `secretRef`",
    )
}
