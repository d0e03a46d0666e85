//! Talking to registries, object storage and clouds.
//!
//! What is asked, and what an answer means, is decided in [`crate::domain::verification`]; here it is carried out,
//! within the bounds that hostile answers need.

mod http;
mod minter;
mod pace;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use crate::domain::{
    reason::Reason,
    schedule::{MAX_REGISTRY_REQUESTS, VERIFICATION_TIME},
    verification::{Attempt, Login, NoAnswer, Outcome, RegistryAccess, Step},
};
use http::Http;
use pace::Pace;

pub(crate) use http::Roots;
pub(crate) use minter::Minter;

/// What is asked of servers outside goes this way.
pub(crate) struct Outbound {
    access: Arc<RegistryAccess>,
    http: Http,
    pace: Pace,
}

impl Outbound {
    pub fn new(access: RegistryAccess, roots: Roots) -> Self {
        Self { access: Arc::new(access), http: Http::new(roots), pace: Pace::default() }
    }
}

/// Tries logins at their servers.
pub(crate) struct Verifier(Arc<Outbound>);

impl Verifier {
    pub fn new(outbound: Arc<Outbound>) -> Self {
        Self(outbound)
    }

    /// Tries one login.
    pub async fn verify(&self, login: Arc<Login>) -> Outcome {
        let Outbound { access, http, pace } = &*self.0;
        let end = Instant::now() + VERIFICATION_TIME;
        let (mut attempt, mut step) = Attempt::begin(login.clone(), access.clone(), Timestamp::now());
        let authorities = login.authorities.clone().and_then(Result::ok);
        let mut session = http.session(Some(login), authorities);
        for _ in 0..MAX_REGISTRY_REQUESTS {
            let request = match step {
                Step::Done(outcome) => return outcome,
                Step::Ask(request) => request,
            };
            // Whoever took the time is told of.
            let answer = timeout_at(end, pace.ask(&request, &mut session)).await;
            step = attempt.answered(answer.unwrap_or(Err(NoAnswer::TimedOut)), Timestamp::now());
        }
        Outcome::new(Reason::UnexpectedAnswer, "asks for too many requests")
    }
}
