//! Who uses the copies of a credential, against what its status tells.

use super::{
    check::Mismatch,
    history::History,
    model,
    names::{Id, Place},
    observation::Observation,
    state::State,
};

/// Statuses that do not tell exactly how many use the copies, and how many of these hold a deletion. Both clusters are to be
/// there.
pub fn wrong(state: &State, history: &History, seen: &Observation) -> Vec<Mismatch> {
    let copies: Vec<(&Place, Id)> =
        seen.secrets.iter().filter_map(|(place, secret)| Some((place, secret.owner(history)?))).collect();
    let mut wrong = Vec::new();
    for (id, wish) in model::wishes(state) {
        let Some(found) = seen.credentials.get(&id) else { continue };
        let own: Vec<&Place> =
            copies.iter().filter(|(_, owner)| *owner == id).map(|(place, _)| *place).collect();
        if own.iter().any(|place| history.loose.contains_key(*place)) {
            continue;
        }
        let users: usize = own.iter().map(|place| state.users(place).count()).sum();
        // What is no target any more holds nothing but itself.
        let targets = own.iter().filter(|place| wish.copies.contains(**place));
        let blocking: usize = targets.map(|place| state.holders(place).count()).sum();
        if (usize::try_from(found.users), usize::try_from(found.blocking)) != (Ok(users), Ok(blocking)) {
            let text = format!(
                "{users} use its copies, of which {blocking} hold a deletion; it says {} and {}",
                found.users, found.blocking
            );
            wrong.push(Mismatch { place: None, credential: Some(id), text });
        }
    }
    wrong
}
