//! What is to be done next, while a login is tried.

use super::{outcome::Outcome, request::Request};

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ask(Request),
    Done(Outcome),
}
