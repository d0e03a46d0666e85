//! One login at one server.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use super::{
    outcome::Outcome,
    server::{RegistryAccess, Scheme, Server, ServerKind},
    state::Rules,
};
use crate::domain::{
    SecretBytes,
    fingerprint::{Fingerprint, FingerprintKey, encode},
    reason::Reason,
    sigv4::AccessKey,
};

/// One login at one server, as it is tried there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Its key in `auths`; of a bucket, its endpoint and name.
    pub key: String,
    /// Who runs the server, as in the spec; a metric's label.
    pub provider: String,
    /// The versions of the Secrets that it was read from; `None` for one that was minted. What is asked does not depend
    /// on it.
    pub version: Option<String>,
    pub rules: Rules,
    /// Where its API is.
    pub server: Server,
    /// Certificates (DER) by which the server is trusted besides those of the operator; or that they are missing.
    pub authorities: Option<Result<Authorities, MissingAuthorities>>,
    pub subject: Subject,
}

/// What is tried, and with what.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Registry(RegistryLogin),
    Bucket(BucketLogin),
}

/// A user name and a password at a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RegistryLogin {
    pub username: Zeroizing<String>,
    pub password: Zeroizing<String>,
    /// A repository, and its tag, that it must be able to pull.
    pub repository: Option<(String, String)>,
    /// The region of Scaleway, and the namespace that must exist there.
    pub scaleway: Option<(&'static str, Option<String>)>,
}

