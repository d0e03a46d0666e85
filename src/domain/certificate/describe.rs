//! What a status tells of a certificate.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sha2::{Digest, Sha256};
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};

use super::x509::{X509, plain};
use crate::api::CertificateStatus;

/// How many DNS names are told.
const MAX_NAMES: usize = 100;

/// Describes a certificate, in the forms in which `openssl x509` prints them.
pub fn describe(certificate: &X509) -> CertificateStatus {
    let parts = certificate.parts.tbs_certificate();
    let names: Vec<GeneralName> = alternative_names(certificate).unwrap_or_default();
    let dns_names: Vec<String> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(plain(name.as_str())),
            _ => None,
        })
        .take(MAX_NAMES)
        .collect();
    let name = dns_names.first().cloned().unwrap_or_else(|| certificate.subject.clone());
    let validity = certificate.validity();
    CertificateStatus {
        name,
        subject: certificate.subject.clone(),
        dns_names,
        issuer: certificate.issuer.clone(),
        serial_number: hex(magnitude(parts.serial_number().as_bytes()), ""),
        not_before: Time(validity.not_before),
        not_after: Time(validity.not_after),
        fingerprint_sha256: hex(&Sha256::digest(&certificate.der), ":"),
        key_algorithm: certificate.public_key().map(|key| key.algorithm).unwrap_or_default(),
    }
}

/// The names that clients compare with the one they connect to. `None` when there are none, so that
/// no client accepts it for a server.
pub fn alternative_names(certificate: &X509) -> Option<Vec<GeneralName>> {
    let parts = certificate.parts.tbs_certificate();
    // Names that cannot be read are names all the same.
    let found = parts.filter_extensions::<SubjectAltName>().next()?;
    Some(found.map(|(_, names)| names.0).unwrap_or_default())
}

/// A number without the zero that DER puts before a first bit that is set, as openssl prints it.
fn magnitude(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => number,
    }
}

fn hex(bytes: &[u8], between: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(between)
}
