//! Manifests of our kinds, judged without an API server: by schema, by rules, and by what would come of them.

mod fault;
mod outlook;
mod redact;
mod schema;

use kube_cel::{ErrorKind, Validator, apply_defaults};
use serde_json::Value;

pub(crate) use fault::Fault;
pub(crate) use outlook::{Outlook, RegistryOutlook, outlook};
pub(crate) use redact::redacted;

/// Fills in what the schema has defaults for, and says what the API server refuses when the object is created.
pub(crate) fn judge(schema: &Value, object: &Value) -> (Value, Vec<Fault>) {
    let mut object = object.clone();
    // It is dropped when an object is created.
    object.as_object_mut().map(|fields| fields.remove("status"));
    let object = apply_defaults(schema, &object);
    let mut faults = schema::faults(schema, &object);
    faults.extend(names(&object));
    // As in the API server: rules are asked only of what has the right form.
    if faults.is_empty()
        && let Err(errors) = Validator::new().validate(schema, &object, None)
    {
        let fault = |error: kube_cel::ValidationError| match error.kind {
            ErrorKind::ValidationFailure => Fault::new(error.field_path, error.message),
            // Our own rules, so this is a fault of this program; it is told rather than passed over.
            _ => Fault::new(
                error.field_path,
                format!("the rule '{}' cannot be judged offline: {}", error.rule, error.message),
            ),
        };
        faults.extend(errors.into_vec().into_iter().map(fault));
    }
    faults.sort();
    faults.dedup();
    (object, faults)
}

/// What is wrong with the names of an object.
fn names(object: &Value) -> Vec<Fault> {
    use crate::domain::labels::{is_dns_label, is_dns_subdomain};
    let metadata = |field: &str| object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
    let mut faults = Vec::new();
    if !metadata("name").is_some_and(is_dns_subdomain) {
        faults.push(Fault::new("metadata.name", "must be given, in lower-case letters, digits, '-' and '.'"));
    }
    if !metadata("namespace").is_none_or(is_dns_label) {
        faults.push(Fault::new("metadata.namespace", "must be a valid namespace name"));
    }
    faults
}

#[cfg(test)]
mod tests;
