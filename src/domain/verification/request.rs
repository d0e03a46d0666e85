//! One request by which a login is tried.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    address::Reach,
    server::{Scheme, Server},
};
use crate::domain::SecretBytes;

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
    /// One to a server that no tenant has named, so that it may also be reached inside of a network.
    pub fn to_service(method: Method, host: &str, path: impl Into<String>) -> Self {
        Self {
            scheme: Scheme::Https,
            server: Server { host: host.to_owned(), port: None },
            reach: Reach::Private,
            method,
            path: path.into(),
            authorization: Authorization::Nobody,
            headers: Vec::new(),
            body: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorization {
    Nobody,
    /// The login.
    Basic,
    Bearer(Token),
    /// The password, as Scaleway's API wants it.
    AuthToken,
}

/// A token of a token server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub Zeroizing<String>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}
