use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::{
    api::{CredentialKind, DistributionPolicySpec, NamespaceSelector},
    domain::{
        attachment::Mark, consent::Policy, identity::CredentialId, ownership::Hub, reason::Reason,
        removal::Removal, schedule::ACCOUNT_REPAIRS, selection::NamespaceMatcher,
    },
};

fn id(namespace: &str, name: &str) -> CredentialId {
    CredentialId { kind: CredentialKind::RegistryCredential, namespace: namespace.into(), name: name.into() }
}

/// Credentials of `home` may go to all namespaces, and be defaults in those that are labelled `default`.
fn targets(home: &str, namespaces: serde_json::Value) -> Arc<ClusterTargets> {
    let operator: Arc<str> = "operator".into();
    let policy = |to: serde_json::Value, allow: bool| -> Policy {
        let spec: DistributionPolicySpec = serde_json::from_value(json!({
            "from": {"namespaces": {"names": ["home"]}}, "to": {"namespaces": to}, "allowDefault": allow,
        }))
        .unwrap();
        Policy::new(&spec, &operator)
    };
    let policies = [
        policy(json!({"selector": {}}), false),
        policy(json!({"selector": {"matchLabels": {"default": "yes"}}}), true),
    ];
    let policies = policies.iter().filter(|_| home == "home");
    let selector: NamespaceSelector = serde_json::from_value(namespaces).unwrap();
    let selector = Some(Arc::new(NamespaceMatcher::new(&selector, &operator)));
    Arc::new(ClusterTargets::new(&home.into(), selector, policies, "local", true, &BTreeMap::new()))
}

fn wish(priority: i32) -> DefaultWish {
    DefaultWish {
        accounts: BTreeSet::from(["default".into()]),
        priority,
        keys: BTreeSet::from(["quay.io".into()]),
        restart_stuck_pods: false,
    }
}

fn rival(namespace: &str, priority: i32, targets: Arc<ClusterTargets>) -> Rival {
    Rival { id: id(namespace, "other"), wish: Arc::new(wish(priority)), targets, has_content: true }
}

struct World {
    accounts: Accounts,
    desired: DesiredState,
    labels: Vec<(&'static str, &'static str)>,
    rivals: Option<Vec<Rival>>,
    withdraw: bool,
    refused: Option<Failure>,
    now: Duration,
}

fn world() -> World {
    World {
        accounts: Accounts::default(),
        desired: DesiredState {
            default: Some(Arc::new(wish(0))),
            secret_name: "pull".into(),
            ..DesiredState::blank(id("home", "quay"))
        },
        labels: vec![("default", "yes")],
        rivals: Some(Vec::new()),
        withdraw: true,
        refused: None,
        now: Duration::from_secs(5),
    }
}

impl World {
    fn account(mut self, name: &str, entries: &[&str], annotation: &str) -> Self {
        let account = ExistingAccount {
            uid: "u".into(),
            resource_version: "7".into(),
            entries: entries.iter().map(|entry| Arc::from(*entry)).collect(),
            is_full: false,
            marks: Mark::parse_all(annotation, &Hub::new("hub", []), true).into(),
            annotated: true,
            terminating: false,
        };
        self.accounts.insert(NamespacedName::new("web", name), account);
        self
    }

    fn attached(self) -> Self {
        self.account("default", &["pull"], "pull=hub/home/quay")
    }

    fn empty(self) -> Self {
        self.account("default", &[], "")
    }

    fn plan(&self) -> AccountPlan {
        let name: Arc<str> = "web".into();
        let labels = self.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let seen = Namespace::new("web", labels.collect(), false);
        let targets = targets("home", json!({"selector": {}}));
        let verdict = targets.judge(&name, &seen);
        let place =
            Place { name: &name, seen: &seen, verdict, targets: Some(&targets), withdraw: self.withdraw };
        let inputs = DefaultInputs { hub: "hub", rivals: self.rivals.as_deref(), now: self.now };
        plan_accounts(&self.accounts, &self.desired, inputs, place, &|_| self.refused.clone())
    }

    fn changes(&self) -> Vec<Wanted> {
        self.plan().changes.into_iter().map(|(_, wanted)| wanted).collect()
    }

    fn reason(&self) -> Option<Reason> {
        self.plan().state.failures.first().map(|(_, failure)| failure.reason())
    }
}

const DETACHED: [Wanted; 1] = [Wanted::Detached];

fn attach() -> [Wanted; 1] {
    [Wanted::Attached("pull".into())]
}

#[test]
fn what_exists_and_is_named_is_attached_before_there_is_a_secret() {
    assert!(world().desired.secret.is_none());
    assert_eq!(world().empty().changes(), attach());
    assert!(world().changes().is_empty(), "one that does not exist is no failure");
    assert_eq!(world().plan().state, AccountState::default());
    assert!(world().account("builder", &[], "").changes().is_empty());
    let counts = world().attached().plan().state.counts;
    assert_eq!((counts.desired, counts.attached), (1, 1));
    assert!(world().attached().changes().is_empty());
}

