//! Numbering contents.

use std::sync::Arc;

use super::{
    fingerprint::Fingerprint,
    identity::{NamespacedName, OwnerId},
    selection::LOCAL,
    snapshot::Snapshot,
};

/// The largest revision that is believed without a record. Whoever can write Secrets can forge one.
const MAX_UNRECORDED: i64 = 1_000_000_000;

/// The revision of a content: the current one when a copy of it already has that, else the next.
///
/// No hash is stored anywhere, so whether the content changed is read off the copies themselves.
/// This holds over a restart, and over one in the middle of a rotation, when some copies are one
/// revision ahead of the status. A larger number on a copy was not written by us and is ignored.
///
/// `assigned` is what this process gave last, to which content: a status is written at most about once a
/// second, and the source can change more often.
pub(crate) fn revision(
    recorded: Option<i64>,
    assigned: Option<(i64, Fingerprint)>,
    content: Fingerprint,
    copies: &[CopyDigest],
) -> i64 {
    let recorded = recorded.unwrap_or(0).max(0);
    let recorded = match assigned {
        Some((given, to)) if to == content && given >= recorded => return given,
        Some((given, _)) => recorded.max(given),
        None => recorded,
    };
    // Without a record, as after a restore from a backup, the copies are all that is known.
    let credible = if recorded == 0 { MAX_UNRECORDED } else { recorded.saturating_add(1) };
    let newest = copies
        .iter()
        .filter_map(|copy| Some((copy.revision?, copy.content == content)))
        .filter(|(found, _)| (1..=credible).contains(found))
        .max();
    match newest {
        // Nothing is out there to compare with, and nobody who could see a difference.
        None => recorded.max(1),
        Some((found, true)) if found >= recorded => found,
        Some((found, _)) => found.max(recorded).saturating_add(1),
    }
}

/// What is on record: the revision of the status, or, when that knows of no change of the content, the highest one that all
/// copies in some member have. Those of a hub that lost its status are of higher revisions than it can know of. A hub that
/// has numbered a change believes nobody else: a member could have all copies everywhere written anew by its edits.
pub(crate) fn record(recorded: Option<i64>, content: Fingerprint, copies: &[CopyDigest]) -> Option<i64> {
    if recorded > Some(1) { recorded } else { recorded.max(attested(content, copies)) }
}

/// The highest revision that all copies in some member have, when all of them have this very content. One that was edited
/// by hand proves nothing.
fn attested(content: Fingerprint, copies: &[CopyDigest]) -> Option<i64> {
    let clusters = copies.chunk_by(|one, other| one.cluster == other.cluster);
    let attested = clusters.filter_map(|copies| match copies {
        [only] if *only.cluster != *LOCAL && only.content == content => only.revision,
        _ => None,
    });
    attested.filter(|found| (1..=MAX_UNRECORDED).contains(found)).max()
}

/// The copies of one credential in one cluster that have the same revision and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyDigest {
    pub cluster: Arc<str>,
    pub revision: Option<i64>,
    pub content: Fingerprint,
    pub copies: usize,
    /// One of them.
    pub example: NamespacedName,
}

impl CopyDigest {
    /// Sums up the copies of one owner in one cluster; one in `home` is the example wherever it can be.
    pub fn of(cluster: &Arc<str>, snapshot: &Snapshot, owner: &OwnerId, home: &str) -> Vec<Self> {
        let mut digests: Vec<Self> = Vec::new();
        for (name, copy) in snapshot.copies.of(owner) {
            let (revision, content) = (copy.marks.revision, copy.content);
            match digests.iter_mut().find(|digest| digest.has(revision, content)) {
                Some(digest) => {
                    digest.copies += 1;
                    if *name.namespace == *home && *digest.example.namespace != *home {
                        digest.example = name.clone();
                    }
                }
                None => {
                    let (cluster, example) = (cluster.clone(), name.clone());
                    digests.push(Self { cluster, revision, content, copies: 1, example });
                }
            }
        }
        digests
    }

