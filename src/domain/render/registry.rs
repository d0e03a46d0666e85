//! RegistryCredential: `.dockerconfigjson`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use zeroize::Zeroizing;

use super::value::{self, invalid};
use crate::{
    api::{RegistryCredentialSpec, RegistryStatus, Target},
    domain::{
        SecretBytes,
        content::{Content, Inputs, SourceError, SourceSecret, Warning},
        credential::{CredentialSpec, Source},
        fingerprint::encode,
        registry::{default_username, kubelet, registry, sample_image},
        verification::{self, Rules, Verification},
    },
};

#[path = "registry_probe.rs"]
mod probe;

const OUTPUT_TYPE: &str = "kubernetes.io/dockerconfigjson";
const OUTPUT_KEY: &str = ".dockerconfigjson";

/// The longest email of a docker config, as that of a spec: every copy has it.
const MAX_EMAIL_CHARS: usize = 254;

impl CredentialSpec for RegistryCredentialSpec {
    fn target(&self) -> &Target {
        &self.target
    }

    fn source(&self) -> Source {
        let authorities = self.verification.iter().flat_map(|verification| &verification.ca_secret_ref);
        let names =
            std::iter::once(&self.secret_ref.name).chain(authorities.map(|reference| &reference.name));
        Source::Secrets(names.cloned().collect())
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        render(self, inputs.source(&self.secret_ref.name)?)
    }

    fn verification(&self) -> Option<Rules> {
        Some(probe::rules(self))
    }

    fn logins(&self, inputs: Inputs<'_>) -> Result<Vec<verification::Login>, SourceError> {
        let User { username, password, .. } = user(self, inputs.source(&self.secret_ref.name)?)?;
        Ok(vec![probe::login(self, username, password, inputs)])
    }

    fn details(
        &self,
        _: Option<&Content>,
        verification: Option<&Verification>,
        recorded: &Map<String, Value>,
    ) -> Map<String, Value> {
        Map::from_iter([(
            "registry".to_owned(),
            serde_json::json!(probe::status(self, verification, recorded)),
        )])
    }

    fn provider(&self) -> String {
        // A variant is called as in the spec.
        format!("{:?}", self.provider)
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
}

fn user(spec: &RegistryCredentialSpec, secret: &SourceSecret) -> Result<User, SourceError> {
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
        (None, None) => default_username(spec.provider, &login.password).ok_or_else(|| {
            SourceError::username_missing(&secret.name, value::username_key(&spec.secret_ref))
        })?,
    };
    let username = Zeroizing::new(username.to_owned());
    let email = spec.email.clone().or(login.email);
    Ok(User { username, password: login.password, email, notes: login.notes })
}

fn render(spec: &RegistryCredentialSpec, secret: &SourceSecret) -> Result<Content, SourceError> {
    let User { username, password, email, notes } = user(spec, secret)?;
    let weak = value::is_weak(&password);
    Ok(Content {
        type_: OUTPUT_TYPE,
        data: BTreeMap::from([(
            OUTPUT_KEY.into(),
            docker_config(&registry(spec).key, &username, &password, email.as_deref()),
        )]),
        warnings: weak.then_some(Warning::WEAK_PASSWORD).into_iter().collect(),
        notes,
        validity: None,
    })
}

fn from_keys(spec: &RegistryCredentialSpec, secret: &SourceSecret) -> Result<Login, SourceError> {
    let reference = &spec.secret_ref;
    let password_key = reference.password_key.as_deref().unwrap_or("password");
    let password = value::password(secret, password_key)?;
    let username = if spec.username.is_none() { value::username(secret, reference)? } else { None };
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

#[derive(Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    auth: Option<Zeroizing<String>>,
    email: Option<String>,
}

/// Takes the one login out of a dockerconfigjson that kubelet would use for the registry.
fn from_docker_config(
    spec: &RegistryCredentialSpec,
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
            "has no entry that serves {}, among {} in all",
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

/// The file as docker writes it: one entry, with `auth` next to the pair for clients that read
/// only one of them.
fn docker_config(key: &str, username: &str, password: &str, email: Option<&str>) -> SecretBytes {
    #[derive(Serialize)]
    struct Login<'a> {
        username: &'a str,
        password: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        email: Option<&'a str>,
        auth: &'a str,
    }
    let pair = SecretBytes::concat(&[username.as_bytes(), b":", password.as_bytes()]);
    let auth = encode(pair.expose());
    let login = Login { username, password, email, auth: &auth };
    let file = BTreeMap::from([("auths", BTreeMap::from([(key, login)]))]);
    // Strings under string keys always serialize.
    SecretBytes::json(&file).unwrap_or_else(|_| SecretBytes::new(Vec::new()))
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
