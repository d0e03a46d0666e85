//! How a member is reached: read from a kubeconfig, or from a cluster Secret of Argo CD.
//!
//! Only inline values are used. A kubeconfig comes from outside of the operator's Pod: whatever would run a command
//! there, read a file of the Pod, or send a credential to an unknown server is refused, the latter unless the operator
//! is told to allow insecure servers.

mod argocd;
mod error;
mod kubeconfig;

pub use argocd::{argocd, is_in_cluster};
pub use error::AccessError;
pub use kubeconfig::kubeconfig;

use base64::{Engine as _, engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64};
use http::Uri;
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::{certificate, sensitive::SecretBytes};

/// How a member is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Address of its API server, without user or query.
    pub server: Uri,
    /// Certificates (DER) of the authorities that its API server is trusted by; `None`: those of the system.
    pub ca: Option<Vec<Vec<u8>>>,
    /// The name to look for in the server's certificate, where it is not the host of `server`.
    pub tls_server_name: Option<String>,
    /// Whether the certificate of the server is not checked.
    pub insecure: bool,
    /// The user, as a header of each request says it.
    pub login: Option<Login>,
    /// The user, as the TLS handshake says it.
    pub certificate: Option<ClientCertificate>,
}

/// The user, in a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// The user, by certificate. The key is the one of the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate, and those that lead to its authority: PEM.
    pub chain: SecretBytes,
    /// Its private key: PEM.
    pub key: SecretBytes,
}

/// The largest kubeconfig that is read.
const MAX_BYTES: usize = 1 << 20;

/// The names of the fields that are not the same in both formats.
struct Fields {
    insecure: &'static str,
    ca: &'static str,
    token: &'static str,
    certificate: &'static str,
    key: &'static str,
}

/// What a file holds, unchecked. Empty texts count as absent, as in Go.
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
    fn check(self, fields: &Fields, allow_insecure: bool) -> Result<Access, AccessError> {
        let insecure = self.insecure;
        if insecure && !allow_insecure {
            return Err(AccessError::Insecure { field: fields.insecure });
        }
        let server = server(&self.server, allow_insecure)?;
        let ca = given(self.ca).filter(|_| !insecure);
        let ca = ca.map(|data| authorities(&data, fields.ca)).transpose()?;
        let login = match (given(self.token), self.username.filter(|name| !name.is_empty())) {
            (Some(_), Some(_)) => {
                return Err(AccessError::TwoIdentities { token: fields.token });
            }
            (Some(token), None) => Some(Login::Token(header(&token, fields.token)?)),
            (None, Some(username)) => {
                let password = given(self.password).ok_or(AccessError::PasswordMissing)?;
                Some(Login::Basic { username, password })
            }
            (None, None) => None,
        };
        let half = |field, missing| Err(AccessError::HalfPair { field, missing });
        let certificate = match (given(self.certificate), given(self.key)) {
            (Some(chain), Some(key)) => Some(client_certificate(&chain, &key, fields)?),
            (None, None) => None,
            (Some(_), None) => return half(fields.certificate, fields.key),
            (None, Some(_)) => return half(fields.key, fields.certificate),
        };
        if login.is_none() && certificate.is_none() {
            let Fields { token, certificate, key, .. } = *fields;
            return Err(AccessError::NoCredentials { token, certificate, key });
        }
        let tls_server_name = self.tls_server_name.filter(|name| !name.is_empty());
        if let Some(name) = &tls_server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            return Err(AccessError::ServerName);
        }
        Ok(Access { server, ca, tls_server_name, insecure, login, certificate })
    }
}

/// The first error of a table whose condition is true.
fn refuse(table: impl IntoIterator<Item = (bool, AccessError)>) -> Result<(), AccessError> {
    table.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, error)| Err(error))
}

fn given(value: Option<SecretBytes>) -> Option<SecretBytes> {
    value.filter(|value| !value.expose().trim_ascii().is_empty())
}

/// The longest address of an API server, in bytes.
const MAX_SERVER: usize = 1_024;

fn server(text: &str, allow_insecure: bool) -> Result<Uri, AccessError> {
    let text = text.trim().trim_end_matches('/');
    if text.is_empty() {
        return Err(AccessError::ServerMissing);
    }
    // A status shows it.
    if text.len() > MAX_SERVER {
        return Err(AccessError::InvalidServer);
    }
    let uri: Uri = text.parse().map_err(|_| AccessError::InvalidServer)?;
    let authority = uri.authority().ok_or(AccessError::InvalidServer)?;
    // Also behind a slash, which may be one of the password.
    if text.contains('@') {
        return Err(AccessError::UserInServer);
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if allow_insecure => {}
        Some("http") => return Err(AccessError::PlainHttp),
        _ => return Err(AccessError::InvalidServer),
    }
    let empty_port = authority.port().is_none() && authority.as_str().len() > authority.host().len();
    if authority.host().is_empty() || empty_port || uri.query().is_some() || text.contains('#') {
        return Err(AccessError::InvalidServer);
    }
    Ok(uri)
}

fn decode(data: &SecretBytes, field: &'static str) -> Result<SecretBytes, AccessError> {
    // YAML folds what is long, and people wrap it. Padding is optional: both forms are in use.
    // All room is taken at once, so that growing leaves no copy of a key behind.
    let mut packed = Zeroizing::new(Vec::with_capacity(data.expose().len()));
    packed.extend(data.expose().iter().filter(|byte| !byte.is_ascii_whitespace()));
    BASE64.decode(&*packed).map(SecretBytes::new).map_err(|_| AccessError::NotBase64 { field })
}

fn authorities(data: &SecretBytes, field: &'static str) -> Result<Vec<Vec<u8>>, AccessError> {
    let problem = "has no certificates in PEM that can be read";
    let certificates = certificate::certificates(decode(data, field)?.expose())
        .map_err(|_| AccessError::Certificate { field, problem })?;
    Ok(certificates.into_iter().map(|certificate| certificate.der).collect())
}

fn client_certificate(
    chain: &SecretBytes,
    key: &SecretBytes,
    fields: &Fields,
) -> Result<ClientCertificate, AccessError> {
    let (chain, key) = (decode(chain, fields.certificate)?, decode(key, fields.key)?);
    let problem = |field, problem| AccessError::Certificate { field, problem };
    let certificates = certificate::certificates(chain.expose())
        .map_err(|_| problem(fields.certificate, "has no certificate in PEM that can be read"))?;
    let unusable = "has no private key in PEM that can be read; a key with a passphrase cannot be used";
    let found = certificate::private_key(key.expose()).map_err(|_| problem(fields.key, unusable))?;
    let wanted = certificates.first().and_then(|leaf| leaf.public_key().ok());
    if wanted.is_some_and(|wanted| wanted != found) {
        return Err(problem(fields.key, "does not belong to the certificate"));
    }
    Ok(ClientCertificate { chain, key })
}

/// A token, when it can stand in a header.
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
