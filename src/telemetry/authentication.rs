//! Who may read `/metrics`: TokenReview and SubjectAccessReview, as Kubernetes' own components ask for them.

use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request};
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, Error, api::PostParams};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::domain::fingerprint::FingerprintKey;
use crate::domain::review::{Reviews, Verdict};
use crate::domain::schedule::{REVIEW_PAUSE, REVIEW_TIMEOUT};
use crate::lock::Lock;

/// Asks the API server about the tokens of those who want the metrics, and remembers for a while what it said. Of a
/// token it keeps a keyed hash.
pub(crate) struct Authenticator {
    client: Client,
    key: FingerprintKey,
    reviews: Lock<Reviews>,
    /// When the next token may be asked about that was let in before. It does not wait for those that nobody knows.
    known: Mutex<Instant>,
    /// The same of all others.
    unknown: Mutex<Instant>,
    fails: AtomicBool,
}

/// A TokenReview that owns no copy of the token.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Token<'a>,
}

#[derive(Serialize)]
struct Token<'a> {
    token: &'a str,
}

/// A TokenReview that was answered; the token in it is not read.
#[derive(Deserialize)]
struct Answer {
    status: TokenReviewStatus,
}

impl Authenticator {
    pub fn new(client: Client) -> Self {
        let now = Instant::now();
        Self {
            client,
            key: FingerprintKey::new(rand::random()),
            reviews: Lock::default(),
            known: Mutex::new(now),
            unknown: Mutex::new(now),
            fails: AtomicBool::default(),
        }
    }

    /// What the API server says of the token of a request; `None` when it could not be asked.
    pub(super) async fn review(&self, headers: &HeaderMap) -> Option<Verdict> {
        let Some(token) = bearer(headers) else { return Some(Verdict::Unauthenticated) };
        let id = self.key.fingerprint("token", [("", token)]);
        let remembered = || self.reviews.read().get(id, std::time::Instant::now());
        if let Some(verdict) = remembered() {
            return Some(verdict);
        }
        let turns = if self.reviews.read().is_known(id) { &self.known } else { &self.unknown };
        let turn = async {
            let mut next = turns.lock().await;
            sleep_until(*next).await;
            // Another connection may have asked meanwhile.
            let verdict = remembered();
            if verdict.is_none() {
                // Before asking: to hang up must not bring the turn of the next one forward.
                *next = Instant::now() + REVIEW_PAUSE;
            }
            verdict
        };
        if let Some(verdict) = timeout(REVIEW_TIMEOUT, turn).await.ok()? {
            return Some(verdict);
        }
        let answer = match timeout(REVIEW_TIMEOUT, self.ask(token)).await {
            Ok(answer) => answer.map_err(|error| why(&error)),
            Err(_) => Err("no answer in time".to_owned()),
        };
        match answer {
            Ok(verdict) => {
                self.fails.store(false, Ordering::Relaxed);
                self.reviews.write().note(id, verdict, std::time::Instant::now());
                Some(verdict)
            }
            Err(why) => {
                if !self.fails.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the API server does not say who may read the metrics: {why}");
                }
                None
            }
        }
    }

    async fn ask(&self, token: &str) -> Result<Verdict, Error> {
        let question =
            Question { api_version: "authentication.k8s.io/v1", kind: "TokenReview", spec: Token { token } };
        let request = Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header(CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(&question).map_err(Error::SerdeError)?)
            .map_err(Error::HttpError)?;
        let Answer { status } = self.client.request(request).await?;
        if status.authenticated != Some(true) {
            return Ok(Verdict::Unauthenticated);
        }
        let UserInfo { extra, groups, uid, username } = status.user.unwrap_or_default();
        let reading = NonResourceAttributes { path: Some("/metrics".into()), verb: Some("get".into()) };
        let spec = SubjectAccessReviewSpec {
            extra,
            groups,
            uid,
            user: username,
            non_resource_attributes: Some(reading),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let review = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        let is_allowed = review.status.is_some_and(|status| status.allowed);
        Ok(if is_allowed { Verdict::Allowed } else { Verdict::Forbidden })
    }
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// For the log. What the API server wrote could repeat the token: only its code is told.
fn why(error: &Error) -> String {
    match error {
        Error::Api(status) => format!("it answered {}", status.code),
        Error::SerdeError(_) | Error::FromUtf8(_) => "its answer cannot be read".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_bearer() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer  abc").as_deref(), Some("abc"));
        for other in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(of(other), None, "{other:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn an_answer_of_the_api_server_is_not_quoted() {
        let status = kube::core::Status::failure("token abc", "Forbidden token abc").with_code(403);
        let serde = serde_json::from_str::<u8>("\"abc\"").unwrap_err();
        for error in [Error::Api(status.boxed()), Error::SerdeError(serde)] {
            assert!(!why(&error).contains("abc"), "{}", why(&error));
        }
    }
}
