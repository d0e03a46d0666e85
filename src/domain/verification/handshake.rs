//! How a login is tried at a registry, request by request: from the answer to the last one to the next one, or to the outcome.
//!
//! It is the handshake of `docker login`, per distribution/distribution docs/spec/auth/token.md: `/v2/` without a login
//! tells what is asked for; a login goes to the registry itself (Basic), or is exchanged for a token at the realm that
//! the registry names (Bearer); then `/v2/` again, and what shall be pulled.

use std::{mem, sync::Arc};

use super::{
    address::Reach,
    login::{Login, RegistryLogin},
    outcome::{Answer, NoAnswer, Outcome},
    realm::{Challenge, Realm, token},
    request::{Authorization, Method, Request},
    scaleway,
    server::{RegistryAccess, Scheme, Server, ServerKind},
    step::Step,
};
use crate::domain::reason::Reason;

/// What the last request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// To learn what the registry asks for.
    Ping,
    /// Whether anybody may pull from a registry that asks for nothing.
    PublicPull,
    /// For a token that shows who it is, or that may pull.
    Token {
        to_pull: bool,
    },
    /// Whether the registry takes the login, or a token for it.
    Login(Authorization),
    Pull(Authorization, Method),
    /// Whether there is the repository at all.
    Tags,
    /// Scaleway's API, after what came of the login.
    Namespace(Outcome),
}

/// A login that is being tried at a registry.
pub(crate) struct RegistryHandshake {
    login: Arc<Login>,
    access: Arc<RegistryAccess>,
    repository: Option<(String, String)>,
    scaleway: Option<(&'static str, Option<String>)>,
    scheme: Scheme,
    realm: Option<Realm>,
    stage: Stage,
}

const MANIFEST_IS_MISSING: &str =
    "has no such repository or tag, or does not show it to this login; check `spec.verification.repository`";

impl RegistryHandshake {
    /// With its first request.
    pub fn begin(login: Arc<Login>, registry: &RegistryLogin, access: Arc<RegistryAccess>) -> (Self, Step) {
        let scheme = access.scheme(&login.server);
        let (repository, scaleway) = (registry.repository.clone(), registry.scaleway.clone());
        let (realm, stage) = (None, Stage::Ping);
        let handshake = Self { login, access, repository, scaleway, scheme, realm, stage };
        let first = match handshake.login.not_asked(scheme, &handshake.access) {
            Some(outcome) => handshake.done(outcome),
            None => handshake.ask(Method::Get, "/v2/".to_owned(), Authorization::Nobody),
        };
        (handshake, first)
    }

    /// What follows from the answer to the last request.
    pub fn answered(&mut self, answer: Result<Answer, NoAnswer>) -> Step {
        match (mem::replace(&mut self.stage, Stage::Ping), answer) {
            (Stage::Namespace(login), answer) => {
                let namespace = self.scaleway.as_ref().and_then(|(_, name)| name.as_deref());
                let outcome = match answer {
                    Ok(answer) => scaleway::outcome(login, &answer, namespace),
                    Err(_) => login,
                };
                self.done(outcome)
            }
            (stage, Err(no_answer)) => self.failed(&stage, no_answer.outcome(ServerKind::Registry)),
            (stage, Ok(answer)) => match answer.unavailable(ServerKind::Registry) {
                Some(outcome) => self.failed(&stage, outcome),
                None => self.goes_on(stage, &answer),
            },
        }
    }

