//! Whether a credential works: how it is tried at the server that it is for, and what follows from the answers.
//!
//! | file | holds |
//! | --- | --- |
//! | [`login`] | one login at one server |
//! | [`server`], [`address`] | which servers may be asked, and which addresses they may have |
//! | [`attempt`], [`step`], [`request`] | how a login is tried, request by request |
//! | [`handshake`], [`realm`], [`scaleway`] | the same, at a registry |
//! | [`bucket`], [`xml`] | the same, at a bucket of object storage |
//! | [`outcome`], [`error_code`] | what came of it |
//! | [`state`] | what is known of a credential, whether its value may be distributed, and when it is tried again |

mod address;
mod attempt;
mod bucket;
mod error_code;
mod handshake;
mod login;
mod outcome;
mod realm;
mod request;
mod scaleway;
mod server;
mod state;
mod step;
mod xml;

pub(crate) use address::Reach;
pub(crate) use attempt::Attempt;
pub(crate) use login::{
    Authorities, BucketLogin, KnownLogin, Login, MissingAuthorities, RegistryLogin, Subject,
};
pub(crate) use outcome::{Answer, NoAnswer, Outcome};
pub(crate) use request::{Authorization, Method, Request, basic, bearer};
pub use server::{RegistryAccess, ServerPatterns};
pub(crate) use server::{Scheme, Server, ServerKind};
pub(crate) use state::{Found, Probe, Rules, Verification, held, next_probe};
pub(crate) use step::Step;
