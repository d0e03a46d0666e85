//! Which copies to read a content back from, so that what was accepted survives a restart.

use std::sync::Arc;

use super::{
    fingerprint::Fingerprint,
    identity::{NamespacedName, OwnerId},
    revision::CopyDigest,
    selection::LOCAL,
    snapshot::Snapshot,
};

/// What one cluster has of a credential.
#[derive(Clone, Debug)]
pub(crate) struct ClusterCopies {
    pub cluster: Arc<str>,
    pub digests: Vec<CopyDigest>,
    /// One copy of each digest, in the same order.
    pub examples: Vec<NamespacedName>,
}

impl ClusterCopies {
    /// Sums up the copies of one owner; the one in `home` is an example wherever it can be.
    pub fn of(cluster: &Arc<str>, snapshot: &Snapshot, owner: &OwnerId, home: &str) -> Self {
        let digests = CopyDigest::of(snapshot.copies.of(owner).map(|(_, copy)| copy));
        let example = |digest: &CopyDigest| {
            let alike = snapshot.copies.of(owner).filter(|(_, copy)| {
                copy.content == digest.content && copy.metadata.revision() == digest.revision
            });
            alike.map(|(name, _)| name).min_by_key(|name| &*name.namespace != home).cloned()
        };
        let examples = digests.iter().filter_map(example).collect();
        Self { cluster: cluster.clone(), digests, examples }
    }
}

/// A copy to read, and what it must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub cluster: Arc<str>,
    pub name: NamespacedName,
    pub content: Fingerprint,
}

/// Where to read the content of the newest revision, `local` first. Of several contents the one that most
/// copies have, so that a single one edited by hand does not have all the others written anew.
pub(crate) fn newest(clusters: &[ClusterCopies]) -> Vec<Place> {
    let mut contents: Vec<CopyDigest> = Vec::new();
    for digest in clusters.iter().flat_map(|cluster| &cluster.digests) {
        let same = |one: &&mut CopyDigest| one.revision == digest.revision && one.content == digest.content;
        match contents.iter_mut().find(same) {
            Some(one) => one.copies += digest.copies,
            None => contents.push(*digest),
        }
    }
    let best = contents.iter().max_by_key(|digest| (digest.revision, digest.copies));
    best.map(|best| places(clusters, best.revision, best.content)).unwrap_or_default()
}

/// Where to read the last good content, when the source gives none: only what all copies of the recorded revision
/// agree on is believed, as whoever can write to one namespace can edit the copy there.
pub(crate) fn last_good(clusters: &[ClusterCopies], recorded: Option<i64>) -> Vec<Place> {
    if recorded.is_none() {
        return Vec::new();
    }
    let digests = clusters.iter().flat_map(|cluster| &cluster.digests);
    let mut of_it = digests.filter(|digest| digest.revision == recorded).map(|digest| digest.content);
    match of_it.next() {
        Some(content) if of_it.all(|other| other == content) => places(clusters, recorded, content),
        _ => Vec::new(),
    }
}

fn places(clusters: &[ClusterCopies], revision: Option<i64>, content: Fingerprint) -> Vec<Place> {
    let mut places: Vec<Place> = clusters
        .iter()
        .filter_map(|cluster| {
            let (_, name) = cluster
                .digests
                .iter()
                .zip(&cluster.examples)
                .find(|(digest, _)| digest.revision == revision && digest.content == content)?;
            Some(Place { cluster: cluster.cluster.clone(), name: name.clone(), content })
        })
        .collect();
    places.sort_by_key(|place| &*place.cluster != LOCAL);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fingerprint::FingerprintKey;

    fn print(text: &str) -> Fingerprint {
        FingerprintKey::new([1; 32]).fingerprint("t", [("k", text)])
    }

    fn cluster(name: &str, contents: &[(i64, &str, usize)]) -> ClusterCopies {
        ClusterCopies {
            cluster: name.into(),
            digests: contents
                .iter()
                .map(|(revision, content, copies)| CopyDigest {
                    revision: Some(*revision),
                    content: print(content),
                    copies: *copies,
                })
                .collect(),
            examples: contents.iter().map(|(_, content, _)| NamespacedName::new("web", *content)).collect(),
        }
    }

    fn told(places: &[Place]) -> Vec<String> {
        places.iter().map(|place| format!("{}:{}", place.cluster, place.name.name)).collect()
    }

    #[test]
    fn the_newest_revision_counts_and_of_it_what_most_have() {
        let clusters = [
            cluster("east", &[(2, "b", 3), (1, "a", 90)]),
            cluster("local", &[(2, "edited", 1), (2, "b", 1)]),
        ];
        assert_eq!(told(&newest(&clusters)), ["local:b", "east:b"]);
        assert!(newest(&[]).is_empty());
    }

    #[test]
    fn the_last_good_content_is_what_all_agree_on() {
        let agreed = [cluster("local", &[(2, "b", 3), (1, "a", 1)]), cluster("east", &[(2, "b", 1)])];
        assert_eq!(told(&last_good(&agreed, Some(2))), ["local:b", "east:b"]);
        let edited = [cluster("local", &[(2, "b", 30), (2, "edited", 1)])];
        assert!(last_good(&edited, Some(2)).is_empty(), "nobody knows who is right");
        assert!(last_good(&agreed, None).is_empty() && last_good(&agreed, Some(3)).is_empty());
    }
}
