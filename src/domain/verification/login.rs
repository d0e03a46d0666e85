//! One login at one registry.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use super::{
    server::{Scheme, Server},
    state::Rules,
};
use crate::domain::fingerprint::{Fingerprint, FingerprintKey, encode};

/// One login at one registry, as it is tried there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Its key in `auths`.
    pub key: String,
    /// Who runs the registry, as in the spec; a metric's label.
    pub provider: String,
    /// The versions of the Secrets that it was read from; `None` for one that was minted. What is asked does not depend
    /// on it.
    pub version: Option<String>,
    pub rules: Rules,
    /// Where the API of the registry is.
    pub server: Server,
    pub username: Zeroizing<String>,
    pub password: Zeroizing<String>,
    /// A repository, and its tag, that it must be able to pull.
    pub repository: Option<(String, String)>,
    /// Certificates (DER) by which the registry is trusted besides those of the operator; or that they are missing.
    pub authorities: Option<Result<Authorities, MissingAuthorities>>,
    /// The region of Scaleway, and the namespace that must exist there.
    pub scaleway: Option<(&'static str, Option<String>)>,
}

/// Certificates (DER), shared by all logins of a credential that name them.
pub(crate) type Authorities = Arc<Vec<Vec<u8>>>;

/// A login with what tells it from others: worked out once, as authorities may be long.
#[derive(Clone, Debug)]
pub(crate) struct KnownLogin {
    pub login: Arc<Login>,
    pub id: Fingerprint,
    pub account: Fingerprint,
}

impl KnownLogin {
    pub fn new(login: Login, key: &FingerprintKey) -> Self {
        Self { id: login.id(key), account: login.account(key), login: Arc::new(login) }
    }
}

/// `caSecretRef` leads to no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissingAuthorities;

impl Login {
    /// Tells what is asked: equal ones are tried once, whoever they belong to.
    fn id(&self, key: &FingerprintKey) -> Fingerprint {
        let (repository, tag) = self.repository.as_ref().map_or(("", ""), |(name, tag)| (name, tag));
        let authorities = match &self.authorities {
            None => String::new(),
            Some(Err(MissingAuthorities)) => "missing".to_owned(),
            Some(Ok(all)) => encode(&all.concat()).to_string(),
        };
        let (region, namespace) = self
            .scaleway
            .as_ref()
            .map_or(("", ""), |(region, name)| (*region, name.as_deref().unwrap_or("")));
        let extent = [
            ("key", self.key.as_str()),
            ("repository", repository),
            ("tag", tag),
            ("authorities", &authorities),
            ("region", region),
            ("namespace", namespace),
        ];
        self.hash(key, &extent)
    }

    /// Tells who logs in where: of equal ones one is tried at a time.
    fn account(&self, key: &FingerprintKey) -> Fingerprint {
        self.hash(key, &[])
    }

    fn hash(&self, key: &FingerprintKey, extent: &[(&str, &str)]) -> Fingerprint {
        // With a port, so that `host` and `host:443` are one.
        let server =
            Server { port: Some(self.server.port(Scheme::Https)), ..self.server.clone() }.to_string();
        let who = [("server", &*server), ("username", &self.username), ("password", &self.password)];
        key.fingerprint("login", who.into_iter().chain(extent.iter().copied()))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("server", &self.server).finish_non_exhaustive()
    }
}
