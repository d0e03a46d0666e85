//! What the end of a storm depends on besides the state that users have made: what was there before, and what
//! nothing that happened since may have taken away.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    contents::Contents,
    model,
    names::{Cluster, Id, NamespaceName, Place},
    observation::{DELETION_POLICY, OWNER, Observation, Seen},
    operation::{DeletionPolicy, Edit, Exact, Fate, Operation, Outcome},
    state::State,
};

#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every operation, with what became of it.
    pub journal: Vec<String>,
    /// Every content that copies can have got since they were last seen.
    pub contents: Contents,
    /// Every name that they can have got.
    pub names: BTreeMap<Id, BTreeSet<String>>,
    /// The value of `claviger.dev/owner` on copies of a credential.
    pub owner_labels: BTreeMap<Id, String>,
    /// Copies that a hand changed and that nobody has seen put right.
    pub edited: BTreeSet<Place>,
    /// Copies, by uid, that lost some of our marks: where they are wanted they are put right, where they are not,
    /// nobody can be sure to find them.
    pub loose: BTreeMap<Place, String>,
    /// Copies, by uid, that lost the list of the labels that a credential gave them: a label that is no longer wanted
    /// may be somebody else's for all that anybody knows.
    pub unlisted: BTreeMap<Place, String>,
    /// Credentials that may have copies in the member, as they meant it since it was last seen to answer.
    pub reached: BTreeSet<Id>,
    /// Copies that say of themselves that they are to be left behind, and whose they are.
    pub left: BTreeMap<Place, Id>,
    /// Credentials that wanted their copies to be left behind at any time since these were last seen.
    pub once_orphaning: BTreeSet<Id>,
    /// Credentials that left their copies behind without our marks.
    pub orphaned: BTreeSet<Id>,
    /// Copies that nothing since they were last seen has given a reason to take away or to replace.
    pub kept: BTreeMap<Place, Kept>,
    /// Copies that were in use all the time since they were last seen.
    pub pinned: BTreeMap<Place, Pinned>,
}

/// A Secret that has to be there still.
#[derive(Clone, Debug)]
pub struct Kept {
    pub owner: Id,
    pub uid: String,
}

#[derive(Clone, Debug)]
pub struct Pinned {
    pub kept: Kept,
    pub users: BTreeSet<Place>,
}

impl History {
    /// Takes an operation in that was carried out, also into the state.
    pub fn commit(&mut self, state: &mut State, by: &str, operation: &Operation, outcome: &Outcome) {
        let effect = if matches!(outcome, Outcome::Nothing) { " (nothing to do)" } else { "" };
        self.journal.push(format!("{:>5} {by} {operation:?}{effect}", self.journal.len()));
        if !matches!(outcome, Outcome::Nothing) {
            self.loosen(state, operation, outcome);
        }
        let targets = |state: &State, id: &Id| state.leaving.get(id).map(|leaving| leaving.targets.len());
        let before: Vec<_> = state.leaving.keys().map(|id| (id.clone(), targets(state, id))).collect();
        state.record(operation, outcome);
        for (id, before) in before {
            if targets(state, &id) != before {
                // It may have been a target that held the deletion.
                self.release(&id);
            }
        }
        self.contents.note(state);
        for (id, spec) in &state.credentials {
            let name = spec.secret_name(id);
            let names = self.names.entry(id.clone()).or_default();
            if !names.contains(name) {
                names.insert(name.to_owned());
            }
            if model::reaches(state, spec, Cluster::Member) {
                self.reached.insert(id.clone());
            }
            if spec.deletion == DeletionPolicy::Orphan {
                self.once_orphaning.insert(id.clone());
            }
        }
    }

    /// Gives up what an operation may take away. `state` is that before it.
    fn loosen(&mut self, state: &State, operation: &Operation, outcome: &Outcome) {
        match operation {
            Operation::DeleteNamespace { at } => self.lose_namespace(state, at),
            Operation::LabelNamespace { at, .. } => {
                self.kept.retain(|place, kept| {
                    place.namespace != *at
                        && (at.cluster == Cluster::Member || kept.owner.namespace != at.name)
                });
            }
            Operation::WritePolicy { .. } | Operation::DeletePolicy { .. } => {
                self.kept.retain(|place, kept| {
                    place.cluster() == Cluster::Hub && place.namespace.name == kept.owner.namespace
                });
            }
            Operation::EditCopy { at, edit } => self.lose_marks(state, at, *edit, outcome),
            Operation::DeleteCopy { at } | Operation::CreateForeign { at, .. } => {
                self.edited.remove(at);
                self.kept.remove(at);
                self.unpin(state, at);
            }
            Operation::FinishPod { at, .. } | Operation::DeleteUser { at, .. } => {
                let places: Vec<Place> = self
                    .pinned
                    .iter()
                    .filter(|(_, pin)| pin.users.contains(at))
                    .map(|(p, _)| p.clone())
                    .collect();
                for place in places {
                    let empty = self.pinned.get_mut(&place).is_some_and(|pin| {
                        pin.users.remove(at);
                        pin.users.is_empty()
                    });
                    if empty {
                        self.unpin(state, &place);
                    }
                }
            }
            Operation::ChangeCredential { id, spec }
                if state.credentials.get(id).is_none_or(|before| before.target != spec.target) =>
            {
                self.release(id);
            }
            Operation::DeleteCredential { id } => self.lose_credential(state, id),
            Operation::ForceDeletion { id } => {
                self.release(id);
                self.pinned.retain(|_, pin| pin.kept.owner != *id);
            }
            Operation::TakeFinalizer { id } if state.leaving.contains_key(id) => self.release(id),
            Operation::Fate(fate) => self.lose_cluster(state, *fate),
            _ => {}
        }
    }

