//! What a registry asks for, and where it sends a login to for a token. All of it is hostile until checked: whoever
//! answers for a registry would have passwords sent to himself, in plain text, or requests sent inside of a network.

use http::Uri;
use thiserror::Error;
use zeroize::Zeroizing;

use super::server::{RegistryAccess, Scheme, Server};

/// The longest URL of a realm, in bytes.
const MAX_URL: usize = 2_048;
/// The longest name of a service, in bytes.
const MAX_SERVICE: usize = 512;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// The login itself.
    Basic,
    /// A token that is got at `realm`.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The first of the values of `WWW-Authenticate` that clients of registries answer.
    pub fn first(headers: &[String]) -> Option<Self> {
        let challenges = headers.iter().flat_map(|header| http_auth::parser::ChallengeParser::new(header));
        challenges.flatten().find_map(|challenge| {
            let param = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            match challenge.scheme.to_ascii_lowercase().as_str() {
                "basic" => Some(Self::Basic),
                "bearer" => Some(Self::Bearer { realm: param("realm")?, service: param("service") }),
                _ => None,
            }
        })
    }
}

/// Where a login is exchanged for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm {
    pub scheme: Scheme,
    pub server: Server,
    path_and_query: String,
    service: Option<String>,
}

/// Why a login is not sent to a realm. The texts are the rest of a sentence that begins with the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", self.detail())]
pub(crate) enum RealmError {
    Malformed,
    UserInfo,
    Plain,
    NotAllowed,
}

impl RealmError {
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "sends logins to something that is not the URL of a token server",
            Self::UserInfo => "sends logins to a URL with a user in it",
            Self::Plain => "sends logins to a server without TLS",
            Self::NotAllowed => "sends logins to a server that is not in --allowed-registries of Claviger",
        }
    }
}

impl Realm {
    /// The server that a realm names, if that is one, whether logins may be sent there or not.
    pub fn server(realm: &str) -> Option<Server> {
        let uri: Uri = realm.parse().ok().filter(|_| realm.len() <= MAX_URL)?;
        let authority = uri.authority()?.as_str();
        Server::parse(authority.rsplit_once('@').map_or(authority, |(_, server)| server))
    }

    /// Checks where a registry, spoken to by `scheme`, sends logins to.
    pub fn check(
        realm: &str,
        service: Option<String>,
        scheme: Scheme,
        access: &RegistryAccess,
    ) -> Result<Self, RealmError> {
        if realm.len() > MAX_URL || service.as_ref().is_some_and(|service| service.len() > MAX_SERVICE) {
            return Err(RealmError::Malformed);
        }
        let uri: Uri = realm.parse().map_err(|_| RealmError::Malformed)?;
        let authority = uri.authority().ok_or(RealmError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(RealmError::UserInfo);
        }
        let server = Server::parse(authority.as_str()).ok_or(RealmError::Malformed)?;
        let realm_scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(RealmError::Malformed),
        };
        // A registry with TLS sends nobody to a server without; one without sends to others that an administrator
        // has listed, too.
        let is_plain_allowed = scheme == Scheme::Http && access.scheme(&server) == Scheme::Http;
        if realm_scheme == Scheme::Http && !is_plain_allowed {
            return Err(RealmError::Plain);
        }
        if !access.allows(&server, realm_scheme) {
            return Err(RealmError::NotAllowed);
        }
        let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { scheme: realm_scheme, server, path_and_query, service })
    }

    /// The path and query that ask for a token, for nothing or for pulling from a repository.
    pub fn path(&self, repository: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(service) = &self.service {
            query.append_pair("service", service);
        }
        if let Some(repository) = repository {
            query.append_pair("scope", &format!("repository:{repository}:pull"));
        }
        let query = query.finish();
        let joint = match (query.is_empty(), self.path_and_query.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        format!("{}{joint}{query}", self.path_and_query)
    }
}

