//! Google: "Using OAuth 2.0 for Server to Server Applications" (developers.google.com), the reference of the Security Token
//! Service and of `generateAccessToken` (cloud.google.com), and "About VM metadata" for the metadata server.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::registry::Answer,
    GOOGLE_ACCOUNT, PROVIDER, jwt,
    request::{Fields, Refusal, Request, ok, refuse, told},
    service::Service,
    shared::{Shared, random},
};

/// The user name that goes with any access token.
pub const USER: &str = "oauth2accesstoken";

const HOUR: u64 = 3600;
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Those with which images can be pulled.
fn check_scopes<'a>(scopes: impl Iterator<Item = &'a str>) -> Result<(), String> {
    const KNOWN: [&str; 3] = [
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/cloud-platform.read-only",
        "https://www.googleapis.com/auth/devstorage.read_only",
    ];
    let scopes: Vec<&str> = scopes.collect();
    if !scopes.is_empty() && scopes.iter().all(|scope| KNOWN.contains(scope)) {
        Ok(())
    } else {
        Err(format!("the scopes are {scopes:?}"))
    }
}

fn access_token(shared: &Shared, service: Service) -> (String, u64, Timestamp) {
    // A second less, as Google says it.
    let (seconds, expires) = shared.life(HOUR - 1);
    (shared.mint(service, USER, random("ya29.c.", 1000), expires), seconds, expires)
}

