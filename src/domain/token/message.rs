//! What requests are made of, and what answers give.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use ring::rand::SecureRandom;

use super::{
    grant::{AccessKey, Grant, Proof},
    outcome::MintError,
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    verification::{RegistryAccess, Scheme, Server},
};

/// What an answer gave.
pub(super) enum Given {
    AccessKey(AccessKey),
    /// A token for the next request.
    Bearer(SecretBytes),
    /// What is put into a docker config.
    Token {
        username: SecretBytes,
        password: SecretBytes,
        expires: Expires,
    },
}

/// Until when a token is good.
pub(super) enum Expires {
    At(Timestamp),
    /// From the answer on.
    In(Duration),
}

/// What requests are made of.
pub(super) struct Known<'a> {
    pub grant: &'a Grant,
    pub proof: &'a Proof,
    /// What earlier answers gave.
    pub access_key: Option<&'a AccessKey>,
    pub bearer: Option<&'a SecretBytes>,
    pub access: &'a RegistryAccess,
    /// For signing.
    pub random: &'a dyn SecureRandom,
    pub now: Timestamp,
}

impl Known<'_> {
    /// Whether a registry, or another server that a tenant has named, may be asked.
    pub fn may_ask(&self, server: &Server) -> Result<(), MintError> {
        if self.access.allows(server, Scheme::Https) {
            return Ok(());
        }
        let message = format!("{server} is not in --allowed-registries of Claviger, so it is not asked");
        Err(MintError::new(Reason::RegistryNotAllowed, message))
    }
}

/// A body of fields as of a form, and the header that says so. It is wiped.
pub(super) fn form(pairs: &[(&str, &[u8])]) -> (SecretBytes, (&'static str, SecretBytes)) {
    let parts: Vec<Vec<u8>> = pairs
        .iter()
        .enumerate()
        .map(|(n, (key, value))| {
            let value = form_urlencoded::byte_serialize(value).collect::<String>();
            format!("{}{key}={value}", if n == 0 { "" } else { "&" }).into_bytes()
        })
        .collect();
    let parts: Vec<SecretBytes> = parts.into_iter().map(SecretBytes::new).collect();
    let body = SecretBytes::concat(&parts.iter().map(SecretBytes::expose).collect::<Vec<_>>());
    (body, ("content-type", "application/x-www-form-urlencoded".into()))
}

/// A header with a token.
pub(super) fn bearer(token: &SecretBytes) -> (&'static str, SecretBytes) {
    ("authorization", SecretBytes::concat(&[b"Bearer ", token.expose()]))
}
