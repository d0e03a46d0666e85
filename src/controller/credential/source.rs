//! Reading sources: once per change, not once per reconcile.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;

use super::{secrets::take, tokens::Tokens};
use crate::{
    cluster::describe,
    controller::Context,
    domain::{
        content::{Content, Data, Inputs, SourceError, SourceSecret},
        credential::CredentialSpec,
        declared::Declared,
        hashes::{Hashes, Unhashed},
        identity::NamespacedName,
        token::Minted,
        validity::Validity,
        verification::{KnownLogin, Login},
    },
};

/// What a source gave: the candidate for the next content.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The generation of the credential that it was made for.
    generation: i64,
    /// How often the sources had changed when they were read.
    changes: u64,
    /// How often its tokens had changed.
    mints: u64,
    /// Whether tokens could be minted by the operator's own identity.
    own_identity: Option<bool>,
    /// What is known of its tokens.
    pub tokens: BTreeMap<String, Minted>,
    /// When it is to be made anew although nothing changed, as time passes.
    pub until: Option<Timestamp>,
    pub result: Result<Arc<Content>, SourceError>,
    /// What is tried at servers, to know whether it works.
    pub logins: Vec<KnownLogin>,
}

impl Candidate {
    /// Whether it still is what the source gives.
    pub fn holds(&self, context: &Context, declared: &Declared, changes: u64, now: Timestamp) -> bool {
        self.generation == declared.generation()
            && self.changes == changes
            && self.mints == context.stores.minting.changes(&declared.id.owner())
            && (self.tokens.is_empty() || self.own_identity == context.may_use_own_identity(&declared.id))
            && self.until.is_none_or(|until| now < until)
            && !self.result.as_ref().is_err_and(SourceError::is_unreadable)
    }
}

/// What came of reading a source.
pub(super) enum Read {
    Candidate(Candidate),
    /// First these have to be hashed.
    Unhashed(Vec<Unhashed>),
}

/// Reads the source of a credential, and makes a content of it. `existing` gives a copy that exists, for kinds that
/// keep a part of it, and `hashes` those that are known.
pub(super) async fn read(
    context: &Context,
    declared: &Declared,
    spec: &Arc<dyn CredentialSpec>,
    existing: Option<Data>,
    hashes: &mut Hashes,
    tokens: Tokens<'_>,
    now: Timestamp,
) -> Read {
    let names = declared.source_secrets();
    // Before they are read, so that no change is missed.
    let changes = context.stores.credentials.source_changes(&names);
    let mints = context.stores.minting.changes(&declared.id.owner());
    let own_identity = context.may_use_own_identity(&declared.id);
    let (minted, rendered) = match fetch_all(context, &names).await {
        Ok(sources) => {
            let inputs = Inputs { existing: existing.as_ref(), ..Inputs::new(&sources, now) };
            let grants = spec.grants(inputs);
            let minted = tokens.sync(context, declared, &**spec, &grants, own_identity, now).await;
            let inputs = Inputs { grants: &grants, minted: &minted, ..inputs };
            let rendered = render(context, &**spec, inputs, hashes);
            (minted, rendered)
        }
        // They are as they were.
        Err(error) => (tokens.before.cloned().unwrap_or_default(), Err(error)),
    };
    let (result, logins) = match rendered {
        Ok(Rendered::Unhashed(unhashed)) => return Read::Unhashed(unhashed),
        Ok(Rendered::Content(content, logins)) => {
            let known = logins.into_iter().map(|login| KnownLogin::new(login, &context.fingerprints));
            (Ok(Arc::new(content)), known.collect())
        }
        Err(error) => (Err(error), Vec::new()),
    };
    let until = validity(&result).and_then(|validity| validity.next_change(now));
    let ends = minted.values().filter_map(|minted| Some(minted.token.as_ref()?.expires));
    let until = ends.filter(|end| *end > now).chain(until).min();
    let generation = declared.generation();
    let candidate =
        Candidate { generation, changes, mints, own_identity, tokens: minted, until, result, logins };
    Read::Candidate(candidate)
}

/// When what the source gave is valid.
pub(super) fn validity(result: &Result<Arc<Content>, SourceError>) -> Option<Validity> {
    match result {
        Ok(content) => content.validity,
        Err(error) => error.validity,
    }
}

async fn fetch_all(context: &Context, names: &[NamespacedName]) -> Result<Vec<SourceSecret>, SourceError> {
    let mut secrets = Vec::new();
    for name in names {
        let found = context.local().connection.secret(&name.namespace, &name.name).await;
        let found = found.map_err(|error| SourceError::unreadable(&name.name, &describe(&error)))?;
        let version = found.as_ref().and_then(|secret| secret.0.metadata.resource_version.clone());
        context.queues.credentials(context.stores.credentials.source_read(name, version));
        secrets.extend(found.map(|secret| take(&name.name, secret)));
    }
    Ok(secrets)
}

enum Rendered {
    Content(Content, Vec<Login>),
    Unhashed(Vec<Unhashed>),
}

/// Renders, unless passwords have to be hashed first.
fn render(
    context: &Context,
    spec: &dyn CredentialSpec,
    inputs: Inputs<'_>,
    hashes: &mut Hashes,
) -> Result<Rendered, SourceError> {
    let mut entropy = [0; 32];
    rand::fill(&mut entropy);
    let inputs = Inputs { entropy: &entropy, ..inputs };
    let unhashed = hashes.plan(&context.fingerprints, &spec.passwords(inputs)?, &entropy);
    if !unhashed.is_empty() {
        return Ok(Rendered::Unhashed(unhashed));
    }
    let content = spec.render(Inputs { hashes: hashes.texts(), ..inputs })?;
    Ok(Rendered::Content(content, spec.logins(inputs)))
}