    pub fn has(&self, revision: Option<i64>, content: Fingerprint) -> bool {
        self.revision == revision && self.content == content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fingerprint::FingerprintKey;

    fn print(text: &str) -> Fingerprint {
        FingerprintKey::new([1; 32]).fingerprint("t", [("k", text)])
    }

    fn copy(revision: &str, content: &str) -> CopyDigest {
        CopyDigest {
            cluster: "east".into(),
            revision: revision.parse().ok(),
            content: print(content),
            copies: 1,
            example: NamespacedName::new("web", "quay"),
        }
    }

    #[test]
    fn starts_at_one_and_grows_with_the_content_only() {
        assert_eq!(revision(None, None, print("a"), &[]), 1);
        assert_eq!(revision(Some(7), None, print("a"), &[]), 7);
        assert_eq!(revision(Some(7), None, print("a"), &[copy("7", "a"), copy("7", "edited by hand")]), 7);
        assert_eq!(revision(Some(7), None, print("b"), &[copy("7", "a"), copy("7", "a")]), 8);
    }

    #[test]
    fn survives_a_kill_in_the_middle_of_a_rotation() {
        let half = [copy("7", "a"), copy("8", "b"), copy("7", "a")];
        assert_eq!(revision(Some(7), None, print("b"), &half), 8);
        assert_eq!(revision(Some(7), None, print("c"), &half), 9, "the source changed once more");
        assert_eq!(revision(Some(7), None, print("a"), &half), 9, "and back again is a change too");
    }

    #[test]
    fn a_lost_status_is_read_back_from_the_copies() {
        assert_eq!(revision(None, None, print("a"), &[copy("7", "a"), copy("7", "a")]), 7);
        assert_eq!(revision(None, None, print("b"), &[copy("7", "a")]), 8);
    }

    #[test]
    fn a_number_that_we_never_wrote_is_ignored() {
        assert_eq!(revision(Some(7), None, print("a"), &[copy("999", "a"), copy("7", "a")]), 7);
        assert_eq!(revision(Some(7), None, print("a"), &[copy("x", "a"), copy("7", "a")]), 7);
    }

    #[test]
    fn a_forged_revision_is_believed_once_and_within_bounds() {
        let forged = |revision: i64| copy(&revision.to_string(), "a");
        assert_eq!(record(None, print("a"), &[forged(5)]), Some(5));
        assert_eq!(record(Some(1), print("a"), &[forged(5)]), Some(5));
        assert_eq!(record(Some(2), print("a"), &[forged(5)]), Some(2), "the hub knows better");
        for large in [i64::MAX, MAX_UNRECORDED + 1] {
            assert_eq!(record(None, print("a"), &[forged(large)]), None);
            assert_eq!(revision(None, None, print("b"), &[forged(large)]), 1);
        }
        assert_eq!(revision(None, None, print("b"), &[forged(MAX_UNRECORDED)]), MAX_UNRECORDED + 1);
    }

    #[test]
    fn a_member_that_comes_late_attests_what_the_hub_forgot() {
        let there = [CopyDigest { copies: 2, ..copy("7", "a") }];
        assert_eq!(attested(print("a"), &there), Some(7));
        assert_eq!(attested(print("b"), &there), None, "the source has changed since");
        assert_eq!(attested(print("a"), &[copy("7", "a"), copy("9", "a")]), None);
        assert_eq!(attested(print("a"), &[copy("7", "a"), copy("7", "b")]), None);
        assert_eq!(attested(print("a"), &[copy("x", "a")]), None);
        assert_eq!(attested(print("a"), &[]), None);
        let in_cluster = |cluster: &str, copy: CopyDigest| CopyDigest { cluster: cluster.into(), ..copy };
        assert_eq!(attested(print("a"), &[in_cluster("local", copy("7", "a"))]), None);
        let two = [copy("7", "a"), in_cluster("west", copy("9", "a"))];
        assert_eq!(attested(print("a"), &two), Some(9));
        // So believed, it is the record.
        assert_eq!(revision(Some(7), Some((1, print("a"))), print("a"), &there), 7);
    }

    #[test]
    fn a_status_that_lags_behind_takes_nothing_back() {
        let assigned = Some((3, print("c")));
        assert_eq!(revision(Some(1), assigned, print("c"), &[copy("3", "c"), copy("2", "b")]), 3);
        assert_eq!(revision(Some(1), assigned, print("d"), &[copy("3", "c"), copy("2", "b")]), 4);
        assert_eq!(
            revision(Some(1), assigned, print("c"), &[copy("2", "b")]),
            3,
            "no write went through yet"
        );
        assert_eq!(revision(Some(1), assigned, print("d"), &[]), 3, "nobody ever saw a copy");
        assert_eq!(revision(Some(9), assigned, print("c"), &[copy("9", "b")]), 10, "another leader went on");
    }
}
