//! RegistryCredential: `.dockerconfigjson`.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use zeroize::Zeroizing;

use super::value::{self, invalid};
use crate::{
    api::{Provider, RegistryCredentialSpec, RegistryLogin, RegistryStatus, Target, TokenStatus},
    domain::{
        SecretBytes,
        content::{Content, Grants, Inputs, SourceError, SourceSecret, Warning},
        credential::{CredentialSpec, Source},
        default::DefaultWish,
        fingerprint::encode,
        registry::{default_username, keyring::CONFIG_JSON, kubelet, registry, sample_image},
        token::Grant,
        verification::{self, Verification},
    },
};

#[path = "registry_grant.rs"]
mod grant;
#[path = "registry_probe.rs"]
mod probe;

const OUTPUT_TYPE: &str = CONFIG_JSON.0;
const OUTPUT_KEY: &str = CONFIG_JSON.1;

/// The longest email of a docker config, as that of a spec: every copy has it.
const MAX_EMAIL_CHARS: usize = 254;

impl CredentialSpec for RegistryCredentialSpec {
    fn target(&self) -> &Target {
        &self.target
    }

    fn source(&self) -> Source {
        let named = self.entries().iter().flat_map(|login| {
            let secret = login.secret_ref.as_ref().map(|reference| reference.name.as_str());
            [secret, grant::secret(login), probe::authorities(login).map(|(name, _)| name)]
        });
        let names: BTreeSet<&str> = named.flatten().collect();
        Source::Secrets(names.into_iter().map(str::to_owned).collect())
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        render(self, inputs)
    }

    fn grants(&self, inputs: Inputs<'_>) -> Grants {
        let mut keys = BTreeSet::new();
        // Of several with one key the first counts, also where none is minted for it.
        let first = self.entries().iter().map(|login| (registry(login).key, login));
        let first = first.filter(|(key, _)| keys.insert(key.clone()));
        first.filter_map(|(key, login)| Some((key, grant::grant(login, inputs)?))).collect()
    }

    fn recorded_tokens(&self, details: &Map<String, Value>) -> BTreeMap<String, TokenStatus> {
        probe::recorded(details).filter_map(|told| Some((told.key, told.token?))).collect()
    }

    fn pair(&self, content: &Content, key: &str) -> Option<(SecretBytes, SecretBytes)> {
        let entry: Entry = serde_json::from_str(DockerConfig::read(content)?.auths.get(key)?.get()).ok()?;
        Some((entry.username?.as_str().into(), entry.password?.as_str().into()))
    }

    fn logins(&self, inputs: Inputs<'_>) -> Vec<verification::Login> {
        let given = users(self, inputs).into_iter();
        let given = given.filter_map(|(login, _, user)| Some((login, user.ok()?)));
        let mut read = probe::Read::new();
        given
            .map(|(login, user)| probe::login(login, user.username, user.password, inputs, &mut read))
            .collect()
    }

    fn parts(&self, content: &Content) -> BTreeMap<String, SecretBytes> {
        let read = DockerConfig::read(content);
        let owned = |entry: &RawValue| SecretBytes::from(entry.get());
        read.map(|config| config.auths.into_iter().map(|(key, entry)| (key, owned(entry))).collect())
            .unwrap_or_default()
    }

    fn compose(&self, content: &Content, kept: &BTreeSet<&str>, of: &Content) -> Option<Content> {
        let mut auths = DockerConfig::read(content)?.auths;
        auths.retain(|key, _| !kept.contains(key.as_str()));
        if auths.is_empty() {
            return None;
        }
        let before = DockerConfig::read(of).map(|config| config.auths).unwrap_or_default();
        auths.extend(before.into_iter().filter(|(key, _)| kept.contains(key.as_str())));
        let is_kept = |key: &str| kept.contains(key);
        let old = of.tokens.iter().filter(|(key, _)| is_kept(key));
        let tokens = content.tokens.iter().filter(|(key, _)| !is_kept(key)).chain(old);
        let tokens = tokens.map(|(key, token)| (key.clone(), token.clone())).collect();
        let file = SecretBytes::json(&BTreeMap::from([("auths", auths)])).ok()?;
        Some(Content { data: BTreeMap::from([(OUTPUT_KEY.into(), file)]), tokens, ..content.clone() })
    }

