//! Names and labels on the command line. Empty ones are taken, as a chart sets empty variables for values
//! that are not given.

use std::collections::BTreeMap;

use crate::domain::labels::{is_dns_label, is_dns_subdomain, is_key, is_value};

/// An id that fits where the value of a label fits.
pub(super) fn id(text: &str) -> Result<String, String> {
    if is_value(text) {
        return Ok(text.to_owned());
    }
    Err("an id has at most 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
        .to_owned())
}

/// The name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if text.is_empty() || is_dns_label(text) {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is not a valid namespace name"))
}

/// The name of an object, with room for a suffix.
pub(super) fn name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) && text.len() <= 200 {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is not a valid name"))
}

/// The name of a namespace, or `*`.
pub(super) fn namespace_or_all(text: &str) -> Result<String, String> {
    if text == "*" { Ok(text.to_owned()) } else { namespace(text) }
}

/// Labels, as `key=value,key=value`.
pub(super) fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| format!("write a label as key=value, not '{pair}'"))?;
        if !is_key(key) {
            return Err(format!("'{key}' is not a valid label key"));
        }
        if !is_value(value) {
            return Err(format!("'{value}' is not a valid label value"));
        }
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("label '{key}' is given twice"));
        }
    }
    Ok(labels)
}
