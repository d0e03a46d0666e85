//! What goes into a produced Secret, and what can be wrong with where it comes from.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::jiff::Timestamp;
use thiserror::Error;

use super::{
    certificate::CertificateError,
    reason::Reason,
    sensitive::SecretBytes,
    validity::{Phase, Validity},
};

/// A source Secret as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSecret {
    /// Its name.
    pub name: String,
    /// Its type, such as `Opaque`.
    pub type_: String,
    /// Its data.
    pub data: BTreeMap<String, SecretBytes>,
}

/// The source Secrets of a credential, by name. One that is missing was not found.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, SourceSecret>);

impl Sources {
    /// Finds one.
    ///
    /// # Errors
    /// [`SourceError::SecretNotFound`].
    pub fn get(&self, name: &str) -> Result<&SourceSecret, SourceError> {
        self.0.get(name).ok_or_else(|| SourceError::SecretNotFound { secret: name.to_owned() })
    }
}

impl FromIterator<SourceSecret> for Sources {
    fn from_iter<I: IntoIterator<Item = SourceSecret>>(secrets: I) -> Self {
        Self(secrets.into_iter().map(|secret| (secret.name.clone(), secret)).collect())
    }
}

/// All that a content is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The source Secrets.
    pub sources: &'a Sources,
    /// A copy that exists, for kinds that keep a part of it; see
    /// [`super::credential::CredentialSpec::keeps_existing`].
    pub existing: Option<&'a SourceSecret>,
    /// What time it is.
    pub now: Timestamp,
    /// Random bytes, for salts.
    pub entropy: &'a [u8; 32],
}

/// Content of a produced Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The Secret's type: fixed by the kind of credential, never chosen by a user.
    pub type_: &'static str,
    /// The data. Keys are fixed by the kind, or were checked to be valid keys of a Secret.
    pub data: BTreeMap<Cow<'static, str>, SecretBytes>,
    /// What is allowed but unwise.
    pub warnings: Vec<Warning>,
    /// What was done to a value on the way, as whole phrases for a condition's message.
    pub notes: Vec<String>,
    /// When it is valid, where it is for a time only.
    pub validity: Option<Validity>,
}

/// All types of Secrets that are produced.
const TYPES: [&str; 5] = [
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/basic-auth",
    "kubernetes.io/tls",
    "nginx.org/htpasswd",
    "Opaque",
];

impl Content {
    /// A content that is read back from a copy; `None` when no kind produces Secrets of that type.
    pub fn from_copy(copy: SourceSecret, validity: Option<Validity>) -> Option<Self> {
        let type_ = TYPES.iter().find(|type_| **type_ == copy.type_)?;
        let data = copy.data.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Some(Self { type_, data, warnings: Vec::new(), notes: Vec::new(), validity })
    }

    /// A content as a Secret that holds it.
    pub fn as_copy(&self, name: &str) -> SourceSecret {
        let data = self.data.iter().map(|(key, value)| (key.clone().into_owned(), value.clone())).collect();
        SourceSecret { name: name.to_owned(), type_: self.type_.to_owned(), data }
    }
}

/// Something that works but should be looked at; told once per revision, as an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The password has fewer than 8 characters.
    WeakPassword,
    /// The password is hashed in a way that protects it hardly.
    WeakHash,
    /// The certificate has no subject alternative name.
    NoAlternativeName,
}

impl Warning {
    /// The stable reason.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::WeakPassword => Reason::WeakPassword,
            Self::WeakHash => Reason::WeakHash,
            Self::NoAlternativeName => Reason::NoAlternativeName,
        }
    }

    /// The sentence.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::WeakPassword => {
                "a password has fewer than 8 characters; use a longer one, or a token where there is one"
            }
            Self::WeakHash => {
                "{SHA} hashes have no salt and are guessed fast; use them only for a consumer that takes nothing else, with long random passwords"
            }
            Self::NoAlternativeName => {
                "the certificate has no subject alternative name, so no client accepts it for a server; make one that lists its DNS names"
            }
        }
    }
}

