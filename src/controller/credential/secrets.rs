//! Reading Secrets: sources, and contents back from copies.

use futures::{StreamExt, stream::FuturesUnordered};

use crate::{
    controller::{Context, clusters::Member},
    domain::{
        content::{ReadSecret, SourceSecret},
        identity::CredentialId,
        revision::CopyDigest,
        schedule::READ_BACK,
        selection::LOCAL,
    },
};

/// What the clusters have of a credential. One lock at a time.
pub(super) fn copies(members: &[Member], id: &CredentialId) -> Vec<CopyDigest> {
    let (owner, home) = (id.owner(), &id.namespace);
    let seen = members.iter().filter_map(Member::seen);
    seen.flat_map(|cluster| CopyDigest::of(&cluster.name, cluster.read().snapshot(), &owner, home)).collect()
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
pub(super) fn take(name: &str, mut secret: ReadSecret) -> SourceSecret {
    let version = secret.0.metadata.resource_version.take();
    SourceSecret {
        name: name.to_owned(),
        type_: secret.type_().to_owned(),
        data: secret.take_data(),
        version,
    }
}
