//! `kubectl claviger render`: the Secrets that credentials would make, without their values.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    error::PluginError,
    manifests::{Manifest, ManifestArgs},
    news::{News, tell},
    output::{Format, OutputArgs},
    verify::{is_ours, judged},
};
use crate::{
    api::{CredentialKind, NamespaceSelector},
    domain::{
        SecretBytes,
        content::{Data, Inputs, ReadSecret, SourceSecret},
        credential::CredentialSpec,
        declared::Declared,
        foreign_text::foreign_text,
        identity::CredentialId,
        manifest::redacted,
        ownership::Metadata,
        schedule::MAX_MESSAGE,
    },
};

/// In place of what only the operator knows.
const HUB: &str = "<id of the hub cluster>";

/// What is rendered.
#[derive(Clone, Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    manifests: ManifestArgs,
}

/// The Secret of a credential.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rendered {
    credential: String,
    /// Where it goes; absent: into the namespace of the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<NamespaceSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Value>,
    /// Why there is none, or what is missing in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Answer {
    items: Vec<Rendered>,
}

pub(super) fn run(args: &RenderArgs, namespace: &str, output: OutputArgs) -> Result<News, PluginError> {
    let (ours, others): (Vec<_>, Vec<_>) =
        args.manifests.read()?.into_iter().partition(|manifest| is_ours(&manifest.object));
    let mut sources = Vec::new();
    for manifest in others.into_iter().filter(|manifest| kind(manifest) == Some("Secret")) {
        sources.push(source(manifest, namespace)?);
    }
    let items: Vec<Rendered> =
        ours.iter().filter_map(|manifest| rendered(manifest, namespace, &sources)).collect();
    if items.is_empty() {
        return Err(PluginError::Manifest("the manifests contain no credential".to_owned()));
    }
    let is_good = items.iter().all(|item| item.errors.is_empty());
    if output.output.is_none() {
        for item in &items {
            item.errors.iter().for_each(|error| tell(&format!("{}: {error}", item.credential)));
        }
    }
    let output = OutputArgs { output: output.output.or(Some(Format::Yaml)) };
    output.write(&Answer { items }, String::new)?;
    Ok(News::good(is_good))
}

/// A Secret of the files, by its namespace.
fn source(mut manifest: Manifest, namespace: &str) -> Result<(String, SourceSecret), PluginError> {
    // Of what it says, only the place in the file would be no secret.
    let file = &manifest.file;
    let wrong = |_| PluginError::Manifest(format!("{file} has a Secret that cannot be read"));
    let secret: Secret = serde_json::from_value(manifest.object.take()).map_err(wrong)?;
    let mut secret = ReadSecret(secret);
    let mut data = secret.take_data();
    let texts = secret.0.string_data.take().into_iter().flatten();
    data.extend(texts.map(|(key, text)| (key, SecretBytes::new(text.into_bytes()))));
    let metadata = &secret.0.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let place = metadata.namespace.clone().unwrap_or_else(|| namespace.to_owned());
    Ok((place, SourceSecret { name, type_: secret.type_().to_owned(), data, version: None }))
}

fn kind(manifest: &Manifest) -> Option<&str> {
    manifest.object.get("kind")?.as_str()
}

/// `None` for what is not a credential.
fn rendered(manifest: &Manifest, namespace: &str, sources: &[(String, SourceSecret)]) -> Option<Rendered> {
    let (judged, mut full) = judged(manifest, namespace, &[]);
    if CredentialKind::parse(kind(manifest)?).is_none() && judged.is_valid() {
        return None;
    }
    let credential = judged.title();
    let without =
        |errors| Some(Rendered { credential: credential.clone(), namespaces: None, secret: None, errors });
    if !judged.is_valid() {
        return without(judged.told().lines().map(str::to_owned).collect());
    }
    if let Some(metadata) = full.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.entry("namespace").or_insert_with(|| namespace.into());
    }
    let declared: Declared = serde_json::from_str(&full.to_string()).ok()?;
    let spec = match &declared.spec {
        Ok(spec) => spec,
        Err(error) => return without(vec![error.clone()]),
    };
    let own = sources.iter().filter(|(place, _)| *place == *declared.id.namespace);
    let own: Vec<SourceSecret> = own.map(|(_, secret)| secret.clone()).collect();
    match secret(&declared.id, spec, &own, &declared) {
        Ok((secret, errors)) => {
            let namespaces = spec.target().namespaces.clone();
            Some(Rendered { credential, namespaces, secret: Some(secret), errors })
        }
        Err(error) => without(vec![error]),
    }
}

fn secret(
    id: &CredentialId,
    spec: &Arc<dyn CredentialSpec>,
    sources: &[SourceSecret],
    declared: &Declared,
) -> Result<(Value, Vec<String>), String> {
    let told = |error: &dyn std::fmt::Display| foreign_text(&error.to_string(), MAX_MESSAGE);
    let inputs = Inputs::new(sources, Timestamp::now());
    let passwords = spec.passwords(inputs).map_err(|error| told(&error))?;
    // No value is shown, so salts need not be random.
    let hashes: Data = passwords
        .iter()
        .map(|password| (password.user.to_owned(), password.hashed(inputs.entropy)))
        .collect();
    let content = spec.render(Inputs { hashes: &hashes, ..inputs }).map_err(|error| told(&error))?;
    let Metadata { labels, annotations } =
        Metadata::desired(id, HUB, 1, spec.target(), declared.deletion_policy);
    let namespace = spec.target().namespaces.is_none().then(|| id.namespace.to_string());
    let mut metadata = Map::from_iter([
        ("name".to_owned(), json!(&*declared.secret_name())),
        ("labels".to_owned(), json!(labels)),
        ("annotations".to_owned(), json!(annotations)),
    ]);
    metadata.extend(namespace.map(|namespace| ("namespace".to_owned(), namespace.into())));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": content.type_, "data": redacted(&content)});
    let missing = content.missing.iter().map(|(part, error)| format!("{part}: {}", told(error)));
    Ok((secret, missing.collect()))
}
