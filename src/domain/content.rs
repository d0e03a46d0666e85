//! What goes into a produced Secret, and what can be wrong with where it comes from.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use thiserror::Error;
use zeroize::Zeroize;

use super::{
    reason::Reason,
    sensitive::SecretBytes,
    token::{Grant, MintError, Minted},
    validity::Validity,
};
use crate::api::TokenStatus;

pub use super::sensitive::Data;

/// In this annotation `kubectl apply` keeps the whole object that it applied: of a Secret, all values.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A Secret as it was read. What of it may hold values is wiped from memory when it is dropped.
pub struct ReadSecret(pub Secret);

impl ReadSecret {
    /// Its type.
    pub fn type_(&self) -> &str {
        self.0.type_.as_deref().unwrap_or("Opaque")
    }

    /// Takes its data out.
    pub fn take_data(&mut self) -> Data {
        let data = self.0.data.take().into_iter().flatten();
        data.map(|(key, value)| (key, SecretBytes::new(value.0))).collect()
    }

    /// Takes an annotation out that holds values.
    pub fn take_last_applied(&mut self) -> Option<SecretBytes> {
        let annotations = self.0.metadata.annotations.as_mut()?;
        annotations.remove(LAST_APPLIED).map(|text| SecretBytes::new(text.into_bytes()))
    }
}

impl Drop for ReadSecret {
    fn drop(&mut self) {
        self.take_data();
        self.take_last_applied();
        self.0.string_data.iter_mut().flat_map(BTreeMap::values_mut).for_each(Zeroize::zeroize);
    }
}

impl fmt::Debug for ReadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadSecret").finish_non_exhaustive()
    }
}

/// A source Secret as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSecret {
    /// Its name.
    pub name: String,
    /// Its type, such as `Opaque`.
    pub type_: String,
    /// Its data.
    pub data: Data,
    /// Its resourceVersion.
    pub version: Option<String>,
}

/// What tokens are minted for, by the keys in `auths`; or why that cannot be known.
pub(crate) type Grants = BTreeMap<String, Result<Grant, SourceError>>;

/// All that a content is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The source Secrets. One that is missing was not found.
    pub sources: &'a [SourceSecret],
    /// The data of a copy that exists, for kinds that keep a part of it; see
    /// [`super::credential::CredentialSpec::keeps_existing`].
    pub existing: Option<&'a Data>,
    /// Hashes of passwords that were made ahead, by user; see [`super::credential::CredentialSpec::passwords`].
    pub hashes: &'a Data,
    /// What tokens are minted for, as [`super::credential::CredentialSpec::grants`] gave it.
    pub grants: &'a Grants,
    /// Tokens that were minted, by their keys in `auths`; one that is missing is being minted.
    pub minted: &'a BTreeMap<String, Minted>,
    /// What time it is.
    pub now: Timestamp,
    /// Random bytes, for salts.
    pub entropy: &'a [u8; 32],
}

impl<'a> Inputs<'a> {
    /// Secrets, and nothing else that is known yet.
    pub fn new(sources: &'a [SourceSecret], now: Timestamp) -> Self {
        static NO_DATA: Data = Data::new();
        static NO_GRANTS: Grants = Grants::new();
        static NO_TOKENS: BTreeMap<String, Minted> = BTreeMap::new();
        let (grants, minted) = (&NO_GRANTS, &NO_TOKENS);
        Self { sources, existing: None, hashes: &NO_DATA, grants, minted, now, entropy: &[0; 32] }
    }

    /// A source Secret.
    ///
    /// # Errors
    /// [`SourceError::not_found`].
    pub fn source(&self, name: &str) -> Result<&'a SourceSecret, SourceError> {
        self.sources.iter().find(|secret| secret.name == name).ok_or_else(|| SourceError::not_found(name))
    }
}

