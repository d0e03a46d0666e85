//! Entra, by "Microsoft identity platform and the OAuth 2.0 client credentials flow" and "Microsoft Entra authentication and
//! authorization error codes" (learn.microsoft.com), and the exchange of a registry, by `docs/AAD-OAuth.md` of Azure/acr.

use serde_json::json;

use super::{
    super::registry::Answer,
    ACR, CLIENT, TENANT, jwt,
    request::{Fields, Refusal, Request, ok, refuse, told},
    service::Service,
    shared::{Shared, random},
};

const SCOPE: &str = "https://containerregistry.azure.net/.default";
const RESOURCE: &str = "https://containerregistry.azure.net";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const FEDERATION: &str = "api://AzureADTokenExchange";

/// The user name that goes with the refresh token of a registry.
pub const USER: &str = "00000000-0000-0000-0000-000000000000";

const HOUR: u64 = 3600;

pub fn entra(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let invalid = |message: String| refuse(400, "invalid_request", format!("AADSTS900144: {message}"));
    let tenant = request.path.strip_prefix('/').and_then(|path| path.strip_suffix("/oauth2/v2.0/token"));
    match tenant {
        Some(TENANT) if request.query.is_empty() => {}
        Some(_) => {
            return Err(refuse(400, "invalid_request", "AADSTS90002: Tenant not found."));
        }
        None => return Err(refuse(404, "invalid_request", "no such page")),
    }
    let form = request.form().map_err(invalid)?;
    let known =
        ["client_id", "scope", "grant_type", "client_secret", "client_assertion_type", "client_assertion"];
    form.only(&known).map_err(invalid)?;
    let is = |name, wanted, status, code, number: &str| {
        form.is(name, wanted).map_err(|why| refuse(status, code, format!("{number}: {why}")))
    };
    is("grant_type", "client_credentials", 400, "unsupported_grant_type", "AADSTS70003")?;
    is("client_id", CLIENT, 400, "unauthorized_client", "AADSTS700016")?;
    is("scope", SCOPE, 400, "invalid_scope", "AADSTS70011")?;
    authenticate(shared, &form)?;
    let (seconds, expires) = shared.life(HOUR);
    let now = jwt::now();
    let claims = json!({
        "aud": RESOURCE, "iss": format!("https://sts.windows.net/{TENANT}/"), "iat": now, "nbf": now,
        "exp": expires.as_second(), "appid": CLIENT, "tid": TENANT, "ver": "1.0",
    });
    let token = shared.mint(Service::Entra, "", jwt::opaque(&claims), expires);
    Ok(ok(
        &json!({"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}),
    ))
}

fn authenticate(shared: &Shared, form: &Fields) -> Result<(), Refusal> {
    match (form.get("client_secret"), form.get("client_assertion")) {
        (Some(secret), None) if form.get("client_assertion_type").is_none() => {
            if secret == shared.client_secret { Ok(()) } else { Err(unknown_secret()) }
        }
        (None, Some(token)) => {
            let why = |why: String| refuse(401, "invalid_client", format!("AADSTS700213: {why}"));
            form.is("client_assertion_type", ASSERTION)
                .map_err(|why| refuse(400, "invalid_request", format!("AADSTS900144: {why}")))?;
            shared.subject(token, FEDERATION).map(drop).map_err(why)
        }
        _ => Err(refuse(
            401,
            "invalid_client",
            "AADSTS7000218: one of client_assertion and client_secret is needed.",
        )),
    }
}

pub fn unknown_secret() -> Refusal {
    refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
}

pub fn entra_error(refusal: &Refusal) -> Answer {
    let number =
        refusal.message.strip_prefix("AADSTS").and_then(|rest| rest.split(':').next()?.parse::<u64>().ok());
    let body = json!({
        "error": refusal.code,
        "error_description": format!("{} Trace ID: {} Correlation ID: {}", refusal.message, random("", 36), random("", 36)),
        "error_codes": number.into_iter().collect::<Vec<_>>(),
        "timestamp": jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        "trace_id": random("", 36),
        "correlation_id": random("", 36),
    });
    told(refusal.status, &body)
}

pub fn exchange(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let invalid = |message: String| refuse(400, "BAD_REQUEST", message);
    if request.path != "/oauth2/exchange" || !request.query.is_empty() {
        return Err(refuse(404, "NOT_FOUND", "no such page"));
    }
    let form = request.form().map_err(invalid)?;
    form.only(&["grant_type", "service", "tenant", "access_token"]).map_err(invalid)?;
    form.is("grant_type", "access_token").map_err(invalid)?;
    form.is("service", &request.host).map_err(invalid)?;
    let unauthorized = |message: String| refuse(401, "UNAUTHORIZED", message);
    if form.get("tenant").is_some() {
        form.is("tenant", TENANT).map_err(unauthorized)?;
    }
    if !shared.is_good(Service::Entra, form.need("access_token").map_err(invalid)?) {
        return Err(unauthorized("authentication required".to_owned()));
    }
    let (_, expires) = shared.life(3 * HOUR);
    let now = jwt::now();
    let claims = json!({
        "jti": random("", 36), "sub": CLIENT, "iss": "Azure Container Registry", "aud": format!("{ACR}.azurecr.io"),
        "iat": now, "nbf": now, "exp": expires.as_second(), "version": "1.0", "grant_type": "refresh_token",
        "tenant": TENANT, "permissions": {"actions": ["read"], "notActions": []}, "roles": [],
    });
    let token = shared.mint(Service::Acr, USER, jwt::opaque(&claims), expires);
    Ok(ok(&json!({"refresh_token": token})))
}

pub fn acr_error(refusal: &Refusal) -> Answer {
    let error = json!({"code": refusal.code, "message": refusal.message});
    told(refusal.status, &json!({"errors": [error]}))
}
