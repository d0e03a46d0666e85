//! What kinds that are verified have in common: the authorities that a spec names for a server, what tells versions of
//! Secrets, and how often it is asked.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;

use crate::domain::{
    certificate,
    content::Inputs,
    verification::{Authorities, MissingAuthorities},
};

/// The largest value of `caSecretRef` that is read, in bytes.
pub(super) const MAX_AUTHORITIES: usize = 16 << 10;
/// The longest text that tells versions of Secrets, as the schema of the status has it.
pub(super) const MAX_VERSION: usize = 63;

/// The certificates of a Secret, by its name and key.
pub(super) fn read_authorities(
    (name, key): (&str, &str),
    inputs: Inputs<'_>,
) -> Result<Authorities, MissingAuthorities> {
    let secret = inputs.source(name).map_err(|_| MissingAuthorities)?;
    let pem = secret.data.get(key).filter(|pem| pem.expose().len() <= MAX_AUTHORITIES);
    let read = certificate::certificates(pem.ok_or(MissingAuthorities)?.expose());
    let read = read.map_err(|_| MissingAuthorities)?;
    Ok(Arc::new(read.into_iter().map(|certificate| certificate.der).collect()))
}

/// How often a login is tried; the schema has bounded it.
pub(super) fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok()?.try_into().ok()
}
