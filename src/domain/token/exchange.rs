//! How a token is minted, request by request: from the answer to the last one to the next one, or to the token.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use ring::rand::SecureRandom;

use super::{
    aws, azure, google,
    grant::{AccessKey, Flow, Grant, Proof},
    message::{Expires, Given, Known, Stage},
    others,
    outcome::{MintError, Token},
};
use crate::domain::{
    SecretBytes,
    reason::Reason,
    schedule::{MAX_PASSWORD_BYTES, MAX_USERNAME_CHARS},
    verification::{Answer, NoAnswer, RegistryAccess, Request, Server},
};

/// What is to be done next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Ask(Request),
    Done(Result<Token, MintError>),
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
    /// Who was asked last.
    asked: Option<Server>,
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
        let first = exchange.ask(now).unwrap_or_else(failed);
        (exchange, first)
    }

    fn ask(&mut self, now: Timestamp) -> Result<Step, MintError> {
        let useless = || MintError::identity_missing("this identity cannot be used for this registry");
        let stage = self.stages.front().ok_or_else(useless)?;
        let request = (stage.ask)(&Known {
            grant: &self.grant,
            proof: &self.proof,
            access_key: self.access_key.as_ref(),
            bearer: self.bearer.as_ref(),
            access: &self.access,
            random: &*self.random,
            now,
        })?;
        self.asked = Some(request.server.clone());
        Ok(Step::Ask(request))
    }

    /// What follows from the answer to the last request.
    pub fn answered(&mut self, answer: Result<Answer, NoAnswer>, now: Timestamp) -> Step {
        self.next(answer, now).unwrap_or_else(failed)
    }

    fn next(&mut self, answer: Result<Answer, NoAnswer>, now: Timestamp) -> Result<Step, MintError> {
        let (Some(asked), Some(stage)) = (self.asked.take(), self.stages.pop_front()) else {
            return Err(MintError::new(Reason::Internal, "no request was sent"));
        };
        let answer = answer.map_err(|why| MintError::unanswered(&asked, why))?;
        let is_success = (200..300).contains(&answer.status);
        let given = is_success.then(|| (stage.read)(answer.body.expose(), &self.grant.flow)).flatten();
        let useless = || MintError::answered(&asked, &answer);
        match given.ok_or_else(useless)? {
            Given::Token { username, password, expires } if self.stages.is_empty() => {
                if !is_login(&username, &password) {
                    return Err(useless());
                }
                // What counts is how long it is good: clocks differ, and jump.
                let by_clock = answer.date.unwrap_or(now);
                let life = match expires {
                    Expires::At(at) => Duration::try_from(at.duration_since(by_clock)).unwrap_or_default(),
                    Expires::In(life) => life,
                };
                let life = life.min(self.grant.longest_life());
                if life.is_zero() {
                    let message = format!("{asked} gives a token that is not valid any more");
                    return Err(MintError::new(Reason::UnexpectedAnswer, message));
                }
                // Whole seconds, as a status has them.
                let expires = Timestamp::from_second((now + life).as_second()).unwrap_or(now);
                return Ok(Step::Done(Ok(Token { username, password, expires, life })));
            }
            Given::AccessKey(key) => self.access_key = Some(key),
            Given::Bearer(token) | Given::Token { password: token, .. } => self.bearer = Some(token),
        }
        self.ask(now)
    }
}

fn failed(error: MintError) -> Step {
    Step::Done(Err(error))
}

/// What is asked, in this order; nothing for an identity that is of no use there.
fn stages(flow: &Flow, proof: &Proof) -> Vec<Stage> {
    let role = matches!(flow, Flow::Ecr { role, .. } | Flow::EcrPublic { role, .. } if role.is_some());
    let aws = |first: Option<Stage>, is_assumed: bool| {
        let assumed = is_assumed.then_some(aws::ASSUME_ROLE);
        first.into_iter().chain(assumed).chain([aws::GET_AUTHORIZATION_TOKEN]).collect()
    };
    let google = |first, impersonate: &Option<String>| {
        std::iter::once(first).chain(impersonate.is_some().then_some(google::IMPERSONATE)).collect()
    };
    match (flow, proof) {
        (Flow::Ecr { .. } | Flow::EcrPublic { .. }, Proof::AccessKey(_)) => aws(None, role),
        // The role of the environment is that of the operator, and may assume another one.
        (Flow::Ecr { .. } | Flow::EcrPublic { .. }, Proof::WebIdentity(identity)) => {
            aws(Some(aws::ASSUME_ROLE_WITH_WEB_IDENTITY), role && identity.role.is_some())
        }
        (Flow::Ecr { .. } | Flow::EcrPublic { .. }, Proof::PodIdentity { .. }) => {
            aws(Some(aws::POD_IDENTITY), role)
        }
        (Flow::Acr { .. }, Proof::Value(_) | Proof::WebIdentity(_)) => vec![azure::ENTRA, azure::EXCHANGE],
        (Flow::Google { impersonate, .. }, Proof::Value(_)) => google(google::KEY, impersonate),
        (Flow::Google { impersonate, .. }, Proof::WebIdentity(_)) => google(google::FEDERATION, impersonate),
        (Flow::Google { impersonate, .. }, Proof::Metadata(_)) => google(google::METADATA, impersonate),
        (Flow::GitHub { .. }, Proof::Value(_)) => vec![others::GITHUB],
        (Flow::Quay { .. }, Proof::WebIdentity(_)) => vec![others::QUAY],
        (Flow::DigitalOcean { .. }, Proof::Value(_)) => vec![others::DIGITAL_OCEAN],
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