    /// A credential no longer keeps what nobody uses.
    fn release(&mut self, owner: &Id) {
        self.kept.retain(|_, kept| kept.owner != *owner);
    }

    fn unpin(&mut self, state: &State, place: &Place) {
        if let Some(pin) = self.pinned.remove(place)
            && state.leaving.contains_key(&pin.kept.owner)
        {
            // It may have been what held the deletion.
            self.release(&pin.kept.owner);
        }
    }

    fn lose_namespace(&mut self, state: &State, at: &NamespaceName) {
        let pins: Vec<Place> = self.pinned.keys().filter(|place| place.namespace == *at).cloned().collect();
        for place in pins {
            self.unpin(state, &place);
        }
        self.kept.retain(|place, _| place.namespace != *at);
        self.edited.retain(|place| place.namespace != *at);
        self.loose.retain(|place, _| place.namespace != *at);
        if at.cluster == Cluster::Member {
            return;
        }
        for (id, spec) in state.credentials.iter().filter(|(id, _)| id.namespace == at.name) {
            self.release(id);
            match spec.deletion {
                DeletionPolicy::Protect if self.may_be_left(id) => {
                    self.orphaned.insert(id.clone());
                }
                DeletionPolicy::Protect => {}
                DeletionPolicy::Force => self.pinned.retain(|_, pin| pin.kept.owner != *id),
                DeletionPolicy::Orphan => {
                    self.orphaned.insert(id.clone());
                }
            }
        }
        self.kept.retain(|_, kept| kept.owner.namespace != at.name);
    }

    fn lose_marks(&mut self, state: &State, at: &Place, edit: Edit, outcome: &Outcome) {
        match edit {
            Edit::ChangeValue | Edit::AddKey | Edit::RemoveKeys => {
                self.edited.insert(at.clone());
            }
            Edit::Revision(_) => {}
            Edit::DropLabels | Edit::DropAnnotations => {
                self.unpin(state, at);
                if let Outcome::Wrote(exact) = outcome {
                    self.loose.insert(at.clone(), exact.uid.clone());
                    if edit == Edit::DropAnnotations {
                        self.unlisted.insert(at.clone(), exact.uid.clone());
                    }
                }
            }
            Edit::DropAllMarks => {
                self.edited.remove(at);
                self.kept.remove(at);
                self.unpin(state, at);
            }
        }
    }

    fn lose_credential(&mut self, state: &State, id: &Id) {
        let Some(spec) = state.credentials.get(id) else { return };
        let away = state.member.was_cut || state.member.paused;
        if self.may_be_left(id) {
            // A member that is away, and a copy that is held, may not have heard of a newer policy.
            self.orphaned.insert(id.clone());
        }
        match spec.deletion {
            // While one is in use, all stay: unless a cluster is away, for which nobody waits long.
            DeletionPolicy::Protect => {
                let targets = model::wish(state, id, spec).copies;
                let holds =
                    |(place, pin): (&Place, &Pinned)| pin.kept.owner == *id && targets.contains(place);
                if away || state.unprotected.contains(id) || !self.pinned.iter().any(holds) {
                    self.release(id);
                }
            }
            DeletionPolicy::Force => {
                self.release(id);
                self.pinned.retain(|_, pin| pin.kept.owner != *id);
            }
            DeletionPolicy::Orphan => {
                self.orphaned.insert(id.clone());
                if away {
                    let Self { left, loose, .. } = self;
                    let safe = |place: &Place| left.contains_key(place) && !loose.contains_key(place);
                    self.kept.retain(|place, kept| {
                        kept.owner != *id || place.cluster() == Cluster::Hub || safe(place)
                    });
                }
            }
        }
    }

    /// Whether copies of a credential may say of themselves that they are to be left behind.
    fn may_be_left(&self, id: &Id) -> bool {
        self.once_orphaning.contains(id) || self.left.values().any(|owner| owner == id)
    }

    fn lose_cluster(&mut self, state: &State, fate: Fate) {
        match fate {
            Fate::CutMember { .. } => {
                for id in state.leaving.keys() {
                    self.release(id);
                }
            }
            Fate::PauseMember { .. } | Fate::LabelMember { .. } => self.lose_member_copies(),
            _ => {}
        }
    }

