//! The custom resources, as their definitions have them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::{assert_generated, cell};
use crate::support::{Error, Result};

/// The type of a field, in a word or two.
fn type_of(schema: &JSONSchemaProps) -> String {
    let name = |schema: &JSONSchemaProps| schema.type_.clone().unwrap_or_else(|| "any".to_owned());
    match (&schema.items, &schema.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(items)), _) => format!("list of {}s", type_of(items)),
        (_, Some(JSONSchemaPropsOrBool::Schema(values))) => format!("map of {}s", name(values)),
        _ if schema.format.as_deref() == Some("date-time") => "time".to_owned(),
        _ => name(schema),
    }
}

/// The bounds of a value.
fn bounds(schema: &JSONSchemaProps) -> Vec<String> {
    let range = |least: Option<String>, most: Option<String>, what: &str| match (least, most) {
        (Some(least), Some(most)) if least == most => Some(format!("{least}{what}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{what}")),
        (Some(least), None) => Some(format!("at least {least}{what}")),
        (None, Some(most)) => Some(format!("at most {most}{what}")),
        (None, None) => None,
    };
    let text = |number: Option<i64>| number.map(|number| number.to_string());
    let number = |number: Option<f64>| number.map(|number| number.to_string());
    [
        range(text(schema.min_length), text(schema.max_length), " characters"),
        range(text(schema.min_items), text(schema.max_items), " items"),
        range(text(schema.min_properties), text(schema.max_properties), " entries"),
        range(number(schema.minimum), number(schema.maximum), ""),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The object that a field is, or that each item of a list is, when it has fields of its own.
fn object_in(field: &JSONSchemaProps) -> Option<(&JSONSchemaProps, &'static str)> {
    let (object, list) = match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => (&**items, "[]"),
        _ => (field, ""),
    };
    object.properties.is_some().then_some((object, list))
}

fn row(path: &str, of: &str, field: &JSONSchemaProps, required: bool) -> String {
    let mut notes = bounds(field);
    if required {
        notes.insert(0, "required".to_owned());
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    let text = field.description.as_deref().unwrap_or_default();
    format!("| `{path}` | {of} | {}{notes} |\n", cell(text))
}

/// The fields of an object, and all that is in them, one row each.
fn rows(path: &str, schema: &JSONSchemaProps, rows: &mut String) {
    let required = schema.required.clone().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        rows.push_str(&row(&path, &type_of(field), field, required.contains(name)));
        if let Some((object, list)) = object_in(field) {
            self::rows(&format!("{path}{list}"), object, rows);
        }
    }
}

const HEAD: &str = "| field | type | meaning |\n| --- | --- | --- |\n";

/// A table of the fields of `spec` or `status`, and a section for each field that has fields in it.
fn sections(part: &str, schema: &JSONSchemaProps) -> String {
    let required = schema.required.clone().unwrap_or_default();
    let mut page = format!("\n## {part}\n\n{HEAD}");
    let mut inner = String::new();
    for (name, field) in schema.properties.iter().flatten() {
        let mut of = type_of(field);
        if let Some((object, list)) = object_in(field) {
            of = format!("[{of}](#{part}{})", name.to_lowercase());
            let mut fields = String::new();
            rows(&format!("{name}{list}"), object, &mut fields);
            inner.push_str(&format!("\n### {part}.{name}\n\n{HEAD}{fields}"));
        }
        page.push_str(&row(name, &of, field, required.contains(name)));
    }
    page + &inner
}

/// What the rules of a schema say when they are broken, with the field that they are about.
fn rules(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let field = rule.field_path.clone().unwrap_or_default();
        let at = format!("{path}{field}");
        let at = if at.is_empty() { "the object".to_owned() } else { format!("`{at}`") };
        let text = format!("- {at}: {}\n", cell(rule.message.as_deref().unwrap_or(&rule.rule)));
        if !found.contains(&text) {
            found.push(text);
        }
    }
    for (name, field) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        rules(&path, field, found);
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &field.items {
            rules(&format!("{path}[]"), items, found);
        }
    }
}

fn page(crd: &CustomResourceDefinition) -> Result<String> {
    let names = &crd.spec.names;
    let version = crd.spec.versions.first().ok_or_else(|| Error::new("no version"))?;
    let root = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let root = root.ok_or_else(|| Error::new("no schema"))?;
    let short = names.short_names.clone().unwrap_or_default().join("`, `");
    let categories = names.categories.clone().unwrap_or_default().join("`, `");
    let mut page = format!(
        "# {}\n\n{}\n\n- apiVersion: `{}/{}`\n- scope: {}\n- names for kubectl: `{}`, `{short}`; in the categories `{categories}`\n",
        names.kind,
        root.description.as_deref().unwrap_or_default(),
        crd.spec.group,
        version.name,
        crd.spec.scope,
        names.plural,
    );
    page.push_str("\n## Columns of kubectl get\n\n| column | meaning | |\n| --- | --- | --- |\n");
    for column in version.additional_printer_columns.iter().flatten() {
        let wide = if column.priority.unwrap_or_default() > 0 { "with `-o wide`" } else { "" };
        page.push_str(&format!(
            "| {} | {} | {wide} |\n",
            column.name.to_uppercase(),
            cell(column.description.as_deref().unwrap_or("Time since it was created"))
        ));
    }
    for part in ["spec", "status"] {
        let Some(schema) = root.properties.as_ref().and_then(|properties| properties.get(part)) else {
            continue;
        };
        page.push_str(&sections(part, schema));
        if part == "spec" {
            let mut broken = Vec::new();
            rules("", root, &mut broken);
            if !broken.is_empty() {
                page.push_str(&format!(
                    "\n## Rules\n\nWhat the API server says of a manifest that breaks one.\n\n{}",
                    broken.concat()
                ));
            }
        }
    }
    Ok(page)
}

#[test]
fn each_field_of_each_kind_is_told() -> Result<()> {
    for crd in claviger::api::crds() {
        let text = page(&crd)?;
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let meaning = line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
            assert!(meaning.len() > 5, "{}: nothing is told of {line}", crd.spec.names.kind);
        }
        assert_generated(&format!("{}.md", crd.spec.names.kind.to_lowercase()), &text)?;
    }
    Ok(())
}
