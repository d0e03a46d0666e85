//! Google: access tokens by a key, by workload identity federation or by the metadata server, also of an impersonated
//! service account.
//!
//! Per "Using OAuth 2.0 for Server to Server Applications", the API references of Security Token Service and IAM
//! Service Account Credentials, and "About VM metadata".

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    grant::{Flow, Proof},
    jwt,
    message::{Expires, Given, Known, Stage, bearer, form},
    outcome::MintError,
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    verification::{Method, Reach, Request, Scheme},
};

pub(super) const KEY: Stage = Stage { ask: key, read: |body, _| access_token(body) };
pub(super) const FEDERATION: Stage = Stage { ask: federation, read: |body, _| access_token(body) };
pub(super) const METADATA: Stage = Stage { ask: metadata, read: |body, _| access_token(body) };
pub(super) const IMPERSONATE: Stage = Stage { ask: impersonate, read: |body, _| impersonated(body) };

/// Enough to pull, and for nothing else ("Deploying to Compute Engine" of Artifact Registry): many will have the token.
const PULL: &str = "https://www.googleapis.com/auth/devstorage.read_only";

/// Of a token that is exchanged for that of another account, and goes nowhere.
const ANY: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Who logs in with an access token.
const USER: &str = "oauth2accesstoken";

/// The host of the one that Google's keys name as `token_uri`. Any other would be one that whoever wrote the Secret chose.
const OAUTH: &str = "oauth2.googleapis.com";

/// How long a claim is good: until the answer is there.
const CLAIM: i64 = 600;

fn scope(known: &Known<'_>) -> &'static str {
    match &known.grant.flow {
        Flow::Google { impersonate: Some(_), .. } => ANY,
        _ => PULL,
    }
}

/// What a key of a service account says.
#[derive(Deserialize)]
struct ServiceAccountKey {
    client_email: String,
    private_key: SecretBytes,
}

fn key(known: &Known<'_>) -> Result<Request, MintError> {
    #[derive(Serialize)]
    struct Claims<'a> {
        iss: &'a str,
        scope: &'a str,
        aud: String,
        iat: i64,
        exp: i64,
    }
    let bad = || {
        MintError::new(
            Reason::InvalidFormat,
            "the Secret has no key of a Google service account, as JSON with `client_email` and `private_key`",
        )
    };
    let Proof::Value(text) = known.proof else { return Err(bad()) };
    let ServiceAccountKey { client_email, private_key } =
        serde_json::from_slice(text.expose()).map_err(|_| bad())?;
    let key = jwt::key(private_key.expose()).ok_or_else(bad)?;
    let now = known.now.as_second();
    let aud = format!("https://{OAUTH}/token");
    let claims = Claims { iss: &client_email, scope: scope(known), aud, iat: now, exp: now + CLAIM };
    let assertion = jwt::sign(&key, &claims, known.random).ok_or_else(bad)?;
    let grant_type = b"urn:ietf:params:oauth:grant-type:jwt-bearer";
    Ok(form(OAUTH, "/token", &[("grant_type", grant_type), ("assertion", assertion.expose())]))
}

fn federation(known: &Known<'_>) -> Result<Request, MintError> {
    let Proof::WebIdentity(identity) = known.proof else { return Err(no_identity()) };
    let audience = known.grant.audience();
    let fields: [(&str, &[u8]); 6] = [
        ("grant_type", b"urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", audience.as_bytes()),
        ("scope", scope(known).as_bytes()),
        ("requested_token_type", b"urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", identity.token.expose()),
        ("subject_token_type", b"urn:ietf:params:oauth:token-type:jwt"),
    ];
    Ok(form("sts.googleapis.com", "/v1/token", &fields))
}

fn metadata(known: &Known<'_>) -> Result<Request, MintError> {
    let Proof::Metadata(server) = known.proof else { return Err(no_identity()) };
    let path = format!("/computeMetadata/v1/instance/service-accounts/default/token?scopes={}", scope(known));
    let request = Request::get(Scheme::Http, server.clone(), Reach::Machine, path);
    Ok(Request { headers: vec![("metadata-flavor", "Google".into())], ..request })
}

fn impersonate(known: &Known<'_>) -> Result<Request, MintError> {
    let Flow::Google { impersonate: Some(account), .. } = &known.grant.flow else {
        return Err(no_identity());
    };
    let path = format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
    let body = json!({"scope": [PULL], "lifetime": "3600s"}).to_string();
    let token = known.bearer.ok_or_else(no_identity)?;
    let headers = vec![bearer(token), ("content-type", "application/json".into())];
    let request = Request::to_service(Method::Post, "iamcredentials.googleapis.com", path);
    Ok(Request { headers, body: Some(body.as_str().into()), ..request })
}

fn no_identity() -> MintError {
    MintError::identity_missing("there is no Google identity")
}

/// What all but [`impersonate`] are answered.
fn access_token(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    struct Response {
        access_token: SecretBytes,
        expires_in: u64,
    }
    let Response { access_token: password, expires_in } = serde_json::from_slice(body).ok()?;
    let expires = Expires::In(Duration::from_secs(expires_in));
    Some(Given::Token { username: USER.into(), password, expires })
}

fn impersonated(body: &[u8]) -> Option<Given> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        access_token: SecretBytes,
        expire_time: Timestamp,
    }
    let Response { access_token: password, expire_time } = serde_json::from_slice(body).ok()?;
    Some(Given::Token { username: USER.into(), password, expires: Expires::At(expire_time) })
}
