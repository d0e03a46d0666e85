//! The metrics, as an operator with something of everything tells them.

use std::collections::{BTreeMap, BTreeSet};

use super::{assert_generated, cell};
use crate::support::Result;

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The names of the labels of a sample.
fn labels(sample: &str) -> impl Iterator<Item = &str> {
    let inside =
        sample.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inside, _)| inside);
    // A value may hold anything but a quote that is not escaped.
    inside.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(name, _)| name)
}

/// Compares the page with what an operator tells.
pub fn assert_told(told: &str) -> Result<()> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in told.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.trim_end_matches('.').to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            current = name.to_owned();
        } else if !line.starts_with('#')
            && let Some(family) = families.get_mut(&current)
        {
            family.labels.extend(labels(line).filter(|label| *label != "le").map(str::to_owned));
        }
    }
    let mut page = "# Metrics\n\nGenerated from what an operator tells at `/metrics`, as OpenMetrics text. Only the replica that acts has more than `claviger_build_info`,\n\
                    `claviger_leader` and those of its process. [Alerts](../alerts.md) says what to watch for; the dashboards of the chart show all of them.\n\n\
                    | metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (name, Family { kind, help, labels }) in &families {
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        page.push_str(&format!("| `{name}{suffix}` | {kind} | {} | {} |\n", labels.join(", "), cell(help)));
    }
    assert_generated("metrics.md", &page)
}

#[test]
fn labels_are_found_whatever_their_values_are() {
    let found: Vec<&str> = labels(r#"a_total{code="200",name="a=b, {c}",le="1"} 5"#).collect();
    assert_eq!(found, ["code", "name", "le"]);
    assert_eq!(labels("a 1").count(), 0);
}
