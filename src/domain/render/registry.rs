//! RegistryCredential: `.dockerconfigjson`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::value::{self, invalid};
use crate::{
    api::{DeletionPolicy, Provider, RegistryCredentialSpec, RegistryStatus, Target},
    domain::{
        SecretBytes,
        content::{Content, Inputs, SourceError, SourceSecret, Warning},
        credential::{CredentialSpec, Source},
        registry::{Registry, default_username, kubelet},
    },
};

const OUTPUT_TYPE: &str = "kubernetes.io/dockerconfigjson";
const OUTPUT_KEY: &str = ".dockerconfigjson";

impl CredentialSpec for RegistryCredentialSpec {
    fn target(&self) -> &Target {
        &self.target
    }

    fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy
    }

    fn source(&self) -> Source {
        Source::Secrets(vec![self.secret_ref.name.clone()])
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        render(self, inputs.sources.get(&self.secret_ref.name)?)
    }

    fn details(&self, _: Option<&Content>, _: &Map<String, Value>) -> Map<String, Value> {
        let registry = Registry::of(self);
        let status = RegistryStatus { endpoint: registry.endpoint(), key: registry.key };
        let mut details = Map::new();
        details.insert("registry".to_owned(), serde_json::json!(status));
        details
    }

    fn provider(&self) -> &'static str {
        match self.provider {
            Provider::DockerHub => "DockerHub",
            Provider::GitHub => "GitHub",
            Provider::GitLab => "GitLab",
            Provider::Quay => "Quay",
            Provider::Scaleway => "Scaleway",
            Provider::DigitalOcean => "DigitalOcean",
            Provider::GoogleArtifactRegistry => "GoogleArtifactRegistry",
            Provider::ECR => "ECR",
            Provider::ACR => "ACR",
            Provider::Harbor => "Harbor",
            Provider::Custom => "Custom",
        }
    }
}

/// The login that was found in a source Secret.
struct Login<'a> {
    username: Option<Zeroizing<String>>,
    password: Zeroizing<String>,
    email: Option<&'a str>,
    notes: Vec<String>,
}

fn render(spec: &RegistryCredentialSpec, secret: &SourceSecret) -> Result<Content, SourceError> {
    let registry = Registry::of(spec);
    let login = match secret.type_.as_str() {
        "Opaque" | "" | "kubernetes.io/basic-auth" => from_keys(spec, secret)?,
        OUTPUT_TYPE => from_docker_config(spec, secret, &registry)?,
        other => {
            return Err(SourceError::UnsupportedType {
                secret: secret.name.clone(),
                type_: other.to_owned(),
                accepted: "Opaque, kubernetes.io/basic-auth or kubernetes.io/dockerconfigjson",
            });
        }
    };
    let username = match (&spec.username, &login.username) {
        (Some(name), _) => name.as_str(),
        (None, Some(name)) => {
            value::check_username(secret, name)?;
            name.as_str()
        }
        (None, None) => default_username(spec.provider, &login.password).ok_or_else(|| {
            SourceError::UsernameMissing { secret: secret.name.clone(), key: username_key(spec).to_owned() }
        })?,
    };
    let weak = value::is_weak(&login.password);
    Ok(Content {
        type_: OUTPUT_TYPE,
        data: BTreeMap::from([(
            OUTPUT_KEY.into(),
            docker_config(&registry.key, username, &login.password, spec.email.as_deref().or(login.email)),
        )]),
        warnings: weak.then_some(Warning::WeakPassword).into_iter().collect(),
        notes: login.notes,
        validity: None,
    })
}

fn username_key(spec: &RegistryCredentialSpec) -> &str {
    spec.secret_ref.username_key.as_deref().unwrap_or("username")
}

