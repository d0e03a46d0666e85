//! What a deletion does.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::plan::Disposition;
use crate::api::DeletionPolicy;

/// What decides over a deletion.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The credential's own policy.
    pub policy: DeletionPolicy,
    /// Whether the credential carries the annotation that forces it.
    pub forced: bool,
    /// Whether the credential's own namespace is going, and would wait for us.
    pub namespace_terminating: bool,
    /// How many Pods, in all clusters, use a copy.
    pub blocking: usize,
    /// How many clusters do not answer, so that Pods there may use a copy.
    pub awaited: usize,
}

/// Until when a cluster that does not answer holds a deletion up: `grace` after both began.
#[must_use]
pub fn awaited_until(deleted: Timestamp, unreachable: Timestamp, grace: Duration) -> Timestamp {
    deleted.max(unreachable).saturating_add(grace).unwrap_or(Timestamp::MAX)
}

/// Decides what becomes of the copies.
///
/// A namespace that is being deleted is never held up: then the copies that are in use are left to
/// the sweep, which takes them when nobody uses them any more.
#[must_use]
pub fn decide(circumstances: Circumstances) -> Disposition {
    match circumstances {
        Circumstances { policy: DeletionPolicy::Orphan, .. } => Disposition::Release,
        Circumstances { policy: DeletionPolicy::Force, .. } | Circumstances { forced: true, .. } => {
            Disposition::Remove
        }
        Circumstances { blocking: 0, awaited: 0, .. } => Disposition::Remove,
        Circumstances { namespace_terminating: true, .. } => Disposition::RemoveUnused,
        _ => Disposition::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(
        policy: DeletionPolicy,
        forced: bool,
        namespace_terminating: bool,
        blocking: usize,
    ) -> Disposition {
        decide(Circumstances { policy, forced, namespace_terminating, blocking, awaited: 0 })
    }

    #[test]
    fn protect_holds_while_in_use() {
        use DeletionPolicy::{Force, Orphan, Protect};
        assert_eq!(when(Protect, false, false, 1), Disposition::Keep);
        assert_eq!(when(Protect, false, false, 0), Disposition::Remove);
        assert_eq!(when(Protect, true, false, 1), Disposition::Remove);
        assert_eq!(when(Protect, false, true, 1), Disposition::RemoveUnused);
        assert_eq!(when(Force, false, false, 1), Disposition::Remove);
        assert_eq!(when(Orphan, false, false, 1), Disposition::Release);
        assert_eq!(when(Orphan, true, true, 0), Disposition::Release);
    }

    #[test]
    fn a_cluster_that_does_not_answer_may_have_users() {
        let unsure = |forced, namespace_terminating| {
            let policy = DeletionPolicy::Protect;
            decide(Circumstances { policy, forced, namespace_terminating, blocking: 0, awaited: 1 })
        };
        assert_eq!(unsure(false, false), Disposition::Keep);
        assert_eq!(unsure(true, false), Disposition::Remove);
        assert_eq!(unsure(false, true), Disposition::RemoveUnused);
    }

    #[test]
    fn it_holds_a_deletion_up_from_when_both_began() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(awaited_until(at(100), at(50), hour), at(3700), "down before the deletion");
        assert_eq!(awaited_until(at(100), at(900), hour), at(4500), "down after it");
    }
}
