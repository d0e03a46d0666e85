//! Where in its life a credential is.

use super::declared::Declared;

/// What is to be done about a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// It gets our finalizer, before the first copy, so that none can be left behind.
    New,
    Kept,
    /// It is being deleted, and waits for us.
    Deleting,
    /// It is being deleted, and not by us any more.
    Gone,
}

impl Lifecycle {
    pub fn of(declared: &Declared) -> Self {
        match (declared.is_being_deleted(), declared.has_finalizer()) {
            (true, true) => Self::Deleting,
            (true, false) => Self::Gone,
            // What cannot be read gets no copies, and so needs no finalizer.
            (false, false) if declared.spec.is_ok() => Self::New,
            (false, _) => Self::Kept,
        }
    }
}
