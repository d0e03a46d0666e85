//! One request by which a login is tried.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    address::Reach,
    server::{Scheme, Server},
};

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
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
