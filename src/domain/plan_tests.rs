use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{CredentialKind, DeletionPolicy, DistributionPolicySpec, NamespaceSelector, Target},
    domain::{
        consent::Policy,
        content::Content,
        fingerprint::{Fingerprint, FingerprintKey},
        identity::CredentialId,
        marks::Marks,
        ownership::{Hub, Metadata},
        reference_kind::ReferenceKind,
        references::{Use, User},
        rendered::RenderedSecret,
        schedule::{REPAIR_BURST, REPAIR_PAUSE},
        selection::NamespaceMatcher,
        sweep_plan::plan_sweep,
    },
};

#[path = "plan_tests/guarantees.rs"]
mod guarantees;
#[path = "plan_tests/removal.rs"]
mod removal;
#[path = "plan_tests/targets.rs"]
mod targets;

/// A small cluster to plan for.
struct World {
    snapshot: Snapshot,
    refusals: HashMap<Object, Failure>,
    repairs: RepairLimiter,
    now: Duration,
    withdraw: bool,
}

/// What credential `home/quay` wants.
#[derive(Clone)]
struct Want<'a> {
    cluster: &'a str,
    /// `None` when it wants nothing of the cluster; null stands for a target without `namespaces`.
    namespaces: Option<Value>,
    content: Option<&'a str>,
    name: &'a str,
    deletion_policy: DeletionPolicy,
    removal: Option<Removal>,
    unreadable: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            snapshot: Snapshot::default(),
            refusals: HashMap::new(),
            repairs: RepairLimiter::default(),
            now: Duration::from_secs(1000),
            withdraw: true,
        }
    }
}

impl Want<'_> {
    fn of(namespaces: Value) -> Self {
        Self {
            cluster: "local",
            namespaces: Some(namespaces),
            content: Some("a"),
            name: "quay",
            deletion_policy: DeletionPolicy::Protect,
            removal: None,
            unreadable: false,
        }
    }

    fn all() -> Self {
        Self::of(json!({"selector": {}}))
    }

    fn own() -> Self {
        Self::of(Value::Null)
    }

    /// Everything that has consent is labelled `open`.
    fn targets(&self) -> Option<ClusterTargets> {
        let operator: Arc<str> = "operator".into();
        let policy: DistributionPolicySpec = serde_json::from_value(json!({
            "from": {"namespaces": {"names": ["home"]}},
            "to": {
                "namespaces": {"selector": {"matchLabels": {"open": "yes"}}},
                "clusters": {"names": ["local", "east"]},
            },
        }))
        .unwrap();
        let selector: Option<NamespaceSelector> = serde_json::from_value(self.namespaces.clone()?).unwrap();
        let selector = selector.map(|selector| Arc::new(NamespaceMatcher::new(&selector, &operator)));
        let policies = [Policy::new(&policy, &operator)];
        Some(ClusterTargets::new(&"home".into(), selector, &policies, self.cluster, true, &BTreeMap::new()))
    }

    fn desired(&self) -> DesiredState {
        let metadata = Arc::new(metadata(1, self.deletion_policy));
        let content = Arc::new(Content::new("t", BTreeMap::new()));
        let secret = self.content.map(|text| {
            let hub = Arc::new(Hub::new("hub", []));
            let (id, name) = (id("quay"), self.name.into());
            Arc::new(RenderedSecret::new(id, hub, name, metadata, content, print(text)))
        });
        DesiredState {
            secret_name: self.name.into(),
            revision: Some(1),
            secret,
            source: match self.unreadable {
                true => SourceState::UnreadableSpec("unknown field".into()),
                false => SourceState::Resolved(Vec::new()),
            },
            removal: self.removal.clone(),
            ..DesiredState::blank(id("quay"))
        }
    }
}

fn id(name: &str) -> CredentialId {
    CredentialId { kind: CredentialKind::RegistryCredential, namespace: "home".into(), name: name.into() }
}

fn print(text: &str) -> Fingerprint {
    FingerprintKey::new([1; 32]).fingerprint("t", [("k", text)])
}

fn marks(revision: i64, deletion_policy: DeletionPolicy) -> Marks {
    Marks::of(&metadata(revision, deletion_policy))
}

fn metadata(revision: i64, deletion_policy: DeletionPolicy) -> Metadata {
    Metadata::desired(&id("quay"), "hub", revision, &Target::default(), deletion_policy)
}

impl World {
    fn namespace(mut self, name: &str, labels: &[(&str, &str)], terminating: bool) -> Self {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.snapshot.namespaces.insert(name.into(), Namespace::new(name, labels, terminating));
        self
    }

