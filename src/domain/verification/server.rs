//! Which servers may be asked, and how: by host and port, as flags say.

use std::{fmt, net::IpAddr, str::FromStr};

use super::address::Reach;
use crate::domain::reason::Reason;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Http { "http" } else { "https" })
    }
}

/// What a server is asked as. It decides how a fault is called, and what people are told to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    Registry,
    /// What mints tokens.
    Cloud,
    ObjectStorage,
}

impl ServerKind {
    /// A server, as a sentence about it begins.
    pub fn subject(self, server: &Server) -> String {
        match self {
            Self::Registry => format!("registry {server}"),
            Self::Cloud => server.to_string(),
            Self::ObjectStorage => format!("endpoint {server}"),
        }
    }

    /// Any of this kind, in a sentence.
    pub const fn any(self) -> &'static str {
        match self {
            Self::Registry => "a registry",
            Self::Cloud => "a cloud",
            Self::ObjectStorage => "object storage",
        }
    }

    /// It gives no answer, or has a fault.
    pub const fn unreachable(self) -> Reason {
        match self {
            Self::Registry => Reason::RegistryUnreachable,
            Self::Cloud => Reason::CloudUnreachable,
            Self::ObjectStorage => Reason::EndpointUnreachable,
        }
    }

    /// It may not be asked.
    pub const fn not_allowed(self) -> Reason {
        match self {
            Self::Registry | Self::Cloud => Reason::RegistryNotAllowed,
            Self::ObjectStorage => Reason::EndpointNotAllowed,
        }
    }

    /// It answers as none of its kind does.
    pub const fn not_one(self) -> Reason {
        match self {
            Self::Registry => Reason::NotARegistry,
            Self::Cloud => Reason::CloudUnreachable,
            Self::ObjectStorage => Reason::UnexpectedAnswer,
        }
    }

    /// The field that names its authorities.
    pub const fn authorities_field(self) -> &'static str {
        match self {
            Self::Registry | Self::Cloud => "spec.verification.caSecretRef",
            Self::ObjectStorage => "spec.caSecretRef",
        }
    }
}

/// A host, and the port where it is not the usual one. An IPv6 address is without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Server {
    pub host: String,
    pub port: Option<u16>,
}

impl Server {
    /// From host[:port]; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
                Some(port.parse::<u16>().ok().filter(|port| *port > 0)?)
            }
            Some(_) => return None,
            None => None,
        };
        // A dot at the end says that the name is complete; clients drop it, too.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        (is_host(&host) || host.parse::<IpAddr>().is_ok()).then_some(Self { host, port })
    }

    /// The port in use.
    pub fn port(&self, scheme: Scheme) -> u16 {
        self.port.unwrap_or(scheme.default_port())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// A host[:port] of a flag: without a port it is for any port; `*` at its beginning stands for one or more labels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ServerPattern {
    /// With the dot, of a pattern that begins with `*`.
    host: String,
    port: Option<u16>,
}

impl ServerPattern {
    fn matches(&self, server: &Server, scheme: Scheme) -> bool {
        let host = if self.host.starts_with('.') {
            server.host.len() > self.host.len() && server.host.ends_with(&self.host)
        } else {
            server.host == self.host
        };
        host && self.port.is_none_or(|port| port == server.port(scheme))
    }
}

impl FromStr for ServerPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.strip_prefix("*.");
        let server = Server::parse(plain.unwrap_or(text))
            .ok_or_else(|| format!("'{text}' is not a host[:port], such as registry.example.com:5000"))?;
        let host = if plain.is_some() { format!(".{}", server.host) } else { server.host };
        Ok(Self { host, port: server.port })
    }
}

/// Several, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerPatterns(Vec<ServerPattern>);

impl ServerPatterns {
    fn any(&self, server: &Server, scheme: Scheme) -> bool {
        self.0.iter().any(|pattern| pattern.matches(server, scheme))
    }
}

impl FromStr for ServerPatterns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        patterns.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Which servers may be asked, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryAccess {
    /// Which may be asked at all; none: all.
    pub allowed: ServerPatterns,
    /// Which are asked without TLS.
    pub plain_http: ServerPatterns,
    /// Which may have private or loopback addresses.
    pub private: ServerPatterns,
}

impl RegistryAccess {
    /// Whether a server may be asked.
    pub(crate) fn allows(&self, server: &Server, scheme: Scheme) -> bool {
        self.allowed == ServerPatterns::default() || self.allowed.any(server, scheme)
    }

    /// How a registry is spoken to.
    pub(crate) fn scheme(&self, server: &Server) -> Scheme {
        if self.allows_plain(server) { Scheme::Http } else { Scheme::Https }
    }

    /// Whether a server may be asked without TLS.
    pub(crate) fn allows_plain(&self, server: &Server) -> bool {
        self.plain_http.any(server, Scheme::Http)
    }

    /// Which addresses a server may have.
    pub(crate) fn reach(&self, server: &Server, scheme: Scheme) -> Reach {
        if self.private.any(server, scheme) { Reach::Loopback } else { Reach::Public }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        Server::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn reads_hosts_and_ports() {
        for (text, host, port) in [
            ("Quay.IO", "quay.io", None),
            ("registry.example.com:5000", "registry.example.com", Some(5000)),
            ("localhost:5000", "localhost", Some(5000)),
            ("10.0.0.1", "10.0.0.1", None),
            ("[::1]:5000", "::1", Some(5000)),
            ("[fd00::1]", "fd00::1", None),
            ("registry.example.com.", "registry.example.com", None),
        ] {
            assert_eq!(server(text), Server { host: host.to_owned(), port }, "{text}");
        }
        assert_eq!(server("[::1]:5000").to_string(), "[::1]:5000");
        for text in [
            "",
            "a b",
            "user@host",
            "host/path",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "::1",
            "[::1",
            "-a.b",
            "a..b",
            "[::1]x",
            "é.example.com",
        ] {
            assert_eq!(Server::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_is_for_any_port_unless_it_names_one() {
        let matches = |pattern: &str, text: &str, scheme| {
            pattern.parse::<ServerPattern>().unwrap().matches(&server(text), scheme)
        };
        for (pattern, text, wanted) in [
            ("registry.example.com", "registry.example.com:5000", true),
            ("registry.example.com:5000", "registry.example.com:5000", true),
            ("registry.example.com:443", "registry.example.com", true),
            ("registry.example.com:80", "registry.example.com", false),
            ("registry.example.com:5000", "registry.example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("example.com", "a.example.com", false),
            ("127.0.0.1", "127.0.0.1:5000", true),
        ] {
            assert_eq!(matches(pattern, text, Scheme::Https), wanted, "{pattern} {text}");
        }
        let several: ServerPatterns = " quay.io, ,*.example.com:5000,".parse().unwrap();
        assert_eq!(several.0.len(), 2);
        assert_eq!("".parse(), Ok(ServerPatterns::default()));
        assert!(matches("registry.example.com:80", "registry.example.com", Scheme::Http));
        for bad in ["*", "*.", "https://quay.io", "a b", "quay.io/acme", "a.*.io", "*quay.io"] {
            assert!(bad.parse::<ServerPattern>().is_err(), "{bad}");
        }
    }
}