    fn details(
        &self,
        content: Option<&Content>,
        verification: Option<&Verification>,
        recorded: &Map<String, Value>,
    ) -> Map<String, Value> {
        let all: Vec<RegistryStatus> = self
            .entries()
            .iter()
            .map(|login| probe::status(login, content, verification, recorded))
            .collect();
        let mut details = Map::new();
        details.extend(all.first().map(|first| ("registry".to_owned(), serde_json::json!(first))));
        if !self.registries.is_empty() {
            details.insert("registries".to_owned(), serde_json::json!(all));
        }
        details
    }

    fn default(&self) -> Option<DefaultWish> {
        let default = self.default.as_ref().filter(|default| default.enabled)?;
        Some(DefaultWish {
            accounts: default.service_accounts.iter().map(|name| name.as_str().into()).collect(),
            priority: default.priority,
            keys: self.entries().iter().map(|login| registry(login).key.as_str().into()).collect(),
            restart_stuck_pods: default.restart_stuck_pods,
        })
    }

    fn provider(&self) -> String {
        let mut all = self.entries().iter().map(RegistryLogin::provider);
        let first = all.next().unwrap_or(Provider::Custom);
        // A variant is called as in the spec.
        if all.all(|other| other == first) { format!("{first:?}") } else { "Several".to_owned() }
    }
}

/// The login that was found in a source Secret.
struct Login {
    username: Option<Zeroizing<String>>,
    password: Zeroizing<String>,
    email: Option<String>,
    notes: Vec<String>,
}

/// Who logs in.
struct User {
    username: Zeroizing<String>,
    password: Zeroizing<String>,
    email: Option<String>,
    notes: Vec<String>,
    /// Of one that was minted.
    token: Option<TokenStatus>,
}

/// Each login of a credential, with its key, and who logs in.
fn users<'a>(
    spec: &'a RegistryCredentialSpec,
    inputs: Inputs<'_>,
) -> Vec<(&'a RegistryLogin, String, Result<User, SourceError>)> {
    let mut keys = BTreeSet::new();
    let logins = spec.entries().iter().enumerate();
    let users = logins.map(|(n, login)| {
        let key = registry(login).key;
        let mut user = match inputs.grants.get(&key) {
            Some(Ok(grant)) => minted(login, &key, grant, inputs),
            Some(Err(error)) => Err(error.clone()),
            None => {
                let secret = login.secret_ref.as_ref().map_or("", |reference| &reference.name);
                inputs.source(secret).and_then(|secret| user(login, secret))
            }
        };
        if !keys.insert(key.clone()) {
            user = Err(SourceError::duplicate(&format!("the key '{key}'")));
        }
        let of_part = |error: SourceError| error.of_part(&format!("registries[{n}]"));
        (login, key, if spec.registries.is_empty() { user } else { user.map_err(of_part) })
    });
    users.collect()
}

fn user(spec: &RegistryLogin, secret: &SourceSecret) -> Result<User, SourceError> {
    let registry = registry(spec);
    let login = match secret.type_.as_str() {
        "Opaque" | "" | "kubernetes.io/basic-auth" => from_keys(spec, secret)?,
        OUTPUT_TYPE => from_docker_config(spec, secret, &registry)?,
        _ => {
            let accepted = "Opaque, kubernetes.io/basic-auth or kubernetes.io/dockerconfigjson";
            return Err(SourceError::unsupported_type(secret, accepted));
        }
    };
    let username = match (&spec.username, &login.username) {
        (Some(name), _) => name.as_str(),
        (None, Some(name)) => {
            value::check_username(secret, name)?;
            name.as_str()
        }
        (None, None) => default_username(spec.provider(), &login.password).ok_or_else(|| {
            let key = spec.secret_ref.as_ref().map_or("username", value::username_key);
            SourceError::username_missing(&secret.name, key)
        })?,
    };
    let username = Zeroizing::new(username.to_owned());
    let email = spec.email.clone().or(login.email);
    Ok(User { username, password: login.password, email, notes: login.notes, token: None })
}

