//! Conditions: setting them in one place, so that a time moves only when a status flips.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    reason::{Reason, words},
    schedule::MAX_CONDITION_MESSAGE,
};

words! {
    /// Types of conditions.
    ConditionType {
        Ready,
        Reconciling,
        Stalled,
        SourceResolved,
        Refreshed,
        Verified,
        Synced,
        Default,
        CertificateValid,
        DeletionBlocked,
        Reachable,
    }
}

words! {
    /// The status of a condition.
    ConditionStatus { True, False, Unknown }
}

impl ConditionStatus {
    /// Of a condition that was read.
    pub fn of(condition: &Condition) -> Self {
        Self::parse(&condition.status).unwrap_or(Self::Unknown)
    }
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub status: ConditionStatus,
    pub reason: Reason,
    pub message: String,
}

impl Verdict {
    pub fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }
}

/// Makes conditions of verdicts. Of `previous` they keep the times at which a status flipped.
pub(crate) fn set(
    previous: &[Condition],
    verdicts: impl IntoIterator<Item = (ConditionType, Verdict)>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let conditions = verdicts.into_iter().map(|(type_, verdict)| Condition {
        last_transition_time: find(previous, type_)
            .filter(|before| before.status == verdict.status.as_str())
            .map_or(Time(now), |before| before.last_transition_time.clone()),
        observed_generation: generation,
        type_: type_.as_str().to_owned(),
        status: verdict.status.as_str().to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: shortened(&verdict.message, MAX_CONDITION_MESSAGE),
    });
    conditions.collect()
}

/// The condition of a type.
pub(crate) fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// A text of at most so many bytes, and a sign that it was longer.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().find(|(at, next)| at + next.len_utf8() > longest) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether two conditions say the same, up to their messages.
pub(crate) fn same(a: &Condition, b: &Condition) -> bool {
    a.status == b.status && a.reason == b.reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_only_when_the_status_flips() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ready = |status, reason| [(ConditionType::Ready, Verdict::new(status, reason, "m"))];
        let first = set(&[], ready(ConditionStatus::False, Reason::Progressing), Some(1), at(10));
        let second = set(&first, ready(ConditionStatus::False, Reason::Retrying), Some(2), at(20));
        assert_eq!(second[0].last_transition_time.0, at(10));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Retrying", Some(2)));
        let third = set(&second, ready(ConditionStatus::True, Reason::Done), Some(2), at(30));
        assert_eq!(third[0].last_transition_time.0, at(30));
    }
}