    fn goes_on(&mut self, stage: Stage, answer: &Answer) -> Step {
        match stage {
            Stage::Ping => self.pinged(answer),
            Stage::PublicPull => match answer.status {
                401 => self.challenged(answer),
                200 => self.done(not_distinguishable()),
                _ => {
                    let detail = "needs no login, but does not show `spec.verification.repository` and does not ask for a login for it, so the login cannot be tested; check the repository";
                    self.done(Outcome::answered(Reason::NotDistinguishable, detail, answer))
                }
            },
            Stage::Token { to_pull } => match (answer.status, token(answer.body.expose())) {
                (200, Some(token)) => {
                    let authorization = Authorization::Bearer(token.as_str().into());
                    if to_pull { self.pull(authorization) } else { self.log_in(authorization) }
                }
                _ if answer.status == 200 => {
                    let detail = "sends logins to a server that gives no token";
                    self.done(Outcome::answered(Reason::UnexpectedAnswer, detail, answer))
                }
                _ if to_pull && (answer.status == 401 || self.denies(answer)) => self.may_not_pull(answer),
                _ => self.refused(answer),
            },
            Stage::Login(authorization) => match (answer.status, &authorization) {
                (200, _) => self.accepted(authorization),
                (401 | 403, Authorization::Bearer(_)) => {
                    // The token server knew the login, so that it may well be right.
                    let detail = "does not accept the token that its own token server gave";
                    self.done(Outcome::answered(Reason::UnexpectedAnswer, detail, answer))
                }
                _ => self.refused(answer),
            },
            Stage::Pull(authorization, method) => match answer.status {
                200 => self.pulled(),
                401 => self.may_not_pull(answer),
                // An answer to HEAD has no body, and a bare 403 may be of what stands before the registry.
                403 if method == Method::Head => self.pull_by(Method::Get, authorization),
                403 if self.denies(answer) => self.may_not_pull(answer),
                // The repository may be there, without that tag. Logins that may only pull may not list tags.
                404 => self.tags(authorization),
                _ => self.unexpected(answer),
            },
            Stage::Tags => match answer.status {
                200 => self.pulled(),
                status if matches!(status, 401 | 404) || self.denies(answer) => {
                    let outcome = Outcome::answered(Reason::RepositoryNotFound, MANIFEST_IS_MISSING, answer);
                    self.done(outcome)
                }
                _ => self.unexpected(answer),
            },
            Stage::Namespace(login) => self.done(login),
        }
    }

    fn pinged(&mut self, answer: &Answer) -> Step {
        match answer.status {
            401 => self.challenged(answer),
            200 if !answer.is_page() => match self.manifest() {
                Some(path) => {
                    self.stage = Stage::PublicPull;
                    self.ask(Method::Head, path, Authorization::Nobody)
                }
                None => self.done(not_distinguishable()),
            },
            403 => self.unexpected(answer),
            _ => {
                let detail = "does not answer /v2/ as a registry does; check `spec.server`";
                self.done(Outcome::answered(Reason::NotARegistry, detail, answer))
            }
        }
    }

    /// The registry wants a login.
    fn challenged(&mut self, answer: &Answer) -> Step {
        match Challenge::first(&answer.challenges) {
            Some(Challenge::Basic) => self.log_in(Authorization::Basic),
            Some(Challenge::Bearer { realm, service }) => {
                match Realm::check(&realm, service, self.scheme, &self.access) {
                    Ok(realm) => {
                        self.realm = Some(realm);
                        self.token(false)
                    }
                    Err(error) => {
                        let server = Realm::server(&realm);
                        let named = server.as_ref().map_or_else(String::new, |server| format!(": {server}"));
                        let detail = format!("{}{named}", error.detail());
                        let other = server.filter(|server| *server != self.login.server);
                        let realm = other.map(|server| server.to_string());
                        self.done(Outcome { realm, ..Outcome::new(Reason::RealmRejected, &detail) })
                    }
                }
            }
            None => {
                let detail = "asks for neither a Basic nor a Bearer login, so the login cannot be tested";
                self.done(Outcome::answered(Reason::UnsupportedChallenge, detail, answer))
            }
        }
    }

    fn log_in(&mut self, authorization: Authorization) -> Step {
        self.stage = Stage::Login(authorization.clone());
        self.ask(Method::Get, "/v2/".to_owned(), authorization)
    }

    fn token(&mut self, to_pull: bool) -> Step {
        let repository = self.repository.as_ref().filter(|_| to_pull).map(|(name, _)| name.as_str());
        let Some(realm) = &self.realm else { return self.done(not_distinguishable()) };
        // A registry inside of a network has its token server there, too; on this machine it has to be listed itself. One
        // outside has no business inside, whatever is listed.
        let reach = match self.access.reach(&self.login.server, self.scheme) {
            Reach::Public => Reach::Public,
            _ => self.access.reach(&realm.server, realm.scheme).max(Reach::Private),
        };
        self.stage = Stage::Token { to_pull };
        let request = Request::get(realm.scheme, realm.server.clone(), reach, realm.path(repository));
        Step::Ask(Request { authorization: Authorization::Basic, ..request })
    }

    /// The registry takes the login.
    fn accepted(&mut self, authorization: Authorization) -> Step {
        match (&self.repository, authorization) {
            (None, _) => self.pulled(),
            (Some(_), Authorization::Bearer(_)) => self.token(true),
            (Some(_), authorization) => self.pull(authorization),
        }
    }

    fn pull(&mut self, authorization: Authorization) -> Step {
        // At Docker Hub, this is not counted as a pull.
        self.pull_by(Method::Head, authorization)
    }

