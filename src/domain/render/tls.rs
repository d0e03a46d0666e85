//! TlsCredential: `tls.crt`, `tls.key` and, where the source has it, `ca.crt`.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    api::{CertificateStatus, CredentialStatus, DeletionPolicy, Target, TlsCredentialSpec},
    domain::{
        certificate::{self, CertificateError},
        content::{Content, Inputs, SourceError, SourceSecret, Warning},
        credential::{CredentialSpec, Source},
        validity::Validity,
    },
};

const OUTPUT_TYPE: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";

/// The field of the status that only this kind has.
const DETAIL: &str = "certificate";

impl CredentialSpec for TlsCredentialSpec {
    fn target(&self) -> &Target {
        &self.target
    }

    fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy
    }

    fn source(&self) -> Source {
        Source::Secrets(vec![self.secret_ref.name.clone()])
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        render(self, inputs.sources.get(&self.secret_ref.name)?, inputs.now)
    }

    fn details(&self, content: Option<&Content>, recorded: &Map<String, Value>) -> Map<String, Value> {
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

    fn provider(&self) -> &'static str {
        ""
    }
}

fn described(content: &Content) -> Option<CertificateStatus> {
    let chain = certificate::certificates(content.data.get(CERTIFICATE)?.expose()).ok()?;
    chain.first().map(certificate::describe)
}

fn render(spec: &TlsCredentialSpec, secret: &SourceSecret, now: Timestamp) -> Result<Content, SourceError> {
    if !matches!(secret.type_.as_str(), "Opaque" | "" | OUTPUT_TYPE) {
        return Err(SourceError::UnsupportedType {
            secret: secret.name.clone(),
            type_: secret.type_.clone(),
            accepted: "Opaque, kubernetes.io/tls",
        });
    }
    let names = &spec.secret_ref;
    let certificate_key = names.certificate_key.as_deref().unwrap_or(CERTIFICATE);
    let private_key_key = names.private_key_key.as_deref().unwrap_or(PRIVATE_KEY);
    let value = |key: &str, field| {
        secret.data.get(key).ok_or_else(|| SourceError::KeyMissing {
            secret: secret.name.clone(),
            key: key.to_owned(),
            field,
        })
    };
    let wrong = |key: &str| {
        let (secret, key) = (secret.name.clone(), key.to_owned());
        move |problem| SourceError::Certificate { secret, key, problem }
    };

    let certificate = value(certificate_key, "certificateKey")?;
    let private_key = value(private_key_key, "privateKeyKey")?;
    let chain = certificate::certificates(certificate.expose()).map_err(wrong(certificate_key))?;
    let key = certificate::private_key(private_key.expose()).map_err(wrong(private_key_key))?;
    let checked = certificate::check(&chain, &key).map_err(|problem| match problem {
        CertificateError::KeyMismatch { .. } => wrong(private_key_key)(problem),
        problem => wrong(certificate_key)(problem),
    })?;
    let mut data = BTreeMap::from([
        (CERTIFICATE.into(), certificate.clone()),
        (PRIVATE_KEY.into(), private_key.clone()),
    ]);

    // A key that was named must be there; cert-manager leaves the default one empty for some issuers.
    let authorities = match &names.ca_key {
        Some(key) => Some((key.as_str(), value(key, "caKey")?)),
        None => secret
            .data
            .get(AUTHORITIES)
            .filter(|value| !value.expose().trim_ascii().is_empty())
            .map(|value| (AUTHORITIES, value)),
    };
    if let Some((key, value)) = authorities {
        certificate::certificates(value.expose()).map_err(wrong(key))?;
        data.insert(AUTHORITIES.into(), value.clone());
    }

    if !checked.validity.at(now).is_usable() {
        return Err(SourceError::OutsideValidity {
            secret: secret.name.clone(),
            key: certificate_key.to_owned(),
            of: checked.to_blame(now).map(str::to_owned),
            validity: checked.validity,
            now,
        });
    }
    let nameless = chain.first().is_some_and(|leaf| certificate::alternative_names(leaf).is_none());
    Ok(Content {
        type_: OUTPUT_TYPE,
        data,
        warnings: nameless.then_some(Warning::NoAlternativeName).into_iter().collect(),
        notes: checked.notes,
        validity: Some(checked.validity),
    })
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "openssl_tests.rs"]
mod openssl_tests;
