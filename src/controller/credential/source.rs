//! Reading sources: once per change, not once per reconcile.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::jiff::Timestamp;

use crate::{
    cluster::describe,
    controller::Context,
    domain::{
        content::{Content, Data, Inputs, ReadSecret, SourceError, SourceSecret},
        credential::CredentialSpec,
        declared::Declared,
        hashes::{Hashes, Unhashed},
        identity::NamespacedName,
        revision::CopyDigest,
        schedule::READ_BACK,
        selection::LOCAL,
        validity::Validity,
        verification::Login,
    },
};

/// What a source gave: the candidate for the next content.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The generation of the credential that it was made for.
    generation: i64,
    /// How often the sources had changed when they were read.
    changes: u64,
    /// When it is to be made anew although nothing changed, as time passes.
    pub until: Option<Timestamp>,
    pub result: Result<Arc<Content>, SourceError>,
    /// What is tried at registries, to know whether it works.
    pub logins: Vec<Arc<Login>>,
}

impl Candidate {
    /// Whether it still is what the source gives.
    pub fn holds(&self, declared: &Declared, changes: u64, now: Timestamp) -> bool {
        self.generation == declared.generation()
            && self.changes == changes
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
    now: Timestamp,
) -> Read {
    let names = declared.source_secrets();
    // Before they are read, so that no change is missed.
    let changes = context.stores.credentials.source_changes(&names);
    let result = match fetch_all(context, &names).await {
        Ok(sources) => match render(context, &**spec, &sources, existing.as_ref(), hashes, now) {
            Ok(Rendered::Content(content, logins)) => Ok((Arc::new(content), logins)),
            Ok(Rendered::Unhashed(unhashed)) => return Read::Unhashed(unhashed),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    let (result, logins) = match result {
        Ok((content, logins)) => (Ok(content), logins.into_iter().map(Arc::new).collect()),
        Err(error) => (Err(error), Vec::new()),
    };
    let until = validity(&result).and_then(|validity| validity.next_change(now));
    Read::Candidate(Candidate { generation: declared.generation(), changes, until, result, logins })
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
    sources: &[SourceSecret],
    existing: Option<&Data>,
    hashes: &mut Hashes,
    now: Timestamp,
) -> Result<Rendered, SourceError> {
    let mut entropy = [0; 32];
    rand::fill(&mut entropy);
    let inputs = Inputs { sources, existing, hashes: &Data::new(), now, entropy: &entropy };
    let unhashed = hashes.plan(&context.fingerprints, &spec.passwords(inputs)?, &entropy);
    if !unhashed.is_empty() {
        return Ok(Rendered::Unhashed(unhashed));
    }
    let content = spec.render(Inputs { hashes: hashes.texts(), ..inputs })?;
    Ok(Rendered::Content(content, spec.logins(inputs)))
}

/// Reads a content back from copies: from `local` where one is there, else from whichever member answers first. No
/// member is waited for long.
pub(super) async fn read_back(context: &Context, places: &[&CopyDigest]) -> Option<SourceSecret> {
    let (local, members): (Vec<&CopyDigest>, Vec<&CopyDigest>) =
        places.iter().partition(|place| *place.cluster == *LOCAL);
    for place in local {
        if let Some(found) = read_copy(context, place).await {
            return Some(found);
        }
    }
    let cluster = |place: &CopyDigest| context.clusters.get(&place.cluster)?.up().cloned();
    // A member that did not answer in time holds up no second credential.
    let members =
        members.into_iter().filter(|place| cluster(place).is_some_and(|found| !found.reads.is_slow()));
    let mut waiting: Vec<&CopyDigest> = members.collect();
    let reads = waiting.iter().map(|&place| async move { (place, read_copy(context, place).await) });
    let mut reads: FuturesUnordered<_> = reads.collect();
    let first = async {
        while let Some((place, read)) = reads.next().await {
            waiting.retain(|other| other.cluster != place.cluster);
            if read.is_some() {
                return read;
            }
        }
        None
    };
    match tokio::time::timeout(READ_BACK, first).await {
        Ok(read) => read,
        Err(_) => {
            for found in waiting.into_iter().filter_map(cluster) {
                found.reads.was_slow();
            }
            None
        }
    }
}

/// Reads a copy. One that has changed since it was seen is not believed.
async fn read_copy(context: &Context, place: &CopyDigest) -> Option<SourceSecret> {
    let (member, name) = (context.clusters.get(&place.cluster)?, &place.example);
    let found = member.up()?.connection.secret(&name.namespace, &name.name).await.ok()??;
    let copy = take(&name.name, found);
    (context.fingerprints.of(&copy.type_, &copy.data) == place.content).then_some(copy)
}

/// A Secret with its values where they are wiped.
fn take(name: &str, mut secret: ReadSecret) -> SourceSecret {
    SourceSecret { name: name.to_owned(), type_: secret.type_().to_owned(), data: secret.take_data() }
}
