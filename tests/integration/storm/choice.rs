//! What a tenant does next. It touches nothing but its own namespaces, credentials and policies; what these select
//! may be anybody's.

mod specs;

use super::{
    check::Promises,
    content::{Fault, SOURCES, Source, material},
    dice::Dice,
    model,
    names::{Cluster, NamespaceName, Place},
    operation::{Edit, Operation, Policy, Reference, Variant},
    selector::{Labels, OPT_OUT, Selector},
    state::{State, User},
};

/// With fewer namespaces than this a tenant makes more, and it has no more than so many; likewise with the rest.
const FEW_NAMESPACES: usize = 5;
const MOST_NAMESPACES: usize = 9;
const MOST_USERS: usize = 9;
const POLICIES: usize = 3;

/// So many credentials whose copies are still there keep a tenant from moving: the operator holds a sweep in which
/// most owners are missing at once.
const MOST_LEAVING: usize = 4;

pub struct Chooser<'a> {
    pub dice: &'a mut Dice,
    pub state: &'a State,
    pub tenant: usize,
    pub promises: Promises,
}

#[derive(Clone, Copy)]
enum What {
    CreateNamespace,
    DeleteNamespace,
    LabelNamespace,
    OptOut,
    LabelHome,
    LeaveHome,
    Rotate,
    BreakSource,
    DeleteSource,
    RestoreSource,
    EditCopy,
    DeleteCopy,
    CreateForeign,
    EditForeign,
    DeleteForeign,
    CreateUser,
    FinishPod,
    DeleteUser,
    WritePolicy,
    DeletePolicy,
    CreateCredential,
    Retarget,
    ChangeRecipe,
    ChangeDeletion,
    DeleteCredential,
    ForceDeletion,
    TakeFinalizer,
    ForgeStatus,
}

const WEIGHTS: [(usize, What); 28] = [
    (8, What::CreateNamespace),
    (3, What::DeleteNamespace),
    (6, What::LabelNamespace),
    (4, What::OptOut),
    (2, What::LabelHome),
    (1, What::LeaveHome),
    (10, What::Rotate),
    (3, What::BreakSource),
    (2, What::DeleteSource),
    (9, What::RestoreSource),
    (10, What::EditCopy),
    (5, What::DeleteCopy),
    (6, What::CreateForeign),
    (2, What::EditForeign),
    (6, What::DeleteForeign),
    (11, What::CreateUser),
    (4, What::FinishPod),
    (6, What::DeleteUser),
    (4, What::WritePolicy),
    (1, What::DeletePolicy),
    (18, What::CreateCredential),
    (8, What::Retarget),
    (3, What::ChangeRecipe),
    (3, What::ChangeDeletion),
    (6, What::DeleteCredential),
    (2, What::ForceDeletion),
    (2, What::TakeFinalizer),
    (2, What::ForgeStatus),
];

fn home_prefix(tenant: usize) -> String {
    format!("t{tenant}-home-")
}

