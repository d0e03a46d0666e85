//! What values.yaml says of a value stands in values.schema.json and in README.md too, word for word. After a change:
//! `CLAVIGER_WRITE_TESTDATA=1 cargo test --test integration chart::documented`.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::helm::chart;
use crate::support::{Error, Result};

/// A value of values.yaml.
#[derive(Debug, PartialEq)]
struct Documented {
    /// Keys with dots between.
    path: String,
    text: String,
}

/// All values that have a text after `# --`, in their order.
fn documented(yaml: &str) -> Vec<Documented> {
    let (mut all, mut path, mut text) = (Vec::new(), Vec::<&str>::new(), None::<String>);
    for line in yaml.lines() {
        let bare = line.trim_start();
        if let Some(first) = bare.strip_prefix("# -- ") {
            text = Some(first.to_owned());
        } else if let Some(next) = bare.strip_prefix("# ") {
            text = text.map(|begun| format!("{begun} {next}"));
        } else {
            if let Some((key, _)) = bare.split_once(':').filter(|(key, _)| !key.contains(' ')) {
                path.truncate((line.len() - bare.len()) / 2);
                path.push(key);
                all.extend(text.take().map(|text| Documented { path: path.join("."), text }));
            }
            text = None;
        }
    }
    all
}

#[test]
fn texts_are_found_with_their_values() {
    let yaml = "# Of all.\n\n# -- Two\n# lines.\na: 1\n# Of b.\nb:\n  # -- One.\n  c: {x: y}\n  d: 2\n\
                # -- A list.\ne:\n  - f: 3\ng: {}\n";
    let found = documented(yaml);
    let found: Vec<_> = found.iter().map(|one| (one.path.as_str(), one.text.as_str())).collect();
    assert_eq!(found, [("a", "Two lines."), ("b.c", "One."), ("e", "A list.")]);
}

/// What the table calls a default.
fn default(value: &Value) -> String {
    match value {
        Value::Null => "unset".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            format!("`[{}]`", items.join(", "))
        }
        Value::Object(map) if map.is_empty() => "`{}`".to_owned(),
        _ => "see values.yaml".to_owned(),
    }
}

fn table(all: &[Documented], values: &Value) -> Result<String> {
    let mut table = String::new();
    for Documented { path, text } in all {
        let value = values.pointer(&format!("/{}", path.replace('.', "/")));
        let value = value.ok_or_else(|| Error::new(format!("{path} is no value")))?;
        let (default, text) = (default(value), text.replace('|', "\\|"));
        table.push_str(&format!("| `{path}` | {default} | {text} |\n"));
    }
    Ok(table)
}

/// The table of all values.
pub fn values_table() -> Result<String> {
    let yaml = fs::read_to_string(chart().join("values.yaml"))?;
    Ok(format!("{HEAD}{}", table(&documented(&yaml), &serde_saphyr::from_str(&yaml)?)?))
}

const HEAD: &str = "| value | default | meaning |\n| --- | --- | --- |\n";

/// The text with another table below the head.
fn with_table(readme: &str, table: &str) -> Result<String> {
    let (before, after) = readme.split_once(HEAD).ok_or_else(|| Error::new("README.md has no table"))?;
    let rest: String =
        after.lines().skip_while(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    Ok(format!("{before}{HEAD}{table}{rest}"))
}

/// The schema with these texts as descriptions, otherwise line by line as it is.
fn with_descriptions(schema: &str, texts: &BTreeMap<&str, &str>) -> String {
    let (mut lines, mut open) = (Vec::new(), Vec::<&str>::new());
    for line in schema.lines() {
        let bare = line.trim();
        let path = path(&open);
        if bare.starts_with("\"description\":")
            && path.as_ref().is_some_and(|path| texts.contains_key(&**path))
        {
            continue;
        }
        lines.push(line.to_owned());
        if bare.ends_with(['{', '[']) {
            open.push(bare.split('"').nth(1).unwrap_or_default());
            if let Some(text) = path_of_value(&open).and_then(|path| texts.get(&*path).copied()) {
                let indent = line.len() - line.trim_start().len() + 2;
                lines.push(format!("{:indent$}\"description\": {},", "", Value::from(text)));
            }
        } else if bare.starts_with(['}', ']']) {
            open.pop();
        }
    }
    lines.join("\n") + "\n"
}

fn path_of_value(open: &[&str]) -> Option<String> {
    path(open).filter(|path| !path.is_empty())
}

/// Where a value's own schema is open: under `properties` at every second level.
fn path(open: &[&str]) -> Option<String> {
    let inside = open.get(1..)?;
    let (pairs, rest) = inside.as_chunks::<2>();
    let named = rest.is_empty() && pairs.iter().all(|[properties, _]| *properties == "properties");
    named.then(|| pairs.iter().map(|[_, key]| *key).collect::<Vec<_>>().join("."))
}

#[test]
fn descriptions_are_put_where_the_value_is() {
    let schema = "{\n  \"properties\": {\n    \"a\": {\n      \"description\": \"old\",\n      \"type\": \"object\",\n      \
                  \"properties\": {\n        \"b\": {\n          \"items\": {\n            \"description\": \"kept\"\n          }\n        \
                  }\n      }\n    }\n  }\n}\n";
    let wanted = BTreeMap::from([("a", "new"), ("a.b", "a \"list\"")]);
    let put = with_descriptions(schema, &wanted);
    let read: Value = serde_json::from_str(&put).expect("JSON");
    assert_eq!(read["properties"]["a"]["description"], "new");
    assert_eq!(read["properties"]["a"]["properties"]["b"]["description"], "a \"list\"");
    assert_eq!(read["properties"]["a"]["properties"]["b"]["items"]["description"], "kept");
    assert_eq!(with_descriptions(&put, &wanted), put, "once is enough");
}

/// Values that nothing is said of, neither of them nor of what they are in.
fn silent(path: &str, value: &Value, told: &BTreeMap<&str, &str>, into: &mut Vec<String>) {
    match value.as_object().filter(|map| !map.is_empty() && !told.contains_key(path)) {
        Some(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                silent(&path, value, told, into);
            }
        }
        None if told.contains_key(path) => {}
        None => into.push(path.to_owned()),
    }
}

#[test]
fn schema_and_readme_say_what_values_yaml_says() -> Result<()> {
    let read = |name: &str| fs::read_to_string(chart().join(name));
    let yaml = read("values.yaml")?;
    let values: Value = serde_saphyr::from_str(&yaml)?;
    let all = documented(&yaml);
    let texts: BTreeMap<&str, &str> = all.iter().map(|one| (&*one.path, &*one.text)).collect();
    assert_eq!(texts.len(), all.len(), "a value twice");
    let mut nothing = Vec::new();
    silent("", &values, &texts, &mut nothing);
    assert!(nothing.is_empty(), "say in values.yaml, after `# --`, what these are for: {nothing:?}");

    let files = [
        ("README.md", with_table(&read("README.md")?, &table(&all, &values)?)?),
        ("values.schema.json", with_descriptions(&read("values.schema.json")?, &texts)),
    ];
    if crate::checks::writes_testdata() {
        for (name, text) in &files {
            fs::write(chart().join(name), text)?;
        }
    }
    for (name, text) in &files {
        assert!(read(name)? == *text, "{name} is out of date: see the first lines of this test");
    }
    let schema: Value = serde_json::from_str(&files[1].1)?;
    for (path, text) in texts {
        let pointer = format!("/properties/{}/description", path.replace('.', "/properties/"));
        assert_eq!(schema.pointer(&pointer).and_then(Value::as_str), Some(text), "{path}");
    }
    Ok(())
}
