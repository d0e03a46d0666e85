//! What users have made so far: the truth that the model starts from. Nothing in it was read from the operator.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    content::Source,
    model::{self, Wish},
    names::{Cluster, Id, NamespaceName, Place},
    operation::{Edit, Exact, Fate, Operation, Outcome, Policy, Reference, Spec},
    selector::Labels,
};

#[derive(Clone, Debug, Default)]
pub struct State {
    pub namespaces: BTreeMap<NamespaceName, Labels>,
    /// Namespaces that were deleted, and whose teardown may still go on.
    pub going: BTreeSet<NamespaceName>,
    pub sources: BTreeMap<(String, String), (Source, Exact)>,
    /// Secrets that are not ours.
    pub foreign: BTreeMap<Place, Exact>,
    pub users: BTreeMap<Place, User>,
    pub policies: BTreeMap<String, Policy>,
    pub credentials: BTreeMap<Id, Spec>,
    pub leaving: BTreeMap<Id, Leaving>,
    /// Credentials that may lack our finalizer, as they were made, or lost it, since the last check.
    pub unprotected: BTreeSet<Id>,
    pub member: Member,
    /// For names that were never used.
    pub counter: usize,
}

/// An object that names a Secret.
#[derive(Clone, Debug)]
pub struct User {
    pub uses: String,
    pub by: Reference,
    pub finished: bool,
}

/// A credential that was deleted.
#[derive(Clone, Debug)]
pub struct Leaving {
    pub spec: Spec,
    /// Somebody said not to wait.
    pub forced: bool,
    /// It went without waiting for users, with its namespace or because its finalizer was taken: copies that are in
    /// use go later.
    pub abandoned: bool,
    /// The member did not answer meanwhile: a deletion does not wait for it for long.
    pub unsure: bool,
    /// It may have had no finalizer when it was deleted.
    pub unprotected: bool,
    /// Where it has wanted copies, and was permitted to have them, all the time since it was deleted: only there users
    /// hold it.
    pub targets: BTreeSet<Place>,
    /// Where it has wanted copies at any time since then.
    pub once_targets: BTreeSet<Place>,
}

/// How things stand with the member.
#[derive(Clone, Debug, Default)]
pub struct Member {
    pub labels: Labels,
    pub cut: bool,
    /// Whether it was cut off at any time since the last check.
    pub was_cut: bool,
    pub paused: bool,
}

/// The label of clusters that selectors look at.
pub const CLUSTER_LABEL: &str = "env";

impl State {
    pub fn cluster_labels(&self, cluster: Cluster) -> Labels {
        match cluster {
            Cluster::Hub => Labels::from([(CLUSTER_LABEL.to_owned(), "dev".to_owned())]),
            Cluster::Member => self.member.labels.clone(),
        }
    }

    /// Whether an object that holds a Secret names it.
    pub fn in_use(&self, place: &Place) -> bool {
        self.holders(place).next().is_some()
    }

    /// Objects that name a Secret and hold it.
    pub fn holders(&self, place: &Place) -> impl Iterator<Item = &Place> {
        self.users(place).filter(|(_, user)| user.by.holds()).map(|(at, _)| at)
    }

    /// Objects that are not finished and name a Secret.
    pub fn users(&self, place: &Place) -> impl Iterator<Item = (&Place, &User)> {
        self.users
            .iter()
            .filter(|(at, user)| at.namespace == place.namespace && user.uses == place.name && !user.finished)
    }

    /// Secrets that nobody but their owners may change, as they were written last.
    pub fn untouchable(&self) -> BTreeMap<Place, &Exact> {
        let sources = self
            .sources
            .iter()
            .map(|((namespace, name), (_, exact))| (Place::new(Cluster::Hub, namespace, name), exact));
        self.foreign.iter().map(|(place, exact)| (place.clone(), exact)).chain(sources).collect()
    }

    /// Takes an operation in that was carried out.
    pub fn record(&mut self, operation: &Operation, outcome: &Outcome) {
        if matches!(outcome, Outcome::Nothing) {
            return;
        }
        self.counter += 1;
        self.take_in(operation, outcome);
        let wishes: Vec<(Id, Wish)> = self
            .leaving
            .iter()
            .map(|(id, leaving)| (id.clone(), model::wish(self, id, &leaving.spec)))
            .collect();
        for (id, wish) in wishes {
            let Some(leaving) = self.leaving.get_mut(&id) else { continue };
            leaving.targets.retain(|place| wish.copies.contains(place));
            leaving.once_targets.extend(wish.places());
        }
    }

