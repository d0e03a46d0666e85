//! The model against what stands in the clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    history::History,
    manifests::FORGED,
    model::{self, Wish},
    names::{Cluster, Id, Place},
    observation::{DELETION_POLICY, HUB, MANAGED_BY, OWNER, Observation, REVISION, SOURCE, Seen},
    operation::{DeletionPolicy, Exact, Spec},
    selector::Labels,
    state::State,
};

/// What the documentation has promised since the engine was rebuilt; the first one did otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promises {
    /// A namespace that exists nowhere is told, a paused member does not count, a status that a hand wrote is put
    /// right, and how copies are to be left is written on them.
    pub second_edition: bool,
}

/// Something that is not as it has to be.
#[derive(Clone, Debug)]
pub struct Mismatch {
    pub place: Option<Place>,
    pub credential: Option<Id>,
    pub text: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, &self.credential) {
            (Some(place), Some(id)) => write!(f, "{place} ({id}): {}", self.text),
            (Some(place), None) => write!(f, "{place}: {}", self.text),
            (None, Some(id)) => write!(f, "{id}: {}", self.text),
            (None, None) => f.write_str(&self.text),
        }
    }
}

/// Labels that specs ask for, so that one that is no longer asked for is noticed.
pub const EXTRA_LABELS: [&str; 2] = ["storm.example.com/team", "storm.example.com/tier"];

pub struct Check<'a> {
    pub state: &'a State,
    pub history: &'a History,
    pub seen: &'a Observation,
    pub promises: Promises,
    /// What copies carry in `claviger.dev/hub`.
    pub hub: &'a str,
}

/// Whose copies are where, and whose they should be.
struct Standing<'a> {
    check: &'a Check<'a>,
    wishes: BTreeMap<Id, Wish>,
    claims: BTreeMap<Place, BTreeSet<Id>>,
    untouchable: BTreeMap<Place, &'a Exact>,
    owners: BTreeMap<&'a Place, Id>,
    found: Vec<Mismatch>,
}

impl Check<'_> {
    /// All that is not as it has to be.
    pub fn run(&self) -> Vec<Mismatch> {
        let wishes = model::wishes(self.state);
        let untouchable = self.state.untouchable();
        let copies = self.seen.secrets.iter().filter(|(place, _)| !untouchable.contains_key(*place));
        let owners = copies.filter_map(|(place, seen)| Some((place, seen.owner(self.history)?))).collect();
        let mut standing = Standing {
            check: self,
            claims: model::claims(&wishes),
            wishes,
            untouchable,
            owners,
            found: Vec::new(),
        };
        standing.secrets_of_others();
        standing.what_has_to_stay();
        standing.copies();
        standing.credentials();
        standing.departures();
        standing.found
    }

    fn away(&self) -> bool {
        self.state.member.cut || self.state.member.paused
    }

    fn content(&self, id: &Id) -> Option<super::content::Content> {
        model::content(self.state, id, self.state.credentials.get(id)?)
    }
}

