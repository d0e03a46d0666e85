//! How a token is minted, request by request: from the answer to the last one to the next one, or to the token.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use ring::rand::SecureRandom;

use super::{
    aws, azure, google,
    grant::{AccessKey, Flow, Grant, Proof},
    message::{Expires, Given, Known},
    others,
    outcome::{MintError, Token},
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    schedule::{MAX_PASSWORD_BYTES, MAX_USERNAME_CHARS},
    verification::{Answer, NoAnswer, RegistryAccess, Request},
};

/// What is to be done next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Ask(Request),
    Done(Result<Token, MintError>),
}

/// What one request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AssumeRoleWithWebIdentity,
    PodIdentity,
    AssumeRole,
    Ecr,
    Entra,
    AcrExchange,
    GoogleKey,
    GoogleFederation,
    Metadata,
    Impersonate,
    GitHub,
    Quay,
    DigitalOcean,
}

/// A token that is being minted.
pub(crate) struct Exchange {
    grant: Arc<Grant>,
    proof: Proof,
    access: Arc<RegistryAccess>,
    stages: VecDeque<Stage>,
    access_key: Option<AccessKey>,
    bearer: Option<SecretBytes>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    asked: Option<Request>,
}

impl Exchange {
    /// With its first request.
    pub fn begin(
        grant: Arc<Grant>,
        proof: Proof,
        access: Arc<RegistryAccess>,
        random: Arc<dyn SecureRandom + Send + Sync>,
        now: Timestamp,
    ) -> (Self, Step) {
        let stages = stages(&grant.flow, &proof);
        let access_key = match &proof {
            Proof::AccessKey(key) => Some(key.clone()),
            _ => None,
        };
        let (bearer, asked) = (None, None);
        let mut exchange =
            Self { grant, proof, access, stages: stages.into(), access_key, bearer, random, asked };
        let first = exchange.ask(now);
        (exchange, first)
    }

    fn ask(&mut self, now: Timestamp) -> Step {
        let Some(stage) = self.stages.front() else {
            let message = "this identity is of no use for this registry";
            return Step::Done(Err(MintError::identity_missing(message)));
        };
        let known = Known {
            grant: &self.grant,
            proof: &self.proof,
            access_key: self.access_key.as_ref(),
            bearer: self.bearer.as_ref(),
            access: &self.access,
            random: &*self.random,
            now,
        };
        let request = match stage {
            Stage::AssumeRoleWithWebIdentity => aws::assume_role_with_web_identity(&known),
            Stage::PodIdentity => aws::pod_identity(&known),
            Stage::AssumeRole => aws::assume_role(&known),
            Stage::Ecr => aws::ecr(&known),
            Stage::Entra => azure::entra(&known),
            Stage::AcrExchange => azure::exchange(&known),
            Stage::GoogleKey => google::key(&known),
            Stage::GoogleFederation => google::federation(&known),
            Stage::Metadata => google::metadata(&known),
            Stage::Impersonate => google::impersonate(&known),
            Stage::GitHub => others::github(&known),
            Stage::Quay => others::quay(&known),
            Stage::DigitalOcean => others::digital_ocean(&known),
        };
        match request {
            Ok(request) => {
                self.asked = Some(request.clone());
                Step::Ask(request)
            }
            Err(error) => Step::Done(Err(error)),
        }
    }

