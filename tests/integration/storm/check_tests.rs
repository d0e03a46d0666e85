//! The check on plain values: what it has to accept, and what it has to notice.

use std::collections::BTreeMap;

use super::{
    check::{Check, Mismatch, Promises},
    content::{Content, Data, Material, Source},
    history::History,
    model,
    names::{Cluster, Id, Kind, NamespaceName, Place},
    observation::{Condition, HUB, MANAGED_BY, OWNER, Observation, REVISION, SOURCE, Seen, SeenCredential},
    operation::{DeletionPolicy, Exact, Fate, Operation, Outcome, Policy, Recipe, Reference, Spec, Target},
    selector::{Labels, OPT_OUT, Selector},
    state::State,
    users,
};

/// A credential with copies in two namespaces of the hub and one of the member, checked once.
struct Case {
    state: State,
    history: History,
    seen: Observation,
}

fn exact(number: usize) -> Exact {
    Exact { uid: format!("uid-{number}"), version: number.to_string() }
}

fn id() -> Id {
    Id { kind: Kind::Registry, namespace: "home".to_owned(), name: "reg".to_owned() }
}

fn spec(deletion: DeletionPolicy) -> Spec {
    let recipe = Recipe::Registry { server: "r.example.com", username: None, source: "src-a" };
    let target =
        Target { namespaces: Some(Selector::all()), clusters: Some(Selector::all()), ..Target::default() };
    Spec { recipe, target, deletion }
}

fn login(password: &str) -> Source {
    Source::good(Material::Login { username: "ann".to_owned(), password: password.to_owned() })
}

fn place(cluster: Cluster, namespace: &str) -> Place {
    Place::new(cluster, namespace, "reg")
}

fn data(content: &Content) -> Data {
    let Content::Registry { server, username, password } = content else { panic!("{content:?}") };
    let auth =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{username}:{password}"));
    let file =
        serde_json::json!({"auths": {server: {"username": username, "password": password, "auth": auth}}});
    BTreeMap::from([(".dockerconfigjson".to_owned(), file.to_string().into_bytes())])
}

impl Case {
    fn new(deletion: DeletionPolicy) -> Self {
        let mut case =
            Self { state: State::default(), history: History::default(), seen: Observation::default() };
        for (cluster, name) in [(Cluster::Hub, "home"), (Cluster::Hub, "web"), (Cluster::Member, "web")] {
            let at = NamespaceName { cluster, name: name.to_owned() };
            case.seen.namespaces.insert(at.clone());
            case.users_do(Operation::CreateNamespace { at, labels: Labels::new() }, Outcome::Done);
        }
        let policy = Policy {
            from: Selector::named(&["home"]),
            to: Selector::all(),
            clusters: Some(Selector::all()),
            kinds: Vec::new(),
        };
        case.users_do(Operation::WritePolicy { name: "policy".to_owned(), policy }, Outcome::Done);
        case.rotate("first");
        case.users_do(Operation::CreateCredential { id: id(), spec: spec(deletion) }, Outcome::Done);
        case.pod("web");
        case.obey();
        case.settle();
        case
    }

    fn users_do(&mut self, operation: Operation, outcome: Outcome) {
        self.history.commit(&mut self.state, "test", &operation, &outcome);
    }

    fn rotate(&mut self, password: &str) {
        let namespace = "home".to_owned();
        let wrote = Outcome::Wrote(exact(900));
        self.users_do(Operation::WriteSource { namespace, name: "src-a", source: login(password) }, wrote);
        let secret = self.seen.secrets.entry(Place::new(Cluster::Hub, "home", "src-a"));
        secret.or_insert_with(|| plain(exact(900)));
    }

    fn pod(&mut self, namespace: &str) {
        let at = Place::new(Cluster::Hub, namespace, "pod");
        let uses = "reg".to_owned();
        self.users_do(Operation::CreateUser { at, uses, by: Reference::Volume }, Outcome::Done);
    }

