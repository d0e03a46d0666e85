//! GitHub Apps: "Generating a JSON Web Token (JWT) for a GitHub App", and "Create an installation access token for an app" of
//! the REST API (docs.github.com).

use serde_json::json;

use super::{
    super::registry::Answer,
    APP, INSTALLATION, jwt,
    request::{Refusal, Request, refuse, told},
    service::Service,
    shared::{Shared, random},
};

/// GitHub takes any user name with it.
pub const USER: &str = "x-access-token";

const HOUR: u64 = 3600;

pub fn installation_token(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    if request.header("user-agent").is_none_or(str::is_empty) {
        return Err(refuse(
            403,
            "",
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
        ));
    }
    let token = request.authorization("Bearer").ok_or_else(|| refuse(401, "", "Requires authentication"))?;
    let claims = jwt::verified_rs256(token, &shared.rsa.public);
    let claims = claims.map_err(|_| refuse(401, "", "A JSON web token could not be decoded"))?;
    let time = |name: &str| {
        let message = format!("'{name}' claim must be numeric");
        claims[name].as_i64().ok_or_else(|| refuse(401, "", message))
    };
    let (from, until, now) = (time("iat")?, time("exp")?, jwt::now());
    if from > now {
        return Err(refuse(
            401,
            "",
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ));
    }
    if until <= now {
        return Err(refuse(
            401,
            "",
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ));
    }
    if until > now + 600 {
        return Err(refuse(401, "", "'Expiration time' claim ('exp') is too far in the future"));
    }
    // A client id, or the number of the App, also as a text.
    if claims["iss"] != APP && claims["iss"].as_str() != Some(APP.to_string().as_str()) {
        return Err(refuse(401, "", "Integration not found"));
    }
    let accept = request.header("accept").unwrap_or("application/vnd.github+json");
    if accept != "application/vnd.github+json" && accept != "application/json" && accept != "*/*" {
        return Err(refuse(415, "", "Unsupported 'Accept' header"));
    }
    if request.header("x-github-api-version").is_some_and(|version| version != "2022-11-28") {
        return Err(refuse(400, "", "The API version is not supported."));
    }
    if request.method != "POST" || request.path != format!("/app/installations/{INSTALLATION}/access_tokens")
    {
        return Err(refuse(404, "", "Not Found"));
    }
    check_permissions(request)?;
    let (_, expires) = shared.life(HOUR);
    // The form since 2026: longer than what many have thought, and with dots.
    let token = format!("{}.{}.{}", random(&format!("ghs_{APP}_"), 60), random("", 300), random("", 80));
    let token = shared.mint(Service::GitHub, USER, token, expires);
    let body = json!({
        "token": token, "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "permissions": {"packages": "read", "metadata": "read"}, "repository_selection": "all",
    });
    Ok(told(201, &body))
}

/// The App may read packages, and nothing else.
fn check_permissions(request: &Request) -> Result<(), Refusal> {
    if request.body.is_empty() {
        return Ok(());
    }
    let body = request.json().map_err(|_| refuse(400, "", "Problems parsing JSON"))?;
    for (name, value) in body.as_object().into_iter().flatten() {
        let fits = match name.as_str() {
            "permissions" => value.as_object().is_some_and(|permissions| {
                permissions
                    .iter()
                    .all(|(name, level)| ["packages", "metadata"].contains(&name.as_str()) && level == "read")
            }),
            "repositories" | "repository_ids" => value.is_array(),
            _ => false,
        };
        if !fits {
            return Err(refuse(
                422,
                "",
                format!("The permissions requested are not granted to this installation: {name}"),
            ));
        }
    }
    Ok(())
}

pub fn error(refusal: &Refusal) -> Answer {
    let link = "https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app";
    let status = refusal.status.to_string();
    told(refusal.status, &json!({"message": refusal.message, "documentation_url": link, "status": status}))
}