fn from_keys<'a>(spec: &RegistryCredentialSpec, secret: &'a SourceSecret) -> Result<Login<'a>, SourceError> {
    let password_key = spec.secret_ref.password_key.as_deref().unwrap_or("password");
    let password = value::password(secret, password_key, "passwordKey")?;
    let mut notes = Vec::new();
    if password.trimmed {
        notes.push(format!("a newline at the end of key '{password_key}' was left out"));
    }
    // A key that was named must be there; the default one may be missing.
    let key = username_key(spec);
    let username = if spec.username.is_some()
        || (spec.secret_ref.username_key.is_none() && !secret.data.contains_key(key))
    {
        None
    } else {
        let username = value::text(secret, key, "usernameKey")?;
        if username.trimmed {
            notes.push(format!("a newline at the end of key '{key}' was left out"));
        }
        Some(Zeroizing::new(username.text.to_owned()))
    };
    Ok(Login { username, password: Zeroizing::new(password.text.to_owned()), email: None, notes })
}

#[derive(Deserialize)]
struct DockerConfig<'a> {
    #[serde(borrow)]
    auths: BTreeMap<String, Entry<'a>>,
}

#[derive(Deserialize, Default)]
struct Entry<'a> {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    #[serde(borrow)]
    email: Option<&'a str>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.password.zeroize();
        self.auth.zeroize();
    }
}

/// Takes the one login out of a dockerconfigjson that kubelet would use for the registry.
fn from_docker_config<'a>(
    spec: &RegistryCredentialSpec,
    secret: &'a SourceSecret,
    registry: &Registry,
) -> Result<Login<'a>, SourceError> {
    let wrong = |problem: &str| invalid(secret, OUTPUT_KEY, problem);
    let text = value::text(secret, OUTPUT_KEY, "name")?.text;
    // serde's own message may quote a value, so only the place of the fault is told.
    let config: DockerConfig = serde_json::from_str(text).map_err(|error| {
        wrong(&format!(
            "is not a docker config with `auths` (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    let key = kubelet::first_match(config.auths.keys().map(String::as_str), &registry.sample_image());
    let Some(entry) = key.and_then(|key| config.auths.get(key)) else {
        // The keys stand inside of the value, so they are counted and never quoted.
        return Err(wrong(&format!(
            "has no entry that serves {}, among {} in all",
            registry.endpoint(),
            config.auths.len()
        )));
    };
    let email = entry.email;
    // As in kubelet, `auth` wins over the pair.
    let (username, password) = match (&entry.auth, &entry.username, &entry.password) {
        (Some(auth), _, _) if !auth.is_empty() => {
            decode_auth(auth).ok_or_else(|| wrong("has an `auth` that is not base64 of user:password"))?
        }
        (_, Some(username), Some(password)) => (username.clone(), Zeroizing::new(password.clone())),
        _ => return Err(wrong("has neither `auth` nor `username` and `password` for the registry")),
    };
    let probe = SourceSecret {
        name: secret.name.clone(),
        type_: String::new(),
        data: BTreeMap::from([(OUTPUT_KEY.to_owned(), SecretBytes::new(password.as_bytes().to_vec()))]),
    };
    value::password(&probe, OUTPUT_KEY, "name")?;
    let username = (spec.username.is_none() && !username.is_empty()).then(|| Zeroizing::new(username));
    Ok(Login { username, password, email, notes: Vec::new() })
}

/// Base64, padded or not, split at the first colon.
fn decode_auth(auth: &str) -> Option<(String, Zeroizing<String>)> {
    let bytes = Zeroizing::new(general_purpose::STANDARD_NO_PAD.decode(auth.trim_end_matches('=')).ok()?);
    let text = std::str::from_utf8(&bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), Zeroizing::new(password.to_owned())))
}

/// The file as docker writes it: one entry, with `auth` next to the pair for clients that read
/// only one of them.
fn docker_config(key: &str, username: &str, password: &str, email: Option<&str>) -> SecretBytes {
    #[derive(Serialize)]
    struct Auths<'a> {
        auths: BTreeMap<&'a str, Login<'a>>,
    }
    #[derive(Serialize)]
    struct Login<'a> {
        username: &'a str,
        password: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        email: Option<&'a str>,
        auth: &'a str,
    }
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let auth = Zeroizing::new(general_purpose::STANDARD.encode(pair.as_bytes()));
    let auths = BTreeMap::from([(key, Login { username, password, email, auth: &auth })]);
    // Strings under string keys always serialize.
    SecretBytes::new(serde_json::to_vec(&Auths { auths }).unwrap_or_default())
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
