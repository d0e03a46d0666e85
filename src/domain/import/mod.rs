//! `kubectl claviger import`: from the Secrets that a cluster has to credentials that take them over in place.
//!
//! Who can write a Secret can give it any mark, so a mark says only what is done with that very Secret: a copy that names
//! its source goes to a credential there, and nobody else's does. Which of several equal Secrets is the source, where none
//! says so, is for the administrator to say.

mod advice;
mod form;
mod group;
mod json;
mod login;
mod manifests;
mod marks;
mod secret;

pub(crate) use advice::advice;
pub(crate) use form::Former;
pub(crate) use group::{Chosen, Groups, groups};
pub(crate) use manifests::{Existing, Manifests, Move, Planned, Standing, manifests};
#[cfg(test)]
pub(crate) use marks::Claim;
pub(crate) use secret::{IMPORTED, Left, LeftOut, Listed};

#[cfg(test)]
mod tests;
