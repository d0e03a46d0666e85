//! Printer columns that all kinds of credential share.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition as Column, CustomResourceDefinition,
};

/// A column: name, type, JSON path, description.
type Row = (&'static str, &'static str, &'static str, &'static str);

const USUAL: [Row; 5] = [
    (
        "Ready",
        "string",
        r#".status.conditions[?(@.type=="Ready")].status"#,
        "True when every desired Secret was seen with the right content",
    ),
    ("Synced", "string", ".status.summary.namespaces", "Secrets in place, of those desired"),
    ("Clusters", "string", ".status.summary.clusters", "Clusters in sync, of those desired"),
    ("In Use", "integer", ".status.references.total", "Pods that use the Secrets"),
    ("Age", "date", ".metadata.creationTimestamp", ""),
];

/// Shown by `kubectl get -o wide` only.
const WIDE: [Row; 4] = [
    ("Reason", "string", r#".status.conditions[?(@.type=="Ready")].reason"#, "Why it is ready or not"),
    ("Message", "string", r#".status.conditions[?(@.type=="Ready")].message"#, "Why, in words"),
    ("Revision", "integer", ".status.revision", "Grows with each change of the content"),
    (
        "Secret",
        "string",
        ".spec.target.secretName",
        "Name of the produced Secret where it is not that of the credential",
    ),
];

/// Adds the shared columns after the kind's own ones.
pub(super) fn add(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let own = version.additional_printer_columns.take().unwrap_or_default();
        let (wide, mut all): (Vec<Column>, Vec<Column>) =
            own.into_iter().partition(|column| column.priority.unwrap_or(0) > 0);
        all.extend(USUAL.iter().map(|row| column(row, None)));
        all.extend(wide);
        all.extend(WIDE.iter().map(|row| column(row, Some(1))));
        version.additional_printer_columns = Some(all);
    }
}

fn column(&(name, type_, json_path, description): &Row, priority: Option<i32>) -> Column {
    Column {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: json_path.to_owned(),
        description: (!description.is_empty()).then(|| description.to_owned()),
        priority,
        ..Column::default()
    }
}
