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
    schedule::MAX_REGISTRY_REQUESTS,
    verification::{Handshake, Login, NoAnswer, Outcome, RegistryAccess, Step},
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
        let (mut handshake, mut step) = Handshake::begin(login.clone(), self.access.clone());
        let mut session = self.http.session(login);
        for _ in 0..MAX_REGISTRY_REQUESTS {
            let request = match step {
                Step::Done(outcome) => return outcome,
                Step::Ask(request) => request,
            };
            let answer = match self.pace.turn(&request).await {
                Ok(()) => session.ask(&request).await,
                Err(left) => Err(NoAnswer::Throttled(left)),
            };
            debug!(
                server = %request.server,
                answer = ?answer.as_ref().map(|answer| answer.status),
                "asked a registry"
            );
            let pause = answer.as_ref().ok().and_then(|answer| answer.unavailable()?.retry_after);
            if let Some(pause) = pause {
                self.pace.pause(&request, pause);
            }
            step = handshake.answered(answer);
        }
        Outcome::new(Reason::UnexpectedAnswer, "asks for more and more")
    }
}
