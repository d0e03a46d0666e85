//! What requests are made of, and what answers give.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::jiff::Timestamp;
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::{
    grant::{AccessKey, Flow, Grant, Proof},
    outcome::MintError,
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    verification::{self, Method, RegistryAccess, Request, Scheme, Server},
};

/// One request on the way to a token: how it is made, and how its answer is read.
#[derive(Clone, Copy)]
pub(super) struct Stage {
    pub ask: fn(&Known<'_>) -> Result<Request, MintError>,
    pub read: fn(&[u8], &Flow) -> Option<Given>,
}

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

/// A POST of fields as of a form, which are wiped.
pub(super) fn form(host: &str, path: impl Into<String>, pairs: &[(&str, &[u8])]) -> Request {
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
    let headers = vec![("content-type", "application/x-www-form-urlencoded".into())];
    Request { headers, body: Some(body), ..Request::to_service(Method::Post, host, path) }
}

/// A header with a token.
pub(super) fn bearer(token: &SecretBytes) -> (&'static str, SecretBytes) {
    ("authorization", verification::bearer(token.expose()))
}

/// User name and password as of a login, in base64. The documented one of DigitalOcean ends in a line break.
pub(super) fn pair(encoded: &SecretBytes) -> Option<(SecretBytes, SecretBytes)> {
    let pair = Zeroizing::new(STANDARD.decode(encoded.expose()).ok()?);
    let (username, password) = str::from_utf8(&pair).ok()?.trim_end_matches(['\r', '\n']).split_once(':')?;
    Some((username.into(), password.into()))
}
