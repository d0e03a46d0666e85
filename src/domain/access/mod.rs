//! How a member is reached: read from a kubeconfig, or from what Argo CD keeps of a cluster.
//!
//! Only what stands there inline is taken. A kubeconfig comes from outside of the operator's Pod: what
//! would run a command there, read a file of it, or send a credential to whoever answers is refused.

mod argocd;
mod error;
mod kubeconfig;

pub use argocd::{argocd, is_in_cluster};
pub use error::AccessError;
pub use kubeconfig::kubeconfig;

use base64::{Engine as _, alphabet, engine};
use http::Uri;
use serde::{Deserialize, Deserializer};

use super::{certificate, sensitive::SecretBytes};

/// How a member is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Address of its API server, without user or query.
    pub server: Uri,
    /// Certificates (DER) that its API server is trusted by; `None`: those of the system.
    pub ca: Option<Vec<Vec<u8>>>,
    /// The name to look for in the server's certificate, where it is not the host of `server`.
    pub tls_server_name: Option<String>,
    /// Whether it is not checked who answers.
    pub insecure: bool,
    /// What is said of who asks, in a header.
    pub login: Option<Login>,
    /// What is said of who asks, while connecting.
    pub certificate: Option<ClientCertificate>,
}

/// Who asks, in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A bearer token.
    Token(SecretBytes),
    /// A user with a password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: SecretBytes,
    },
}

/// Who asks, by certificate. The key belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those that lead to its authority: PEM.
    pub chain: SecretBytes,
    /// Its private key: PEM.
    pub key: SecretBytes,
}

/// What the operator takes although it is not safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// Servers that nobody checks the identity of.
    pub insecure: bool,
}

/// A whole file is no larger.
const MAX_BYTES: usize = 1 << 20;

/// Padding is optional: both forms are around.
const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// The same things under the names that they have in one place or the other.
struct Fields {
    server: &'static str,
    insecure: &'static str,
    ca: &'static str,
    token: &'static str,
    username: &'static str,
    certificate: &'static str,
    key: &'static str,
}

/// What was found, unchecked. Empty texts count as absent, as in Go.
#[derive(Default)]
struct Raw {
    server: String,
    insecure: bool,
    tls_server_name: Option<String>,
    ca: Option<SecretBytes>,
    token: Option<SecretBytes>,
    username: Option<String>,
    password: Option<SecretBytes>,
    certificate: Option<SecretBytes>,
    key: Option<SecretBytes>,
}

impl Raw {
    fn check(self, fields: &Fields, tolerance: Tolerance) -> Result<Access, AccessError> {
        let insecure = self.insecure;
        if insecure && !tolerance.insecure {
            return Err(AccessError::Insecure { field: fields.insecure });
        }
        let server = server(&self.server, fields.server, tolerance)?;
        let ca = match given(self.ca).filter(|_| !insecure) {
            Some(data) => Some(authorities(&decode(&data, fields.ca)?, fields.ca)?),
            None => None,
        };
        let login = match (given(self.token), self.username.filter(|name| !name.is_empty())) {
            (Some(_), Some(_)) => {
                return Err(AccessError::TwoIdentities { token: fields.token, username: fields.username });
            }
            (Some(token), None) => Some(Login::Token(header(&token, fields.token)?)),
            (None, Some(username)) => {
                let password =
                    given(self.password).ok_or(AccessError::PasswordMissing { username: fields.username })?;
                Some(Login::Basic { username, password })
            }
            (None, None) => None,
        };
        let certificate = match (given(self.certificate), given(self.key)) {
            (Some(chain), Some(key)) => Some(client_certificate(&chain, &key, fields)?),
            (None, None) => None,
            (Some(_), None) => {
                return Err(AccessError::HalfPair { field: fields.certificate, missing: fields.key });
            }
            (None, Some(_)) => {
                return Err(AccessError::HalfPair { field: fields.key, missing: fields.certificate });
            }
        };
        if login.is_none() && certificate.is_none() {
            return Err(AccessError::NoCredentials {
                token: fields.token,
                certificate: fields.certificate,
                key: fields.key,
            });
        }
        let tls_server_name = self.tls_server_name.filter(|name| !name.is_empty());
        if tls_server_name
            .as_deref()
            .is_some_and(|name| rustls::pki_types::ServerName::try_from(name).is_err())
        {
            return Err(AccessError::ServerName);
        }
        Ok(Access { server, ca, tls_server_name, insecure, login, certificate })
    }
}

