//! Which changes of a status people are told of: one Event per transition, never one per copy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    condition::{self, ConditionStatus, ConditionType, same},
    reason::{Reason, words},
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

words! {
    /// What was being done.
    Action { Resolve, Refresh, Verify, Sync, Attach, Check, Delete, Read, Connect, Adopt, Sweep }
}

impl Note {
    pub fn normal(reason: Reason, action: Action, note: impl Into<String>) -> Self {
        Self { warning: false, reason, action, note: note.into() }
    }

    pub fn warning(reason: Reason, action: Action, note: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(reason, action, note) }
    }

    /// A warning that says what a condition says.
    fn of(condition: &Condition, action: Action) -> Self {
        let reason = Reason::parse(&condition.reason).unwrap_or(Reason::Internal);
        Self::warning(reason, action, condition.message.clone())
    }
}

/// What is worth telling of the step from one status to the next.
pub(crate) fn transitions(previous: Option<&CredentialStatus>, next: &CredentialStatus) -> Vec<Note> {
    let before = previous.map_or(&[][..], |status| &status.conditions);
    let blocked = condition::find(&next.conditions, ConditionType::DeletionBlocked);
    // A condition and what it was before, unless it says the same.
    let changed = |type_| {
        let now = condition::find(&next.conditions, type_)?;
        let before = condition::find(before, type_);
        (!before.is_some_and(|before| same(before, now))).then_some((before, now))
    };
    let is = |condition: &Condition, reason: Reason| condition.reason == reason.as_str();
    let mut notes = Vec::new();
    if let Some((before, source)) = changed(ConditionType::SourceResolved) {
        match (before.map(ConditionStatus::of), ConditionStatus::of(source)) {
            (_, ConditionStatus::False) => notes.push(Note::of(source, Action::Resolve)),
            (Some(ConditionStatus::False), ConditionStatus::True) => {
                notes.push(Note::normal(Reason::SourceResolved, Action::Resolve, source.message.clone()));
            }
            _ => {}
        }
    }
    for (type_, action, reason) in [
        (ConditionType::Refreshed, Action::Refresh, Reason::Refreshed),
        (ConditionType::Verified, Action::Verify, Reason::Authenticated),
    ] {
        let Some((before, told)) = changed(type_) else { continue };
        match (before.map(ConditionStatus::of), ConditionStatus::of(told)) {
            // A deletion has an Event of its own.
            (_, ConditionStatus::False) if is(told, Reason::Deleting) => {}
            (_, ConditionStatus::False) => notes.push(Note::of(told, action)),
            // Also after it was not known for a while.
            (Some(ConditionStatus::False | ConditionStatus::Unknown), ConditionStatus::True)
                if !before.is_some_and(|before| is(before, Reason::Progressing)) =>
            {
                notes.push(Note::normal(reason, action, told.message.clone()));
            }
            // A server that does not answer is nobody's fault here.
            _ => {}
        }
    }
    if let Some(synced) = condition::find(&next.conditions, ConditionType::Synced)
        && blocked.is_none()
        // Work in progress is not told of; how it ends is.
        && !is(synced, Reason::Progressing)
        && !is(synced, Reason::Connecting)
    {
        let rotated =
            previous.is_some_and(|status| status.revision.is_some() && status.revision != next.revision);
        let in_place = ConditionStatus::of(synced) == ConditionStatus::True && !is(synced, Reason::NoTargets);
        let changed = changed(ConditionType::Synced).is_some();
        if in_place && (changed || rotated) {
            let reason = if rotated { Reason::Rotated } else { Reason::Synced };
            let text = format!("revision {}: {}", next.revision.unwrap_or_default(), synced.message);
            notes.push(Note::normal(reason, Action::Sync, text));
        } else if changed && is(synced, Reason::Paused) {
            notes.push(Note::normal(Reason::Paused, Action::Sync, synced.message.clone()));
        } else if changed {
            notes.push(Note::of(synced, Action::Sync));
        }
    }
    if let Some((before, default)) = changed(ConditionType::Default)
        && !is(default, Reason::Progressing)
    {
        match (before.map(ConditionStatus::of), ConditionStatus::of(default)) {
            (_, ConditionStatus::False) => notes.push(Note::of(default, Action::Attach)),
            (Some(ConditionStatus::False), _)
                if !before.is_some_and(|before| is(before, Reason::Progressing)) =>
            {
                notes.push(Note::normal(Reason::Attached, Action::Attach, default.message.clone()));
            }
            _ => {}
        }
    }
    if let Some((_, certificate)) = changed(ConditionType::CertificateValid)
        && !is(certificate, Reason::Valid)
    {
        notes.push(Note::of(certificate, Action::Check));
    }
    if let Some((before, blocked)) = changed(ConditionType::DeletionBlocked) {
        let text = blocked.message.clone();
        if ConditionStatus::of(blocked) == ConditionStatus::True {
            notes.push(Note::warning(Reason::DeletionBlocked, Action::Delete, text));
        } else if before.is_some() {
            notes.push(Note::normal(Reason::DeletionUnblocked, Action::Delete, text));
        }
    }
    notes
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