/// Content of a produced Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The Secret's type: fixed by the kind of credential, never chosen by a user.
    pub type_: &'static str,
    /// The data. Keys are fixed by the kind, or were checked to be valid keys of a Secret.
    pub data: Data,
    /// What is allowed but unwise.
    pub warnings: Vec<Warning>,
    /// What was done to a value on the way, as whole phrases for a condition's message.
    pub notes: Vec<String>,
    /// When it is valid, where it is for a time only.
    pub validity: Option<Validity>,
    /// The minted tokens in it, by their keys in `auths`.
    pub tokens: BTreeMap<String, TokenStatus>,
    /// Parts that the source should give and does not, by their names: what was distributed of them last stays.
    pub missing: BTreeMap<String, SourceError>,
}

/// All types of Secrets that are produced.
const TYPES: [&str; 5] = [
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/basic-auth",
    "kubernetes.io/tls",
    "nginx.org/htpasswd",
    "Opaque",
];

/// A type of a Secret; `None` when no kind produces such ones.
pub(crate) fn produced_type(type_: &str) -> Option<&'static str> {
    TYPES.into_iter().find(|produced| *produced == type_)
}

impl Content {
    /// Data alone, of which there is nothing to tell.
    pub fn new(type_: &'static str, data: Data) -> Self {
        let (warnings, notes, tokens, missing) = Default::default();
        Self { type_, data, warnings, notes, validity: None, tokens, missing }
    }

    /// A content that is read back from a copy, with what is recorded of it; `None` when no kind produces Secrets of that type.
    pub fn from_copy(
        copy: SourceSecret,
        validity: Option<Validity>,
        tokens: BTreeMap<String, TokenStatus>,
    ) -> Option<Self> {
        let type_ = produced_type(&copy.type_)?;
        Some(Self { validity, tokens, ..Self::new(type_, copy.data) })
    }
}

/// Something that works but should be looked at; told once per revision, as an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The stable reason.
    pub reason: Reason,
    /// The sentence.
    pub message: &'static str,
}

impl Warning {
    pub const WEAK_PASSWORD: Self = Self {
        reason: Reason::WeakPassword,
        message: "a password has fewer than 8 characters; use a longer one, or a token",
    };
    pub const WEAK_HASH: Self = Self {
        reason: Reason::WeakHash,
        message: "{SHA} hashes have no salt and can be guessed fast; use them only for a consumer that accepts nothing else, with long random passwords",
    };
    pub const NO_ALTERNATIVE_NAME: Self = Self {
        reason: Reason::NoAlternativeName,
        message: "the certificate has no subject alternative name, so no client accepts it for a server; make one that lists its DNS names",
    };
}

/// What is wrong with a source Secret. Messages name keys and sizes, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SourceError {
    /// The stable reason.
    pub reason: Reason,
    message: String,
    /// When it is valid, where that is what is wrong.
    pub validity: Option<Validity>,
    /// Whether it is wrong with a part, so that the rest is distributed.
    pub is_partial: bool,
}

impl SourceError {
    fn new(reason: Reason, message: String) -> Self {
        Self { reason, message, validity: None, is_partial: false }
    }

    /// That it is wrong with a part, which is written in the spec at `place`.
    pub fn of_part(self, place: &str) -> Self {
        Self { message: format!("`spec.{place}`: {}", self.message), is_partial: true, ..self }
    }

    /// Two parts are the same.
    pub fn duplicate(what: &str) -> Self {
        Self::new(
            Reason::InvalidFormat,
            format!("{what} is given twice; remove one of them, or set `keyScope: Path`"),
        )
    }

    /// There is no such Secret.
    pub fn not_found(secret: &str) -> Self {
        Self::not_found_by("secretRef", secret)
    }

    /// There is no such Secret, which a reference of the spec names.
    pub fn not_found_by(reference: &str, secret: &str) -> Self {
        let message = format!(
            "Secret '{secret}' does not exist in the namespace of the credential; create it, or fix `{reference}.name`"
        );
        Self::new(Reason::SecretNotFound, message)
    }

    /// The API server refused or did not answer the read; not the user's doing.
    pub fn unreadable(secret: &str, problem: &str) -> Self {
        let message = format!("Secret '{secret}' could not be read: {problem}");
        Self::new(Reason::SecretUnreadable, message)
    }

