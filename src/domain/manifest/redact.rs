//! A produced Secret as it can be shown.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::{content::Content, registry::keyring::CONFIG_JSON};

/// The data of a Secret without its values: of a docker config, its keys and the names of fields are left.
pub(crate) fn redacted(content: &Content) -> BTreeMap<String, Value> {
    let value = |(key, value): (&String, &crate::domain::SecretBytes)| {
        let config = key == CONFIG_JSON.1;
        let parsed = config.then(|| serde_json::from_slice(value.expose()).ok()).flatten();
        (key.clone(), parsed.map_or_else(|| hidden(value.expose().len()), without_values))
    };
    content.data.iter().map(value).collect()
}

fn hidden(bytes: usize) -> Value {
    // Not base64, so that nobody can apply it.
    format!("<redacted: {bytes} bytes>").into()
}

fn without_values(document: Value) -> Value {
    match document {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, without_values(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(values) => values.into_iter().map(without_values).collect(),
        Value::String(text) => hidden(zeroize::Zeroizing::new(text).len()),
        other => other,
    }
}
