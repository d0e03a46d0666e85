//! Manifests of our kinds, judged without an API server: by schema, by rules, and by what would come of them.

mod field_error;
mod preview;
mod redact;
mod schema;

use kube_cel::{ErrorKind, Validator, apply_defaults};
use serde_json::Value;

pub(crate) use field_error::FieldError;
pub(crate) use preview::{Preview, RegistryPreview, preview};
pub(crate) use redact::redacted;

/// Fills in what the schema has defaults for, and says what the API server refuses when the object is created.
pub(crate) fn judge(schema: &Value, object: &Value) -> (Value, Vec<FieldError>) {
    let mut object = object.clone();
    // It is dropped when an object is created.
    object.as_object_mut().map(|fields| fields.remove("status"));
    let object = apply_defaults(schema, &object);
    let mut errors = schema::errors(schema, &object);
    errors.extend(names(&object));
    // As in the API server: rules are asked only of what has the right form.
    if errors.is_empty()
        && let Err(broken) = Validator::new().validate(schema, &object, None)
    {
        let field_error = |error: kube_cel::ValidationError| match error.kind {
            ErrorKind::ValidationFailure => FieldError::new(error.field_path, error.message),
            // Our own rules, so this is an error of this program; it is told rather than passed over.
            _ => FieldError::new(
                error.field_path,
                format!("the rule '{}' cannot be judged offline: {}", error.rule, error.message),
            ),
        };
        errors.extend(broken.into_vec().into_iter().map(field_error));
    }
    errors.sort();
    errors.dedup();
    (object, errors)
}

/// What is wrong with the names of an object.
fn names(object: &Value) -> Vec<FieldError> {
    use crate::domain::labels::{is_dns_label, is_dns_subdomain};
    let metadata = |field: &str| object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
    let mut errors = Vec::new();
    if !metadata("name").is_some_and(is_dns_subdomain) {
        errors.push(FieldError::new(
            "metadata.name",
            "must be given, in lower-case letters, digits, '-' and '.'",
        ));
    }
    if !metadata("namespace").is_none_or(is_dns_label) {
        errors.push(FieldError::new("metadata.namespace", "must be a valid namespace name"));
    }
    errors
}

#[cfg(test)]
mod tests;