/// An access key at a bucket.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BucketLogin {
    pub scheme: Scheme,
    pub access_key: AccessKey,
    pub region: String,
    pub bucket: String,
    /// Whether the bucket stands in the path, and not in the name of the server.
    pub path_style: bool,
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
    pub fn kind(&self) -> ServerKind {
        match self.subject {
            Subject::Registry(_) => ServerKind::Registry,
            Subject::Bucket(_) => ServerKind::ObjectStorage,
        }
    }

    /// User name and password, where that is what it has.
    pub fn pair(&self) -> Option<(&str, &str)> {
        match &self.subject {
            Subject::Registry(registry) => Some((registry.username.as_str(), registry.password.as_str())),
            Subject::Bucket(_) => None,
        }
    }

    /// Why its server is not asked at all.
    pub(super) fn not_asked(&self, scheme: Scheme, access: &RegistryAccess) -> Option<Outcome> {
        let kind = self.kind();
        if matches!(self.authorities, Some(Err(MissingAuthorities))) {
            let field = kind.authorities_field();
            let detail = format!(
                "cannot be trusted: the Secret in `{field}` does not exist, or has no certificate in that key"
            );
            return Some(Outcome::new(Reason::TLSError, &detail));
        }
        let detail = "is not in --allowed-registries of Claviger, so it is not asked";
        (!access.allows(&self.server, scheme)).then(|| Outcome::new(kind.not_allowed(), detail))
    }

    /// Tells what is asked: equal ones are tried once, whoever they belong to.
    fn id(&self, key: &FingerprintKey) -> Fingerprint {
        let authorities = match &self.authorities {
            None => String::new(),
            Some(Err(MissingAuthorities)) => "missing".to_owned(),
            Some(Ok(all)) => encode(&all.concat()).to_string(),
        };
        let mut extent = vec![("key", self.key.as_str()), ("authorities", authorities.as_str())];
        match &self.subject {
            Subject::Registry(RegistryLogin { repository, scaleway, .. }) => {
                if let Some((repository, tag)) = repository {
                    extent.extend([("repository", repository.as_str()), ("tag", tag.as_str())]);
                }
                if let Some((region, namespace)) = scaleway {
                    extent.extend([("region", *region), ("namespace", namespace.as_deref().unwrap_or(""))]);
                }
            }
            Subject::Bucket(bucket) => extent.push(("bucket", bucket.bucket.as_str())),
        }
        self.hash(key, &extent)
    }

    /// Tells who logs in where: of equal ones one is tried at a time.
    fn account(&self, key: &FingerprintKey) -> Fingerprint {
        self.hash(key, &[])
    }

    fn hash(&self, key: &FingerprintKey, extent: &[(&str, &str)]) -> Fingerprint {
        let extent = extent.iter().copied();
        // With a port, so that `host` and `host:443` are one.
        let server = |scheme: Scheme| {
            Server { port: Some(self.server.port(scheme)), ..self.server.clone() }.to_string()
        };
        match &self.subject {
            Subject::Registry(RegistryLogin { username, password, .. }) => {
                let server = server(Scheme::Https);
                let who = [
                    ("server", server.as_str()),
                    ("username", username.as_str()),
                    ("password", password.as_str()),
                ];
                key.fingerprint("login", who.into_iter().chain(extent))
            }
            Subject::Bucket(BucketLogin { scheme, access_key, region, path_style, .. }) => {
                let (server, scheme) = (server(*scheme), scheme.to_string());
                let AccessKey { id, secret, session } = access_key;
                let session = session.as_ref().map_or(&[][..], SecretBytes::expose);
                let (id, secret, session) = (encode(id.expose()), encode(secret.expose()), encode(session));
                let who = [
                    ("scheme", scheme.as_str()),
                    ("server", server.as_str()),
                    ("region", region.as_str()),
                    ("style", if *path_style { "path" } else { "virtual" }),
                    ("id", id.as_str()),
                    ("secret", secret.as_str()),
                    ("session", session.as_str()),
                ];
                key.fingerprint("bucket", who.into_iter().chain(extent))
            }
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("server", &self.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::VerificationMode;

    fn bucket(change: impl FnOnce(&mut Login, &mut BucketLogin)) -> KnownLogin {
        let access_key = AccessKey { id: "id".into(), secret: "secret".into(), session: None };
        let mut bucket = BucketLogin {
            scheme: Scheme::Https,
            access_key,
            region: "auto".to_owned(),
            bucket: "backups".to_owned(),
            path_style: true,
        };
        let mut login = Login {
            key: "s3.example.com/backups".to_owned(),
            provider: "S3Compatible".to_owned(),
            version: None,
            rules: Rules { mode: VerificationMode::Warn, interval: Duration::ZERO },
            server: Server::parse("s3.example.com").unwrap(),
            authorities: None,
            subject: Subject::Bucket(bucket.clone()),
        };
        change(&mut login, &mut bucket);
        login.subject = Subject::Bucket(bucket);
        KnownLogin::new(login, &FingerprintKey::new([1; 32]))
    }

    #[test]
    fn a_bucket_is_tried_once_for_all_that_ask_the_same_of_it() {
        let one = bucket(|_, _| {});
        let same = |other: &KnownLogin| (one.id == other.id, one.account == other.account);
        let alike = bucket(|login, _| {
            login.version = Some("7".to_owned());
            login.rules.mode = VerificationMode::Enforce;
            login.server.port = Some(443);
        });
        assert_eq!(same(&alike), (true, true));
        assert_eq!(same(&bucket(|_, bucket| bucket.bucket = "logs".to_owned())), (false, true));
        let untrusted = bucket(|login, _| login.authorities = Some(Err(MissingAuthorities)));
        assert_eq!(same(&untrusted), (false, true));
        for other in [
            bucket(|login, _| login.server.port = Some(9_000)),
            bucket(|_, bucket| bucket.scheme = Scheme::Http),
            bucket(|_, bucket| bucket.region = "eu-west-1".to_owned()),
            bucket(|_, bucket| bucket.path_style = false),
            bucket(|_, bucket| bucket.access_key.id = "other".into()),
            bucket(|_, bucket| bucket.access_key.secret = "other".into()),
            bucket(|_, bucket| bucket.access_key.session = Some("token".into())),
        ] {
            assert_eq!(same(&other), (false, false));
        }
    }
}
