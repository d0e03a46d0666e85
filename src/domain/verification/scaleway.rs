//! Scaleway's own API: whether the key is known, the namespace exists, and where it is.
//!
//! Per scaleway-sdk-go api/registry/v1: `GET /registry/v1/regions/{region}/namespaces?name=` with the secret key as
//! `X-Auth-Token`.

use serde::Deserialize;

use super::{
    address::Reach,
    outcome::{Answer, FoundNamespace, Outcome},
    request::{Authorization, Method, Request},
};
use crate::domain::reason::Reason;

const HOST: &str = "api.scaleway.com";

/// Asks for a namespace by its name; without one, for any.
pub(super) fn request(region: &str, namespace: Option<&str>) -> Request {
    let query = namespace.map_or_else(|| "page_size=1".to_owned(), |name| format!("name={name}"));
    let path = format!("/registry/v1/regions/{region}/namespaces?{query}");
    let request = Request::to_service(Method::Get, HOST, path);
    Request { reach: Reach::Public, authorization: Authorization::AuthToken, ..request }
}

/// What the answer adds to what came of the login. A key that may pull need not be allowed to ask the API, and an API
/// that is down says nothing.
pub(super) fn outcome(login: Outcome, answer: &Answer, name: Option<&str>) -> Outcome {
    #[derive(Deserialize)]
    struct Namespaces {
        namespaces: Vec<Namespace>,
    }
    #[derive(Deserialize)]
    struct Namespace {
        id: String,
        name: String,
        endpoint: String,
        #[serde(default)]
        status: String,
    }
    let answered = |reason, detail| Outcome::answered(reason, detail, answer);
    match answer.status {
        200 => {}
        // Its registry answers a wrong key with a 404.
        401 if login.reason != Reason::Authenticated => {
            return answered(Reason::AuthenticationFailed, "does not know this secret key");
        }
        _ => return login,
    }
    let Some(name) = name else { return login };
    let Ok(read) = serde_json::from_slice::<Namespaces>(answer.body.expose()) else { return login };
    // Should the API ever take the name for a part of one, another namespace must not stand for it.
    match read.namespaces.into_iter().find(|found| found.name == name && found.status != "deleting") {
        None => answered(
            Reason::NamespaceNotFound,
            "shows no such namespace to this key; check `spec.scaleway.namespace`",
        ),
        Some(found) => {
            let is_sound = is_uuid(&found.id) && is_endpoint(&found.endpoint);
            let namespace = is_sound.then_some(FoundNamespace { id: found.id, endpoint: found.endpoint });
            let detail = "accepts the login, and has the namespace";
            Outcome { namespace, ..Outcome::new(Reason::Authenticated, detail) }
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// host/path, as in the name of an image.
fn is_endpoint(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    text.len() <= 512 && text.bytes().all(is_part)
}