    fn pull_by(&mut self, method: Method, authorization: Authorization) -> Step {
        let Some(path) = self.manifest() else { return self.pulled() };
        self.stage = Stage::Pull(authorization.clone(), method);
        self.ask(method, path, authorization)
    }

    fn tags(&mut self, authorization: Authorization) -> Step {
        let Some((repository, _)) = &self.repository else { return self.pulled() };
        let path = format!("/v2/{repository}/tags/list?n=1");
        self.stage = Stage::Tags;
        self.ask(Method::Get, path, authorization)
    }

    /// The registry has no objection to the login.
    fn pulled(&mut self) -> Step {
        self.namespace(Outcome::new(Reason::Authenticated, "accepts the login"))
    }

    /// Whether the registry says that the login is not good for what was asked.
    fn denies(&self, answer: &Answer) -> bool {
        // The firewall of Azure's registries speaks as they do: it does not let the address of the operator in.
        answer.is_denied() && !(answer.status == 403 && is_azure(&self.login.server))
    }

    fn refused(&mut self, answer: &Answer) -> Step {
        let is_denied = self.denies(answer);
        let (reason, detail) = match answer.status {
            status if status == 401 || (is_denied && denies_wrong_logins(&self.login.server)) => {
                (Reason::AuthenticationFailed, "does not accept this user name and password")
            }
            _ if is_denied => {
                (Reason::AccessDenied, "refuses the login: it is wrong, has expired, or lacks permission")
            }
            _ => return self.unexpected(answer),
        };
        self.done(Outcome::answered(reason, detail, answer))
    }

    fn may_not_pull(&self, answer: &Answer) -> Step {
        let detail = "accepts the login, but does not let it pull `spec.verification.repository`";
        self.done(Outcome::answered(Reason::AccessDenied, detail, answer))
    }

    fn unexpected(&mut self, answer: &Answer) -> Step {
        let detail = "gives an answer that is not expected from a registry";
        self.namespace(Outcome::answered(Reason::UnexpectedAnswer, detail, answer))
    }

    /// Asks Scaleway's API, too, which says more than its registry does.
    fn namespace(&mut self, login: Outcome) -> Step {
        let asked = self.scaleway.as_ref();
        let request = asked.map(|(region, name)| scaleway::request(region, name.as_deref()));
        match request.filter(|request| self.access.allows(&request.server, request.scheme)) {
            Some(request) => {
                self.stage = Stage::Namespace(login);
                Step::Ask(request)
            }
            None => self.done(login),
        }
    }

    fn manifest(&self) -> Option<String> {
        let (repository, tag) = self.repository.as_ref()?;
        Some(format!("/v2/{repository}/manifests/{tag}"))
    }

    fn ask(&self, method: Method, path: String, authorization: Authorization) -> Step {
        let server = self.login.server.clone();
        let reach = self.access.reach(&server, self.scheme);
        Step::Ask(Request { method, authorization, ..Request::get(self.scheme, server, reach, path) })
    }

    /// The token server, where it is another one than the registry.
    fn token_server(&self) -> Option<&Server> {
        self.realm.as_ref().map(|realm| &realm.server).filter(|server| **server != self.login.server)
    }

    /// The server that was asked did not answer, or cannot now.
    fn failed(&self, stage: &Stage, outcome: Outcome) -> Step {
        match self.token_server().filter(|_| matches!(stage, Stage::Token { .. })) {
            Some(server) => {
                let subject = format!("token server {server} of registry {}", self.login.server);
                Step::Done(self.with_realm(outcome).about(&subject))
            }
            None => self.done(outcome),
        }
    }

    fn done(&self, outcome: Outcome) -> Step {
        Step::Done(self.with_realm(outcome).at(ServerKind::Registry, &self.login.server))
    }

    fn with_realm(&self, outcome: Outcome) -> Outcome {
        let realm = self.token_server().map(Server::to_string).or(outcome.realm);
        Outcome { realm, ..outcome }
    }
}

fn is_azure(server: &Server) -> bool {
    server.host.rsplit('.').nth(1) == Some("azurecr")
}

/// Whether a registry answers `DENIED` to a login that is wrong or has expired.
fn denies_wrong_logins(server: &Server) -> bool {
    let host = server.host.as_str();
    matches!(host, "ghcr.io" | "public.ecr.aws") || host.contains(".dkr.ecr") || host.contains(".dkr-ecr")
}

fn not_distinguishable() -> Outcome {
    let detail = "needs no login, so the login cannot be tested; set `spec.verification.repository` to one that is not public";
    Outcome::new(Reason::NotDistinguishable, detail)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
