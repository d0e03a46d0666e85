//! What kubectl would print: the server makes the tables, so these are the columns that a user sees.

use http::{Request, header::ACCEPT};
use kube::{Client, api::ApiResource};
use serde_json::Value;

use crate::support::Result;

const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// `kubectl get <resource> -A`, or of one namespace (none for what has no namespace), with a field selector, which may be empty. The first row is the header; empty when there is nothing else.
pub async fn get(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    field_selector: &str,
) -> Result<Vec<Vec<String>>> {
    let scope = namespace.map(|namespace| format!("namespaces/{namespace}/")).unwrap_or_default();
    let path =
        format!("/apis/{}/{scope}{}?fieldSelector={field_selector}", resource.api_version, resource.plural);
    let request = Request::get(path).header(ACCEPT, AS_TABLE).body(Vec::new())?;
    let table: Value = client.request(request).await?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let definitions = list(&table["columnDefinitions"]);
    // The others are for `-o wide`.
    let shown: Vec<usize> = (0..definitions.len())
        .filter(|&at| definitions.get(at).is_some_and(|column| column["priority"] == 0))
        .collect();
    let table_rows = list(&table["rows"]);
    let has_namespace = |row: &Value| row["object"]["metadata"]["namespace"].is_string();
    let with_namespace = namespace.is_none() && table_rows.iter().any(has_namespace);
    let mut header: Vec<String> = with_namespace.then(|| "NAMESPACE".to_owned()).into_iter().collect();
    header.extend(shown.iter().filter_map(|&at| Some(definitions.get(at)?["name"].as_str()?.to_uppercase())));
    let mut rows = vec![header];
    for row in table_rows {
        let own = row["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let cells = list(&row["cells"]);
        let mut line: Vec<String> = with_namespace.then_some(own).into_iter().collect();
        line.extend(shown.iter().map(|&at| cell(cells.get(at))));
        rows.push(line);
    }
    Ok(if rows.len() > 1 { rows } else { Vec::new() })
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
