//! Azure Container Registry: a token of Microsoft Entra, exchanged for a refresh token of the registry.
//!
//! Per Azure/acr docs/AAD-OAuth.md, and "Microsoft identity platform and the OAuth 2.0 client credentials flow".

use serde::Deserialize;

use super::{
    grant::{Flow, Proof},
    jwt,
    message::{Expires, Given, Known, form},
    outcome::MintError,
};
use crate::domain::{
    SecretBytes,
    registry::ACR_TOKEN_USER,
    verification::{Method, Request},
};

const AUTHORITY: &str = "login.microsoftonline.com";
const SCOPE: &[u8] = b"https://containerregistry.azure.net/.default";

/// The directory: that of the spec, else that of the identity.
fn tenant_of<'a>(known: &'a Known<'_>) -> Option<&'a String> {
    let Flow::Acr { tenant, .. } = &known.grant.flow else { return None };
    let of_identity = match known.proof {
        Proof::WebIdentity(identity) => identity.tenant.as_ref(),
        _ => None,
    };
    tenant.as_ref().or(of_identity)
}

pub(super) fn entra(known: &Known<'_>) -> Result<Request, MintError> {
    let Flow::Acr { client, .. } = &known.grant.flow else { return Err(no_identity("identity")) };
    let identity = match known.proof {
        Proof::WebIdentity(identity) => Some(identity),
        _ => None,
    };
    let client = client.as_ref().or(identity.and_then(|identity| identity.client.as_ref()));
    let tenant = tenant_of(known)
        .ok_or_else(|| no_identity("`tenantId` or annotation azure.workload.identity/tenant-id"))?;
    let client =
        client.ok_or_else(|| no_identity("`clientId` or annotation azure.workload.identity/client-id"))?;
    let mut fields: Vec<(&str, &[u8])> =
        vec![("grant_type", b"client_credentials"), ("client_id", client.as_bytes()), ("scope", SCOPE)];
    match known.proof {
        Proof::Value(secret) => fields.push(("client_secret", secret.expose())),
        Proof::WebIdentity(identity) => fields.extend([
            ("client_assertion_type", &b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"[..]),
            ("client_assertion", identity.token.expose()),
        ]),
        _ => return Err(no_identity("identity")),
    }
    let (body, content_type) = form(&fields);
    // It may come from an annotation, of which no schema knows.
    let tenant: String = form_urlencoded::byte_serialize(tenant.as_bytes()).collect();
    let request = Request::to_service(Method::Post, AUTHORITY, format!("/{tenant}/oauth2/v2.0/token"));
    Ok(Request { headers: vec![content_type], body: Some(body), ..request })
}

fn no_identity(what: &str) -> MintError {
    MintError::identity_missing(format!("the identity of Azure is not complete: there is no {what}"))
}

pub(super) fn exchange(known: &Known<'_>) -> Result<Request, MintError> {
    let Flow::Acr { registry, .. } = &known.grant.flow else { return Err(no_identity("registry")) };
    known.may_ask(registry)?;
    let token = known.bearer.map_or(&[][..], SecretBytes::expose);
    let host = registry.to_string();
    let mut fields: Vec<(&str, &[u8])> =
        vec![("grant_type", b"access_token"), ("service", host.as_bytes()), ("access_token", token)];
    fields.extend(tenant_of(known).map(|tenant| ("tenant", tenant.as_bytes())));
    let (body, content_type) = form(&fields);
    let request = Request::to_service(Method::Post, &host, "/oauth2/exchange");
    Ok(Request { headers: vec![content_type], body: Some(body), ..request })
}

/// What Entra answers.
pub(super) fn access_token(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        access_token: SecretBytes,
    }
    let read: Response = serde_json::from_slice(body).ok()?;
    Some(Given::Bearer(read.access_token))
}

/// What the registry answers.
pub(super) fn refresh_token(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        refresh_token: SecretBytes,
    }
    let Response { refresh_token: password } = serde_json::from_slice(body).ok()?;
    let expires = Expires::At(jwt::expires(password.expose())?);
    Some(Given::Token { username: ACR_TOKEN_USER.into(), password, expires })
}
