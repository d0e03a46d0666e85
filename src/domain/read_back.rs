//! Which copies to read a content back from, so that what was accepted survives a restart.

use super::{fingerprint::Fingerprint, revision::CopyDigest, selection::LOCAL};

/// Where to read the content of the newest revision. Of several contents the one that most copies have, so that a
/// single one edited by hand does not have all the others written anew.
pub(crate) fn newest(copies: &[CopyDigest]) -> Vec<&CopyDigest> {
    let sum = |one: &CopyDigest| -> usize {
        let same = copies.iter().filter(|other| other.has(one.revision, one.content));
        same.map(|other| other.copies).sum()
    };
    let best = copies.iter().max_by_key(|one| (one.revision, sum(one)));
    best.map(|best| alike(copies, best)).unwrap_or_default()
}

/// Whether this content is what was distributed last, as far as copies tell: older ones may be left where nothing is
/// written any more, and a revision that is far ahead of the recorded one was not written by us.
pub(crate) fn is_newest(copies: &[CopyDigest], recorded: Option<i64>, content: Fingerprint) -> bool {
    let last = recorded.map_or(i64::MAX, |recorded| recorded.saturating_add(1));
    let credible = copies.iter().filter(|copy| copy.revision <= Some(last)).cloned();
    newest(&credible.collect::<Vec<_>>()).first().is_some_and(|copy| copy.content == content)
}

/// Where to read the last good content, when the source gives none: from copies of the recorded revision. Where none has
/// it, all may have the one that follows, whose status was not written any more.
///
/// Whoever can write to one namespace can edit the copy there. So one in `home` is believed, the credential's own namespace
/// in the local cluster, as who can edit that one can edit the source; else what all copies in the local cluster agree on; else
/// what those of the members do. No member has a say where the local cluster has copies.
pub(crate) fn last_good<'a>(
    copies: &'a [CopyDigest],
    recorded: Option<i64>,
    home: &str,
) -> Vec<&'a CopyDigest> {
    let Some(recorded) = recorded else { return Vec::new() };
    let is_local = |one: &&CopyDigest| *one.cluster == *LOCAL;
    let is_home = |one: &&CopyDigest| is_local(one) && *one.example.namespace == *home;
    let some = |witnesses: Vec<&'a CopyDigest>| Some(witnesses).filter(|found| !found.is_empty());
    let witnesses = some(copies.iter().filter(is_home).collect())
        .or_else(|| some(copies.iter().filter(is_local).collect()))
        .unwrap_or_else(|| copies.iter().collect());
    let next = recorded.saturating_add(1);
    let of_it = if witnesses.iter().all(|one| one.revision == Some(next)) { next } else { recorded };
    let mut of_it = witnesses.into_iter().filter(|one| one.revision == Some(of_it));
    match of_it.next() {
        Some(first) if of_it.all(|other| other.content == first.content) => alike(copies, first),
        _ => Vec::new(),
    }
}

fn alike<'a>(copies: &'a [CopyDigest], one: &CopyDigest) -> Vec<&'a CopyDigest> {
    copies.iter().filter(|other| other.has(one.revision, one.content)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{fingerprint::FingerprintKey, identity::NamespacedName};

    fn print(text: &str) -> Fingerprint {
        FingerprintKey::new([1; 32]).fingerprint("t", [("k", text)])
    }

    fn cluster(name: &str, contents: &[(i64, &str, usize)]) -> Vec<CopyDigest> {
        let digest = |(revision, content, copies): &(i64, &str, usize)| CopyDigest {
            cluster: name.into(),
            revision: Some(*revision),
            content: print(content),
            copies: *copies,
            example: NamespacedName::new("web", *content),
        };
        contents.iter().map(digest).collect()
    }

    fn told(places: &[&CopyDigest]) -> Vec<String> {
        places.iter().map(|place| format!("{}:{}", place.cluster, place.example.name)).collect()
    }

    #[test]
    fn the_newest_revision_counts_and_of_it_what_most_have() {
        let clusters = [
            cluster("east", &[(2, "b", 3), (1, "a", 90)]),
            cluster("local", &[(2, "edited", 1), (2, "b", 1)]),
        ]
        .concat();
        assert_eq!(told(&newest(&clusters)), ["east:b", "local:b"]);
        assert!(newest(&[]).is_empty());
        assert!(is_newest(&clusters, Some(2), print("b")) && !is_newest(&[], Some(2), print("b")));
        assert!(!is_newest(&clusters, Some(2), print("a")), "it is left where nothing is written any more");
        let forged = [clusters, cluster("west", &[(99, "a", 1)])].concat();
        assert!(is_newest(&forged, Some(1), print("b")) && !is_newest(&forged, Some(2), print("a")));
    }

    #[test]
    fn the_last_good_content_is_what_all_agree_on() {
        let agreed =
            [cluster("local", &[(2, "b", 3), (1, "a", 1)]), cluster("east", &[(2, "b", 1)])].concat();
        assert_eq!(told(&last_good(&agreed, Some(2), "home")), ["local:b", "east:b"]);
        let edited = cluster("local", &[(2, "b", 30), (2, "edited", 1)]);
        assert!(last_good(&edited, Some(2), "home").is_empty(), "nobody knows who is right");
        assert!(
            last_good(&agreed, None, "home").is_empty() && last_good(&agreed, Some(3), "home").is_empty()
        );
        assert!(last_good(&agreed, Some(0), "home").is_empty() && last_good(&[], Some(2), "home").is_empty());
    }

    #[test]
    fn a_member_has_no_say_where_the_local_cluster_has_copies() {
        let (local, east) = (cluster("local", &[(2, "b", 3)]), cluster("east", &[(2, "edited", 9)]));
        let both = [local.clone(), east.clone()].concat();
        assert_eq!(told(&last_good(&both, Some(2), "home")), ["local:b"]);
        let west = cluster("west", &[(2, "b", 1)]);
        let members = [east.clone(), west].concat();
        assert!(last_good(&members, Some(2), "home").is_empty(), "nobody knows who is right");
        // Nor can it hold back what is one ahead of the status.
        let ahead = [cluster("local", &[(3, "c", 3)]), east].concat();
        assert_eq!(told(&last_good(&ahead, Some(2), "home")), ["local:c"]);
    }

    #[test]
    fn the_copy_next_to_the_source_is_believed() {
        let mut copies = cluster("local", &[(2, "edited", 30), (2, "b", 1)]);
        copies[1].example = NamespacedName::new("home", "b");
        assert_eq!(told(&last_good(&copies, Some(2), "home")), ["local:b"]);
        assert!(last_good(&copies, Some(2), "other").is_empty());
        // That of a member is next to no source.
        copies[1].cluster = "east".into();
        assert_eq!(told(&last_good(&copies, Some(2), "home")), ["local:edited"]);
    }

    #[test]
    fn a_status_may_be_one_revision_behind_all_copies() {
        let ahead = [cluster("local", &[(3, "c", 3)]), cluster("east", &[(3, "c", 1)])].concat();
        assert_eq!(told(&last_good(&ahead, Some(2), "home")), ["local:c", "east:c"]);
        assert!(last_good(&ahead, Some(1), "home").is_empty(), "nobody was ever two ahead");
        let edited = cluster("local", &[(3, "c", 3), (3, "edited", 1)]);
        assert!(last_good(&edited, Some(2), "home").is_empty());
        let halfway = cluster("local", &[(3, "c", 3), (2, "b", 1)]);
        assert_eq!(told(&last_good(&halfway, Some(2), "home")), ["local:b"]);
    }
}
