//! Azure Container Registry: a token of Microsoft Entra, exchanged for a refresh token of the registry.
//!
//! Per Azure/acr docs/AAD-OAuth.md, and "Microsoft identity platform and the OAuth 2.0 client credentials flow".

use serde::Deserialize;

use super::{
    grant::{Flow, Proof},
    jwt,
    message::{Expires, Given, Known, Stage, form},
    outcome::MintError,
};
use crate::domain::{SecretBytes, registry::ACR_TOKEN_USER, verification::Request};

pub(super) const ENTRA: Stage = Stage { ask: entra, read: |body, _| access_token(body) };
pub(super) const EXCHANGE: Stage = Stage { ask: exchange, read: |body, _| refresh_token(body) };

const AUTHORITY: &str = "login.microsoftonline.com";
const SCOPE: &[u8] = b"https://containerregistry.azure.net/.default";

/// The directory and the application: those of the spec, else those of the identity.
fn names<'a>(known: &'a Known<'_>) -> (Option<&'a String>, Option<&'a String>) {
    let of_identity = match known.proof {
        Proof::WebIdentity(identity) => (identity.tenant.as_ref(), identity.client.as_ref()),
        _ => (None, None),
    };
    match &known.grant.flow {
        Flow::Acr { tenant, client, .. } => {
            (tenant.as_ref().or(of_identity.0), client.as_ref().or(of_identity.1))
        }
        _ => of_identity,
    }
}

fn entra(known: &Known<'_>) -> Result<Request, MintError> {
    let (tenant, client) = names(known);
    let tenant =
        tenant.ok_or_else(|| no_identity("`tenantId` or annotation azure.workload.identity/tenant-id"))?;
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
    // It may come from an annotation, of which no schema knows.
    let tenant: String = form_urlencoded::byte_serialize(tenant.as_bytes()).collect();
    Ok(form(AUTHORITY, format!("/{tenant}/oauth2/v2.0/token"), &fields))
}

fn no_identity(what: &str) -> MintError {
    MintError::identity_missing(format!("the Azure identity is not complete: {what} is missing"))
}

fn exchange(known: &Known<'_>) -> Result<Request, MintError> {
    let Flow::Acr { registry, .. } = &known.grant.flow else { return Err(no_identity("registry")) };
    known.may_ask(registry)?;
    let token = known.bearer.map_or(&[][..], SecretBytes::expose);
    let host = registry.to_string();
    let mut fields: Vec<(&str, &[u8])> =
        vec![("grant_type", b"access_token"), ("service", host.as_bytes()), ("access_token", token)];
    fields.extend(names(known).0.map(|tenant| ("tenant", tenant.as_bytes())));
    Ok(form(&host, "/oauth2/exchange", &fields))
}

/// What Entra answers.
fn access_token(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        access_token: SecretBytes,
    }
    let read: Response = serde_json::from_slice(body).ok()?;
    Some(Given::Bearer(read.access_token))
}

/// What the registry answers.
fn refresh_token(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        refresh_token: SecretBytes,
    }
    let Response { refresh_token: password } = serde_json::from_slice(body).ok()?;
    let expires = Expires::At(jwt::expires(password.expose())?);
    Some(Given::Token { username: ACR_TOKEN_USER.into(), password, expires })
}
