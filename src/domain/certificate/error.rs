//! What can be wrong with a certificate, its chain or its private key.

use thiserror::Error;

use crate::domain::reason::Reason;

/// Why a certificate or private key is not distributed, as the end of a sentence that begins with
/// the key of the Secret. Never quotes key material.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Not PEM, cut off, or not what its label says.
    #[error("{0}")]
    Malformed(String),
    /// A format that servers which read PEM cannot use.
    #[error("{0}")]
    UnsupportedFormat(&'static str),
    /// Key material where everybody who connects may look.
    #[error(
        "holds a private key, which belongs into the key of `spec.secretRef.privateKeyKey` alone; take it out, and replace it if it was ever served"
    )]
    PrivateKeyInCertificate,
    /// A key with a passphrase.
    #[error(
        "is an encrypted private key, and no Pod could unlock it; decrypt it first: openssl pkey -in <encrypted> -out tls.key"
    )]
    EncryptedKey,
    /// A kind of key that is too weak or not spoken by usual servers.
    #[error("{0}")]
    UnsupportedKey(String),
    /// The private key is another one's.
    #[error(
        "does not belong to the certificate, which has the public key of another {wanted} key; put the two that were made together into the Secret"
    )]
    KeyMismatch {
        /// The kind of key that the certificate is for.
        wanted: String,
    },
    /// The right certificates in the wrong order.
    #[error("has its certificates in the wrong order; the right one is {}", order(.0))]
    ChainOutOfOrder(
        /// Subjects in the right order.
        Vec<String>,
    ),
    /// A certificate that did not issue the one before it.
    #[error(
        "is no chain: certificate {number} ({subject}) did not issue the one before it, {why}; leave it out, or put the missing one before it"
    )]
    ChainBroken {
        /// Which one does not fit, counted from 1.
        number: usize,
        /// Its subject.
        subject: String,
        /// What does not fit, as a relative clause on the one before it.
        why: String,
    },
}

impl CertificateError {
    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::InvalidFormat,
            Self::UnsupportedFormat(_) => Reason::UnsupportedFormat,
            Self::PrivateKeyInCertificate => Reason::PrivateKeyInCertificate,
            Self::EncryptedKey => Reason::EncryptedKey,
            Self::UnsupportedKey(_) => Reason::UnsupportedKey,
            Self::KeyMismatch { .. } => Reason::KeyMismatch,
            Self::ChainOutOfOrder(_) => Reason::ChainOutOfOrder,
            Self::ChainBroken { .. } => Reason::ChainBroken,
        }
    }
}

fn order(subjects: &[String]) -> String {
    subjects
        .iter()
        .enumerate()
        .map(|(at, subject)| format!("{}. {subject}", at + 1))
        .collect::<Vec<_>>()
        .join(", ")
}
