//! Fields of objects that are built up.

use serde_json::{Map, Value};

/// Sets a field, in objects that are made where they are missing.
pub(super) fn set(object: &mut Value, path: &[&str], to: impl Into<Value>) {
    let mut place = object;
    for field in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(fields) = place else { return };
        place = fields.entry(*field).or_insert(Value::Null);
    }
    *place = to.into();
}
