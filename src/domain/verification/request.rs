//! One request by which a login is tried.

use super::{
    address::Reach,
    server::{Scheme, Server},
};
use crate::domain::{SecretBytes, fingerprint::encode};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub scheme: Scheme,
    pub server: Server,
    /// Which addresses the server may have.
    pub reach: Reach,
    pub method: Method,
    pub path: String,
    pub authorization: Authorization,
    /// Headers besides.
    pub headers: Vec<(&'static str, SecretBytes)>,
    pub body: Option<SecretBytes>,
}

impl Request {
    /// A GET without a login.
    pub fn get(scheme: Scheme, server: Server, reach: Reach, path: impl Into<String>) -> Self {
        Self {
            scheme,
            server,
            reach,
            method: Method::Get,
            path: path.into(),
            authorization: Authorization::Nobody,
            headers: Vec::new(),
            body: None,
        }
    }

    /// One to a server that no tenant has named, so that it may also be reached inside of a network.
    pub fn to_service(method: Method, host: &str, path: impl Into<String>) -> Self {
        let server = Server { host: host.to_owned(), port: None };
        Self { method, ..Self::get(Scheme::Https, server, Reach::Private, path) }
    }
}

/// The value of `Authorization` for a user name and a password (RFC 7617).
pub(crate) fn basic(username: &[u8], password: &[u8]) -> SecretBytes {
    let pair = SecretBytes::concat(&[username, b":", password]);
    SecretBytes::concat(&[b"Basic ", encode(pair.expose()).as_bytes()])
}

/// The value of `Authorization` for a token (RFC 6750).
pub(crate) fn bearer(token: &[u8]) -> SecretBytes {
    SecretBytes::concat(&[b"Bearer ", token])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
}

impl Method {
    /// As it is sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorization {
    Nobody,
    /// The login.
    Basic,
    /// A token of a token server.
    Bearer(SecretBytes),
    /// The password, as Scaleway's API wants it.
    AuthToken,
}
