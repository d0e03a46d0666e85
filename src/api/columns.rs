//! Printer columns: how `kubectl get` shows each kind.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition as Column, CustomResourceDefinition,
};

/// A column: name, type, JSON path, description, priority.
pub(super) type Row = (&'static str, &'static str, &'static str, &'static str, Option<i32>);

/// Priority of a column that is always shown.
pub(super) const USUAL: Option<i32> = None;

/// Priority of a column that only `kubectl get -o wide` shows.
pub(super) const WIDE: Option<i32> = Some(1);

pub(super) const READY_STATUS: &str = r#".status.conditions[?(@.type=="Ready")].status"#;
pub(super) const READY_REASON: &str = r#".status.conditions[?(@.type=="Ready")].reason"#;
pub(super) const READY_MESSAGE: &str = r#".status.conditions[?(@.type=="Ready")].message"#;
pub(super) const VERIFIED_STATUS: &str = r#".status.conditions[?(@.type=="Verified")].status"#;

const READY: &str = "True when every desired copy was seen with the right content";
const SECRET: &str = "Name of the copies, if it is not the name of the credential";

/// The columns that all kinds of credential share.
pub(super) const SHARED: &[Row] = &[
    ("Ready", "string", READY_STATUS, READY, USUAL),
    ("Synced", "string", ".status.summary.namespaces", "Copies in place, of those desired", USUAL),
    ("Clusters", "string", ".status.summary.clusters", "Clusters in sync, of those desired", USUAL),
    ("In Use", "integer", ".status.references.total", "Objects that use the copies", USUAL),
    ("Age", "date", ".metadata.creationTimestamp", "", USUAL),
    ("Reason", "string", READY_REASON, "Why it is ready or not", WIDE),
    ("Message", "string", READY_MESSAGE, "The reason in a sentence", WIDE),
    ("Revision", "integer", ".status.revision", "Increases with each change of the content", WIDE),
    ("Secret", "string", ".spec.target.secretName", SECRET, WIDE),
];

/// Gives a kind its columns, those that are always shown first.
pub(super) fn with(mut crd: CustomResourceDefinition, rows: &[Row]) -> CustomResourceDefinition {
    let mut columns: Vec<Column> = rows.iter().map(column).collect();
    columns.sort_by_key(|column| column.priority);
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(columns.clone());
    }
    crd
}

fn column(&(name, type_, json_path, description, priority): &Row) -> Column {
    Column {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: json_path.to_owned(),
        description: (!description.is_empty()).then(|| description.to_owned()),
        priority,
        ..Column::default()
    }
}