impl Standing<'_> {
    fn wrong(&mut self, place: Option<&Place>, credential: Option<&Id>, text: impl Into<String>) {
        let (place, credential) = (place.cloned(), credential.cloned());
        self.found.push(Mismatch { place, credential, text: text.into() });
    }

    fn secrets_of_others(&mut self) {
        for (place, exact) in self.untouchable.clone() {
            match self.check.seen.secrets.get(&place) {
                Some(seen) if seen.exact == *exact => {}
                Some(seen) => self.wrong(
                    Some(&place),
                    None,
                    format!("somebody else's Secret was changed: {:?}, not {exact:?}", seen.exact),
                ),
                None => self.wrong(Some(&place), None, "somebody else's Secret is gone"),
            }
        }
    }

    fn what_has_to_stay(&mut self) {
        let history = self.check.history;
        let pinned = history.pinned.iter().map(|(place, pin)| (place, &pin.kept, "is in use"));
        let kept = history.kept.iter().map(|(place, kept)| (place, kept, "had no reason to go"));
        for (place, kept, why) in pinned.chain(kept) {
            let found = self.check.seen.secrets.get(place).map(|seen| seen.exact.uid.as_str());
            if found != Some(&kept.uid) {
                let text = format!("the copy of uid {} {why}; there is {found:?}", kept.uid);
                self.wrong(Some(place), Some(&kept.owner), text);
            }
        }
    }

    fn copies(&mut self) {
        let (state, seen) = (self.check.state, self.check.seen);
        let away = self.check.away();
        let places: BTreeSet<Place> = self.claims.keys().chain(seen.secrets.keys()).cloned().collect();
        for place in places {
            let skipped = self.untouchable.contains_key(&place)
                || !state.namespaces.contains_key(&place.namespace)
                || (away && place.cluster() == Cluster::Member);
            if skipped {
                continue;
            }
            match seen.secrets.get(&place) {
                None => self.missing(&place),
                Some(secret) if !secret.is_marked() => self.unmarked(&place, secret),
                Some(secret) => match self.owners.get(&place).cloned() {
                    Some(owner) => self.copy(&place, secret, &owner),
                    None if self.check.history.loose.contains_key(&place) => {}
                    None => self.wrong(Some(&place), None, "a copy of nobody that is known"),
                },
            }
        }
    }

    fn missing(&mut self, place: &Place) {
        for id in self.claims.get(place).cloned().unwrap_or_default() {
            if self.check.content(&id).is_some() {
                self.wrong(Some(place), Some(&id), "the copy is missing");
            }
        }
    }

    fn unmarked(&mut self, place: &Place, secret: &Seen) {
        let history = self.check.history;
        if !history.was_released(place) {
            self.wrong(Some(place), None, "a Secret without marks that nobody made");
        } else if !history.edited.contains(place)
            && !history.orphaned.iter().any(|id| self.was_content(id, secret))
        {
            self.wrong(Some(place), None, "what was left behind has another content");
        }
    }

    fn copy(&mut self, place: &Place, secret: &Seen, owner: &Id) {
        if !self.claims.get(place).is_some_and(|claimants| claimants.contains(owner)) {
            if !self.may_hold(owner, place) {
                let claimants = self.claims.get(place).cloned().unwrap_or_default();
                let text = format!("this copy must not be here; wanted is one of {claimants:?}");
                self.wrong(Some(place), Some(owner), text);
            } else if !self.was_content(owner, secret) && !self.is_edited(place, owner, secret) {
                self.wrong(Some(place), Some(owner), "a copy that is held has a content that it never had");
            }
            return;
        }
        let wrong = match self.check.content(owner) {
            Some(content) => {
                let mut wrong: Vec<String> =
                    content.difference(&secret.type_, &secret.data).into_iter().collect();
                wrong.extend(self.wrong_marks(place, secret, owner));
                wrong
            }
            None if self.was_content(owner, secret) || self.is_edited(place, owner, secret) => return,
            None => vec!["the source is bad, and the copy has a content that it never had".to_owned()],
        };
        if !wrong.is_empty() {
            self.wrong(Some(place), Some(owner), wrong.join("; "));
        }
    }

    fn wrong_marks(&self, place: &Place, secret: &Seen, owner: &Id) -> Vec<String> {
        let Some(spec) = self.check.state.credentials.get(owner) else { return Vec::new() };
        let mut wrong = Vec::new();
        let mut expect = |all: &Labels, key: &str, wanted: Option<&str>| {
            let found = all.get(key).map(String::as_str);
            if found != wanted {
                wrong.push(format!("{key} is {found:?}, not {wanted:?}"));
            }
        };
        expect(&secret.labels, MANAGED_BY, Some("claviger"));
        expect(&secret.annotations, SOURCE, Some(&owner.to_string()));
        expect(&secret.annotations, HUB, Some(self.check.hub));
        if let Some(label) = self.check.history.owner_labels.get(owner) {
            expect(&secret.labels, OWNER, Some(label));
        }
        let listed = self.check.history.unlisted.get(place) != Some(&secret.exact.uid);
        for key in EXTRA_LABELS.into_iter().filter(|key| listed || spec.target.labels.contains_key(*key)) {
            expect(&secret.labels, key, spec.target.labels.get(key).map(String::as_str));
        }
        if self.check.promises.second_edition {
            let left = (spec.deletion == DeletionPolicy::Orphan).then_some("Orphan");
            expect(&secret.annotations, DELETION_POLICY, left);
        }
        let revision = self.check.seen.credentials.get(owner).and_then(|seen| seen.revision);
        expect(&secret.annotations, REVISION, Some(&revision.unwrap_or(1).to_string()));
        if secret.owned {
            wrong.push("it has an ownerReference".to_owned());
        }
        wrong
    }

    /// Whether a content is one that copies of a credential had, or can have had.
    fn was_content(&self, owner: &Id, secret: &Seen) -> bool {
        self.check.history.contents.explain(owner, secret)
    }

    /// Whether a content is what a hand made of it, there or in another copy of the same credential.
    fn is_edited(&self, place: &Place, owner: &Id, secret: &Seen) -> bool {
        let edited = &self.check.history.edited;
        edited.contains(place)
            || edited.iter().any(|other| {
                self.owners.get(other) == Some(owner)
                    && self.check.seen.secrets.get(other).is_some_and(|seen| seen.data == secret.data)
            })
    }

    /// Whether a copy may stand where its credential does not want it, or no longer is.
    fn may_hold(&self, owner: &Id, place: &Place) -> bool {
        let Check { state, history, seen, .. } = self.check;
        if !history.names.get(owner).is_some_and(|names| names.contains(&place.name)) {
            return false;
        }
        if state.in_use(place) || history.loose.contains_key(place) {
            return true;
        }
        if let Some(spec) = state.credentials.get(owner) {
            // The old name goes when the new one is in place.
            let moved =
                Place { namespace: place.namespace.clone(), name: spec.secret_name(owner).to_owned() };
            let claimed = self.claims.get(&moved).is_some_and(|claimants| claimants.contains(owner));
            let arrived = self.owners.get(&moved) == Some(owner)
                && self.check.content(owner).is_some_and(|content| {
                    seen.secrets
                        .get(&moved)
                        .is_some_and(|copy| content.difference(&copy.type_, &copy.data).is_none())
                });
            return claimed && !arrived;
        }
        state.leaving.contains_key(owner) && self.is_blocked(owner) != Some(false)
    }

    /// Whether a deletion has to wait; `None` when that cannot be said.
    fn is_blocked(&self, id: &Id) -> Option<bool> {
        let Check { state, history, .. } = self.check;
        let leaving = state.leaving.get(id)?;
        if state.member.paused {
            return None;
        }
        if leaving.forced || leaving.abandoned || leaving.spec.deletion != DeletionPolicy::Protect {
            return Some(false);
        }
        let mut blocked = Some(false);
        for (place, _) in self.owners.iter().filter(|(_, owner)| *owner == id) {
            // What was no target any more when it was deleted holds nothing; the sweep takes it when it is unused.
            if state.in_use(place) && leaving.once_targets.contains(*place) {
                let certain = !leaving.unprotected
                    && !history.loose.contains_key(*place)
                    && leaving.targets.contains(*place)
                    && (place.cluster() == Cluster::Hub || !leaving.unsure);
                if certain {
                    return Some(true);
                }
                blocked = None;
            }
        }
        blocked
    }

    fn credentials(&mut self) {
        let Check { state, seen, .. } = self.check;
        for (id, spec) in &state.credentials {
            let Some(found) = seen.credentials.get(id).filter(|found| !found.deleting) else {
                self.wrong(None, Some(id), "the credential is gone, or going");
                continue;
            };
            if !found.finalizer {
                self.wrong(None, Some(id), "it has no finalizer");
            }
            let ready = &found.ready;
            if ready.reason == FORGED {
                self.wrong(None, Some(id), "what a hand wrote into the status is still there");
            } else if ready.generation != found.generation {
                let text = format!("Ready is of generation {}, not {}", ready.generation, found.generation);
                self.wrong(None, Some(id), text);
            } else if let Some(wanted) = self.is_ready(id, spec)
                && wanted != (ready.status == "True")
            {
                let text = format!(
                    "Ready should be {wanted} and is {} {}: {}",
                    ready.status, ready.reason, ready.message
                );
                self.wrong(None, Some(id), text);
            }
        }
        for id in seen.credentials.keys() {
            if !state.credentials.contains_key(id) && !state.leaving.contains_key(id) {
                self.wrong(None, Some(id), "a credential that nobody made");
            }
        }
    }

    /// What `Ready` has to say; `None` when that is not promised.
    fn is_ready(&self, id: &Id, spec: &Spec) -> Option<bool> {
        let (wish, member) = (self.wishes.get(id)?, &self.check.state.member);
        if wish.unknown_cluster || (member.cut && wish.wants(Cluster::Member)) {
            return Some(false);
        }
        let second = self.check.promises.second_edition;
        let goes_away = self.check.away() && self.check.history.reached.contains(id);
        if wish.unknown_namespace && second {
            return if goes_away { None } else { Some(false) };
        }
        let mut kept = self.check.history.kept.iter();
        // What it still has there is not concealed.
        if wish.concealed_cluster
            && !kept.any(|(place, kept)| place.cluster() == Cluster::Member && kept.owner == *id)
        {
            return (!goes_away).then_some(false);
        }
        let counts = |place: &&Place| !(goes_away && place.cluster() == Cluster::Member);
        let (mut refused, mut copies) =
            (wish.refused.iter().filter(counts), wish.copies.iter().filter(counts).peekable());
        if refused.next().is_some() {
            return Some(false);
        }
        let has_source = model::content(self.check.state, id, spec).is_some();
        if copies.peek().is_none() {
            // Where there is nothing to write the source is not even read.
            return (has_source && !goes_away).then_some(true);
        }
        let in_place = copies.all(|place| self.owners.get(place) == Some(id));
        if !has_source || !in_place {
            return Some(false);
        }
        (!goes_away || (second && !member.cut)).then_some(true)
    }

    fn departures(&mut self) {
        let Check { state, seen, .. } = self.check;
        for id in state.leaving.keys() {
            let found = seen.credentials.get(id);
            match (self.is_blocked(id), found) {
                (Some(false), Some(found)) => {
                    let text = format!(
                        "its deletion has nothing to wait for; Ready: {}, DeletionBlocked: {}",
                        found.ready.message, found.deletion_blocked.message
                    );
                    self.wrong(None, Some(id), text);
                }
                (Some(true), None) => self.wrong(None, Some(id), "it went although something holds a copy"),
                (Some(true), Some(found))
                    if found.deletion_blocked.status != "True" || found.blocking == 0 =>
                {
                    let text = format!(
                        "something holds a copy, and it says {:?} with {} users",
                        found.deletion_blocked, found.blocking
                    );
                    self.wrong(None, Some(id), text);
                }
                _ => {}
            }
        }
        let stuck = state.going.iter().filter(|at| at.name.contains("home") && seen.namespaces.contains(at));
        for at in stuck.filter(|_| !state.member.paused) {
            self.wrong(None, None, format!("namespace {at} is still being deleted"));
        }
    }
}
