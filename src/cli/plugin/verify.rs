//! `kubectl claviger verify`: judges manifests without a cluster.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{
    error::PluginError,
    manifests::{Manifest, ManifestArgs},
    news::News,
    output::{OutputArgs, indented, table},
};
use crate::{
    api::crds,
    domain::{
        foreign_text::foreign_text,
        manifest::{FieldError, Preview, RegistryPreview, judge, preview},
        schedule::{MAX_MESSAGE, MAX_WORD},
    },
};

const GROUP: &str = "claviger.dev/";
const VERSION: &str = "claviger.dev/v1alpha1";

/// What is judged.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    manifests: ManifestArgs,

    /// Image for which to check whether the credentials match; can be given several times
    #[arg(long, value_name = "IMAGE")]
    image: Vec<String>,
}

/// What can be said of one object.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    file: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    valid: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(flatten)]
    preview: Option<Preview>,
}

#[derive(Serialize)]
struct Answer {
    objects: Vec<Judged>,
}

pub(super) fn run(args: &VerifyArgs, namespace: &str, output: OutputArgs) -> Result<News, PluginError> {
    let manifests = args.manifests.read()?;
    let ours = manifests.iter().filter(|manifest| is_ours(&manifest.object));
    let objects: Vec<Judged> = ours.map(|manifest| judged(manifest, namespace, &args.image).0).collect();
    if objects.is_empty() {
        return Err(PluginError::Manifest("the manifests contain no object of claviger.dev".to_owned()));
    }
    let answer = Answer { objects };
    output.write(&answer, || in_words(&answer.objects, !args.image.is_empty()))?;
    Ok(News::good(answer.objects.iter().all(|object| object.valid)))
}

/// Whether an object is of our group.
pub(super) fn is_ours(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP))
}

/// Judges an object; returns it with its defaults, too.
pub(super) fn judged(manifest: &Manifest, namespace: &str, images: &[String]) -> (Judged, Value) {
    let object = &manifest.object;
    let text = |pointer: &str, longest| {
        object.pointer(pointer).and_then(Value::as_str).map(|text| foreign_text(text, longest))
    };
    let kind = text("/kind", MAX_WORD).unwrap_or_default();
    let name = text("/metadata/name", 253).unwrap_or_default();
    let definition = crds().into_iter().find(|definition| definition.spec.names.kind == kind);
    let is_namespaced = definition.as_ref().is_none_or(|definition| definition.spec.scope == "Namespaced");
    let own = text("/metadata/namespace", 63);
    let schema = definition.and_then(|definition| {
        let version = definition.spec.versions.into_iter().next()?;
        serde_json::to_value(version.schema?.open_api_v3_schema?).ok()
    });
    let (full, mut errors) = match &schema {
        Some(schema) => judge(schema, object),
        None => {
            (object.clone(), vec![FieldError::new("kind", format!("'{kind}' is not a kind of claviger.dev"))])
        }
    };
    if object["apiVersion"] != VERSION {
        errors.push(FieldError::new("apiVersion", format!("must be {VERSION}")));
    }
    if !is_namespaced && own.is_some() {
        errors.push(FieldError::new(
            "metadata.namespace",
            format!("may not be given: {kind} is cluster-scoped"),
        ));
    }
    for error in &mut errors {
        error.field = foreign_text(&error.field, MAX_MESSAGE);
        error.message = foreign_text(&error.message, 2 * MAX_MESSAGE);
    }
    let namespace = is_namespaced.then(|| own.unwrap_or_else(|| namespace.to_owned()));
    let spec = (kind == "RegistryCredential" && errors.is_empty())
        .then(|| serde_json::from_value(full.get("spec")?.clone()).ok())
        .flatten();
    let preview = spec.map(|spec| preview(&spec, namespace.as_deref().unwrap_or_default(), &name, images));
    let valid = errors.is_empty();
    (Judged { file: manifest.file.clone(), kind, namespace, name, valid, errors, preview }, full)
}

/// What is wrong with an object, in lines; tests compare it with what a real API server says.
#[must_use]
pub fn manifest_errors(object: &Value) -> Vec<String> {
    let manifest = Manifest { file: String::new(), object: object.clone() };
    judged(&manifest, "default", &[]).0.told().lines().map(str::to_owned).collect()
}

impl Judged {
    pub const fn is_valid(&self) -> bool {
        self.valid
    }

    /// Kind, namespace and name.
    pub fn title(&self) -> String {
        let namespace = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {namespace}{}", self.kind, self.name)
    }

    /// What is wrong with it, in lines.
    pub fn told(&self) -> String {
        self.errors.iter().map(|error| format!("{}: {}\n", error.field, error.message)).collect()
    }
}

fn in_words(objects: &[Judged], is_asked: bool) -> String {
    let mut text = String::new();
    for object in objects {
        let verdict = if object.valid { "valid" } else { "not valid" };
        text += &format!("{} ({}): {verdict}\n{}", object.title(), object.file, indented(&object.told(), 2));
        let Some(preview) = &object.preview else { continue };
        let namespaces = if preview.namespaces.is_empty() {
            "those that the selector selects".to_owned()
        } else {
            preview.namespaces.join(", ")
        };
        text += &format!("  Secret {} in: {namespaces}\n", preview.secret);
        let columns = if is_asked { 4 } else { 3 };
        let row = |registry: &RegistryPreview| {
            let RegistryPreview { endpoint, key, images, matching } = registry;
            let mut row = vec![endpoint.clone(), key.clone(), images.clone(), matching.join(", ")];
            row.truncate(columns);
            row
        };
        let rows: Vec<_> = preview.registries.iter().map(row).collect();
        let head = ["REGISTRY", "KEY", "IMAGES", "MATCHING"];
        text += &indented(&table(head.get(..columns).unwrap_or(&head), &rows), 2);
    }
    text
}
