//! ObjectStorageCredential: an access key for a bucket, as its consumer reads it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    authorities::read_authorities,
    value::{self, Text, invalid},
};
use crate::{
    api::{ObjectStorageCredentialSpec, ObjectStorageFormat, ObjectStorageStatus, Target},
    domain::{
        SecretBytes, certificate,
        content::{Content, Inputs, SourceError, SourceSecret},
        credential::{CredentialSpec, Source},
        reason::Reason,
        schedule::MAX_PASSWORD_BYTES,
        sigv4::AccessKey,
        verification::{Login, Verification},
    },
};

#[path = "object_storage_formats.rs"]
mod formats;
#[path = "object_storage_place.rs"]
mod place;
#[path = "object_storage_probe.rs"]
mod probe;

use formats::Facts;
use place::Place;

const OUTPUT_TYPE: &str = "Opaque";

const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// The longest id of an access key; those of AWS have at most 128 characters.
const MAX_ID: usize = 128;
/// The longest secret of an access key.
const MAX_SECRET: usize = 1_024;

/// The field of the status that only this kind has.
const DETAIL: &str = "objectStorage";

impl CredentialSpec for ObjectStorageCredentialSpec {
    fn target(&self) -> &Target {
        &self.target
    }

    fn source(&self) -> Source {
        let authorities = probe::authorities(self).map(|(name, _)| name);
        let names: BTreeSet<&str> =
            [Some(self.secret_ref.name.as_str()), authorities].into_iter().flatten().collect();
        Source::Secrets(names.into_iter().map(str::to_owned).collect())
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        let place = Place::of(self)?;
        let Given { access_key, notes } = given(self, inputs)?;
        let wanted = probe::authorities(self).filter(|_| formats::takes_authorities(self));
        let authorities = wanted.map(|named| authorities(named, inputs)).transpose()?;
        let facts = Facts { spec: self, place: &place, access_key: &access_key, authorities };
        Ok(Content { notes, ..Content::new(OUTPUT_TYPE, formats::data(&facts)) })
    }

    fn logins(&self, inputs: Inputs<'_>) -> Vec<Login> {
        let (Ok(place), Ok(given)) = (Place::of(self), given(self, inputs)) else { return Vec::new() };
        vec![probe::login(self, place, given.access_key, inputs)]
    }

    fn details(
        &self,
        _: Option<&Content>,
        _: Option<&Verification>,
        _: &Map<String, Value>,
    ) -> Map<String, Value> {
        let status = Place::of(self).ok().map(|place| ObjectStorageStatus {
            endpoint: place.endpoint(),
            region: place.region,
            path_style: place.path_style,
        });
        status.map(|status| (DETAIL.to_owned(), serde_json::json!(status))).into_iter().collect()
    }

    fn provider(&self) -> String {
        let provider = if self.endpoint.is_some() { "S3Compatible" } else { "AmazonS3" };
        provider.to_owned()
    }
}

/// What a source Secret gives.
struct Given {
    access_key: AccessKey,
    notes: Vec<String>,
}

fn given(spec: &ObjectStorageCredentialSpec, inputs: Inputs<'_>) -> Result<Given, SourceError> {
    let names = &spec.secret_ref;
    let secret = inputs.source(&names.name)?;
    if !matches!(secret.type_.as_str(), "Opaque" | "") {
        return Err(SourceError::unsupported_type(secret, "Opaque"));
    }
    let id_key = names.access_key_key.as_deref().unwrap_or(ACCESS_KEY_ID);
    let id = part(secret, id_key, "accessKeyKey", MAX_ID)?;
    let secret_key = names.secret_key_key.as_deref().unwrap_or(SECRET_ACCESS_KEY);
    let key = part(secret, secret_key, "secretKeyKey", MAX_SECRET)?;
    let session = session(spec, secret)?;

    let values = [Some(&id), Some(&key), session.as_ref()];
    let trimmed = values.into_iter().flatten().filter(|value| value.trimmed);
    let mut notes: Vec<String> =
        trimmed.map(|value| format!("a newline at the end of key '{}' was left out", value.key)).collect();
    let unused = spec.custom.as_ref().and_then(|keys| keys.session_token.as_ref());
    if let (None, Some(unused)) = (&session, unused) {
        notes.push(format!("key '{unused}' was left out, because there is no session token"));
    }
    let [id, secret] = [id, key].map(|value| SecretBytes::from(value.text));
    let access_key = AccessKey { id, secret, session: session.map(|value| value.text.into()) };
    Ok(Given { access_key, notes })
}

/// The token of an access key that is for a time only. Without it, the key is of no use.
fn session<'a>(
    spec: &'a ObjectStorageCredentialSpec,
    secret: &'a SourceSecret,
) -> Result<Option<Text<'a>>, SourceError> {
    let named = spec.secret_ref.session_token_key.as_deref();
    let usual = secret.data.get(SESSION_TOKEN);
    let is_there = usual.is_some_and(|value| !value.expose().trim_ascii().is_empty());
    if named.is_none() && !is_there {
        return Ok(None);
    }
    let key = named.unwrap_or(SESSION_TOKEN);
    if !formats::takes_session_token(spec) {
        let problem = match spec.format {
            ObjectStorageFormat::Custom => {
                "is a session token, which has no key in `spec.custom`; add `custom.sessionToken`".to_owned()
            }
            format => format!(
                "is a session token, for which format {format:?} has no place; use an access key without one"
            ),
        };
        return Err(invalid(secret, key, &problem));
    }
    part(secret, key, "sessionTokenKey", MAX_PASSWORD_BYTES).map(Some)
}

/// A part of an access key. It is sent in headers, and consumers read it from environment variables and lines of files.
fn part<'a>(
    secret: &'a SourceSecret,
    key: &'a str,
    field: &str,
    longest: usize,
) -> Result<Text<'a>, SourceError> {
    let value = value::text(secret, key, field)?;
    let length = value.text.len();
    let problem = if length == 0 {
        "is empty"
    } else if !value.text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has characters that no access key has: spaces, line breaks, or others than printable ASCII"
    } else if length > longest {
        &format!("has {length} characters, and may have {longest}")
    } else {
        return Ok(value);
    };
    Err(invalid(secret, key, problem))
}

/// CA certificates for the consumer: those that are trusted when the access key is tested, without the text around them.
fn authorities((name, key): (&str, &str), inputs: Inputs<'_>) -> Result<SecretBytes, SourceError> {
    let secret = inputs.source(name).map_err(|_| SourceError::not_found_by("caSecretRef", name))?;
    let missing = || SourceError::key_missing_by("caSecretRef", name, key, "key");
    let pem = secret.data.get(key).ok_or_else(missing)?.expose();
    let plain = certificate::certificates(pem).and_then(|_| certificate::plain(pem));
    let plain = plain.map_err(|problem| SourceError::invalid_value(name, key, problem.reason, problem))?;
    read_authorities((name, key), inputs).map_err(|_| {
        let problem = "is too large: CA certificates may have 16 KiB";
        SourceError::invalid_value(name, key, Reason::InvalidFormat, problem)
    })?;
    Ok(plain)
}

#[cfg(test)]
#[path = "object_storage_tests.rs"]
mod tests;
