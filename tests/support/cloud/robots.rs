//! Federated robots of Quay, by `endpoints/oauth/robot_identity_federation.py` of quay/quay, and credentials of registries of
//! DigitalOcean, by "Get Docker Credentials By Registry Name" of its API (docs.digitalocean.com).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    super::registry::Answer,
    DO_REGISTRY, ROBOT, jwt,
    request::{Fields, Refusal, Request, ok, refuse, told},
    service::Service,
    shared::{Shared, random},
};

const HOUR: u64 = 3600;

/// The configuration of the robot names an audience: Quay itself.
pub fn quay(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let unauthorized = |message: String| refuse(401, "", message);
    if request.method != "GET"
        || request.path != "/oauth2/federation/robot/token"
        || !request.query.is_empty()
    {
        return Err(refuse(404, "", "no such page"));
    }
    let (robot, token) = request.basic().ok_or_else(|| unauthorized("Invalid basic auth header".into()))?;
    if robot != ROBOT {
        return Err(unauthorized("Invalid robot".into()));
    }
    shared.subject(&token, &request.host).map_err(|why| unauthorized(format!("Invalid token: {why}")))?;
    let (_, expires) = shared.life(HOUR);
    let now = jwt::now();
    let claims = json!({
        "iss": "quay", "aud": request.host, "nbf": now, "iat": now, "exp": expires.as_second(), "sub": ROBOT,
        "access": {}, "context": {"com.apostille.root": "$disabled", "entity_kind": "robot", "kind": "user"},
    });
    Ok(ok(&json!({"token": shared.mint(Service::Quay, ROBOT, jwt::opaque(&claims), expires)})))
}

/// A ready file, good for as long as whoever asks says.
pub fn digital_ocean(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let invalid = |message: String| refuse(400, "bad_request", message);
    if request.authorization("Bearer") != Some(&shared.digital_ocean_token) {
        return Err(refuse(401, "unauthorized", "Unable to authenticate you"));
    }
    if request.method != "GET" || request.path != format!("/v2/registries/{DO_REGISTRY}/docker-credentials") {
        return Err(refuse(404, "not_found", "The resource you requested could not be found."));
    }
    let query = Fields::parse(request.query.as_bytes()).map_err(invalid)?;
    query.only(&["read_write", "expiry_seconds"]).map_err(invalid)?;
    // The contract has more; whoever pulls needs no more, and a login that never ends is not what is tested here.
    if query.get("read_write").is_some() {
        query.is("read_write", "false").map_err(invalid)?;
    }
    let seconds = query.need("expiry_seconds").map_err(invalid)?;
    let seconds: u64 = seconds.parse().map_err(|_| invalid("expiry_seconds is no number".to_owned()))?;
    if seconds == 0 {
        return Err(invalid("a login without an end".to_owned()));
    }
    // Its life is what was asked for, so the test's does not count.
    let until = jwt::now() + i64::try_from(seconds).map_err(|_| invalid("expiry_seconds".to_owned()))?;
    let expires = jiff::Timestamp::from_second(until).map_err(|_| invalid("expiry_seconds".to_owned()))?;
    let token = random("dop_v1_", 64);
    let token = shared.mint(Service::DigitalOcean, &token, token.clone(), expires);
    let auth = STANDARD.encode(format!("{token}:{token}"));
    Ok(ok(&json!({"auths": {"registry.digitalocean.com": {"auth": auth}}})))
}

pub fn digital_ocean_error(refusal: &Refusal) -> Answer {
    let body = json!({"id": refusal.code, "message": refusal.message, "request_id": random("", 36)});
    told(refusal.status, &body)
}