    fn take_in(&mut self, operation: &Operation, outcome: &Outcome) {
        match operation.clone() {
            Operation::CreateNamespace { at, mut labels } => {
                labels.insert("kubernetes.io/metadata.name".to_owned(), at.name.clone());
                self.going.remove(&at);
                self.namespaces.insert(at, labels);
            }
            Operation::DeleteNamespace { at } => self.drop_namespace(at),
            Operation::LabelNamespace { at, key, value } => {
                let labels = self.namespaces.entry(at).or_default();
                match value {
                    Some(value) => labels.insert(key.to_owned(), value.to_owned()),
                    None => labels.remove(key),
                };
            }
            Operation::WritePolicy { name, policy } => {
                self.policies.insert(name, policy);
            }
            Operation::DeletePolicy { name } => {
                self.policies.remove(&name);
            }
            Operation::CreateUser { at, uses, by } => {
                self.users.insert(at, User { uses, by, finished: false });
            }
            Operation::FinishPod { at, .. } => {
                self.users.entry(at).and_modify(|user| user.finished = true);
            }
            Operation::DeleteUser { at, .. } => {
                self.users.remove(&at);
            }
            Operation::CreateCredential { id, spec } | Operation::ChangeCredential { id, spec } => {
                self.leaving.remove(&id);
                if self.credentials.insert(id.clone(), spec).is_none() {
                    self.unprotected.insert(id);
                }
            }
            Operation::DeleteCredential { id } => self.leave(&id, false),
            Operation::ForceDeletion { id } => {
                self.leaving.entry(id).and_modify(|leaving| leaving.forced = true);
            }
            // On a credential that stays it comes back.
            Operation::TakeFinalizer { id } => {
                if self.credentials.contains_key(&id) {
                    self.unprotected.insert(id.clone());
                }
                self.leaving.entry(id).and_modify(|leaving| leaving.abandoned = true);
            }
            Operation::ForgeStatus { .. } => {}
            Operation::Fate(fate) => self.record_fate(fate),
            secret => self.record_secret(secret, outcome),
        }
    }

    fn record_secret(&mut self, operation: Operation, outcome: &Outcome) {
        let exact = if let Outcome::Wrote(exact) = outcome { Some(exact.clone()) } else { None };
        match (operation, exact) {
            (Operation::WriteSource { namespace, name, source }, Some(exact)) => {
                self.sources.insert((namespace, name.to_owned()), (source, exact));
            }
            (Operation::DeleteSource { namespace, name }, _) => {
                self.sources.remove(&(namespace, name.to_owned()));
            }
            (Operation::CreateForeign { at, .. } | Operation::EditForeign { at }, Some(exact))
            // Without any of our marks it is nobody's.
            | (Operation::EditCopy { at, edit: Edit::DropAllMarks }, Some(exact)) => {
                self.foreign.insert(at, exact);
            }
            (Operation::DeleteForeign { at }, _) => {
                self.foreign.remove(&at);
            }
            _ => {}
        }
    }

    fn record_fate(&mut self, fate: Fate) {
        match fate {
            Fate::CutMember { .. } => {
                (self.member.cut, self.member.was_cut) = (true, true);
                self.leaving.values_mut().for_each(|leaving| leaving.unsure = true);
            }
            Fate::RejoinMember => self.member.cut = false,
            Fate::PauseMember { paused } => self.member.paused = paused,
            Fate::LabelMember { value } => {
                self.member.labels.insert(CLUSTER_LABEL.to_owned(), value.to_owned());
            }
            Fate::Kill { .. }
            | Fate::Stop { .. }
            | Fate::ResetHub
            | Fate::FreezeHub { .. }
            | Fate::ResetMember => {}
        }
    }

    fn drop_namespace(&mut self, at: NamespaceName) {
        self.namespaces.remove(&at);
        self.foreign.retain(|place, _| place.namespace != at);
        self.users.retain(|place, _| place.namespace != at);
        if at.cluster == Cluster::Hub {
            self.sources.retain(|(namespace, _), _| *namespace != at.name);
            let homeless: Vec<Id> =
                self.credentials.keys().filter(|id| id.namespace == at.name).cloned().collect();
            for id in homeless {
                self.leave(&id, true);
            }
            for (_, leaving) in self.leaving.iter_mut().filter(|(id, _)| id.namespace == at.name) {
                leaving.abandoned = true;
            }
        }
        self.going.insert(at);
    }

    fn leave(&mut self, id: &Id, abandoned: bool) {
        if let Some(spec) = self.credentials.remove(id) {
            let wish = model::wish(self, id, &spec);
            let leaving = Leaving {
                spec,
                forced: false,
                abandoned,
                unsure: self.member.was_cut,
                unprotected: self.unprotected.contains(id),
                targets: wish.copies.clone(),
                once_targets: wish.places(),
            };
            self.leaving.insert(id.clone(), leaving);
        }
    }
}
