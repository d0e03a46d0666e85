//! The entries of a Pod's Secrets, as they stand to an image, in words.

use k8s_openapi::jiff::Timestamp;

use super::{EntryExplained, PullSecret, State, expiry::expires};
use crate::domain::{
    foreign_text::foreign_text,
    registry::{
        keyring::{Given, Judged, PULL_TYPES, judge},
        kubelet::Match,
    },
    schedule::{MAX_KEYS_EXPLAINED, MAX_NAME_EXPLAINED, MAX_TRIED_EXPLAINED},
};

/// The entries for one image.
#[derive(Default)]
pub(super) struct Judgement {
    pub entries: Vec<EntryExplained>,
    pub omitted: usize,
    pub tried: usize,
    /// Of those that are tried.
    pub expired: usize,
    /// The entry that was perhaps meant.
    pub near: Option<String>,
}

/// What an entry is written as. What stands before an `@` is for a login, and not shown.
pub(super) fn shown(key: &str) -> String {
    let plain = key.rsplit_once('@').map_or_else(|| key.to_owned(), |(_, rest)| format!("…@{rest}"));
    foreign_text(&plain, MAX_NAME_EXPLAINED)
}

pub(super) fn judgement(secrets: &[PullSecret], image: &str, now: Timestamp) -> Judgement {
    let nothing = Given::Nothing;
    let given = secrets.iter().map(|secret| match &secret.state {
        State::Known { given, .. } => given,
        State::Missing | State::Unknown => &nothing,
    });
    let judged = judge(given, image);
    let mut answer = Judgement::default();
    let is_shadowed = judged.iter().any(|one| one.is_tried && one.found == Match::Matches);
    for one in &judged {
        let secret = secrets.get(one.secret).map_or("", |secret| &secret.name);
        let is_expired = one.is_tried && expires(&one.entry.login).is_some_and(|end| end <= now);
        let (reason, message) = if is_expired {
            ("Expired", "matches, and its token has expired".to_owned())
        } else {
            say(one, is_shadowed)
        };
        answer.tried += usize::from(one.is_tried);
        answer.expired += usize::from(is_expired);
        if is_near(one.found) && answer.near.is_none() {
            answer.near = Some(format!("key '{}' in Secret '{secret}' {message}", shown(&one.entry.text)));
        }
        let limit = if one.is_tried { MAX_TRIED_EXPLAINED } else { MAX_KEYS_EXPLAINED };
        let listed = answer.entries.iter().filter(|entry| entry.matches == one.is_tried).count();
        if listed >= limit {
            answer.omitted += 1;
            continue;
        }
        answer.entries.push(EntryExplained {
            secret: secret.to_owned(),
            key: Some(shown(&one.entry.text)),
            matches: one.is_tried,
            reason,
            message,
        });
    }
    answer.entries.extend(secrets.iter().filter_map(without_entries));
    answer
}

/// What is wrong with a Secret that gives no entries.
fn without_entries(secret: &PullSecret) -> Option<EntryExplained> {
    let (reason, message) = match &secret.state {
        State::Missing => ("SecretMissing", "there is no such Secret in the namespace".to_owned()),
        State::Unknown => ("Forbidden", "you may not read this Secret".to_owned()),
        State::Known { given: Given::Unreadable, .. } => (
            "InvalidSecret",
            "kubelet cannot read it, and so pulls nothing for the Pod: an entry has a value of a wrong type, or an \
             `auth` that is not base64 of user:password"
                .to_owned(),
        ),
        State::Known { type_, given: Given::Nothing } => {
            let type_ = foreign_text(type_, MAX_NAME_EXPLAINED);
            let message = if PULL_TYPES.contains(&type_.as_str()) {
                format!("it is of type {type_} and has no value where kubelet looks for it")
            } else {
                format!("it is of type {type_}, from which kubelet reads no logins")
            };
            ("NotAPullSecret", message)
        }
        State::Known { given: Given::Logins(entries), .. } if entries.is_empty() => {
            ("NoEntries", "it has no entries".to_owned())
        }
        State::Known { .. } => return None,
    };
    Some(EntryExplained { secret: secret.name.clone(), key: None, matches: false, reason, message })
}

/// Whether an entry looks as if it were meant for the image.
const fn is_near(found: Match) -> bool {
    matches!(found, Match::HubPath | Match::HubAlias | Match::OtherPort | Match::UpperCase | Match::OtherPath)
}

fn say(one: &Judged<'_>, is_shadowed: bool) -> (&'static str, String) {
    let (reason, message) = match one.found {
        Match::Matches => ("Matches", "matches"),
        Match::Fallback if is_shadowed => {
            ("Shadowed", "is a key of Docker Hub, which kubelet ignores when another key matches")
        }
        Match::Fallback => ("Matches", "matches, as a key of Docker Hub"),
        Match::HubPath => (
            "HubPath",
            "is a key of Docker Hub with a path that no image has; write https://index.docker.io/v1/, with the slash at its \
             end, or docker.io/<path>",
        ),
        Match::HubAlias => {
            ("HubAlias", "is a host that no image name has; write https://index.docker.io/v1/ for Docker Hub")
        }
        Match::OtherPort => {
            ("OtherPort", "is for another port than the image; both must name the same one, or none")
        }
        Match::UpperCase => {
            ("UpperCase", "is not written as in the image; kubelet distinguishes upper and lower case")
        }
        Match::OtherPath => ("OtherPath", "is for another path on the host"),
        Match::OtherHost => ("OtherHost", "is for another host"),
        Match::Invalid => ("InvalidKey", "is not a valid host[:port][/path], and kubelet ignores it"),
    };
    (reason, message.to_owned())
}
