//! Certificates, their chains and private keys: read, checked and described before any of it is sent
//! anywhere.
//!
//! Nothing here is trusted for being signed by somebody in particular: that is for who connects to
//! judge. What is checked is what makes a server refuse to start, or its clients to connect.

mod chain;
mod describe;
mod error;
mod key;
mod pem;
mod x509;

pub use chain::check;
pub use describe::{alternative_names, describe};
pub use error::CertificateError;
pub use key::{private_key, private_key_der};
pub use pem::plain;
pub use x509::certificates;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