    /// The Secret has a type that cannot hold what is needed.
    pub fn unsupported_type(secret: &SourceSecret, accepted: &str) -> Self {
        let SourceSecret { name, type_, .. } = secret;
        let message = format!("Secret '{name}' is of type '{type_}'; it must be one of {accepted}");
        Self::new(Reason::UnsupportedSecretType, message)
    }

    /// The Secret has no such key, which the field of the spec chooses.
    pub fn key_missing(secret: &str, key: &str, field: &str) -> Self {
        Self::key_missing_by("secretRef", secret, key, field)
    }

    /// The Secret that a reference of the spec names has no such key, which a field of the reference chooses.
    pub fn key_missing_by(reference: &str, secret: &str, key: &str, field: &str) -> Self {
        let message = format!(
            "Secret '{secret}' has no key '{key}'; add it, or name another one in `{reference}.{field}`"
        );
        Self::new(Reason::KeyMissing, message)
    }

    /// No user name is known; the key would hold it.
    pub fn username_missing(secret: &str, key: &str) -> Self {
        let message =
            format!("no user name is given; set `spec.username`, or add key '{key}' to Secret '{secret}'");
        Self::new(Reason::UsernameMissing, message)
    }

    /// A user name that comes from the Secret breaks a rule. The problem is the end of a sentence.
    pub fn invalid_username(secret: &str, problem: &str) -> Self {
        Self::new(Reason::InvalidUsername, format!("the user name in Secret '{secret}' {problem}"))
    }

    /// A value cannot be used as it is. The problem is the end of a sentence that does not quote it.
    pub fn invalid_value(secret: &str, key: &str, reason: Reason, problem: impl fmt::Display) -> Self {
        Self::new(reason, format!("key '{key}' of Secret '{secret}' {problem}"))
    }

    /// It is not, or no longer, valid at this time; `to_blame` is the certificate of its chain for which this is so,
    /// where that is not the first.
    pub fn outside_validity(
        secret: &str,
        key: &str,
        validity: Validity,
        now: Timestamp,
        to_blame: Option<&str>,
    ) -> Self {
        let whose =
            to_blame.map_or_else(String::new, |subject| format!("has {subject} in its chain, which "));
        let problem = format!("{whose}{}", validity.problem(now));
        let error = Self::invalid_value(secret, key, validity.at(now), problem);
        Self { validity: Some(validity), ..error }
    }

    /// A field of the spec is not a host[:port].
    pub fn bad_host(field: &str) -> Self {
        Self::new(Reason::InvalidFormat, format!("`spec.{field}` is not a host[:port]"))
    }

    /// A field of the spec is not the URL of a server.
    pub fn bad_endpoint(field: &str) -> Self {
        Self::new(Reason::InvalidFormat, format!("`spec.{field}` is not https://host[:port]"))
    }

    /// The token is being minted.
    pub fn minting() -> Self {
        Self::new(Reason::Progressing, "a token is being minted".to_owned())
    }

    /// No token was minted.
    pub fn not_minted(error: &MintError) -> Self {
        Self::new(error.reason, format!("no token could be minted: {error}"))
    }

    /// Whether it waits for a token.
    pub fn is_minting(&self) -> bool {
        self.reason == Reason::Progressing
    }

    /// Whether it can pass without anybody changing an object that already exists: a Secret that
    /// comes later, a server that answers again. Anything else is for a person to fix.
    pub fn is_waiting(&self) -> bool {
        matches!(
            self.reason,
            Reason::SecretNotFound
                | Reason::SecretUnreadable
                | Reason::NotYetValid
                | Reason::Progressing
                | Reason::CloudUnreachable
                | Reason::ServerError
                | Reason::RateLimited
        )
    }

    /// Whether the Secret may well be right, and just could not be read.
    pub fn is_unreadable(&self) -> bool {
        self.reason == Reason::SecretUnreadable
    }
}
