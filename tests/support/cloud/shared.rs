//! What the vendors have in common: what they were told, what they have handed out, and what they were asked.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    super::{error::Result, registry::Answer},
    aws::Aws,
    jwt::Issuer,
    request::Request,
    rsa::RsaKey,
    service::Service,
};

/// What a service does instead of, or before, what it should.
#[derive(Debug, Clone)]
pub enum Rule {
    Answer(Answer),
    Refuse,
    Wait(Duration),
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// None when no vendor has what was asked for.
    pub service: Option<Service>,
    pub request: Request,
    pub at: Instant,
    /// The HTTP status of the answer, once there is one.
    pub status: Option<u16>,
    /// What was said in a refusal.
    pub refusal: Option<String>,
}

/// One token, as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    pub service: Service,
    pub user: String,
    pub token: String,
    pub expires: Timestamp,
}

pub struct Shared {
    pub issuer: Issuer,
    pub aws: Option<Aws>,
    pub rsa: RsaKey,
    pub client_secret: String,
    pub digital_ocean_token: String,
    life: Mutex<Option<Duration>>,
    subjects: Mutex<BTreeSet<String>>,
    rules: Mutex<HashMap<Service, Rule>>,
    asked: Mutex<Vec<Asked>>,
    minted: Mutex<Vec<Minted>>,
}

impl Shared {
    pub fn new(issuer: Issuer, aws: Option<Aws>) -> Result<Self> {
        Ok(Self {
            issuer,
            aws,
            rsa: RsaKey::new()?,
            client_secret: random("8Q~", 37),
            digital_ocean_token: random("dop_v1_", 64),
            life: Mutex::default(),
            subjects: Mutex::default(),
            rules: Mutex::default(),
            asked: Mutex::default(),
            minted: Mutex::default(),
        })
    }

    pub fn set_life(&self, life: Option<Duration>) {
        *lock(&self.life) = life;
    }

    /// How long a token is good for that the vendor gives for so many seconds, and until when.
    pub fn life(&self, usual: u64) -> (u64, Timestamp) {
        let seconds = lock(&self.life).map_or(usual, |life| life.as_secs());
        let expires = super::jwt::now() + i64::try_from(seconds).unwrap_or(i64::MAX);
        (seconds, Timestamp::from_second(expires).unwrap_or(Timestamp::MAX))
    }

    pub fn let_in(&self, subject: String) {
        lock(&self.subjects).insert(subject);
    }

    /// Whose token of the cluster this is: only of those that were let in.
    pub fn subject(&self, token: &str, audience: &str) -> Result<String, String> {
        let subject = self.issuer.subject(token, audience)?;
        if lock(&self.subjects).contains(&subject) {
            Ok(subject)
        } else {
            Err(format!("{subject} is not known"))
        }
    }

    pub fn rule(&self, service: Service, rule: Option<Rule>) {
        let mut rules = lock(&self.rules);
        match rule {
            Some(rule) => rules.insert(service, rule),
            None => rules.remove(&service),
        };
    }

    pub fn told(&self, service: Option<Service>) -> Option<Rule> {
        lock(&self.rules).get(&service?).cloned()
    }

    pub fn mint(&self, service: Service, user: &str, token: String, expires: Timestamp) -> String {
        lock(&self.minted).push(Minted { service, user: user.to_owned(), token: token.clone(), expires });
        token
    }

    /// Whether a token is one of a service, and still good.
    pub fn is_good(&self, service: Service, token: &str) -> bool {
        let now = Timestamp::now();
        lock(&self.minted).iter().any(|m| m.service == service && m.token == token && m.expires > now)
    }

    pub fn minted(&self) -> Vec<Minted> {
        lock(&self.minted).clone()
    }

    pub fn note(&self, service: Option<Service>, request: &Request) -> usize {
        let mut asked = lock(&self.asked);
        let request = request.clone();
        asked.push(Asked { service, request, at: Instant::now(), status: None, refusal: None });
        asked.len() - 1
    }

    pub fn answered(&self, number: usize, answer: &Answer) {
        if let Some(asked) = lock(&self.asked).get_mut(number) {
            asked.status = Some(answer.code());
            asked.refusal = (answer.code() >= 400).then(|| answer.text());
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }
}

/// As vendors make them: a prefix to know them by, and characters that nobody can guess.
pub fn random(prefix: &str, length: usize) -> String {
    const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let character = |_| char::from(CHARACTERS[rand::random_range(0..CHARACTERS.len())]);
    prefix.chars().chain((0..length).map(character)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
