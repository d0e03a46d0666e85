//! RegistryCredential: how its login is tried at the registry.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    api::{Provider, RegistryLogin, RegistryStatus, VerificationMode},
    domain::{
        content::{Content, Inputs},
        registry::{api_server, is_docker_hub, region, registry},
        render::authorities::{MAX_VERSION, duration, read_authorities},
        schedule::VERIFICATION_INTERVAL,
        verification::{self, Authorities, Login, MissingAuthorities, Rules, Subject, Verification},
    },
};

fn rules(spec: &RegistryLogin) -> Rules {
    let asked = spec.verification.as_ref();
    let mode = asked.and_then(|asked| asked.mode).unwrap_or(match spec.provider() {
        // As its own panel does: a key that its API refuses is not stored.
        Provider::Scaleway => VerificationMode::Enforce,
        _ => VerificationMode::Warn,
    });
    let interval = asked.and_then(|asked| asked.interval.as_deref()).and_then(duration);
    Rules { mode, interval: interval.unwrap_or(VERIFICATION_INTERVAL) }
}

/// Authorities that were read, by the name and key of their Secret.
pub(super) type Read<'a> = BTreeMap<(&'a str, &'a str), Result<Authorities, MissingAuthorities>>;

/// The Secret with the authorities of the registry, and the key in it.
pub(super) fn authorities(spec: &RegistryLogin) -> Option<(&str, &str)> {
    let reference = spec.verification.as_ref()?.ca_secret_ref.as_ref()?;
    Some((reference.name.as_str(), reference.key.as_deref().unwrap_or("ca.crt")))
}

pub(super) fn login<'a>(
    spec: &'a RegistryLogin,
    username: Zeroizing<String>,
    password: Zeroizing<String>,
    inputs: Inputs<'_>,
    read: &mut Read<'a>,
) -> Login {
    let registry = registry(spec);
    let asked = spec.verification.as_ref();
    let repository = asked.and_then(|asked| asked.repository.as_deref()).map(|repository| {
        let (name, tag) = repository.split_once(':').unwrap_or((repository, "latest"));
        let is_official = is_docker_hub(&registry) && !name.contains('/');
        (if is_official { format!("library/{name}") } else { name.to_owned() }, tag.to_owned())
    });
    let trusted = authorities(spec);
    let version = |name: &str| inputs.source(name).ok().and_then(|secret| secret.version.clone());
    let own = spec.secret_ref.as_ref().and_then(|reference| version(&reference.name));
    let version = own.map(|own| match trusted {
        Some((name, _)) => format!("{own},{}", version(name).unwrap_or_default()),
        None => own,
    });
    let read = |place| read.entry(place).or_insert_with(|| read_authorities(place, inputs)).clone();
    let scaleway = spec.scaleway.as_ref();
    let scaleway = scaleway.map(|block| (region(block.region), block.namespace.clone()));
    Login {
        rules: rules(spec),
        server: api_server(&registry),
        key: registry.key,
        provider: format!("{:?}", spec.provider()),
        version: version.filter(|version| version.len() <= MAX_VERSION),
        authorities: trusted.map(read),
        subject: Subject::Registry(verification::RegistryLogin { username, password, repository, scaleway }),
    }
}

/// The registry as it was worked out from the spec, and as the registry itself tells of it.
pub(super) fn status(
    spec: &RegistryLogin,
    content: Option<&Content>,
    verification: Option<&Verification>,
    recorded: &Map<String, Value>,
) -> RegistryStatus {
    let registry = registry(spec);
    let mut told = self::recorded(recorded);
    let found = verification
        .and_then(|verification| verification.namespace(&registry.key))
        .map(|found| (found.endpoint.clone(), Some(found.id.clone())));
    // It stays known until the registry is another one.
    let told = told.find(|told| told.key == registry.key && told.endpoint == registry.endpoint);
    let (endpoint, namespace_id) =
        found.unwrap_or((registry.endpoint, told.and_then(|told| told.namespace_id)));
    let token = content.and_then(|content| content.tokens.get(&registry.key)).cloned();
    RegistryStatus { endpoint, namespace_id, token, ..registry }
}

/// What a status tells of the registries.
pub(super) fn recorded(details: &Map<String, Value>) -> impl Iterator<Item = RegistryStatus> {
    let several = details.get("registries").and_then(Value::as_array);
    let told = several.into_iter().flatten().chain(details.get("registry"));
    told.filter_map(|told| serde_json::from_value(told.clone()).ok())
}