    /// Does what an operator has to do, as far as this credential is concerned.
    fn obey(&mut self) {
        let spec = self.state.credentials[&id()].clone();
        let content = model::content(&self.state, &id(), &spec).expect("a content");
        let wish = model::wish(&self.state, &id(), &spec);
        for (number, place) in wish.copies.iter().enumerate() {
            let copy = Seen {
                exact: exact(number),
                type_: "kubernetes.io/dockerconfigjson".to_owned(),
                data: data(&content),
                labels: labels(&[(MANAGED_BY, "claviger"), (OWNER, "0123")]),
                annotations: labels(&[(SOURCE, &id().to_string()), (HUB, "hub"), (REVISION, "1")]),
                owned: false,
            };
            self.seen.secrets.insert(place.clone(), copy);
        }
        let ready = wish.refused.is_empty();
        let status = if ready { "True" } else { "False" };
        let ready = Condition { status: status.to_owned(), generation: 1, ..Condition::default() };
        let seen =
            SeenCredential { generation: 1, finalizer: true, ready, revision: Some(1), ..Default::default() };
        self.seen.credentials.insert(id(), seen);
    }

    fn settle(&mut self) {
        assert_eq!(self.wrong(), "", "what obeys is found wrong");
        self.history.settle(&mut self.state, &self.seen);
    }

    fn check(&self, promises: Promises) -> Vec<Mismatch> {
        let Self { state, history, seen } = self;
        Check { state, history, seen, promises, hub: "hub" }.run()
    }

    fn wrong(&self) -> String {
        let wrong: Vec<String> = self.check(Promises::default()).iter().map(ToString::to_string).collect();
        wrong.join("\n")
    }