    /// What follows from the answer to the last request.
    pub fn answered(&mut self, answer: Result<Answer, NoAnswer>, now: Timestamp) -> Step {
        let (Some(asked), Some(stage)) = (self.asked.take(), self.stages.pop_front()) else {
            return Step::Done(Err(MintError::new(Reason::Internal, "nothing was asked")));
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return Step::Done(Err(MintError::unanswered(&asked.server, why))),
        };
        let body = answer.body.expose();
        let given = (200..300).contains(&answer.status).then(|| match stage {
            Stage::AssumeRoleWithWebIdentity | Stage::AssumeRole => aws::credentials(body),
            Stage::PodIdentity => aws::container_credentials(body),
            Stage::Ecr => aws::authorization(body),
            Stage::Entra => azure::access_token(body),
            Stage::AcrExchange => azure::refresh_token(body),
            Stage::GoogleKey | Stage::GoogleFederation | Stage::Metadata => google::access_token(body),
            Stage::Impersonate => google::impersonated(body),
            Stage::GitHub => others::installation_token(body),
            Stage::Quay => others::robot_token(body, &self.grant.flow),
            Stage::DigitalOcean => others::docker_credentials(body),
        });
        match given.flatten() {
            None => Step::Done(Err(MintError::answered(&asked.server, &answer))),
            Some(Given::Token { username, password, .. })
                if self.stages.is_empty() && !is_login(&username, &password) =>
            {
                Step::Done(Err(MintError::answered(&asked.server, &answer)))
            }
            Some(Given::Token { username, password, expires }) if self.stages.is_empty() => {
                // What counts is how long it is good: clocks differ, and jump.
                let by_clock = answer.date.unwrap_or(now);
                let life = match expires {
                    Expires::At(at) => Duration::try_from(at.duration_since(by_clock)).unwrap_or_default(),
                    Expires::In(life) => life,
                };
                let life = life.min(self.grant.longest_life());
                if life.is_zero() {
                    let message = format!("{} gives a token that is not good any more", asked.server);
                    return Step::Done(Err(MintError::new(Reason::UnexpectedAnswer, message)));
                }
                // Whole seconds, as a status has them.
                let expires = Timestamp::from_second((now + life).as_second()).unwrap_or(now);
                Step::Done(Ok(Token { username, password, expires, life }))
            }
            Some(given) => {
                match given {
                    Given::AccessKey(key) => self.access_key = Some(key),
                    Given::Bearer(token) | Given::Token { password: token, .. } => self.bearer = Some(token),
                }
                self.ask(now)
            }
        }
    }
}

/// What is asked, in this order; nothing for an identity that is of no use there.
fn stages(flow: &Flow, proof: &Proof) -> Vec<Stage> {
    let role = match flow {
        Flow::Ecr { role, .. } | Flow::EcrPublic { role, .. } => role.is_some(),
        _ => false,
    };
    let aws = |first: Option<Stage>, is_assumed: bool| {
        first.into_iter().chain(is_assumed.then_some(Stage::AssumeRole)).chain([Stage::Ecr]).collect()
    };
    let google = |first, impersonate: &Option<String>| {
        std::iter::once(first).chain(impersonate.is_some().then_some(Stage::Impersonate)).collect()
    };
    match (flow, proof) {
        (Flow::Ecr { .. } | Flow::EcrPublic { .. }, Proof::AccessKey(_)) => aws(None, role),
        // The role of the environment is that of the operator, and may assume another one.
        (Flow::Ecr { .. } | Flow::EcrPublic { .. }, Proof::WebIdentity(identity)) => {
            aws(Some(Stage::AssumeRoleWithWebIdentity), role && identity.role.is_some())
        }
        (Flow::Ecr { .. } | Flow::EcrPublic { .. }, Proof::PodIdentity { .. }) => {
            aws(Some(Stage::PodIdentity), role)
        }
        (Flow::Acr { .. }, Proof::Value(_) | Proof::WebIdentity(_)) => {
            vec![Stage::Entra, Stage::AcrExchange]
        }
        (Flow::Google { impersonate, .. }, Proof::Value(_)) => google(Stage::GoogleKey, impersonate),
        (Flow::Google { impersonate, .. }, Proof::WebIdentity(_)) => {
            google(Stage::GoogleFederation, impersonate)
        }
        (Flow::Google { impersonate, .. }, Proof::Metadata(_)) => google(Stage::Metadata, impersonate),
        (Flow::GitHub { .. }, Proof::Value(_)) => vec![Stage::GitHub],
        (Flow::Quay { .. }, Proof::WebIdentity(_)) => vec![Stage::Quay],
        (Flow::DigitalOcean { .. }, Proof::Value(_)) => vec![Stage::DigitalOcean],
        _ => Vec::new(),
    }
}

/// Whether a docker config may have it: as of a login in a Secret.
pub(crate) fn is_login(username: &SecretBytes, password: &SecretBytes) -> bool {
    let is_clean = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control());
    let (username, password) = (username.text(), password.text());
    is_clean(username)
        && username.chars().count() <= MAX_USERNAME_CHARS
        && is_clean(password)
        && password.len() <= MAX_PASSWORD_BYTES
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
