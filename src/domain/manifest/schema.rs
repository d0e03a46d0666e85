//! The part of OpenAPI v3 that definitions are made of (structural schemas), on a JSON value.

use regex::Regex;
use serde_json::{Map, Value};

use super::field_error::FieldError;
use crate::domain::counted::counted;

/// What stands in `metadata` is checked by the API server's own types.
const METADATA: &str = "metadata";

/// What a value breaks of a schema.
pub(super) fn errors(schema: &Value, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    Walk { errors: &mut errors }.value(schema, value, "");
    errors
}

struct Walk<'a> {
    errors: &'a mut Vec<FieldError>,
}

impl Walk<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(path, message));
    }

    fn value(&mut self, schema: &Value, value: &Value, path: &str) {
        let type_ = schema["type"].as_str().unwrap_or_default();
        let fits = match type_ {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            _ => true,
        };
        if !fits {
            self.error(path, format!("must be of type {type_}, not {}", kind_of(value)));
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            self.error(path, format!("must be one of {}", allowed.join(", ")));
        }
        match value {
            Value::String(text) => self.text(schema, text, path),
            Value::Number(number) => self.number(schema, number.as_f64().unwrap_or_default(), path),
            Value::Array(items) => self.array(schema, items, path),
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str) {
        self.size(schema, ["minLength", "maxLength"], text.chars().count(), "character", path);
        if let Some(pattern) = schema["pattern"].as_str()
            && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
        {
            self.error(path, format!("must match {pattern}"));
        }
        if schema["format"] == "date-time" && text.parse::<k8s_openapi::jiff::Timestamp>().is_err() {
            self.error(path, "must be a time such as 2026-01-31T12:00:00Z");
        }
    }

    fn number(&mut self, schema: &Value, number: f64, path: &str) {
        if schema["minimum"].as_f64().is_some_and(|least| number < least) {
            self.error(path, format!("must be at least {}", schema["minimum"]));
        }
        if schema["maximum"].as_f64().is_some_and(|most| number > most) {
            self.error(path, format!("must be at most {}", schema["maximum"]));
        }
    }

    fn size(&mut self, schema: &Value, [least, most]: [&str; 2], size: usize, what: &str, path: &str) {
        let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
        if let Some(limit) = limit(least).filter(|limit| size < *limit) {
            self.error(path, format!("must have at least {}", counted(limit, what)));
        }
        if let Some(limit) = limit(most).filter(|limit| size > *limit) {
            self.error(path, format!("may have at most {}", counted(limit, what)));
        }
    }

    fn array(&mut self, schema: &Value, items: &[Value], path: &str) {
        self.size(schema, ["minItems", "maxItems"], items.len(), "item", path);
        for (n, item) in items.iter().enumerate() {
            self.value(&schema["items"], item, &format!("{path}[{n}]"));
        }
        let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Some(item.to_string()),
            Some("map") => Some(keys.iter().map(|key| item[key].to_string()).collect()),
            _ => None,
        };
        let mut seen = std::collections::BTreeSet::new();
        for (n, item) in items.iter().enumerate() {
            if identity(item).is_some_and(|identity| !seen.insert(identity)) {
                self.error(&format!("{path}[{n}]"), "is given twice");
            }
        }
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &str) {
        self.size(schema, ["minProperties", "maxProperties"], fields.len(), "entry", path);
        let below = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(required) {
                self.error(&below(required), "is required");
            }
        }
        for (field, value) in fields {
            let at_root = path.is_empty() && ["apiVersion", "kind", METADATA].contains(&field.as_str());
            let own = schema["properties"].get(field);
            match own.or_else(|| schema.get("additionalProperties").filter(|values| values.is_object())) {
                Some(_) if at_root => {}
                Some(own) => self.value(own, value, &below(field)),
                None if at_root || schema["x-kubernetes-preserve-unknown-fields"] == true => {}
                // kubectl refuses it too, unless it is told not to look.
                None => self.error(&below(field), "is not a known field"),
            }
        }
    }
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