/// What is wrong with a source Secret. Messages name keys and sizes, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// There is no such Secret.
    #[error(
        "Secret '{secret}' does not exist in the namespace of the credential; create it, or fix `secretRef.name`"
    )]
    SecretNotFound {
        /// Its name.
        secret: String,
    },
    /// The Secret has no such key.
    #[error("Secret '{secret}' has no key '{key}'; add it, or name another one in `secretRef.{field}`")]
    KeyMissing {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// The field that chooses the key.
        field: &'static str,
    },
    /// The Secret has a type that cannot hold what is needed.
    #[error("Secret '{secret}' is of type '{type_}'; it must be one of {accepted}")]
    UnsupportedType {
        /// The Secret.
        secret: String,
        /// Its type.
        type_: String,
        /// The types that can be used.
        accepted: &'static str,
    },
    /// A value cannot be used as it is.
    #[error("key '{key}' of Secret '{secret}' {problem}")]
    InvalidFormat {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong, as the end of a sentence, without quoting the value.
        problem: String,
    },
    /// No user name is known.
    #[error("no user name is given; set `spec.username`, or add key '{key}' to Secret '{secret}'")]
    UsernameMissing {
        /// The Secret.
        secret: String,
        /// The key that would hold it.
        key: String,
    },
    /// A user name that comes from the Secret breaks a rule.
    #[error("the user name in Secret '{secret}' {problem}")]
    InvalidUsername {
        /// The Secret.
        secret: String,
        /// What is wrong, as the end of a sentence.
        problem: String,
    },
    /// It is not, or no longer, valid at this time.
    #[error("key '{key}' of Secret '{secret}' {}{}", within(.of.as_deref()), .validity.problem(*.now))]
    OutsideValidity {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// The certificate of its chain that is to blame, where that is not the first.
        of: Option<String>,
        /// When it is valid.
        validity: Validity,
        /// What time it was when it was judged.
        now: Timestamp,
    },
    /// A certificate, its chain or its private key cannot be used as it is.
    #[error("key '{key}' of Secret '{secret}' {problem}")]
    Certificate {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong.
        problem: CertificateError,
    },
    /// The API server refused or did not answer the read; not the user's doing.
    #[error("Secret '{secret}' could not be read: {problem}")]
    Unreadable {
        /// The Secret.
        secret: String,
        /// What the API server said.
        problem: String,
    },
}

impl SourceError {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::SecretNotFound { .. } => Reason::SecretNotFound,
            Self::KeyMissing { .. } => Reason::KeyMissing,
            Self::UnsupportedType { .. } => Reason::UnsupportedSecretType,
            Self::InvalidFormat { .. } => Reason::InvalidFormat,
            Self::UsernameMissing { .. } => Reason::UsernameMissing,
            Self::InvalidUsername { .. } => Reason::InvalidUsername,
            Self::OutsideValidity { validity, now, .. } => validity.at(*now).reason(),
            Self::Certificate { problem, .. } => problem.reason(),
            Self::Unreadable { .. } => Reason::SecretUnreadable,
        }
    }

    /// Whether it can pass without anybody changing an object that already exists: a Secret that
    /// comes later, a server that answers again. Anything else is for a person to fix.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        match self {
            Self::SecretNotFound { .. } | Self::Unreadable { .. } => true,
            Self::OutsideValidity { validity, now, .. } => validity.at(*now) == Phase::NotYetValid,
            _ => false,
        }
    }

    /// When it is valid, where that is what is wrong.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        match self {
            Self::OutsideValidity { validity, .. } => Some(*validity),
            _ => None,
        }
    }
}

fn within(chain_member: Option<&str>) -> String {
    chain_member.map_or_else(String::new, |subject| format!("has {subject} in its chain, which "))
}
