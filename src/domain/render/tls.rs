//! TlsCredential: `tls.crt`, `tls.key` and, where the source has it, `ca.crt`.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::value;
use crate::{
    api::{CertificateStatus, CredentialStatus, Target, TlsCredentialSpec},
    domain::{
        SecretBytes,
        certificate::{self, CertificateError},
        content::{Content, Inputs, SourceError, SourceSecret, Warning},
        credential::{CredentialSpec, Source},
        reason::Reason,
        validity::Validity,
        verification::Verification,
    },
};

const OUTPUT_TYPE: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";

/// How large certificates and key may be together: a chain of RSA certificates has a few KiB, and each copy costs the hub
/// and all members as much.
const MAX_BYTES: usize = 64 << 10;

/// The field of the status that only this kind has.
const DETAIL: &str = "certificate";

impl CredentialSpec for TlsCredentialSpec {
    fn target(&self) -> &Target {
        &self.target
    }

    fn source(&self) -> Source {
        Source::Secrets(vec![self.secret_ref.name.clone()])
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        render(self, inputs.source(&self.secret_ref.name)?, inputs.now)
    }

    fn details(
        &self,
        content: Option<&Content>,
        _: Option<&Verification>,
        recorded: &Map<String, Value>,
    ) -> Map<String, Value> {
        let described = content.and_then(described).map(|certificate| serde_json::json!(certificate));
        let certificate = described.or_else(|| recorded.get(DETAIL).cloned());
        certificate.map(|certificate| (DETAIL.to_owned(), certificate)).into_iter().collect()
    }

    fn recorded_validity(&self, status: &CredentialStatus, details: &Map<String, Value>) -> Option<Validity> {
        let certificate = CertificateStatus::deserialize(details.get(DETAIL)?).ok()?;
        // The chain may end before the certificate.
        let not_after = status.expiration_time.as_ref().unwrap_or(&certificate.not_after);
        Some(Validity { not_before: certificate.not_before.0, not_after: not_after.0 })
    }

    fn provider(&self) -> String {
        String::new()
    }
}

fn described(content: &Content) -> Option<CertificateStatus> {
    let chain = certificate::certificates(content.data.get(CERTIFICATE)?.expose()).ok()?;
    chain.first().map(certificate::describe)
}

fn render(spec: &TlsCredentialSpec, secret: &SourceSecret, now: Timestamp) -> Result<Content, SourceError> {
    if !matches!(secret.type_.as_str(), "Opaque" | "" | OUTPUT_TYPE) {
        return Err(SourceError::unsupported_type(secret, "Opaque, kubernetes.io/tls"));
    }
    let names = &spec.secret_ref;
    let certificate_key = names.certificate_key.as_deref().unwrap_or(CERTIFICATE);
    let private_key_key = names.private_key_key.as_deref().unwrap_or(PRIVATE_KEY);
    let wrong = |key: &str, problem: CertificateError| {
        SourceError::invalid_value(&secret.name, key, problem.reason, problem)
    };
    let read = |key: &str, value: &SecretBytes| {
        certificate::certificates(value.expose()).map_err(|problem| wrong(key, problem))
    };
    // Nothing but certificates and the key goes into every namespace.
    let plain = |key: &str, value: &SecretBytes| {
        certificate::plain(value.expose()).map_err(|problem| wrong(key, problem))
    };
    let authorities_key = names.ca_key.as_deref().unwrap_or(AUTHORITIES);
    let values = [certificate_key, private_key_key, authorities_key].map(|key| secret.data.get(key));
    let total: usize = values.into_iter().flatten().map(|value| value.expose().len()).sum();
    if total > MAX_BYTES {
        let problem = format!(
            "is too large: certificates and key have {total} bytes together, and may have {MAX_BYTES}"
        );
        return Err(SourceError::invalid_value(
            &secret.name,
            certificate_key,
            Reason::InvalidFormat,
            problem,
        ));
    }

    let certificate = value::bytes(secret, certificate_key, "certificateKey")?;
    let private_key = value::bytes(secret, private_key_key, "privateKeyKey")?;
    let chain = read(certificate_key, certificate)?;
    let key =
        certificate::private_key(private_key.expose()).map_err(|problem| wrong(private_key_key, problem))?;
    let checked = certificate::check(&chain, &key).map_err(|problem| {
        let is_of_key = problem.reason == Reason::KeyMismatch;
        wrong(if is_of_key { private_key_key } else { certificate_key }, problem)
    })?;
    let mut data = BTreeMap::from([
        (CERTIFICATE.into(), plain(certificate_key, certificate)?),
        (PRIVATE_KEY.into(), plain(private_key_key, private_key)?),
    ]);

    // A key that was named must be there; cert-manager leaves the default one empty for some issuers.
    let authorities = match &names.ca_key {
        Some(key) => Some((key.as_str(), value::bytes(secret, key, "caKey")?)),
        None => secret
            .data
            .get(AUTHORITIES)
            .filter(|value| !value.expose().trim_ascii().is_empty())
            .map(|value| (AUTHORITIES, value)),
    };
    if let Some((key, value)) = authorities {
        read(key, value)?;
        data.insert(AUTHORITIES.into(), plain(key, value)?);
    }

    let validity = checked.validity;
    if !validity.is_usable(now) {
        let to_blame = checked.to_blame(now);
        return Err(SourceError::outside_validity(&secret.name, certificate_key, validity, now, to_blame));
    }
    let nameless = chain.first().is_some_and(|leaf| certificate::alternative_names(leaf).is_none());
    Ok(Content {
        warnings: nameless.then_some(Warning::NO_ALTERNATIVE_NAME).into_iter().collect(),
        notes: checked.notes,
        validity: Some(validity),
        ..Content::new(OUTPUT_TYPE, data)
    })
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "openssl_tests.rs"]
mod openssl_tests;
