//! What is printed of a storm that did not end well.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde_json::json;

use super::{check::Mismatch, world::World};

/// So many mismatches are told, each with so many operations, and so many objects are shown.
const MISMATCHES: usize = 8;
const OPERATIONS: usize = 15;

/// Each mismatch, with the last operations that were about its namespace, its Secret or its credential.
pub fn mismatches(wrong: &[Mismatch], journal: &[String]) -> String {
    let mut text = format!("{} mismatches of model and clusters\n", wrong.len());
    for mismatch in wrong.iter().take(MISMATCHES) {
        text.push_str(&format!("- {mismatch}\n"));
        let mut about: Vec<&String> =
            journal.iter().rev().filter(|line| concerns(line, mismatch)).take(OPERATIONS).collect();
        about.reverse();
        for line in about {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

fn concerns(line: &str, mismatch: &Mismatch) -> bool {
    let mut needles = vec!["fate".to_owned(), "Policy".to_owned()];
    if let Some(place) = &mismatch.place {
        needles.push(place.namespace.to_string());
    }
    if let Some(id) = &mismatch.credential {
        needles.extend([
            id.to_string(),
            format!("local:{}", id.namespace),
            format!("Source {{ namespace: {:?}", id.namespace),
        ]);
    }
    needles.iter().any(|needle| line.contains(needle))
}

/// The objects that mismatches are about, as they are now; never the values of a Secret.
pub async fn objects(world: &World, wrong: &[Mismatch]) -> String {
    let mut text = String::new();
    let mut shown = BTreeSet::new();
    for mismatch in wrong.iter().take(MISMATCHES) {
        if let Some(place) = mismatch.place.clone().filter(|place| shown.insert(place.to_string())) {
            let found = match world.secrets(&place).get_opt(&place.name).await {
                Ok(Some(mut secret)) => {
                    secret.managed_fields_mut().clear();
                    let keys: Vec<String> = secret
                        .data
                        .take()
                        .unwrap_or_default()
                        .iter()
                        .map(|(key, value)| format!("{key}: {} bytes", value.0.len()))
                        .collect();
                    format!("{} {keys:?}", json!(secret))
                }
                Ok(None) => "nothing".to_owned(),
                Err(error) => error.to_string(),
            };
            text.push_str(&format!("Secret {place}: {found}\n"));
        }
        if let Some(id) = mismatch.credential.clone().filter(|id| shown.insert(id.to_string())) {
            let found = match world.credential(&id).get_opt(&id.name).await {
                Ok(Some(mut object)) => {
                    object.managed_fields_mut().clear();
                    json!(object).to_string()
                }
                Ok(None) => "nothing".to_owned(),
                Err(error) => error.to_string(),
            };
            text.push_str(&format!("{id}: {found}\n"));
        }
    }
    text
}
