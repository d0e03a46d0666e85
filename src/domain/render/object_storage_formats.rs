//! ObjectStorageCredential: what each consumer reads, key by key.
//!
//! Facts and their sources: the code of Longhorn's backupstore, of Loki's operator, of Thanos' objstore and of COSI's
//! sidecar; the documentation of the AWS SDKs, Velero, CloudNativePG, Flux and GitLab Runner.

use serde::Serialize;

use super::place::Place;
use crate::{
    api::{CustomKeys, ObjectStorageCredentialSpec, ObjectStorageFormat as Format},
    domain::{SecretBytes, content::Data, sigv4::AccessKey, verification::Scheme},
};

/// What there is to tell a consumer.
pub(super) struct Facts<'a> {
    pub spec: &'a ObjectStorageCredentialSpec,
    pub place: &'a Place,
    pub access_key: &'a AccessKey,
    /// CA certificates in PEM.
    pub authorities: Option<SecretBytes>,
}

/// Whether the format has a place for a session token.
pub(super) fn takes_session_token(spec: &ObjectStorageCredentialSpec) -> bool {
    match spec.format {
        Format::Env | Format::AwsCredentialsFile | Format::CloudNativePG | Format::Thanos => true,
        Format::Longhorn | Format::LokiStack | Format::Flux | Format::CosiBucketInfo => false,
        Format::Custom => spec.custom.as_ref().is_some_and(|keys| keys.session_token.is_some()),
    }
}

/// Whether the format has a place for CA certificates.
pub(super) fn takes_authorities(spec: &ObjectStorageCredentialSpec) -> bool {
    match spec.format {
        Format::Longhorn => true,
        Format::Custom => spec.custom.as_ref().is_some_and(|keys| keys.ca.is_some()),
        _ => false,
    }
}

/// The data of the Secret.
pub(super) fn data(facts: &Facts<'_>) -> Data {
    match facts.spec.format {
        Format::Env => environment(facts),
        Format::AwsCredentialsFile => credentials_file(facts.access_key),
        Format::CloudNativePG => cloud_native_pg(facts.access_key),
        Format::Longhorn => longhorn(facts),
        Format::LokiStack => loki_stack(facts),
        Format::Thanos => thanos(facts),
        Format::Flux => flux(facts.access_key),
        Format::CosiBucketInfo => bucket_info(facts),
        // The schema makes sure that there are keys.
        Format::Custom => facts.spec.custom.as_ref().map(|keys| custom(facts, keys)).unwrap_or_default(),
    }
}

fn environment(facts: &Facts<'_>) -> Data {
    let AccessKey { id, secret, session } = facts.access_key;
    given([
        ("AWS_ACCESS_KEY_ID", Some(id.clone())),
        ("AWS_SECRET_ACCESS_KEY", Some(secret.clone())),
        ("AWS_SESSION_TOKEN", session.clone()),
        ("AWS_REGION", Some(text(&facts.place.region))),
        // The SDK for Python, and so the AWS CLI, knows only this name.
        ("AWS_DEFAULT_REGION", Some(text(&facts.place.region))),
        ("AWS_ENDPOINT_URL_S3", own_endpoint(facts)),
    ])
}

/// Without quotes, which some readers take for a part of the value.
fn credentials_file(access_key: &AccessKey) -> Data {
    let AccessKey { id, secret, session } = access_key;
    let mut parts = vec![
        b"[default]\naws_access_key_id=".as_slice(),
        id.expose(),
        b"\naws_secret_access_key=".as_slice(),
        secret.expose(),
        b"\n".as_slice(),
    ];
    if let Some(session) = session {
        parts.extend([b"aws_session_token=".as_slice(), session.expose(), b"\n".as_slice()]);
    }
    given([("cloud", Some(SecretBytes::concat(&parts)))])
}

fn cloud_native_pg(access_key: &AccessKey) -> Data {
    let AccessKey { id, secret, session } = access_key;
    given([
        ("ACCESS_KEY_ID", Some(id.clone())),
        ("ACCESS_SECRET_KEY", Some(secret.clone())),
        ("ACCESS_SESSION_TOKEN", session.clone()),
    ])
}

fn longhorn(facts: &Facts<'_>) -> Data {
    // Its own defaults are those of the spec.
    let is_virtual = facts.spec.path_style.map(|path_style| text(boolean(!path_style)));
    given([
        ("AWS_ACCESS_KEY_ID", Some(facts.access_key.id.clone())),
        ("AWS_SECRET_ACCESS_KEY", Some(facts.access_key.secret.clone())),
        ("AWS_ENDPOINTS", own_endpoint(facts)),
        ("AWS_CERT", facts.authorities.clone()),
        ("VIRTUAL_HOSTED_STYLE", is_virtual),
    ])
}

