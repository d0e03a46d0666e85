//! Talking to registries and clouds.
//!
//! What is asked, and what an answer means, is decided in [`crate::domain::verification`]; here it is carried out,
//! within the bounds that hostile answers need.

mod http;
mod pace;

use std::sync::Arc;

use tracing::debug;

use crate::domain::{
    reason::Reason,
    schedule::{MAX_REGISTRY_REQUESTS, VERIFICATION_TIME},
    verification::{Answer, Handshake, Login, NoAnswer, Outcome, RegistryAccess, Step},
};
use http::Http;
use pace::Pace;

pub(crate) use http::Roots;
pub use http::RootsError;

/// Tries logins at their registries.
pub(crate) struct Verifier {
    access: Arc<RegistryAccess>,
    http: Http,
    pace: Pace,
}

impl Verifier {
    pub fn new(access: RegistryAccess, roots: Roots) -> Self {
        Self { access: Arc::new(access), http: Http::new(roots), pace: Pace::default() }
    }

    /// Tries one login.
    pub async fn verify(&self, login: Arc<Login>) -> Outcome {
        let server = login.server.clone();
        let tried = tokio::time::timeout(VERIFICATION_TIME, self.handshake(login)).await;
        tried.unwrap_or_else(|_| NoAnswer::TimedOut.outcome().at(&server))
    }

    async fn handshake(&self, login: Arc<Login>) -> Outcome {
        let (mut handshake, mut step) = Handshake::begin(login.clone(), self.access.clone());
        let mut session = self.http.session(login);
        for _ in 0..MAX_REGISTRY_REQUESTS {
            let request = match step {
                Step::Done(outcome) => return outcome,
                Step::Ask(request) => request,
            };
            let answer = match self.pace.turn(&request).await {
                Ok(()) => session.ask(&request).await,
                Err(why) => Err(why),
            };
            debug!(
                server = %request.server,
                answer = ?answer.as_ref().map(|answer| answer.status),
                "asked a registry"
            );
            let asked = |answer: &Answer| answer.unavailable()?.retry_after.map(NoAnswer::Throttled);
            if let Some(why) = answer.as_ref().map_or_else(|why| Some(*why), asked) {
                self.pace.pause(&request, why);
            }
            step = handshake.answered(answer);
        }
        Outcome::new(Reason::UnexpectedAnswer, "asks for more and more")
    }
}
