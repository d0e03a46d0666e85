//! What a storm got to see: a check of an empty world proves little.

use std::fmt;

use super::{history::History, model, names::Cluster, observation::Observation, state::State};

#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counts: [usize; WHAT.len()],
}

const WHAT: [&str; 13] = [
    "copies in place",
    "of these in the member",
    "in use",
    "only listed",
    "held",
    "refused",
    "taken by others",
    "claimed twice",
    "with a bad source",
    "deletions that wait",
    "Secrets of others",
    "ready credentials",
    "checks with the member away",
];

impl Coverage {
    pub fn of(state: &State, history: &History, seen: &Observation) -> Self {
        let wishes = model::wishes(state);
        let claims = model::claims(&wishes);
        let untouchable = state.untouchable();
        let copies: Vec<_> = seen
            .secrets
            .iter()
            .filter(|(place, _)| {
                !untouchable.contains_key(*place) && state.namespaces.contains_key(&place.namespace)
            })
            .filter_map(|(place, secret)| Some((place, secret.owner(history)?)))
            .collect();
        let in_place = |owner: &super::names::Id, place: &super::names::Place| {
            claims.get(place).is_some_and(|claimants| claimants.contains(owner))
        };
        let placed: Vec<_> = copies.iter().filter(|(place, owner)| in_place(owner, place)).collect();
        let has_source = |owner: &super::names::Id| {
            let spec = state.credentials.get(owner);
            spec.is_some_and(|spec| model::content(state, owner, spec).is_some())
        };
        let counts = [
            placed.len(),
            placed.iter().filter(|(place, _)| place.cluster() == Cluster::Member).count(),
            copies.iter().filter(|(place, _)| state.in_use(place)).count(),
            copies
                .iter()
                .filter(|(place, _)| !state.in_use(place) && state.users(place).next().is_some())
                .count(),
            copies.len() - placed.len(),
            wishes.values().map(|wish| wish.refused.len()).sum(),
            claims.keys().filter(|place| untouchable.contains_key(*place)).count(),
            claims.values().filter(|claimants| claimants.len() > 1).count(),
            placed.iter().filter(|(_, owner)| !has_source(owner)).count(),
            seen.credentials.values().filter(|seen| seen.deleting).count(),
            state.foreign.len(),
            seen.credentials.values().filter(|seen| seen.ready.status == "True").count(),
            usize::from(state.member.cut || state.member.paused),
        ];
        Self { counts }
    }

    pub fn add(&mut self, more: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(more.counts) {
            *sum += count;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> =
            self.counts.iter().zip(WHAT).map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(&told.join(", "))
    }
}