fn loki_stack(facts: &Facts<'_>) -> Data {
    given([
        ("access_key_id", Some(facts.access_key.id.clone())),
        ("access_key_secret", Some(facts.access_key.secret.clone())),
        ("bucketnames", Some(text(&facts.spec.bucket))),
        ("endpoint", Some(text(&facts.place.endpoint()))),
        ("region", Some(text(&facts.place.region))),
        ("forcepathstyle", Some(text(boolean(facts.place.path_style)))),
    ])
}

/// YAML, of which JSON is a part.
fn thanos(facts: &Facts<'_>) -> Data {
    #[derive(Serialize)]
    struct Configuration<'a> {
        #[serde(rename = "type")]
        type_: &'static str,
        config: Bucket<'a>,
    }
    #[derive(Serialize)]
    struct Bucket<'a> {
        bucket: &'a str,
        endpoint: &'a str,
        region: &'a str,
        access_key: &'a str,
        secret_key: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        session_token: Option<&'a str>,
        insecure: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        bucket_lookup_type: Option<&'static str>,
    }
    let Facts { spec, place, access_key, .. } = facts;
    let lookup = |path_style: bool| if path_style { "path" } else { "virtual-hosted" };
    let config = Bucket {
        bucket: &spec.bucket,
        endpoint: &place.host(),
        region: &place.region,
        access_key: access_key.id.text(),
        secret_key: access_key.secret.text(),
        session_token: access_key.session.as_ref().map(SecretBytes::text),
        insecure: place.scheme == Scheme::Http,
        bucket_lookup_type: spec.path_style.map(lookup),
    };
    given([("objstore.yml", Some(json(&Configuration { type_: "S3", config })))])
}

fn flux(access_key: &AccessKey) -> Data {
    given([("accesskey", Some(access_key.id.clone())), ("secretkey", Some(access_key.secret.clone()))])
}

fn bucket_info(facts: &Facts<'_>) -> Data {
    #[derive(Serialize)]
    struct BucketInfo<'a> {
        metadata: Metadata<'a>,
        spec: Spec<'a>,
    }
    #[derive(Serialize)]
    struct Metadata<'a> {
        name: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec<'a> {
        bucket_name: &'a str,
        authentication_type: &'static str,
        #[serde(rename = "secretS3")]
        s3: S3<'a>,
        #[serde(rename = "secretAzure")]
        azure: Option<&'static str>,
        protocols: [&'static str; 1],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct S3<'a> {
        endpoint: &'a str,
        region: &'a str,
        #[serde(rename = "accessKeyID")]
        access_key_id: &'a str,
        access_secret_key: &'a str,
    }
    let Facts { spec, place, access_key, .. } = facts;
    let s3 = S3 {
        endpoint: &place.endpoint(),
        region: &place.region,
        access_key_id: access_key.id.text(),
        access_secret_key: access_key.secret.text(),
    };
    let info = BucketInfo {
        metadata: Metadata { name: &spec.bucket },
        spec: Spec {
            bucket_name: &spec.bucket,
            authentication_type: "KEY",
            s3,
            azure: None,
            protocols: ["s3"],
        },
    };
    given([("BucketInfo", Some(json(&info)))])
}

fn custom(facts: &Facts<'_>, keys: &CustomKeys) -> Data {
    let Facts { spec, place, access_key, authorities } = facts;
    let entries = [
        (Some(&keys.access_key_id), Some(access_key.id.clone())),
        (Some(&keys.secret_access_key), Some(access_key.secret.clone())),
        (keys.session_token.as_ref(), access_key.session.clone()),
        (keys.bucket.as_ref(), Some(text(&spec.bucket))),
        (keys.region.as_ref(), Some(text(&place.region))),
        (keys.endpoint.as_ref(), Some(text(&place.endpoint()))),
        (keys.endpoint_host.as_ref(), Some(text(&place.host()))),
        (keys.path_style.as_ref(), Some(text(boolean(place.path_style)))),
        (keys.ca.as_ref(), authorities.clone()),
    ];
    entries.into_iter().filter_map(|(key, value)| Some((key?.clone(), value?))).collect()
}

/// Of AWS S3, its own clients know the endpoint by the region.
fn own_endpoint(facts: &Facts<'_>) -> Option<SecretBytes> {
    facts.spec.endpoint.is_some().then(|| text(&facts.place.endpoint()))
}

/// The keys that have a value.
fn given<const N: usize>(entries: [(&str, Option<SecretBytes>); N]) -> Data {
    entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn text(text: &str) -> SecretBytes {
    text.into()
}

const fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn json(value: &impl Serialize) -> SecretBytes {
    // Texts and truth values under fixed names always serialize.
    SecretBytes::json(value).unwrap_or_else(|_| SecretBytes::new(Vec::new()))
}
