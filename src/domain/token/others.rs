//! GitHub Apps, robots of Quay, and DigitalOcean.
//!
//! Per GitHub's REST API ("Create an installation access token for an app"), quay/quay endpoints/oauth/robot_identity_federation.py,
//! and DigitalOcean's API reference ("Get Docker Credentials for Container Registry").

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    grant::{Flow, Proof},
    jwt,
    message::{Expires, Given, Known, bearer},
    outcome::MintError,
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    registry::GITHUB_TOKEN_USER,
    schedule::DIGITALOCEAN_LIFE,
    verification::{Authorization, Method, Request, Scheme, Server},
};

/// So much older is a claim than it is, and so long good: GitHub takes none from the future, and none for more than ten
/// minutes.
const CLAIM_AGE: i64 = 60;
const CLAIM: i64 = 540;

pub(super) fn github(known: &Known<'_>) -> Result<Request, MintError> {
    #[derive(Serialize)]
    struct Claims {
        iss: String,
        iat: i64,
        exp: i64,
    }
    let bad = || {
        MintError::new(
            Reason::InvalidFormat,
            "the Secret has no private key of a GitHub App: one of RSA, in PEM",
        )
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
        Some(api) if api.host.ends_with(".ghe.com") => {
            Request { path, ..to_named(known, Method::Post, api)? }
        }
        Some(api) => Request { path: format!("/api/v3{path}"), ..to_named(known, Method::Post, api)? },
    };
    let headers = vec![
        bearer(&token),
        ("accept", "application/vnd.github+json".into()),
        ("content-type", "application/json".into()),
    ];
    Ok(Request { headers, body: Some(r#"{"permissions":{"packages":"read"}}"#.into()), ..request })
}

pub(super) fn quay(known: &Known<'_>) -> Result<Request, MintError> {
    let (Flow::Quay { registry, robot }, Proof::WebIdentity(identity)) = (&known.grant.flow, known.proof)
    else {
        return Err(MintError::identity_missing("there is no ServiceAccount"));
    };
    let pair = SecretBytes::concat(&[robot.as_bytes(), b":", identity.token.expose()]);
    let text = Zeroizing::new(STANDARD.encode(pair.expose()));
    let headers = vec![("authorization", SecretBytes::concat(&[b"Basic ", text.as_bytes()]))];
    let request = to_named(known, Method::Get, registry)?;
    Ok(Request { path: "/oauth2/federation/robot/token".to_owned(), headers, ..request })
}

pub(super) fn digital_ocean(known: &Known<'_>) -> Result<Request, MintError> {
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
fn to_named(known: &Known<'_>, method: Method, server: &Server) -> Result<Request, MintError> {
    known.may_ask(server)?;
    Ok(Request {
        scheme: Scheme::Https,
        server: server.clone(),
        reach: known.access.reach(server, Scheme::Https),
        method,
        path: String::new(),
        authorization: Authorization::Nobody,
        headers: Vec::new(),
        body: None,
    })
}

pub(super) fn installation_token(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        token: SecretBytes,
        expires_at: Timestamp,
    }
    let Response { token: password, expires_at } = serde_json::from_slice(body).ok()?;
    let expires = Expires::At(expires_at);
    Some(Given::Token { username: GITHUB_TOKEN_USER.into(), password, expires })
}

pub(super) fn robot_token(body: &[u8], flow: &Flow) -> Option<Given> {
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
pub(super) fn docker_credentials(body: &[u8]) -> Option<Given> {
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
    let pair = Zeroizing::new(STANDARD.decode(auth.expose()).ok()?);
    // The documented one ends in a line break.
    let (username, password) = str::from_utf8(&pair).ok()?.trim_end_matches(['\r', '\n']).split_once(':')?;
    let (username, password) = (username.into(), password.into());
    Some(Given::Token { username, password, expires: Expires::In(DIGITALOCEAN_LIFE) })
}