/// Who logs in with a minted token.
fn minted(login: &RegistryLogin, key: &str, grant: &Grant, inputs: Inputs<'_>) -> Result<User, SourceError> {
    let minted = inputs.minted.get(key).ok_or_else(SourceError::minting)?;
    match (&minted.token, &minted.error) {
        (Some(token), _) if inputs.now < token.expires => Ok(User {
            username: Zeroizing::new(token.username.text().to_owned()),
            password: Zeroizing::new(token.password.text().to_owned()),
            email: login.email.clone(),
            notes: Vec::new(),
            token: Some(TokenStatus {
                expiration_time: Time(token.expires),
                subject: grant.subject(),
                secret_version: grant.secret_version.clone(),
            }),
        }),
        (_, Some(error)) => Err(SourceError::not_minted(error)),
        _ => Err(SourceError::minting()),
    }
}

fn render(spec: &RegistryCredentialSpec, inputs: Inputs<'_>) -> Result<Content, SourceError> {
    let (mut users_by_key, mut missing) = (BTreeMap::new(), BTreeMap::new());
    for (_, key, user) in users(spec, inputs) {
        match user {
            Ok(user) => {
                users_by_key.insert(key, user);
            }
            Err(error) if spec.registries.is_empty() => return Err(error),
            // Of two with the same key, the first counts; what is wrong with the second is told under another name.
            Err(error) if users_by_key.contains_key(&key) => {
                missing.insert(format!("{key} (again)"), error);
            }
            Err(error) => {
                missing.insert(key, error);
            }
        }
    }
    if users_by_key.is_empty()
        && let Some((_, error)) = missing.pop_first()
    {
        return Err(error);
    }
    let tokens =
        users_by_key.iter().filter_map(|(key, user)| Some((key.clone(), user.token.clone()?))).collect();
    let is_weak = users_by_key.values().any(|user| value::is_weak(&user.password));
    Ok(Content {
        type_: OUTPUT_TYPE,
        data: BTreeMap::from([(OUTPUT_KEY.into(), docker_config(&users_by_key))]),
        warnings: is_weak.then_some(Warning::WEAK_PASSWORD).into_iter().collect(),
        notes: users_by_key.into_values().flat_map(|user| user.notes).collect(),
        validity: None,
        tokens,
        missing,
    })
}

fn from_keys(spec: &RegistryLogin, secret: &SourceSecret) -> Result<Login, SourceError> {
    let reference = spec.secret_ref.as_ref();
    let password_key =
        reference.and_then(|reference| reference.password_key.as_deref()).unwrap_or("password");
    let password = value::password(secret, password_key)?;
    let reference = reference.filter(|_| spec.username.is_none());
    let username = reference.map(|reference| value::username(secret, reference)).transpose()?.flatten();
    let trimmed = [Some(&password), username.as_ref()].into_iter().flatten().filter(|value| value.trimmed);
    let notes = trimmed.map(|value| format!("a newline at the end of key '{}' was left out", value.key));
    let notes = notes.collect();
    let username = username.map(|username| Zeroizing::new(username.text.to_owned()));
    Ok(Login { username, password: Zeroizing::new(password.text.to_owned()), email: None, notes })
}

#[derive(Deserialize)]
struct DockerConfig<'a> {
    /// Only the entry that is used is read: there may be a hundred thousand, and they are other logins.
    #[serde(borrow)]
    auths: BTreeMap<String, &'a RawValue>,
}

