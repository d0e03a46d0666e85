//! Which copies to read a content back from, so that what was accepted survives a restart.

use super::{fingerprint::Fingerprint, revision::CopyDigest};

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

/// Where to read the last good content, when the source gives none: only what all copies of the recorded revision
/// agree on is believed, as whoever can write to one namespace can edit the copy there. Where none has it, all may have
/// the one that follows, whose status was not written any more.
pub(crate) fn last_good(copies: &[CopyDigest], recorded: Option<i64>) -> Vec<&CopyDigest> {
    let Some(recorded) = recorded else { return Vec::new() };
    let has = |revision: i64| move |one: &&CopyDigest| one.revision == Some(revision);
    let next = recorded.saturating_add(1);
    let of_it = if copies.iter().all(|one| has(next)(&one)) { next } else { recorded };
    let mut of_it = copies.iter().filter(has(of_it));
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
        assert_eq!(told(&last_good(&agreed, Some(2))), ["local:b", "east:b"]);
        let edited = cluster("local", &[(2, "b", 30), (2, "edited", 1)]);
        assert!(last_good(&edited, Some(2)).is_empty(), "nobody knows who is right");
        assert!(last_good(&agreed, None).is_empty() && last_good(&agreed, Some(3)).is_empty());
        assert!(last_good(&agreed, Some(0)).is_empty() && last_good(&[], Some(2)).is_empty());
    }

    #[test]
    fn a_status_may_be_one_revision_behind_all_copies() {
        let ahead = [cluster("local", &[(3, "c", 3)]), cluster("east", &[(3, "c", 1)])].concat();
        assert_eq!(told(&last_good(&ahead, Some(2))), ["local:c", "east:c"]);
        assert!(last_good(&ahead, Some(1)).is_empty(), "nobody was ever two ahead");
        let edited = cluster("local", &[(3, "c", 3), (3, "edited", 1)]);
        assert!(last_good(&edited, Some(2)).is_empty());
        let halfway = cluster("local", &[(3, "c", 3), (2, "b", 1)]);
        assert_eq!(told(&last_good(&halfway, Some(2))), ["local:b"]);
    }
}
