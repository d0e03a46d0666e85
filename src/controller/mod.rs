//! The shell: events become keys, and loops work them off. Each loop leaves values for the others, and none waits for
//! another.
//!
//! | file | holds |
//! | --- | --- |
//! | [`router`] | from events to keys: watches of our custom resources, and who is concerned by a change in a cluster |
//! | [`keys`] | the keys, and a queue of each kind of them |
//! | [`credential`] | the credential loop: reads the source, and leaves what is desired, everywhere |
//! | [`hashing`] | passwords that are hashed for the credential loop, beside it |
//! | [`minting`], [`clouds`] | tokens that are minted for it, beside it, too |
//! | [`defaults`] | which credentials are to be attached to ServiceAccounts, and which of them are rivals |
//! | [`verifications`] | logins that are tried at their servers for it, beside it, too |
//! | [`shared`] | what several credentials have in common of both |
//! | [`sync`], [`sweep`] | the sync loop: one credential in one cluster; owners without a credential |
//! | [`status`] | the status loop: tells how a credential stands, and lets it go |
//! | [`policy`] | the policy loop: tells whom a DistributionPolicy is about |
//! | [`member`] | the member loop, and adoption: from MemberClusters to the registry of [`clusters`] |

pub(crate) mod clouds;
pub(crate) mod clusters;
pub(crate) mod context;
pub(crate) mod credential;
pub(crate) mod credentials;
pub(crate) mod defaults;
pub(crate) mod desired;
mod error;
pub(crate) mod events;
pub(crate) mod hashing;
pub(crate) mod keys;
pub(crate) mod member;
pub(crate) mod members;
pub(crate) mod minting;
pub(crate) mod outcomes;
mod patch;
pub(crate) mod policies;
pub(crate) mod policy;
pub(crate) mod router;
mod shared;
pub(crate) mod status;
pub(crate) mod sweep;
pub(crate) mod sync;
pub(crate) mod verifications;

pub(crate) use context::Context;
pub(crate) use error::Error;