/// The token of a token server's answer.
pub(crate) fn token(body: &[u8]) -> Option<Zeroizing<String>> {
    #[derive(serde::Deserialize)]
    struct Answer {
        token: Option<Zeroizing<String>>,
        access_token: Option<Zeroizing<String>>,
    }
    let read: Answer = serde_json::from_slice(body).ok()?;
    let token = read.token.filter(|token| !token.is_empty()).or(read.access_token)?;
    // It becomes a header.
    let is_token = |byte: u8| byte.is_ascii_graphic();
    (!token.is_empty() && token.bytes().all(is_token)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(plain: &[&str], allowed: &[&str]) -> RegistryAccess {
        let parse = |patterns: &[&str]| patterns.join(",").parse().unwrap();
        RegistryAccess { plain_http: parse(plain), allowed: parse(allowed), ..RegistryAccess::default() }
    }

    fn check(realm: &str) -> Result<Realm, RealmError> {
        Realm::check(realm, None, Scheme::Https, &access(&["plain.example.com:5000"], &[]))
    }

    #[test]
    fn a_login_goes_nowhere_without_tls() {
        assert!(check("https://auth.example.com/token").is_ok(), "another host is how Docker Hub does it");
        assert_eq!(check("http://auth.example.com/token"), Err(RealmError::Plain));
        let plain = "http://plain.example.com:5000/token";
        assert_eq!(check(plain), Err(RealmError::Plain), "of a registry with TLS it is a downgrade");
        let listed = access(&["plain.example.com:5000", "registry.example.com"], &[]);
        assert!(Realm::check(plain, None, Scheme::Http, &listed).is_ok());
        let other = Realm::check("http://evil.example.com/token", None, Scheme::Http, &listed);
        assert_eq!(other, Err(RealmError::Plain), "only what is listed is spoken to without TLS");
    }

    #[test]
    fn what_is_not_a_plain_url_is_refused() {
        for realm in [
            "https://user:pw@auth.example.com/token",
            "https://@auth.example.com/",
            "https://registry.example.com@evil.example.com/",
        ] {
            assert_eq!(check(realm), Err(RealmError::UserInfo), "{realm}");
            assert!(!Realm::server(realm).unwrap().to_string().contains(['@', ':']), "{realm}");
        }
        let long = format!("https://auth.example.com/{}", "a".repeat(MAX_URL));
        for realm in [
            "",
            "token",
            "/token",
            "//auth.example.com/token",
            "ftp://auth.example.com/",
            "file:///etc/passwd",
            "https://",
            "https:///token",
            "https://auth.example.com:0/",
            "https://auth.example.com:99999/",
            "https://auth.example.com\r\nX: y/",
            "https://auth example.com/",
            "gopher://auth.example.com/",
            &long,
        ] {
            assert_eq!(check(realm), Err(RealmError::Malformed), "{realm}");
        }
    }

    #[test]
    fn an_allow_list_is_for_token_servers_too() {
        let access = access(&[], &["registry.example.com", "auth.example.com"]);
        let check = |realm| Realm::check(realm, None, Scheme::Https, &access);
        assert!(check("https://auth.example.com/token").is_ok());
        assert_eq!(check("https://evil.example.com/token"), Err(RealmError::NotAllowed));
    }

    #[test]
    fn the_question_is_added_to_the_query() {
        let path = |realm: &str, service: Option<&str>, repository| {
            let service = service.map(str::to_owned);
            let realm = Realm::check(realm, service, Scheme::Https, &RegistryAccess::default()).unwrap();
            realm.path(repository)
        };
        assert_eq!(path("https://a.io/token", Some("r.io"), None), "/token?service=r.io");
        assert_eq!(path("https://a.io", None, None), "/");
        assert_eq!(
            path("https://a.io/t?x=1", Some("a&b=c"), Some("team/app")),
            "/t?x=1&service=a%26b%3Dc&scope=repository%3Ateam%2Fapp%3Apull"
        );
    }

    #[test]
    fn the_first_challenge_that_is_known_counts() {
        let first = |headers: &[&str]| {
            Challenge::first(&headers.iter().map(|header| (*header).to_owned()).collect::<Vec<_>>())
        };
        let bearer =
            Challenge::Bearer { realm: "https://a.io/t".to_owned(), service: Some("r.io".to_owned()) };
        for headers in [
            &[r#"Bearer realm="https://a.io/t",service="r.io",scope="repository:user/image:pull""#][..],
            &[r#"bearer REALM="https://a.io/t", service=r.io"#],
            &[r#"Negotiate, Bearer realm="https://a.io/t",service="r.io", Basic realm="x""#],
            &[r#"Digest realm="x", nonce="y""#, r#"Bearer realm="https://a.io/t",service="r.io""#],
        ] {
            assert_eq!(first(headers), Some(bearer.clone()), "{headers:?}");
        }
        assert_eq!(first(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
        for headers in [&[][..], &[""], &["Negotiate"], &[r#"Bearer service="r.io""#], &["\"\"\"", "= , ="]] {
            assert_eq!(first(headers), None, "{headers:?}");
        }
    }

    #[test]
    fn a_token_is_what_fits_into_a_header() {
        let of = |body: &str| token(body.as_bytes()).map(|token| token.to_string());
        assert_eq!(of(r#"{"token":"a.b"}"#).as_deref(), Some("a.b"));
        assert_eq!(of(r#"{"token":"","access_token":"c"}"#).as_deref(), Some("c"));
        for body in ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":"a\r\nb"}"#, r#"{"token":7}"#, "<html>"] {
            assert_eq!(of(body), None, "{body}");
        }
    }
}
