//! Which changes of a status people are told of: one Event per transition, never one per copy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::CredentialStatus;

/// An Event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a Warning.
    pub warning: bool,
    /// Why: a stable PascalCase word.
    pub reason: String,
    /// What was being done: a stable PascalCase word.
    pub action: &'static str,
    /// The sentence.
    pub note: String,
}

/// What is worth telling of the step from one status to the next.
#[must_use]
pub fn transitions(previous: Option<&CredentialStatus>, next: &CredentialStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let before = |type_| previous.and_then(|status| find(status, type_));
    if let Some(source) = find(next, "SourceResolved") {
        match (before("SourceResolved"), source.status.as_str()) {
            (Some(old), "False") if same(old, source) => {}
            (_, "False") => notes.push(note(true, source, "Resolve")),
            (Some(old), "True") if old.status == "False" => {
                notes.push(Note { reason: "SourceResolved".to_owned(), ..note(false, source, "Resolve") });
            }
            _ => {}
        }
    }
    if let Some(synced) = find(next, "Synced").filter(|_| find(next, "DeletionBlocked").is_none()) {
        let rotated =
            previous.is_some_and(|status| status.revision.is_some() && status.revision != next.revision);
        // `Progressing` is a pause between two words, so what was said last is compared over it.
        match (before("Synced"), synced.status.as_str()) {
            (Some(old), _) if same(old, synced) && !(rotated && synced.status == "True") => {}
            (_, "True") if synced.reason != "NoTargets" => {
                let (reason, revision) =
                    (if rotated { "Rotated" } else { "Synced" }, next.revision.unwrap_or_default());
                let text = format!("revision {revision}: {}", synced.message);
                notes.push(Note { reason: reason.to_owned(), note: text, ..note(false, synced, "Sync") });
            }
            (_, "False" | "Unknown") if synced.reason != "Progressing" => {
                notes.push(note(true, synced, "Sync"))
            }
            _ => {}
        }
    }
    if let Some(certificate) = find(next, "CertificateValid") {
        match before("CertificateValid") {
            Some(old) if same(old, certificate) => {}
            _ if certificate.reason == "Valid" => {}
            _ => notes.push(note(true, certificate, "Check")),
        }
    }
    match (before("DeletionBlocked"), find(next, "DeletionBlocked")) {
        (Some(old), Some(new)) if same(old, new) => {}
        (_, Some(new)) if new.status == "True" => {
            notes.push(Note { reason: "DeletionBlocked".to_owned(), ..note(true, new, "Delete") });
        }
        (Some(_), Some(new)) => {
            notes.push(Note { reason: "DeletionUnblocked".to_owned(), ..note(false, new, "Delete") });
        }
        _ => {}
    }
    notes
}

fn find<'a>(status: &'a CredentialStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

fn same(a: &Condition, b: &Condition) -> bool {
    a.status == b.status && a.reason == b.reason
}

fn note(warning: bool, condition: &Condition, action: &'static str) -> Note {
    Note { warning, reason: condition.reason.clone(), action, note: condition.message.clone() }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
