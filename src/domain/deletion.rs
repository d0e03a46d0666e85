//! What a deletion does.

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
        Circumstances { blocking: 0, .. } => Disposition::Remove,
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
        decide(Circumstances { policy, forced, namespace_terminating, blocking })
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
}