/// A key of a service account becomes an access token.
pub fn token(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let invalid = |message: String| refuse(400, "invalid_request", message);
    let grant = |message: String| refuse(400, "invalid_grant", message);
    if request.path != "/token" || !request.query.is_empty() {
        return Err(refuse(404, "not_found", "no such page"));
    }
    let form = request.form().map_err(invalid)?;
    form.only(&["grant_type", "assertion"]).map_err(invalid)?;
    form.is("grant_type", JWT_BEARER).map_err(|why| refuse(400, "unsupported_grant_type", why))?;
    let claims = jwt::verified_rs256(form.need("assertion").map_err(invalid)?, &shared.rsa.public);
    let claims = claims.map_err(|why| grant(format!("Invalid JWT: {why}")))?;
    let names: Vec<&String> = claims.as_object().map(|claims| claims.keys().collect()).unwrap_or_default();
    if names.iter().any(|name| !["iss", "scope", "aud", "exp", "iat", "sub"].contains(&name.as_str())) {
        return Err(grant(format!("the claims are {names:?}")));
    }
    if claims["iss"] != GOOGLE_ACCOUNT {
        return Err(grant("Invalid grant: account not found".to_owned()));
    }
    // To act as a user needs a right that no key for images has.
    if claims.get("sub").is_some_and(|sub| sub != GOOGLE_ACCOUNT) {
        return Err(refuse(401, "unauthorized_client", "Client is unauthorized."));
    }
    if claims["aud"] != TOKEN_URI {
        return Err(grant("Invalid JWT: Failed audience check.".to_owned()));
    }
    let time = |name: &str| claims[name].as_i64().ok_or_else(|| grant(format!("{name} is missing")));
    let (from, until, now) = (time("iat")?, time("exp")?, jwt::now());
    if from > now + 60 || until <= now || until - from > 3600 {
        return Err(grant("Invalid JWT: Token must be a short-lived token (60 minutes).".to_owned()));
    }
    let scope = claims["scope"].as_str().unwrap_or_default();
    check_scopes(scope.split(' ')).map_err(|why| refuse(400, "invalid_scope", why))?;
    let (token, seconds, _) = access_token(shared, Service::GoogleToken);
    Ok(ok(&json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"})))
}

/// A token of a cluster becomes one of a federated identity. It comes as a form, or as JSON with other names.
pub fn federation(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let invalid = |message: String| refuse(400, "invalid_request", message);
    let names =
        ["grant_type", "audience", "scope", "requested_token_type", "subject_token_type", "subject_token"];
    let in_json =
        ["grantType", "audience", "scope", "requestedTokenType", "subjectTokenType", "subjectToken"];
    if request.path != "/v1/token" || request.method != "POST" {
        return Err(refuse(404, "not_found", "no such page"));
    }
    if request.header("authorization").is_some() {
        return Err(refuse(401, "invalid_client", "an Authorization header"));
    }
    let (fields, names) = if request.is_json() {
        (request.json().and_then(|json| Fields::of_json(&json)).map_err(invalid)?, in_json)
    } else {
        (request.form().map_err(invalid)?, names)
    };
    let [grant_type, audience, scope, requested, subject_type, subject] = names;
    fields.only(&names).map_err(invalid)?;
    fields.is(grant_type, EXCHANGE).map_err(|why| refuse(400, "unsupported_grant_type", why))?;
    fields.is(requested, ACCESS_TOKEN).map_err(invalid)?;
    let whose = format!("//iam.googleapis.com/{PROVIDER}");
    fields.is(audience, &whose).map_err(|why| refuse(400, "invalid_target", why))?;
    let kinds = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
    if !kinds.contains(&fields.need(subject_type).map_err(invalid)?) {
        return Err(invalid("subject_token_type".to_owned()));
    }
    check_scopes(fields.need(scope).map_err(invalid)?.split(' '))
        .map_err(|why| refuse(400, "invalid_scope", why))?;
    let token = fields.need(subject).map_err(invalid)?;
    shared.subject(token, &whose).map_err(|why| refuse(400, "invalid_grant", why))?;
    let (token, seconds, _) = access_token(shared, Service::GoogleSts);
    Ok(ok(&json!({
        "access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": seconds,
    })))
}

/// Whoever may, becomes another service account.
pub fn impersonation(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let invalid = |message: String| refuse(400, "INVALID_ARGUMENT", message);
    let denied = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
    let paths = [GOOGLE_ACCOUNT.to_owned(), GOOGLE_ACCOUNT.replace('@', "%40")];
    let path = |account: &String| format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
    if request.method != "POST" || !request.is_json() {
        return Err(refuse(404, "NOT_FOUND", "no such page"));
    }
    let token = request.authorization("Bearer").unwrap_or_default();
    let from = [Service::GoogleSts, Service::GoogleToken, Service::Metadata];
    if !from.iter().any(|service| shared.is_good(*service, token)) {
        let message = "Request had invalid authentication credentials.";
        return Err(refuse(401, "UNAUTHENTICATED", message));
    }
    if !paths.iter().map(path).any(|path| path == request.path) {
        return Err(refuse(403, "PERMISSION_DENIED", denied));
    }
    let body = request.json().map_err(invalid)?;
    let names: Vec<&String> = body.as_object().map(|body| body.keys().collect()).unwrap_or_default();
    if names.iter().any(|name| !["scope", "lifetime", "delegates"].contains(&name.as_str())) {
        return Err(invalid(format!("the fields are {names:?}")));
    }
    if body.get("delegates").is_some_and(|delegates| *delegates != json!([])) {
        return Err(refuse(403, "PERMISSION_DENIED", denied));
    }
    let scopes = body["scope"].as_array().ok_or_else(|| invalid("no list of scopes".to_owned()))?;
    check_scopes(scopes.iter().filter_map(Value::as_str)).map_err(invalid)?;
    let lifetime = body["lifetime"].as_str().map(|text| text.strip_suffix('s')?.parse::<u64>().ok());
    let asked = match lifetime {
        None => HOUR,
        Some(Some(seconds @ 1..=HOUR)) => seconds,
        Some(_) => return Err(invalid(format!("the lifetime is {}", body["lifetime"]))),
    };
    let (_, expires) = shared.life(asked);
    let token = shared.mint(Service::IamCredentials, USER, random("ya29.c.", 1000), expires);
    Ok(ok(&json!({"accessToken": token, "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()})))
}

pub fn api_error(refusal: &Refusal) -> Answer {
    let error = json!({"code": refusal.status, "message": refusal.message, "status": refusal.code});
    told(refusal.status, &json!({"error": error}))
}

/// What a node, or a Pod of GKE, may do.
pub fn metadata(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
    if request.header("metadata-flavor") != Some("Google") || request.header("x-forwarded-for").is_some() {
        return Err(refuse(403, "", "Missing Metadata-Flavor:Google header."));
    }
    if request.method != "GET" || request.path != PATH {
        return Err(refuse(404, "", "not found"));
    }
    let query = Fields::parse(request.query.as_bytes()).map_err(|why| refuse(400, "", why))?;
    query.only(&["scopes"]).map_err(|why| refuse(400, "", why))?;
    if let Some(scopes) = query.get("scopes") {
        check_scopes(scopes.split(',')).map_err(|why| refuse(400, "", why))?;
    }
    let (token, seconds, _) = access_token(shared, Service::Metadata);
    let body = json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"});
    Ok(ok(&body).header("metadata-flavor", "Google"))
}
