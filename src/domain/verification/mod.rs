//! Whether a credential works: how it is tried at the registry that it is for, and what follows from the answers.
//!
//! | file | holds |
//! | --- | --- |
//! | [`login`] | one login at one registry |
//! | [`server`], [`address`] | which servers may be asked, and which addresses they may have |
//! | [`handshake`], [`request`], [`realm`], [`scaleway`] | how a login is tried, request by request |
//! | [`outcome`] | what came of it |
//! | [`state`] | what is known of a credential, whether its value may be distributed, and when it is tried again |

mod address;
mod handshake;
mod login;
mod outcome;
mod realm;
mod request;
mod scaleway;
mod server;
mod state;

pub(crate) use address::Reach;
pub(crate) use handshake::{Handshake, Step};
pub(crate) use login::{Authorities, KnownLogin, Login, MissingAuthorities};
pub(crate) use outcome::{Answer, NoAnswer, Outcome};
pub(crate) use request::{Authorization, Method, Request, basic, bearer};
pub use server::{RegistryAccess, ServerPatterns};
pub(crate) use server::{Scheme, Server};
pub(crate) use state::{Found, Probe, Rules, Verification, held, next_probe};
