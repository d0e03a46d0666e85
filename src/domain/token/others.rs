//! GitHub Apps, robots of Quay, and DigitalOcean.
//!
//! Per GitHub's REST API ("Create an installation access token for an app"), quay/quay endpoints/oauth/robot_identity_federation.py,
//! and DigitalOcean's API reference ("Get Docker Credentials for Container Registry").

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    grant::{Flow, Proof},
    jwt,
    message::{Expires, Given, Known, Stage, bearer, pair},
    outcome::MintError,
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    registry::GITHUB_TOKEN_USER,
    schedule::DIGITALOCEAN_LIFE,
    verification::{Method, Request, Scheme, Server, basic},
};

pub(super) const GITHUB: Stage = Stage { ask: github, read: |body, _| installation_token(body) };
pub(super) const QUAY: Stage = Stage { ask: quay, read: robot_token };
pub(super) const DIGITAL_OCEAN: Stage =
    Stage { ask: digital_ocean, read: |body, _| docker_credentials(body) };

/// So much older is a claim than it is, and so long good: GitHub takes none from the future, and none for more than ten
/// minutes.
const CLAIM_AGE: i64 = 60;
const CLAIM: i64 = 540;

fn github(known: &Known<'_>) -> Result<Request, MintError> {
    #[derive(Serialize)]
    struct Claims {
        iss: String,
        iat: i64,
        exp: i64,
    }
    let bad = || {
        MintError::new(Reason::InvalidFormat, "the Secret has no private key of a GitHub App (RSA, in PEM)")
    };
    let (Flow::GitHub { api, app, installation }, Proof::Value(pem)) = (&known.grant.flow, known.proof)
    else {
        return Err(bad());
    };
    let key = jwt::key(pem.expose()).ok_or_else(bad)?;
    let now = known.now.as_second();
    let claims = Claims { iss: app.to_string(), iat: now - CLAIM_AGE, exp: now + CLAIM };
    let token = jwt::sign(&key, &claims, known.random).ok_or_else(bad)?;
    let path = format!("/app/installations/{installation}/access_tokens");
    let request = match api {
        None => Request::to_service(Method::Post, "api.github.com", path),
        // GitHub's own cloud of an enterprise has the API at a host of its own.
        Some(api) if api.host.ends_with(".ghe.com") => to_named(known, Method::Post, api, path)?,
        Some(api) => to_named(known, Method::Post, api, format!("/api/v3{path}"))?,
    };
    let headers = vec![
        bearer(&token),
        ("accept", "application/vnd.github+json".into()),
        ("content-type", "application/json".into()),
    ];
    Ok(Request { headers, body: Some(r#"{"permissions":{"packages":"read"}}"#.into()), ..request })
}

fn quay(known: &Known<'_>) -> Result<Request, MintError> {
    let (Flow::Quay { registry, robot }, Proof::WebIdentity(identity)) = (&known.grant.flow, known.proof)
    else {
        return Err(MintError::identity_missing("there is no ServiceAccount"));
    };
    let headers = vec![("authorization", basic(robot.as_bytes(), identity.token.expose()))];
    let request = to_named(known, Method::Get, registry, "/oauth2/federation/robot/token")?;
    Ok(Request { headers, ..request })
}

fn digital_ocean(known: &Known<'_>) -> Result<Request, MintError> {
    let (Flow::DigitalOcean { registry }, Proof::Value(token)) = (&known.grant.flow, known.proof) else {
        return Err(MintError::identity_missing("there is no API token"));
    };
    let registry = match registry {
        Some(name) => format!("registries/{name}"),
        None => "registry".to_owned(),
    };
    let life = DIGITALOCEAN_LIFE.as_secs();
    let path = format!("/v2/{registry}/docker-credentials?read_write=false&expiry_seconds={life}");
    let request = Request::to_service(Method::Get, "api.digitalocean.com", path);
    Ok(Request { headers: vec![bearer(token)], ..request })
}

/// To a server that a tenant has named.
fn to_named(
    known: &Known<'_>,
    method: Method,
    server: &Server,
    path: impl Into<String>,
) -> Result<Request, MintError> {
    known.may_ask(server)?;
    let reach = known.access.reach(server, Scheme::Https);
    Ok(Request { method, ..Request::get(Scheme::Https, server.clone(), reach, path) })
}

fn installation_token(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        token: SecretBytes,
        expires_at: Timestamp,
    }
    let Response { token: password, expires_at } = serde_json::from_slice(body).ok()?;
    let expires = Expires::At(expires_at);
    Some(Given::Token { username: GITHUB_TOKEN_USER.into(), password, expires })
}

fn robot_token(body: &[u8], flow: &Flow) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        token: SecretBytes,
    }
    let Flow::Quay { robot, .. } = flow else { return None };
    let Response { token: password } = serde_json::from_slice(body).ok()?;
    let expires = Expires::At(jwt::expires(password.expose())?);
    Some(Given::Token { username: robot.as_str().into(), password, expires })
}

/// A docker config.
fn docker_credentials(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        auths: BTreeMap<String, Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        auth: SecretBytes,
    }
    let read: Response = serde_json::from_slice(body).ok()?;
    let (_, Entry { auth }) = read.auths.into_iter().next()?;
    let (username, password) = pair(&auth)?;
    Some(Given::Token { username, password, expires: Expires::In(DIGITALOCEAN_LIFE) })
}