#[test]
fn it_needs_consent_and_loses_it_slowly() {
    let without = |withdraw| World { labels: Vec::new(), withdraw, ..world() };
    assert!(without(true).empty().changes().is_empty());
    assert_eq!(without(true).empty().reason(), Some(Reason::DefaultNotPermitted));
    assert!(without(false).attached().changes().is_empty());
    assert_eq!(without(false).attached().plan().state.counts.deferred, 1);
    assert_eq!(without(true).attached().changes(), DETACHED);
    let theirs = without(true).account("default", &["pull"], "");
    assert!(theirs.changes().is_empty(), "what a person has put there stays");
}

#[test]
fn it_goes_when_it_is_not_asked_for_any_more() {
    let mut off = world().attached();
    off.desired.default = None;
    assert_eq!(off.changes(), DETACHED);
    assert!(off.plan().detaches);
    let renamed = world().account("default", &["old"], "old=hub/home/quay");
    assert_eq!(renamed.changes(), attach());
    assert!(renamed.plan().detaches, "the old Secret goes after it");
    let other = world().account("builder", &["pull"], "pull=hub/home/quay");
    assert_eq!(other.changes(), DETACHED);
}

#[test]
fn a_deletion_detaches_first_whatever_holds_the_copies() {
    for (disposition, wanted) in [
        (Disposition::Keep, Wanted::Detached),
        (Disposition::Remove, Wanted::Detached),
        (Disposition::RemoveUnused, Wanted::Detached),
        (Disposition::Release, Wanted::Released),
    ] {
        let mut deleted = world().attached();
        deleted.desired.removal = Some(Removal { disposition, ..Removal::default() });
        assert_eq!(deleted.changes(), [wanted]);
        assert!(deleted.plan().detaches);
    }
}

#[test]
fn a_write_that_was_refused_holds_nothing_up() {
    let failure = Failure::Write { reason: Reason::Forbidden, message: "no".into() };
    let mut refused = World { refused: Some(failure), ..world().attached() };
    refused.desired.removal = Some(Removal::default());
    let plan = refused.plan();
    assert!(plan.changes.is_empty() && !plan.detaches);
    assert_eq!(refused.reason(), Some(Reason::Forbidden));
}

#[test]
fn the_higher_priority_wins_and_a_tie_changes_nothing() {
    let everywhere = || targets("home", json!({"selector": {}}));
    let with = |priority| World { rivals: Some(vec![rival("home", priority, everywhere())]), ..world() };
    assert_eq!(with(-1).empty().changes(), attach());
    assert!(with(1).empty().changes().is_empty());
    assert_eq!(with(1).attached().changes(), DETACHED);
    assert_eq!((with(1).attached().plan().state.counts.outranked, with(1).attached().reason()), (1, None));
    assert!(with(0).empty().changes().is_empty() && with(0).attached().changes().is_empty());
    assert_eq!(with(0).attached().reason(), Some(Reason::DefaultConflict));
    let mut empty = rival("home", 9, everywhere());
    empty.has_content = false;
    let empty = World { rivals: Some(vec![empty]), ..world() };
    assert!(empty.attached().changes().is_empty(), "it would leave Pods with no login at all");
    let unknown = World { rivals: None, ..world() };
    assert!(unknown.empty().changes().is_empty(), "nothing on a guess");
}

#[test]
fn nobody_takes_anothers_place_where_they_have_no_consent() {
    // A tenant asks for all namespaces, and may write to none but its own.
    let tenant = rival("tenant", 9, targets("tenant", json!({"selector": {}})));
    let world = World { rivals: Some(vec![tenant]), ..world() };
    assert_eq!(world.empty().changes(), attach());
    let mut builder = rival("home", 9, targets("home", json!({"selector": {}})));
    builder.wish = Arc::new(DefaultWish { accounts: BTreeSet::from(["builder".into()]), ..wish(9) });
    let world = World { rivals: Some(vec![builder]), ..self::world() };
    assert_eq!(world.empty().changes(), attach(), "for another ServiceAccount");
}

#[test]
fn what_is_taken_off_again_and_again_is_told_and_put_back_less_and_less_often() {
    let mut world = world().account("default", &[], "pull=hub/home/quay");
    let key = (world.desired.owner, NamespacedName::new("web", "default"));
    for _ in 0..ACCOUNT_REPAIRS.burst {
        assert_eq!((world.changes(), world.reason()), (attach().to_vec(), None));
        world.accounts.reverts.repaired(&key, world.now);
    }
    assert!(world.changes().is_empty());
    assert_eq!(world.reason(), Some(Reason::Reverted));
    let wait = world.plan().wait.unwrap();
    world.now += wait;
    assert_eq!(world.changes(), attach());
    let mut world = world.attached();
    assert_eq!(world.reason(), Some(Reason::Reverted), "also while it is there for a moment");
    world.now += ACCOUNT_REPAIRS.calm;
    assert_eq!((world.reason(), world.plan().state.counts.attached), (None, 1));
}

#[test]
fn a_full_list_gets_no_more() {
    let names: Vec<String> = (0..64).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let full = world().account("default", &names, "");
    assert!(full.changes().is_empty());
    assert_eq!(full.reason(), Some(Reason::TooManyPullSecrets));
}
