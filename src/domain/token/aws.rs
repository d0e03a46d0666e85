//! Amazon: tokens of ECR and ECR Public, by access keys, roles and Pod Identity.
//!
//! Per the API references of Amazon ECR, Amazon ECR Public and AWS STS.

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::{
    grant::{AccessKey, Flow, Proof},
    message::{Expires, Given, Known, Stage, form, pair},
    outcome::MintError,
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    registry::aws_domain,
    sigv4::{Scope, SigningError, sign},
    verification::{Method, Reach, Request},
};

pub(super) const ASSUME_ROLE_WITH_WEB_IDENTITY: Stage =
    Stage { ask: assume_role_with_web_identity, read: |body, _| credentials(body) };
pub(super) const POD_IDENTITY: Stage =
    Stage { ask: pod_identity, read: |body, _| container_credentials(body) };
pub(super) const ASSUME_ROLE: Stage = Stage { ask: assume_role, read: |body, _| credentials(body) };
pub(super) const GET_AUTHORIZATION_TOKEN: Stage =
    Stage { ask: get_authorization_token, read: |body, _| authorization(body) };

/// Where the API of ECR Public is, and nowhere else.
const PUBLIC_REGION: &str = "us-east-1";

/// How the sessions of roles are called; CloudTrail shows it.
const SESSION: &str = "claviger";

fn region<'a>(known: &'a Known<'_>) -> &'a str {
    match &known.grant.flow {
        Flow::Ecr { region, .. } => region,
        _ => PUBLIC_REGION,
    }
}

fn role<'a>(known: &'a Known<'_>) -> (Option<&'a str>, Option<&'a str>) {
    match &known.grant.flow {
        Flow::Ecr { role, external_id, .. } | Flow::EcrPublic { role, external_id } => {
            (role.as_deref(), external_id.as_deref())
        }
        _ => (None, None),
    }
}

fn sts(known: &Known<'_>, fields: &[(&str, &[u8])]) -> Request {
    let region = region(known);
    let host = format!("sts.{region}.{}", aws_domain(region));
    form(&host, "/", &[&[("Version", &b"2011-06-15"[..])], fields].concat())
}

/// Needs no signature: the token shows who it is.
fn assume_role_with_web_identity(known: &Known<'_>) -> Result<Request, MintError> {
    let Proof::WebIdentity(identity) = known.proof else { return Err(no_access_key()) };
    let role = identity.role.as_deref().or(role(known).0).ok_or_else(|| {
        MintError::identity_missing(
            "the ServiceAccount has no AWS role: set `roleArn`, or its annotation eks.amazonaws.com/role-arn",
        )
    })?;
    Ok(sts(
        known,
        &[
            ("Action", b"AssumeRoleWithWebIdentity"),
            ("RoleArn", role.as_bytes()),
            ("RoleSessionName", SESSION.as_bytes()),
            ("WebIdentityToken", identity.token.expose()),
        ],
    ))
}

fn assume_role(known: &Known<'_>) -> Result<Request, MintError> {
    let (role, external_id) = role(known);
    let mut fields: Vec<(&str, &[u8])> = vec![
        ("Action", b"AssumeRole"),
        ("RoleArn", role.unwrap_or_default().as_bytes()),
        ("RoleSessionName", SESSION.as_bytes()),
    ];
    fields.extend(external_id.map(|id| ("ExternalId", id.as_bytes())));
    signed(known, sts(known, &fields), "sts")
}

/// Per "Container credential provider" of the AWS SDKs reference: whatever the environment of the operator names.
fn pod_identity(known: &Known<'_>) -> Result<Request, MintError> {
    let Proof::PodIdentity { scheme, server, path, authorization } = known.proof else {
        return Err(no_access_key());
    };
    let headers = authorization.iter().map(|value| ("authorization", value.clone())).collect();
    Ok(Request { headers, ..Request::get(*scheme, server.clone(), Reach::Machine, path) })
}

fn get_authorization_token(known: &Known<'_>) -> Result<Request, MintError> {
    let region = region(known);
    let domain = aws_domain(region);
    let (host, target, service) = match &known.grant.flow {
        Flow::EcrPublic { .. } => (
            format!("api.ecr-public.{region}.{domain}"),
            "SpencerFrontendService.GetAuthorizationToken",
            "ecr-public",
        ),
        _ => (
            format!("api.ecr.{region}.{domain}"),
            "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
            "ecr",
        ),
    };
    let headers =
        vec![("content-type", "application/x-amz-json-1.1".into()), ("x-amz-target", target.into())];
    let request = Request::to_service(Method::Post, &host, "/");
    signed(known, Request { headers, body: Some("{}".into()), ..request }, service)
}

/// Adds the headers of a signature.
fn signed(known: &Known<'_>, request: Request, service: &str) -> Result<Request, MintError> {
    let key = known.access_key.ok_or_else(no_access_key)?;
    let scope = Scope { region: region(known), service, time: known.now };
    sign(request, key, scope).map_err(|error| match error {
        SigningError::BadCharacters => MintError::new(Reason::InvalidFormat, error.to_string()),
        SigningError::Broken => MintError::new(Reason::Internal, "a request to AWS could not be signed"),
    })
}

fn no_access_key() -> MintError {
    MintError::identity_missing("there is no AWS identity")
}

/// A temporary access key; of Pod Identity, with another name for the token of the session.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: SecretBytes,
    secret_access_key: SecretBytes,
    #[serde(alias = "Token")]
    session_token: SecretBytes,
}

impl From<Credentials> for Given {
    fn from(given: Credentials) -> Self {
        let Credentials { access_key_id: id, secret_access_key: secret, session_token } = given;
        Self::AccessKey(AccessKey { id, secret, session: Some(session_token) })
    }
}

/// What AssumeRole and AssumeRoleWithWebIdentity answer.
fn credentials(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
        result: Assumed,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Assumed {
        credentials: Credentials,
    }
    let read: Response = quick_xml::de::from_str(str::from_utf8(body).ok()?).ok()?;
    Some(read.result.credentials.into())
}

/// What the agent of Pod Identity answers.
fn container_credentials(body: &[u8]) -> Option<Given> {
    serde_json::from_slice::<Credentials>(body).ok().map(Given::from)
}

/// What GetAuthorizationToken answers: ECR a list, ECR Public the one.
fn authorization(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        authorization_data: OneOrMany,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<Data>),
        One(Data),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        authorization_token: SecretBytes,
        /// Seconds, with a fraction.
        expires_at: f64,
    }
    let read: Response = serde_json::from_slice(body).ok()?;
    let data = match read.authorization_data {
        OneOrMany::Many(all) => all.into_iter().next()?,
        OneOrMany::One(data) => data,
    };
    let (username, password) = pair(&data.authorization_token)?;
    #[allow(clippy::cast_possible_truncation, reason = "a fraction of a second does not count")]
    let seconds = data.expires_at as i64;
    Some(Given::Token { username, password, expires: Expires::At(Timestamp::from_second(seconds).ok()?) })
}
