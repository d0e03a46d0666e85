//! Which changes of a status people are told of: one Event per transition, never one per copy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    condition::{self, ConditionStatus, ConditionType, same},
    reason::Reason,
};
use crate::api::CredentialStatus;

/// An Event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub warning: bool,
    pub reason: Reason,
    pub action: Action,
    pub note: String,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Resolve,
    Sync,
    Check,
    Delete,
    Read,
    Connect,
    Adopt,
    Sweep,
}

impl Action {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "Resolve",
            Self::Sync => "Sync",
            Self::Check => "Check",
            Self::Delete => "Delete",
            Self::Read => "Read",
            Self::Connect => "Connect",
            Self::Adopt => "Adopt",
            Self::Sweep => "Sweep",
        }
    }
}

impl Note {
    pub fn normal(reason: Reason, action: Action, note: impl Into<String>) -> Self {
        Self { warning: false, reason, action, note: note.into() }
    }

    pub fn warning(reason: Reason, action: Action, note: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(reason, action, note) }
    }

    fn of(warning: bool, condition: &Condition, action: Action) -> Self {
        let reason = Reason::parse(&condition.reason).unwrap_or(Reason::Internal);
        Self { warning, ..Self::normal(reason, action, condition.message.clone()) }
    }
}

/// What is worth telling of the step from one status to the next.
pub(crate) fn transitions(previous: Option<&CredentialStatus>, next: &CredentialStatus) -> Vec<Note> {
    let old = previous.map_or(&[][..], |status| &status.conditions);
    let new = &next.conditions;
    let before = |type_| condition::find(old, type_);
    let status = |condition: &Condition| ConditionStatus::parse(&condition.status);
    let is = |condition: &Condition, reason: Reason| condition.reason == reason.as_str();
    let blocked = condition::find(new, ConditionType::DeletionBlocked);
    let mut notes = Vec::new();
    if let Some(source) = condition::find(new, ConditionType::SourceResolved) {
        match (before(ConditionType::SourceResolved), status(source)) {
            (Some(old), ConditionStatus::False) if same(old, source) => {}
            (_, ConditionStatus::False) => notes.push(Note::of(true, source, Action::Resolve)),
            (Some(old), ConditionStatus::True) if status(old) == ConditionStatus::False => {
                notes.push(Note::normal(Reason::SourceResolved, Action::Resolve, source.message.clone()))
            }
            _ => {}
        }
    }
    if let Some(synced) = condition::find(new, ConditionType::Synced).filter(|_| blocked.is_none()) {
        let rotated =
            previous.is_some_and(|status| status.revision.is_some() && status.revision != next.revision);
        let ok = status(synced) == ConditionStatus::True;
        // `Progressing` is a pause between two words, so what was said last is compared over it.
        match before(ConditionType::Synced) {
            Some(old) if same(old, synced) && !(rotated && ok) => {}
            _ if is(synced, Reason::Progressing) || is(synced, Reason::Connecting) => {}
            Some(old) if is(synced, Reason::NoTargets) && same(old, synced) => {}
            _ if is(synced, Reason::NoTargets) => notes.push(Note::of(true, synced, Action::Sync)),
            _ if ok => {
                let reason = if rotated { Reason::Rotated } else { Reason::Synced };
                let text = format!("revision {}: {}", next.revision.unwrap_or_default(), synced.message);
                notes.push(Note::normal(reason, Action::Sync, text));
            }
            _ => notes.push(Note::of(true, synced, Action::Sync)),
        }
    }
    if let Some(certificate) = condition::find(new, ConditionType::CertificateValid) {
        match before(ConditionType::CertificateValid) {
            Some(old) if same(old, certificate) => {}
            _ if is(certificate, Reason::Valid) => {}
            _ => notes.push(Note::of(true, certificate, Action::Check)),
        }
    }
    match (before(ConditionType::DeletionBlocked), blocked) {
        (Some(old), Some(new)) if same(old, new) => {}
        (_, Some(new)) if status(new) == ConditionStatus::True => {
            notes.push(Note::warning(Reason::DeletionBlocked, Action::Delete, new.message.clone()));
        }
        (Some(_), Some(new)) => {
            notes.push(Note::normal(Reason::DeletionUnblocked, Action::Delete, new.message.clone()));
        }
        _ => {}
    }
    notes
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