    fn copy(&mut self, cluster: Cluster, namespace: &str) -> &mut Seen {
        self.seen.secrets.get_mut(&place(cluster, namespace)).expect("a copy")
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn plain(exact: Exact) -> Seen {
    Seen {
        exact,
        type_: "Opaque".to_owned(),
        data: Data::new(),
        labels: Labels::new(),
        annotations: Labels::new(),
        owned: false,
    }
}

fn protected() -> Case {
    Case::new(DeletionPolicy::Protect)
}

#[test]
fn a_missing_copy_and_one_too_many_are_noticed() {
    let mut case = protected();
    let web = place(Cluster::Member, "web");
    case.users_do(Operation::DeleteCopy { at: web.clone() }, Outcome::Done);
    let copy = case.seen.secrets.remove(&web).expect("a copy");
    assert!(case.wrong().contains("east:web/reg (RegistryCredential/home/reg): the copy is missing"));

    let mut case = protected();
    let opted_out =
        Operation::LabelNamespace { at: web.namespace.clone(), key: OPT_OUT, value: Some("true") };
    case.users_do(opted_out, Outcome::Done);
    assert!(case.wrong().contains("this copy must not be here"), "{}", case.wrong());
    case.seen.secrets.remove(&web);
    assert_eq!(case.wrong(), "");
    case.seen.secrets.insert(Place { name: "other".to_owned(), ..web }, copy);
    assert!(case.wrong().contains("this copy must not be here"), "{}", case.wrong());
}

#[test]
fn a_wrong_content_and_wrong_marks_are_noticed() {
    let mut case = protected();
    case.rotate("second");
    assert!(case.wrong().contains("local:web/reg"), "old contents: {}", case.wrong());
    case.obey();
    assert_eq!(case.wrong(), "");
    for (key, value) in [(SOURCE, "RegistryCredential/home/other"), (HUB, "another"), (REVISION, "2")] {
        let mut case = protected();
        case.copy(Cluster::Hub, "home").annotations.insert(key.to_owned(), value.to_owned());
        assert!(case.wrong().contains("local:home/reg"), "{key}: {}", case.wrong());
    }
    let mut case = protected();
    case.copy(Cluster::Hub, "home").owned = true;
    assert!(case.wrong().contains("ownerReference"));
}

#[test]
fn a_copy_that_was_made_anew_is_noticed() {
    let mut case = protected();
    case.rotate("second");
    case.obey();
    case.copy(Cluster::Hub, "home").exact = exact(77);
    assert!(case.wrong().contains("had no reason to go"), "{}", case.wrong());
    let mut case = protected();
    case.copy(Cluster::Hub, "web").exact = exact(78);
    assert!(case.wrong().contains("is in use"), "{}", case.wrong());
}

#[test]
fn a_secret_of_somebody_else_that_was_touched_is_noticed() {
    for (change, text) in [(Some(exact(901)), "was changed"), (None, "is gone")] {
        let mut case = protected();
        let source = Place::new(Cluster::Hub, "home", "src-a");
        match change {
            Some(exact) => drop(case.seen.secrets.insert(source, plain(exact))),
            None => drop(case.seen.secrets.remove(&source)),
        }
        assert!(case.wrong().contains(text), "{}", case.wrong());
    }
    let mut case = protected();
    case.seen.secrets.insert(Place::new(Cluster::Hub, "web", "new"), plain(exact(5)));
    assert!(case.wrong().contains("nobody made"), "{}", case.wrong());
}

#[test]
fn a_deletion_waits_for_pods_and_for_nothing_else() {
    let mut case = protected();
    case.users_do(Operation::DeleteCredential { id: id() }, Outcome::Done);
    assert!(case.wrong().contains("something holds a copy, and it says"), "{}", case.wrong());
    let found = case.seen.credentials.get_mut(&id()).expect("the credential");
    (found.deleting, found.blocking, found.deletion_blocked.status) = (true, 1, "True".to_owned());
    assert_eq!(case.wrong(), "", "it waits, and all copies stay");
    let unused = case.seen.secrets.remove(&place(Cluster::Hub, "home"));
    assert!(case.wrong().contains("local:home/reg"), "one was taken away: {}", case.wrong());
    case.seen.secrets.extend(unused.map(|copy| (place(Cluster::Hub, "home"), copy)));
    case.users_do(
        Operation::FinishPod { at: Place::new(Cluster::Hub, "web", "pod"), phase: "Failed" },
        Outcome::Done,
    );
    let wrong = case.wrong();
    assert!(wrong.contains("nothing to wait for") && wrong.contains("must not be here"), "{wrong}");
    case.seen.credentials.clear();
    case.seen.secrets.retain(|place, _| place.name != "reg");
    assert_eq!(case.wrong(), "");
}

#[test]
fn an_ingress_holds_a_deletion_and_a_deployment_without_pods_does_not() {
    for (by, blocking) in [(Reference::Ingress, 1), (Reference::Deployment, 0)] {
        let mut case = protected();
        let at = Place::new(Cluster::Hub, "web", "user");
        case.users_do(Operation::CreateUser { at, uses: "reg".to_owned(), by }, Outcome::Done);
        let pod = Place::new(Cluster::Hub, "web", "pod");
        case.users_do(Operation::FinishPod { at: pod, phase: "Failed" }, Outcome::Done);
        let untold = |case: &Case| users::wrong(&case.state, &case.history, &case.seen).len();
        assert_eq!(untold(&case), 1, "{by:?}");
        let found = case.seen.credentials.get_mut(&id()).expect("the credential");
        (found.users, found.blocking) = (1, blocking);
        assert_eq!(untold(&case), 0, "{by:?}");
        case.users_do(Operation::DeleteCredential { id: id() }, Outcome::Done);
        let wrong = case.wrong();
        assert_eq!(wrong.contains("something holds a copy"), blocking > 0, "{wrong}");
        assert_eq!(wrong.contains("nothing to wait for"), blocking == 0, "{wrong}");
    }
}

#[test]
fn what_is_orphaned_stays_without_marks_and_what_is_forced_goes() {
    let mut case = Case::new(DeletionPolicy::Orphan);
    case.users_do(Operation::DeleteCredential { id: id() }, Outcome::Done);
    case.seen.credentials.clear();
    assert!(case.wrong().contains("must not be here"), "with marks: {}", case.wrong());
    for secret in case.seen.secrets.values_mut() {
        secret.labels.clear();
        secret.annotations.clear();
    }
    case.settle();
    assert_eq!(case.state.foreign.len(), 3, "they are nobody's now");
    case.seen.secrets.remove(&place(Cluster::Hub, "home"));
    assert!(case.wrong().contains("is gone"));

    let mut case = Case::new(DeletionPolicy::Force);
    case.users_do(Operation::DeleteCredential { id: id() }, Outcome::Done);
    case.seen.credentials.clear();
    case.seen.secrets.retain(|place, _| place.name != "reg");
    assert_eq!(case.wrong(), "", "in use or not");
}

#[test]
fn a_user_of_what_was_no_target_any_more_holds_no_deletion() {
    let web = place(Cluster::Hub, "web");
    let at = web.namespace.clone();
    let opt_out = Operation::LabelNamespace { at, key: OPT_OUT, value: Some("true") };
    let delete = Operation::DeleteCredential { id: id() };
    let goes = |case: &mut Case| {
        case.seen.credentials.clear();
        case.seen.secrets.retain(|place, _| place.name != "reg" || *place == web);
    };
    let mut case = protected();
    case.users_do(opt_out.clone(), Outcome::Done);
    case.users_do(delete.clone(), Outcome::Done);
    goes(&mut case);
    assert_eq!(case.wrong(), "");

    let mut case = protected();
    case.users_do(delete, Outcome::Done);
    goes(&mut case);
    assert!(case.wrong().contains("it went although something holds a copy"), "{}", case.wrong());
    case.users_do(opt_out, Outcome::Done);
    assert_eq!(case.wrong(), "", "it was a target for a while only");
}

/// Marks can be forged: where it may not write, no Secret is a copy that could hold it.
#[test]
fn a_user_where_nothing_is_permitted_any_more_holds_no_deletion() {
    let web = place(Cluster::Hub, "web");
    let withdraw = Operation::DeletePolicy { name: "policy".to_owned() };
    let delete = Operation::DeleteCredential { id: id() };
    for first in [true, false] {
        let mut case = protected();
        let operations =
            if first { [withdraw.clone(), delete.clone()] } else { [delete.clone(), withdraw.clone()] };
        for operation in operations {
            case.users_do(operation, Outcome::Done);
        }
        case.seen.credentials.clear();
        case.seen.secrets.retain(|place, _| place.name != "reg" || *place == web);
        assert_eq!(case.wrong(), "", "the copy that is in use waits for the sweep");
        case.seen.secrets.remove(&web);
        assert!(case.wrong().contains("is in use"), "{}", case.wrong());
    }
}

#[test]
fn ready_is_neither_said_too_early_nor_too_late() {
    let ready = |case: &mut Case, status: &str| {
        case.seen.credentials.get_mut(&id()).expect("the credential").ready.status = status.to_owned();
    };
    let mut case = protected();
    ready(&mut case, "False");
    assert!(case.wrong().contains("Ready should be true"), "{}", case.wrong());
    ready(&mut case, "True");
    case.users_do(Operation::DeleteSource { namespace: "home".to_owned(), name: "src-a" }, Outcome::Done);
    case.seen.secrets.remove(&Place::new(Cluster::Hub, "home", "src-a"));
    assert!(case.wrong().contains("Ready should be false"), "{}", case.wrong());
    ready(&mut case, "False");
    assert_eq!(case.wrong(), "", "the copies stay as they are");

    let mut case = protected();
    case.users_do(Operation::Fate(Fate::CutMember { silent: true }), Outcome::Done);
    assert!(case.wrong().contains("Ready should be false"), "{}", case.wrong());
    let mut case = protected();
    case.users_do(Operation::DeletePolicy { name: "policy".to_owned() }, Outcome::Done);
    case.seen.secrets.remove(&place(Cluster::Member, "web"));
    assert!(case.wrong().contains("Ready should be false"), "not permitted: {}", case.wrong());
    ready(&mut case, "False");
    assert_eq!(case.wrong(), "", "the one that is in use is held");
}

#[test]
fn what_was_promised_later_is_asked_for_later() {
    let mut case = protected();
    let mut spec = spec(DeletionPolicy::Protect);
    spec.target.namespaces = Some(Selector { names: vec!["nowhere".to_owned()], ..Selector::all() });
    case.users_do(Operation::ChangeCredential { id: id(), spec }, Outcome::Done);
    assert_eq!(case.wrong(), "");
    let wrong = case.check(Promises { second_edition: true });
    assert!(wrong.iter().any(|mismatch| mismatch.text.contains("Ready should be false")), "{wrong:?}");
}
