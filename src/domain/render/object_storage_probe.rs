//! ObjectStorageCredential: how its access key is tried at the endpoint.

use std::time::Duration;

use jiff::SignedDuration;

use super::place::Place;
use crate::{
    api::{ObjectStorageCredentialSpec, VerificationMode},
    domain::{
        content::Inputs,
        credential::CredentialSpec,
        render::authorities::read_authorities,
        schedule::VERIFICATION_INTERVAL,
        sigv4::AccessKey,
        verification::{BucketLogin, Login, Rules, Subject},
    },
};

/// The longest text that tells versions of Secrets, as the schema of the status has it.
const MAX_VERSION: usize = 63;

/// The Secret with the authorities of the endpoint, and the key in it.
pub(super) fn authorities(spec: &ObjectStorageCredentialSpec) -> Option<(&str, &str)> {
    let reference = spec.ca_secret_ref.as_ref()?;
    Some((reference.name.as_str(), reference.key.as_deref().unwrap_or("ca.crt")))
}

/// The one login of a credential.
pub(super) fn login(
    spec: &ObjectStorageCredentialSpec,
    place: Place,
    access_key: AccessKey,
    inputs: Inputs<'_>,
) -> Login {
    let trusted = authorities(spec);
    let version = |name: &str| inputs.source(name).ok().and_then(|secret| secret.version.clone());
    let version = version(&spec.secret_ref.name).map(|own| match trusted {
        Some((name, _)) => format!("{own},{}", version(name).unwrap_or_default()),
        None => own,
    });
    let bucket = BucketLogin {
        scheme: place.scheme,
        access_key,
        // A wildcard certificate is for one label only.
        path_style: place.path_style || spec.bucket.contains('.'),
        region: place.region.clone(),
        bucket: spec.bucket.clone(),
    };
    Login {
        key: format!("{}/{}", place.host(), spec.bucket),
        provider: spec.provider(),
        version: version.filter(|version| version.len() <= MAX_VERSION),
        rules: rules(spec),
        server: place.server,
        authorities: trusted.map(|named| read_authorities(named, inputs)),
        subject: Subject::Bucket(bucket),
    }
}

fn rules(spec: &ObjectStorageCredentialSpec) -> Rules {
    let asked = spec.verification.as_ref();
    let interval = asked.and_then(|asked| asked.interval.as_deref()).and_then(duration);
    Rules {
        mode: asked.and_then(|asked| asked.mode).unwrap_or(VerificationMode::Warn),
        interval: interval.unwrap_or(VERIFICATION_INTERVAL),
    }
}

/// The schema has bounded it.
fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok()?.try_into().ok()
}