impl Chooser<'_> {
    /// The next operation.
    pub fn choose(&mut self) -> Operation {
        let Some(home) = self.home() else {
            let name = format!("{}{}", home_prefix(self.tenant), self.state.counter);
            return Operation::CreateNamespace { at: hub(&name), labels: self.labels() };
        };
        // In a new home everything has to begin.
        let is_at_home = |(namespace, _): &(String, String)| *namespace == home;
        if !self.state.sources.keys().any(is_at_home) {
            return self.rotate(&home);
        }
        if !self.state.policies.values().any(|policy| policy.from.names.contains(&home))
            && self.dice.percent(60)
        {
            return self.broad_policy(&home);
        }
        if self.own_namespaces().len() < FEW_NAMESPACES && self.dice.percent(40) {
            return self.create_namespace(&home);
        }
        // Some things are not possible at every time.
        for _ in 0..1000 {
            let what = self.dice.weighted(&WEIGHTS);
            if let Some(operation) = self.try_to(what, &home) {
                return operation;
            }
        }
        self.rotate(&home)
    }

    /// A policy that allows a tenant much, to begin with.
    fn broad_policy(&self, home: &str) -> Operation {
        let policy = Policy {
            from: Selector::named(&[home]),
            to: Selector::all(),
            clusters: Some(Selector::all()),
            kinds: Vec::new(),
        };
        Operation::WritePolicy { name: self.policy_name(0), policy }
    }

    fn try_to(&mut self, what: What, home: &str) -> Option<Operation> {
        match what {
            What::CreateNamespace => {
                (self.own_namespaces().len() < MOST_NAMESPACES).then(|| self.create_namespace(home))
            }
            What::DeleteNamespace => {
                Some(Operation::DeleteNamespace { at: self.own_namespace(|at| at.name.starts_with('t'))? })
            }
            What::LabelNamespace => {
                let (key, value) = self.label();
                let value = if self.dice.percent(30) { None } else { Some(value) };
                Some(Operation::LabelNamespace { at: self.own_namespace(|_| true)?, key, value })
            }
            What::OptOut => {
                let value = self.dice.one_of([Some("true"), None, None, Some("false")]);
                Some(Operation::LabelNamespace { at: self.own_namespace(|_| true)?, key: OPT_OUT, value })
            }
            What::LabelHome => {
                let (key, value) = self.label();
                Some(Operation::LabelNamespace { at: hub(home), key, value: Some(value) })
            }
            What::LeaveHome => self.leave_home(home),
            What::Rotate => Some(self.rotate(home)),
            What::BreakSource => {
                let name = self.source();
                let (source, _) = self.state.sources.get(&(home.to_owned(), name.to_owned()))?;
                let fault = Some(self.dice.one_of([Fault::NoKey, Fault::BadValue]));
                let source = Source { fault, ..source.clone() };
                Some(Operation::WriteSource { namespace: home.to_owned(), name, source })
            }
            What::DeleteSource => {
                let name = self.source();
                self.state.sources.get(&(home.to_owned(), name.to_owned()))?;
                Some(Operation::DeleteSource { namespace: home.to_owned(), name })
            }
            What::RestoreSource => self.restore_source(home),
            What::EditCopy => Some(Operation::EditCopy { at: self.copy()?, edit: self.edit() }),
            What::DeleteCopy => Some(Operation::DeleteCopy { at: self.copy()? }),
            What::CreateForeign => Some(Operation::CreateForeign {
                at: self.copy()?,
                variant: self.dice.one_of([Variant::Plain, Variant::ManagedByHelm, Variant::OfAnotherHub]),
                usurp: self.dice.percent(50),
            }),
            What::EditForeign => Some(Operation::EditForeign { at: self.foreign()? }),
            What::DeleteForeign => Some(Operation::DeleteForeign { at: self.foreign()? }),
            What::CreateUser => self.create_user(),
            What::FinishPod => Some(Operation::FinishPod {
                at: self.user(|user| user.by.is_pod() && !user.finished)?.0,
                phase: self.dice.one_of(["Succeeded", "Failed"]),
            }),
            What::DeleteUser => {
                let (at, by) = self.user(|_| true)?;
                Some(Operation::DeleteUser { at, by })
            }
            What::WritePolicy => {
                let name = self.any_policy();
                Some(Operation::WritePolicy { name, policy: self.policy(home) })
            }
            What::DeletePolicy => {
                let name = self.any_policy();
                self.state.policies.contains_key(&name).then_some(Operation::DeletePolicy { name })
            }
            What::CreateCredential => self.create_credential(home),
            What::Retarget | What::ChangeRecipe | What::ChangeDeletion => self.change_credential(what, home),
            What::DeleteCredential => Some(Operation::DeleteCredential { id: self.credential(home)? }),
            What::ForceDeletion => Some(Operation::ForceDeletion { id: self.leaving(home)? }),
            What::TakeFinalizer => {
                let id = if self.dice.percent(50) { self.leaving(home) } else { self.credential(home) };
                Some(Operation::TakeFinalizer { id: id? })
            }
            What::ForgeStatus if !self.promises.second_edition => None,
            What::ForgeStatus => {
                let ready = self.dice.one_of(["True", "False"]);
                Some(Operation::ForgeStatus { id: self.credential(home)?, ready })
            }
        }
    }

    fn any_policy(&mut self) -> String {
        let number = if self.dice.percent(20) { 0 } else { 1 + self.dice.below(POLICIES - 1) };
        self.policy_name(number)
    }

    fn policy_name(&self, number: usize) -> String {
        format!("t{}-policy-{number}", self.tenant)
    }

    fn home(&self) -> Option<String> {
        let prefix = home_prefix(self.tenant);
        let mut hubs = self.state.namespaces.keys().filter(|at| at.cluster == Cluster::Hub);
        hubs.find(|at| at.name.starts_with(&prefix)).map(|at| at.name.clone())
    }

    fn owns(&self, namespace: &str) -> bool {
        let prefix = format!("t{}-", self.tenant);
        namespace.starts_with(&prefix)
            || (self.tenant == 0 && ["default", "kube-public"].contains(&namespace))
    }

    fn own_namespaces(&self) -> Vec<NamespaceName> {
        self.state.namespaces.keys().filter(|at| self.owns(&at.name)).cloned().collect()
    }

    /// One of the tenant's namespaces, but not its home.
    fn own_namespace(&mut self, is: impl Fn(&NamespaceName) -> bool) -> Option<NamespaceName> {
        let home = self.home().map(|name| hub(&name));
        let all: Vec<_> =
            self.own_namespaces().into_iter().filter(|at| Some(at) != home.as_ref() && is(at)).collect();
        self.dice.pick(&all).cloned()
    }

    fn create_namespace(&mut self, home: &str) -> Operation {
        let cluster = if self.dice.percent(60) { Cluster::Hub } else { Cluster::Member };
        let going: Vec<&NamespaceName> =
            self.state.going.iter().filter(|at| self.owns(&at.name) && !at.name.contains("home")).collect();
        let twin = NamespaceName { cluster: Cluster::Member, name: home.to_owned() };
        let at = if self.dice.percent(10)
            && !self.state.namespaces.contains_key(&twin)
            && !self.state.going.contains(&twin)
        {
            twin
        } else if let Some(again) = self.dice.pick(&going).filter(|_| self.state.counter.is_multiple_of(4)) {
            // Under the name of one that is being torn down: it has to wait for that.
            (*again).clone()
        } else {
            NamespaceName { cluster, name: format!("t{}-{}", self.tenant, self.state.counter) }
        };
        Operation::CreateNamespace { at, labels: self.labels() }
    }

    fn leave_home(&mut self, home: &str) -> Option<Operation> {
        (self.dice.percent(50) && self.state.leaving.len() < MOST_LEAVING)
            .then(|| Operation::DeleteNamespace { at: hub(home) })
    }

    fn label(&mut self) -> (&'static str, &'static str) {
        self.dice.one_of([("team", "a"), ("team", "b"), ("tier", "gold"), ("tier", "silver")])
    }

    fn labels(&mut self) -> Labels {
        let mut labels = Labels::new();
        for _ in 0..2 {
            let (key, value) = self.label();
            if self.dice.percent(60) {
                labels.insert(key.to_owned(), value.to_owned());
            }
        }
        labels
    }

    fn source(&mut self) -> &'static str {
        self.dice.one_of(SOURCES)
    }

    fn rotate(&mut self, home: &str) -> Operation {
        let name = self.source();
        let source = Source::good(material(self.dice, name));
        Operation::WriteSource { namespace: home.to_owned(), name, source }
    }

    fn restore_source(&mut self, home: &str) -> Option<Operation> {
        let is_bad = |name: &str| {
            let found = self.state.sources.get(&(home.to_owned(), name.to_owned()));
            found.is_none_or(|(source, _)| source.fault.is_some())
        };
        let bad: Vec<&'static str> = SOURCES.into_iter().filter(|name| is_bad(name)).collect();
        let name = *self.dice.pick(&bad)?;
        let before = self.state.sources.get(&(home.to_owned(), name.to_owned()));
        let source = match before {
            Some((source, _)) if self.dice.percent(50) => Source::good(source.material.clone()),
            _ => Source::good(material(self.dice, name)),
        };
        Some(Operation::WriteSource { namespace: home.to_owned(), name, source })
    }

    /// Where a copy stands, or may stand, in the tenant's namespaces.
    fn copy(&mut self) -> Option<Place> {
        let wanted: Vec<Place> = model::claims(&model::wishes(self.state))
            .into_keys()
            .filter(|place| self.owns(&place.namespace.name))
            .collect();
        let place = if self.dice.percent(85) {
            self.dice.pick(&wanted)?.clone()
        } else {
            let namespaces = self.own_namespaces();
            let namespace = self.dice.pick(&namespaces)?.clone();
            Place { namespace, name: self.secret_name() }
        };
        (!self.state.untouchable().contains_key(&place)).then_some(place)
    }

    fn edit(&mut self) -> Edit {
        let revision = self.dice.one_of([1, 2, 3, 5, 8, 999]);
        self.dice.weighted(&[
            (4, Edit::ChangeValue),
            (2, Edit::AddKey),
            (2, Edit::RemoveKeys),
            (2, Edit::Revision(revision)),
            (2, Edit::DropLabels),
            (2, Edit::DropAnnotations),
            (1, Edit::DropAllMarks),
        ])
    }

    fn foreign(&mut self) -> Option<Place> {
        let all: Vec<&Place> =
            self.state.foreign.keys().filter(|place| self.owns(&place.namespace.name)).collect();
        self.dice.pick(&all).map(|place| (*place).clone())
    }

    fn own_users(&self) -> impl Iterator<Item = (&Place, &User)> {
        self.state.users.iter().filter(|(at, _)| self.owns(&at.namespace.name))
    }

    fn user(&mut self, is: impl Fn(&User) -> bool) -> Option<(Place, Reference)> {
        let own = self.own_users().filter(|(_, user)| is(user));
        let all: Vec<_> = own.map(|(at, user)| (at.clone(), user.by)).collect();
        self.dice.pick(&all).cloned()
    }

    fn create_user(&mut self) -> Option<Operation> {
        if self.own_users().count() >= MOST_USERS {
            return None;
        }
        let used = self.copy()?;
        let by = self.dice.one_of([
            Reference::ImagePullSecret,
            Reference::Volume,
            Reference::Environment,
            Reference::Ingress,
            Reference::Deployment,
        ]);
        let name = format!("{}-{}", by.prefix(), self.state.counter);
        Some(Operation::CreateUser { at: Place { namespace: used.namespace, name }, uses: used.name, by })
    }
}

fn hub(name: &str) -> NamespaceName {
    NamespaceName { cluster: Cluster::Hub, name: name.to_owned() }
}
