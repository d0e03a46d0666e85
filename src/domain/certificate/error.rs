//! What can be wrong with a certificate, its chain or its private key.

use thiserror::Error;

use crate::domain::reason::Reason;

/// Why a certificate or private key is not distributed, as the end of a sentence that begins with
/// the key of the Secret. Never quotes key material.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CertificateError {
    /// The stable reason.
    pub reason: Reason,
    message: String,
}

impl CertificateError {
    /// An error for a reason that has no function of its own.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Not PEM, cut off, or not what its label says.
pub fn malformed(message: impl Into<String>) -> CertificateError {
    CertificateError::new(Reason::InvalidFormat, message)
}

/// A format that servers which read PEM cannot use.
pub fn unsupported_format(message: &str) -> CertificateError {
    CertificateError::new(Reason::UnsupportedFormat, message)
}
