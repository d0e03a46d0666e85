//! Tokens of registries that are minted by somebody's identity in a cloud: what is asked of whom, what the answers
//! mean, and when the next one is due.
//!
//! | file | holds |
//! | --- | --- |
//! | [`grant`] | what a token is minted for, by whose identity |
//! | [`environment`] | the identity that the operator itself has |
//! | [`exchange`] | how one is minted, request by request |
//! | [`message`] | what requests are made of, and what answers give |
//! | [`aws`], [`azure`], [`google`], [`others`] | the requests and answers of each cloud |
//! | [`jwt`] | signed claims, as some clouds want them and some of their tokens are |
//! | [`outcome`] | what came of it |
//! | [`state`] | what is known of the tokens of a credential, and when the next one is due |

mod aws;
mod azure;
mod environment;
mod exchange;
mod google;
mod grant;
mod jwt;
mod message;
mod others;
mod outcome;
mod state;

pub(crate) use environment::Environment;
pub(crate) use exchange::{Exchange, Step, is_login};
pub(crate) use grant::{AccessKey, Cloud, Flow, Grant, Identity, Proof, WebIdentity};
pub(crate) use jwt::expires;
pub(crate) use outcome::{MintError, Token};
pub(crate) use state::{Minted, next_mint, retry_mint};
