//! TlsCredential: `tls.crt`, `tls.key` and, where the source has it, `ca.crt`.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    api::{
        CertificateStatus, CredentialKind, CredentialStatus, DeletionPolicy, Target, TlsCredential,
        TlsCredentialSpec,
    },
    domain::{
        certificate::{self, CertificateProblem},
        content::{Content, Inputs, SourceError, SourceSecret, Warning},
        credential::Credential,
        validity::Validity,
    },
};

const OUTPUT_TYPE: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";

impl Credential for TlsCredential {
    const KIND: CredentialKind = CredentialKind::TlsCredential;

    fn target(&self) -> &Target {
        &self.spec.target
    }

    fn deletion_policy(&self) -> DeletionPolicy {
        self.spec.deletion_policy
    }

    fn status(&self) -> Option<&CredentialStatus> {
        self.status.as_ref().map(|status| &status.common)
    }

    fn sources(&self) -> Vec<String> {
        vec![self.spec.secret_ref.name.clone()]
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        render(&self.spec, inputs.sources.get(&self.spec.secret_ref.name)?, inputs.now)
    }

    fn details(&self, content: Option<&Content>) -> Map<String, Value> {
        let told = || self.status.as_ref()?.certificate.clone();
        let certificate = content.and_then(described).or_else(told);
        certificate
            .map(|certificate| ("certificate".to_owned(), serde_json::json!(certificate)))
            .into_iter()
            .collect()
    }

    fn standing(&self) -> Option<Validity> {
        let status = self.status.as_ref()?;
        let certificate = status.certificate.as_ref()?;
        // The chain may end before the certificate.
        let not_after = status.common.expiration_time.as_ref().unwrap_or(&certificate.not_after);
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
        CertificateProblem::KeyMismatch { .. } => wrong(private_key_key)(problem),
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