    fn lose_member_copies(&mut self) {
        self.kept.retain(|place, _| place.cluster() == Cluster::Hub);
    }

    /// After a check that found nothing wrong: what was seen is what counts from now on.
    pub fn settle(&mut self, state: &mut State, seen: &Observation) {
        let claims = model::claims(&model::wishes(state));
        let away = state.member.cut || state.member.paused;
        let (mut kept, mut pinned) = (BTreeMap::new(), BTreeMap::new());
        let mut verified = BTreeSet::new();
        let untouchable = state.untouchable();
        for (place, secret) in seen.secrets.iter().filter(|(place, _)| !untouchable.contains_key(*place)) {
            let Some(owner) = secret.owner(self) else { continue };
            if let Some(label) = secret.labels.get(OWNER) {
                self.owner_labels.insert(owner.clone(), label.clone());
            }
            let stays = Kept { owner: owner.clone(), uid: secret.exact.uid.clone() };
            let reached = place.cluster() == Cluster::Hub || !away;
            if reached && claims.get(place).is_some_and(|claimants| claimants.contains(&owner)) {
                kept.insert(place.clone(), stays.clone());
                let good = state.credentials.get(&owner).and_then(|spec| model::content(state, &owner, spec));
                if good.is_some() {
                    verified.insert(place.clone());
                }
            }
            let users: BTreeSet<Place> = state.holders(place).cloned().collect();
            let loose = self.loose.get(place) == Some(&secret.exact.uid) && !verified.contains(place);
            if !users.is_empty() && !loose {
                pinned.insert(place.clone(), Pinned { kept: stays, users });
            }
        }
        (self.kept, self.pinned) = (kept, pinned);
        let says =
            |secret: &Seen| secret.annotations.get(DELETION_POLICY).is_some_and(|policy| policy == "Orphan");
        let left = seen.secrets.iter().filter(|(_, secret)| secret.is_marked() && says(secret));
        self.left = left.filter_map(|(place, secret)| Some((place.clone(), secret.owner(self)?))).collect();
        self.edited.retain(|place| seen.secrets.contains_key(place) && !verified.contains(place));
        let is_there = |place: &Place, uid: &String| {
            seen.secrets.get(place).is_some_and(|secret| secret.exact.uid == *uid)
        };
        self.loose.retain(|place, uid| !verified.contains(place) && is_there(place, uid));
        self.unlisted.retain(|place, uid| is_there(place, uid));
        if !away {
            let reaches = |id: &Id| {
                state.credentials.get(id).is_some_and(|spec| model::reaches(state, spec, Cluster::Member))
            };
            self.reached.retain(reaches);
        }
        self.once_orphaning = state
            .credentials
            .iter()
            .filter(|(_, spec)| spec.deletion == DeletionPolicy::Orphan)
            .map(|(id, _)| id.clone())
            .collect();
        state.unprotected.clear();
        self.adopt_orphans(state, seen, away);
        self.forget(state, seen, away);
    }

    /// Secrets that were left behind are nobody's from now on.
    fn adopt_orphans(&mut self, state: &mut State, seen: &Observation, away: bool) {
        let untouchable = state.untouchable();
        let left: Vec<(Place, Exact)> = seen
            .secrets
            .iter()
            .filter(|(place, secret)| {
                state.namespaces.contains_key(&place.namespace)
                    && !secret.is_marked()
                    && !untouchable.contains_key(*place)
                    && self.was_released(place)
            })
            .map(|(place, secret)| (place.clone(), secret.exact.clone()))
            .collect();
        state.foreign.extend(left);
        if !away {
            self.orphaned.retain(|id| self.left.values().any(|owner| owner == id));
        }
    }

    /// Whether a credential that left its copies behind can have had one there.
    pub fn was_released(&self, place: &Place) -> bool {
        self.orphaned.iter().any(|id| self.names.get(id).is_some_and(|names| names.contains(&place.name)))
    }

    fn forget(&mut self, state: &mut State, seen: &Observation, away: bool) {
        let copies: Vec<(Id, &Seen)> =
            seen.secrets.values().filter_map(|secret| Some((secret.owner(self)?, secret))).collect();
        let owners: BTreeSet<&Id> = copies.iter().map(|(owner, _)| owner).collect();
        state.leaving.retain(|id, _| away || owners.contains(id) || seen.credentials.contains_key(id));
        let known = |id: &Id| state.credentials.contains_key(id) || state.leaving.contains_key(id);
        let known = |id: &Id| known(id) || owners.contains(id) || self.orphaned.contains(id);
        self.names.retain(|id, _| known(id));
        self.contents.settle(state, self.names.keys(), &copies, |id| self.orphaned.contains(id));
        state.going.retain(|at| seen.namespaces.contains(at));
        state.member.was_cut = state.member.cut;
    }
}