/// A text that goes straight into what is wiped.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretBytes>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.map(|text| SecretBytes::new(text.into_bytes())))
}

fn given(value: Option<SecretBytes>) -> Option<SecretBytes> {
    value.filter(|value| !value.expose().trim_ascii().is_empty())
}

fn server(text: &str, field: &'static str, tolerance: Tolerance) -> Result<Uri, AccessError> {
    let text = text.trim().trim_end_matches('/');
    if text.is_empty() {
        return Err(AccessError::ServerMissing { field });
    }
    let invalid = AccessError::InvalidServer { field };
    let uri: Uri = text.parse().map_err(|_| invalid.clone())?;
    let authority = uri.authority().ok_or(invalid.clone())?;
    if authority.as_str().contains('@') {
        return Err(AccessError::UserInServer { field });
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if tolerance.insecure => {}
        Some("http") => return Err(AccessError::PlainHttp { field }),
        _ => return Err(invalid),
    }
    let empty_port = authority.port().is_none() && authority.as_str().len() > authority.host().len();
    if authority.host().is_empty() || empty_port || uri.query().is_some() || text.contains('#') {
        return Err(invalid);
    }
    Ok(uri)
}

fn decode(data: &SecretBytes, field: &'static str) -> Result<SecretBytes, AccessError> {
    // YAML folds what is long, and people wrap it.
    let packed =
        SecretBytes::new(data.expose().iter().copied().filter(|b| !b.is_ascii_whitespace()).collect());
    BASE64.decode(packed.expose()).map(SecretBytes::new).map_err(|_| AccessError::NotBase64 { field })
}

fn authorities(pem: &SecretBytes, field: &'static str) -> Result<Vec<Vec<u8>>, AccessError> {
    let certificates = certificate::certificates(pem.expose()).map_err(|_| AccessError::Certificate {
        field,
        problem: "holds no certificates in PEM that can be read",
    })?;
    Ok(certificates.into_iter().map(|certificate| certificate.der).collect())
}

fn client_certificate(
    chain: &SecretBytes,
    key: &SecretBytes,
    fields: &Fields,
) -> Result<ClientCertificate, AccessError> {
    let (chain, key) = (decode(chain, fields.certificate)?, decode(key, fields.key)?);
    let unreadable = AccessError::Certificate {
        field: fields.certificate,
        problem: "holds no certificate in PEM that can be read",
    };
    let certificates = certificate::certificates(chain.expose()).map_err(|_| unreadable.clone())?;
    let leaf = certificates.first().ok_or(unreadable)?;
    let found = certificate::private_key(key.expose()).map_err(|_| AccessError::Certificate {
        field: fields.key,
        problem: "holds no private key in PEM that can be read; one with a passphrase is of no use here",
    })?;
    if leaf.public_key().is_ok_and(|wanted| wanted != found) {
        return Err(AccessError::Certificate {
            field: fields.key,
            problem: "does not belong to the certificate",
        });
    }
    Ok(ClientCertificate { chain, key })
}

/// What can stand in a header.
fn header(token: &SecretBytes, field: &'static str) -> Result<SecretBytes, AccessError> {
    let token = token.expose().trim_ascii();
    if token.iter().all(u8::is_ascii_graphic) {
        Ok(SecretBytes::new(token.to_vec()))
    } else {
        Err(AccessError::InvalidToken { field })
    }
}

#[cfg(test)]
mod tests;
