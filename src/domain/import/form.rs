//! The credential that gives what a Secret has.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    json::set,
    login::{filed, logins},
    secret::kind_of_type,
};
use crate::{
    api::{CredentialKind, RegistryLogin},
    domain::{
        content::{Content, Data, Inputs, SourceSecret},
        declared::Declared,
        manifest::judge,
        registry::{
            keyring::{Entry, Given, given},
            registry,
        },
    },
};

/// The name of the source while a spec is judged.
const SOURCE: &str = "source";
/// As many entries as a credential takes.
const MAX_REGISTRIES: usize = 32;

/// The spec of a credential, without its target, and what it makes of the source.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub spec: Value,
    /// The same with the defaults of the schema, as the API server would have it.
    pub full: Value,
    /// Whether the copies would stay as they are, byte for byte.
    pub is_equal: bool,
    /// The registries, as kubelet's keys.
    pub registries: Vec<String>,
    /// What was done to a value on the way.
    pub notes: Vec<String>,
}

/// Finds credentials for Secrets. What a schema says of a spec is remembered, as a cluster has few registries.
#[derive(Debug)]
pub(crate) struct Former {
    schemas: BTreeMap<CredentialKind, Value>,
    judged: HashMap<String, Result<Value, String>>,
}

impl Former {
    /// With the schemas of all kinds.
    pub fn new(schemas: BTreeMap<CredentialKind, Value>) -> Self {
        Self { schemas, judged: HashMap::new() }
    }

    /// Finds the credential that gives what a Secret has: all its logins and keys, and nothing else. What cannot be one is
    /// told as the end of a sentence, which quotes no value.
    pub fn form(
        &mut self,
        kind: CredentialKind,
        namespace: &str,
        source: &SourceSecret,
        now: Timestamp,
    ) -> Result<Form, String> {
        let (spec, registries) = match kind {
            CredentialKind::RegistryCredential => self.pull(source)?,
            CredentialKind::BasicAuthCredential => {
                (json!({"format": "BasicAuth", "secretRef": {"name": SOURCE}}), Vec::new())
            }
            CredentialKind::TlsCredential => (json!({"secretRef": {"name": SOURCE}}), Vec::new()),
            // Nothing in the Secret says which bucket its access key is for.
            CredentialKind::ObjectStorageCredential => {
                return Err(format!("no {} can be made of it", kind.name()));
            }
        };
        let full = named(self.judge(kind, &spec)?, &source.name);
        let object = json!({
            "kind": kind.name(), "metadata": {"namespace": namespace, "name": source.name}, "spec": full,
        });
        let read = serde_json::from_str::<Declared>(&object.to_string()).map_err(|error| error.to_string());
        let credential = read.and_then(|declared| declared.spec)?;
        let content = credential
            .render(Inputs::new(std::slice::from_ref(source), now))
            .map_err(|error| error.to_string())?;
        if let Some((_, error)) = content.missing.first_key_value() {
            return Err(error.to_string());
        }
        // Who reads a key that nobody writes any more is worse off; cert-manager leaves some empty.
        let lost = |key: &&String| !content.data.contains_key(*key);
        let has_value = |key: &&String| source.data.get(*key).is_some_and(|value| !value.expose().is_empty());
        if let Some(key) = source.data.keys().filter(has_value).find(lost) {
            return Err(format!("it has a key '{key}', which a {} does not write", kind.name()));
        }
        if kind == CredentialKind::RegistryCredential && !has_same_logins(source, &content) {
            return Err("a credential cannot produce exactly the same logins".to_owned());
        }
        let is_equal = content.data == source.data;
        Ok(Form { spec: named(spec, &source.name), full, is_equal, registries, notes: content.notes })
    }

    /// A login for each entry of a pull Secret.
    fn pull(&mut self, source: &SourceSecret) -> Result<(Value, Vec<String>), String> {
        let entries = entries(&source.type_, &source.data).ok_or("kubelet cannot read it")?;
        if entries.is_empty() || entries.len() > MAX_REGISTRIES {
            let count = entries.len();
            return Err(format!("it has {count} logins; a credential can have 1 to {MAX_REGISTRIES}"));
        }
        let (mut found, mut keys) = (Vec::new(), Vec::new());
        for entry in &entries {
            // Its text stands inside of the value, and may have a password in it.
            let unknown = "it has an entry that no credential can have, such as one with a wildcard";
            let key = filed(&entry.text).ok_or(unknown)?;
            let login = logins(&key).into_iter().find_map(|mut login| {
                set(&mut login, &["secretRef", "name"], SOURCE);
                self.gives(&login, &key).then_some(login)
            });
            found.push(login.ok_or(unknown)?);
            keys.push(key);
        }
        keys.sort();
        let total = keys.len();
        keys.dedup();
        if keys.len() < total {
            return Err("it has two entries that kubelet treats as one".to_owned());
        }
        let spec = match <[Value; 1]>::try_from(found) {
            Ok([login]) => login,
            Err(several) => json!({ "registries": several }),
        };
        Ok((spec, keys))
    }

    /// Whether a login is valid and gives the key.
    fn gives(&mut self, login: &Value, key: &str) -> bool {
        let given = serde_json::from_value::<RegistryLogin>(login.clone()).ok();
        given.is_some_and(|given| filed(&registry(&given).key).as_deref() == Some(key))
            && self.judge(CredentialKind::RegistryCredential, login).is_ok()
    }

    /// A spec with its defaults, if it is valid.
    fn judge(&mut self, kind: CredentialKind, spec: &Value) -> Result<Value, String> {
        let schema = self.schemas.get(&kind).unwrap_or(&Value::Null);
        let judged = self.judged.entry(format!("{kind:?} {spec}")).or_insert_with(|| {
            let object = json!({
                "apiVersion": "claviger.dev/v1alpha1", "kind": kind.name(),
                "metadata": {"namespace": "default", "name": SOURCE}, "spec": spec,
            });
            let (full, faults) = judge(schema, &object);
            match faults.first() {
                None => Ok(full.get("spec").cloned().unwrap_or_default()),
                Some(fault) => {
                    Err(format!("the credential would not be valid: {}: {}", fault.field, fault.message))
                }
            }
        });
        judged.clone()
    }
}

/// A spec with the name of the Secret.
fn named(mut spec: Value, name: &str) -> Value {
    let several = spec.get_mut("registries").and_then(Value::as_array_mut);
    for login in several.into_iter().flatten() {
        set(login, &["secretRef", "name"], name);
    }
    if spec.get("secretRef").is_some() {
        set(&mut spec, &["secretRef", "name"], name);
    }
    spec
}

fn entries(type_: &str, data: &Data) -> Option<Vec<Entry>> {
    match given(type_, data) {
        Given::Logins(entries) => Some(entries),
        Given::Nothing => Some(Vec::new()),
        Given::Unreadable => None,
    }
}

/// Whether kubelet finds the same logins in both.
fn has_same_logins(source: &SourceSecret, content: &Content) -> bool {
    let type_ = kind_of_type(CredentialKind::RegistryCredential);
    let read = |data: &Data| {
        let mut logins: Vec<_> = entries(type_, data)?
            .into_iter()
            .map(|entry| Some((filed(&entry.text)?, entry.login)))
            .collect::<Option<_>>()?;
        logins.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(logins)
    };
    read(&source.data).is_some_and(|logins| Some(logins) == read(&content.data))
}