    fn copy(
        mut self,
        namespace: &str,
        name: &str,
        content: &str,
        change: impl FnOnce(&mut ExistingCopy),
    ) -> Self {
        let mut copy = ExistingCopy {
            owner: id("quay").owner(),
            uid: "u".into(),
            resource_version: "1".into(),
            type_: Some("t"),
            content: print(content),
            marks: Arc::new(marks(1, DeletionPolicy::Protect)),
            plain: true,
            immutable: false,
            terminating: false,
        };
        change(&mut copy);
        self.snapshot.copies.insert(NamespacedName::new(namespace, name), copy);
        self
    }

    /// A Pod that uses a Secret.
    fn pod(self, namespace: &str, secret: &str) -> Self {
        self.user(ReferenceKind::Pod, namespace, secret)
    }

    /// An object that uses a Secret.
    fn user(mut self, kind: ReferenceKind, namespace: &str, secret: &str) -> Self {
        let name = NamespacedName::new(namespace, format!("uses-{secret}"));
        let used = Use { namespace: None, name: secret.into(), field: "spec.imagePullSecrets" };
        self.snapshot.references.set(&User { kind, name }, vec![used], |_| false);
        self
    }

    fn refused(mut self, namespace: &str, name: &str) -> Self {
        self.refusals.insert(Object::Secret(NamespacedName::new(namespace, name)), quota());
        self
    }

    fn plan(&self, want: &Want<'_>) -> Plan {
        self.plan_for(want, Scope::All)
    }

    fn plan_for(&self, want: &Want<'_>, scope: Scope<'_>) -> Plan {
        let (desired, targets) = (want.desired(), want.targets());
        let inputs = Inputs {
            snapshot: &self.snapshot,
            desired: &desired,
            targets: targets.as_ref(),
            withdraw: self.withdraw,
            refusals: &self.refusals,
            repairs: &self.repairs,
            defaults: None,
            now: self.now,
        };
        plan(inputs, scope)
    }
}

/// `home` is the credential's own namespace. Of the others `web` and `shy` have consent; `shy` opts out, and `old` is
/// terminating.
fn world() -> World {
    World::default()
        .namespace("home", &[], false)
        .namespace("web", &[("open", "yes")], false)
        .namespace("db", &[], false)
        .namespace("old", &[("open", "yes")], true)
        .namespace("shy", &[("open", "yes"), ("claviger.dev/opt-out", "true")], false)
}

fn quota() -> Failure {
    Failure::Write { reason: crate::domain::reason::Reason::QuotaExceeded, message: "quota".into() }
}

fn changed(plan: &Plan, which: impl Fn(&Action) -> bool) -> Vec<String> {
    let changes = plan.changes.iter().filter(|change| which(&change.action));
    changes.map(|change| secret(change).to_string()).collect()
}

fn created(plan: &Plan) -> Vec<String> {
    changed(plan, |action| matches!(action, Action::Create))
}

fn updated(plan: &Plan) -> Vec<String> {
    changed(plan, |action| matches!(action, Action::Update(_)))
}

fn deleted(plan: &Plan) -> Vec<String> {
    changed(plan, |action| matches!(action, Action::Delete { .. }))
}

fn released(plan: &Plan) -> Vec<String> {
    changed(plan, |action| matches!(action, Action::Release(_)))
}

fn state(plan: &Plan, namespace: &str) -> NamespaceState {
    let found = plan.namespaces.iter().find(|(name, _)| &**name == namespace);
    found.map_or_else(NamespaceState::default, |(_, state)| state.clone())
}

fn target(plan: &Plan, namespace: &str) -> Option<TargetState> {
    state(plan, namespace).target
}

fn total(plan: &Plan, of: impl Fn(&NamespaceState) -> usize) -> usize {
    plan.namespaces.iter().map(|(_, state)| of(state)).sum()
}

fn desired(plan: &Plan) -> usize {
    total(plan, |state| usize::from(state.target.is_some()))
}

fn failures(plan: &Plan) -> Vec<(&str, Failure)> {
    let failed = plan.namespaces.iter().filter_map(|(name, state)| match &state.target {
        Some(TargetState::Failed(failure)) => Some((&**name, failure.clone())),
        Some(TargetState::Concealed) => Some((&**name, Failure::NotPermitted)),
        _ => None,
    });
    failed.collect()
}

fn secret(change: &Change) -> &NamespacedName {
    let (Object::Secret(name) | Object::ServiceAccount(name) | Object::Pod(name)) = &change.object;
    name
}