impl<'a> DockerConfig<'a> {
    /// What was rendered before.
    fn read(content: &'a Content) -> Option<Self> {
        serde_json::from_slice(content.data.get(OUTPUT_KEY)?.expose()).ok()
    }
}

#[derive(Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    auth: Option<Zeroizing<String>>,
    email: Option<String>,
}

/// Takes the one login out of a dockerconfigjson that kubelet would use for the registry.
fn from_docker_config(
    spec: &RegistryLogin,
    secret: &SourceSecret,
    registry: &RegistryStatus,
) -> Result<Login, SourceError> {
    let wrong = |problem: &str| invalid(secret, OUTPUT_KEY, problem);
    let text = value::text(secret, OUTPUT_KEY, "name")?.text;
    // serde's own message may quote a value, so only the place of the fault is told.
    let config: DockerConfig<'_> = serde_json::from_str(text).map_err(|error| {
        wrong(&format!(
            "is not a docker config with `auths` (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    let key = kubelet::first_match(config.auths.keys().map(String::as_str), &sample_image(registry));
    let Some(entry) = key.and_then(|key| config.auths.get(key)) else {
        // The keys stand inside of the value, so they are counted and never quoted.
        return Err(wrong(&format!(
            "has no entry for {} (it has {} in all)",
            registry.endpoint,
            config.auths.len()
        )));
    };
    let entry: Entry = serde_json::from_str(entry.get()).map_err(|_| wrong("has an entry for the registry that cannot be read: one needs `auth`, or `username` and `password`, as texts"))?;
    let (email, long) = match &entry.email {
        Some(email) if email.chars().count() > MAX_EMAIL_CHARS => (None, true),
        email => (email.clone(), false),
    };
    // As in kubelet, `auth` wins over the pair.
    let (username, password) = match (&entry.auth, &entry.username, &entry.password) {
        (Some(auth), _, _) if !auth.is_empty() => {
            decode_auth(auth).ok_or_else(|| wrong("has an `auth` that is not base64 of user:password"))?
        }
        (_, Some(username), Some(password)) => (username.clone(), password.clone()),
        _ => return Err(wrong("has neither `auth` nor `username` and `password` for the registry")),
    };
    value::check_password(secret, OUTPUT_KEY, value::strip_newline(&password).unwrap_or(&password))?;
    let username = (spec.username.is_none() && !username.is_empty()).then(|| Zeroizing::new(username));
    let notes = long.then(|| format!("an email of more than {MAX_EMAIL_CHARS} characters was left out"));
    Ok(Login { username, password, email, notes: notes.into_iter().collect() })
}

/// Base64, padded or not, split at the first colon.
fn decode_auth(auth: &str) -> Option<(String, Zeroizing<String>)> {
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(auth.trim_end_matches('=')).ok()?);
    let text = std::str::from_utf8(&bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), Zeroizing::new(password.to_owned())))
}

/// The file as docker writes it, with `auth` next to the pair for clients that read only one of them.
fn docker_config(users: &BTreeMap<String, User>) -> SecretBytes {
    #[derive(Serialize)]
    struct Login<'a> {
        username: &'a str,
        password: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        email: Option<&'a str>,
        auth: Zeroizing<String>,
    }
    let auths = users.iter().map(|(key, user)| {
        let User { username, password, email, .. } = user;
        let pair = SecretBytes::concat(&[username.as_bytes(), b":", password.as_bytes()]);
        let auth = encode(pair.expose());
        (key, Login { username, password, email: email.as_deref(), auth })
    });
    let file = BTreeMap::from([("auths", auths.collect::<BTreeMap<_, _>>())]);
    // Strings under string keys always serialize.
    SecretBytes::json(&file).unwrap_or_else(|_| SecretBytes::new(Vec::new()))
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
