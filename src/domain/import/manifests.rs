//! The objects that make the move when they are applied.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::{
    form::Form,
    json::set,
    marks::Owner,
    secret::{Listed, kind_of_type},
};
use crate::{
    api::{ANNOTATION_ADOPT, CredentialKind},
    domain::{
        content::LAST_APPLIED,
        gitops::keeper,
        identity::{CredentialId, NamespacedName},
        schedule::{MAX_SERVICE_ACCOUNTS, MAX_TARGET_NAMES},
    },
};

/// Fields of a spec that do not say where its content comes from.
const OTHER_FIELDS: [&str; 6] =
    ["target", "displayName", "description", "deletionPolicy", "default", "verification"];

/// A source, the credential that gives its content, and the Secrets that become its copies.
#[derive(Debug)]
pub(crate) struct Move {
    pub source: Listed,
    pub form: Form,
    pub copies: Vec<Listed>,
}

/// What stands already: applied again with fewer namespaces, it would take copies away.
#[derive(Debug, Default)]
pub(crate) struct Existing {
    pub credentials: BTreeMap<CredentialId, Standing>,
    /// The policies, by name.
    pub policies: BTreeMap<String, Standing>,
    /// The ServiceAccounts that name a Secret.
    pub accounts: BTreeMap<NamespacedName, BTreeSet<String>>,
    /// Whether credentials become defaults for those ServiceAccounts.
    pub defaults: bool,
}

/// A credential or a policy that stands already.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub spec: Value,
    /// Labels and annotations: applied without them, it would lose those that were applied before.
    metadata: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// Whether Argo CD, Flux or Helm keeps it, which would undo what is applied.
    is_kept: bool,
}

impl Standing {
    pub fn new(meta: &ObjectMeta, spec: Value) -> Self {
        let mut annotations = meta.annotations.clone().unwrap_or_default();
        annotations.remove(LAST_APPLIED);
        let labels = meta.labels.clone().unwrap_or_default();
        let mut metadata = BTreeMap::from([("labels", labels), ("annotations", annotations)]);
        metadata.retain(|_, values| !values.is_empty());
        Self { spec, metadata, is_kept: keeper(meta, true).is_some() }
    }

    /// Whether these namespaces can be added to what it lists below a field, and are all that this changes.
    fn takes<'n>(&self, field: &str, mut namespaces: impl Iterator<Item = &'n str>) -> bool {
        let excluded = names(&self.spec, &format!("/{field}/namespaces/exclude"));
        !self.is_kept
            && self.spec.pointer(&format!("/{field}/clusters")).is_none()
            && !namespaces.any(|namespace| excluded.iter().any(|name| name == namespace))
    }

    /// An object that is printed, with what stands there already beside its name.
    fn described(&self, mut object: Value) -> Value {
        for (field, values) in &self.metadata {
            set(&mut object, &["metadata", field], json!(values));
        }
        object
    }
}

/// A credential of an import.
#[derive(Debug)]
pub(crate) struct Planned {
    pub id: CredentialId,
    /// Whether it is there already.
    pub exists: bool,
    pub source: NamespacedName,
    /// By which the garbage collector would take the source away.
    pub source_owners: Vec<Owner>,
    pub secret: String,
    pub is_equal: bool,
    pub registries: Vec<String>,
    pub notes: Vec<String>,
    pub copies: Vec<Listed>,
    /// ServiceAccounts that name the Secret in all of the namespaces.
    pub accounts: Vec<String>,
}

/// What is printed, and what of it is told.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub objects: Vec<Value>,
    pub credentials: Vec<Planned>,
    /// Which namespaces may be pushed into, from which.
    pub consent: BTreeMap<String, BTreeSet<String>>,
    /// Secrets that have to be handed over by `kubectl annotate`.
    pub annotate: Vec<(NamespacedName, CredentialId)>,
}

/// The name of the n-th policy for the credentials of a namespace.
pub(crate) fn policy_name(namespace: &str, n: usize) -> String {
    let suffix = if n == 0 { String::new() } else { format!("-{}", n + 1) };
    format!("import-{namespace}{suffix}")
}

/// What is applied: first the Secrets are handed over, then consent is given, then the credentials take over.
pub(crate) fn manifests(moves: &[Move], existing: &Existing) -> Manifests {
    let mut made = Manifests::default();
    let (mut secrets, mut credentials) = (Vec::new(), Vec::new());
    let mut taken = BTreeSet::new();
    for one in moves {
        let mut by_name: BTreeMap<&str, Vec<&Listed>> = BTreeMap::new();
        for copy in &one.copies {
            by_name.entry(&copy.place.name).or_default().push(copy);
        }
        for (name, copies) in by_name {
            let mut copies = copies.as_slice();
            while !copies.is_empty() {
                let (planned, object, rest) = one.credential(name, copies, existing, &mut taken);
                for copy in &planned.copies {
                    if copy.marks.applied {
                        made.annotate.push((copy.place.clone(), planned.id.clone()));
                    } else {
                        secrets.push(handed_over(copy, &planned.id));
                    }
                }
                made.consent(&planned);
                credentials.extend(object);
                made.credentials.push(planned);
                copies = rest;
            }
        }
    }
    let kinds: BTreeSet<&str> = made.credentials.iter().map(|planned| planned.id.kind.name()).collect();
    let is_default = |object: &Value| object.pointer("/spec/default").is_some();
    let defaults = existing.defaults && credentials.iter().any(is_default);
    let policies =
        made.consent.iter().flat_map(|(from, to)| policies(from, to, &kinds, defaults, &existing.policies));
    made.objects = secrets.into_iter().chain(policies).chain(credentials).collect();
    made
}

impl Manifests {
    fn consent(&mut self, planned: &Planned) {
        let others = planned.copies.iter().map(|copy| &copy.place.namespace);
        let others: Vec<String> =
            others.filter(|namespace| **namespace != planned.id.namespace).map(ToString::to_string).collect();
        if !others.is_empty() {
            self.consent.entry(planned.id.namespace.to_string()).or_default().extend(others);
        }
    }
}

impl Move {
    /// A credential for copies of one name, what is applied for it, and the copies that it has no place for.
    fn credential<'c>(
        &self,
        name: &str,
        copies: &'c [&'c Listed],
        existing: &Existing,
        taken: &mut BTreeSet<CredentialId>,
    ) -> (Planned, Option<Value>, &'c [&'c Listed]) {
        let id = |name: String| CredentialId {
            kind: self.source.kind,
            namespace: self.source.place.namespace.clone(),
            name: name.into(),
        };
        let room = |names: usize| MAX_TARGET_NAMES.saturating_sub(names).min(copies.len());
        let added = || copies.iter().map(|copy| &*copy.place.namespace);
        let suitable = existing.credentials.iter().find(|(there, standing)| {
            let spec = &standing.spec;
            let same_place = there.kind == self.source.kind && there.namespace == self.source.place.namespace;
            same_place
                && !taken.contains(*there)
                && secret_name(there, spec) == name
                && self.is_made_alike(spec)
                && standing.takes("target", added())
                && (room(listed(spec).len()) == copies.len())
        });
        let (id, exists, mut spec, names) = if let Some((there, Standing { spec, .. })) = suitable {
            let mut names = listed(spec);
            if spec.pointer("/target/namespaces").is_none() {
                names.push(there.namespace.to_string());
            }
            (there.clone(), true, spec.clone(), names)
        } else {
            // A name that is free; the first one is that of the Secret, so that people find it.
            let free = (1usize..).map(|n| if n == 1 { name.to_owned() } else { format!("{name}-{n}") });
            let mut free = free.map(id).filter(|id| !existing.credentials.contains_key(id));
            let id = free.find(|id| !taken.contains(id)).unwrap_or_else(|| id(name.to_owned()));
            (id, false, self.form.spec.clone(), Vec::new())
        };
        taken.insert(id.clone());
        let (now, rest) = copies.split_at_checked(room(names.len())).unwrap_or((copies, &[]));
        let mut all: BTreeSet<String> = names.iter().cloned().collect();
        all.extend(now.iter().map(|copy| copy.place.namespace.to_string()));
        let is_new = !exists || all.len() > names.len();
        set(&mut spec, &["target", "namespaces", "names"], json!(all));
        if *id.name != *name {
            set(&mut spec, &["target", "secretName"], name);
        }
        let mut accounts = accounts(now, existing);
        accounts.truncate(MAX_SERVICE_ACCOUNTS);
        if existing.defaults
            && !exists
            && !accounts.is_empty()
            && id.kind == CredentialKind::RegistryCredential
        {
            set(&mut spec, &["default"], json!({"enabled": true, "serviceAccounts": accounts}));
        }
        let object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": id.kind.name(),
            "metadata": {"namespace": &*id.namespace, "name": &*id.name}, "spec": spec,
        });
        let object = match suitable {
            Some((_, standing)) => standing.described(object),
            None => object,
        };
        let planned = Planned {
            id,
            exists,
            source: self.source.place.clone(),
            source_owners: self.source.marks.owners.clone(),
            secret: name.to_owned(),
            is_equal: self.form.is_equal,
            registries: self.form.registries.clone(),
            notes: self.form.notes.clone(),
            copies: now.iter().map(|copy| (*copy).clone()).collect(),
            accounts,
        };
        (planned, is_new.then_some(object), rest)
    }

    /// Whether a credential makes the same content of the same source.
    fn is_made_alike(&self, spec: &Value) -> bool {
        let stripped = |spec: &Value| {
            let mut spec = spec.clone();
            spec.as_object_mut().into_iter().for_each(|fields| {
                fields.retain(|field, _| !OTHER_FIELDS.contains(&field.as_str()));
            });
            spec
        };
        stripped(spec) == stripped(&self.form.full)
    }
}

fn secret_name<'a>(id: &'a CredentialId, spec: &'a Value) -> &'a str {
    spec.pointer("/target/secretName").and_then(Value::as_str).unwrap_or(&id.name)
}

/// The namespaces that a target lists.
fn listed(spec: &Value) -> Vec<String> {
    names(spec, "/target/namespaces/names")
}

fn names(value: &Value, pointer: &str) -> Vec<String> {
    let names = value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The ServiceAccounts that name the Secret in all of the namespaces.
fn accounts(copies: &[&Listed], existing: &Existing) -> Vec<String> {
    let none = BTreeSet::new();
    let mut all = copies.iter().map(|copy| existing.accounts.get(&copy.place).unwrap_or(&none).clone());
    let first = all.next().unwrap_or_default();
    all.fold(first, |common, more| &common & &more).into_iter().collect()
}

/// A Secret with the annotation that hands it over, and nothing of its values. With its uid, no other one is handed over
/// that has its name by then; with its type, none is made when it is gone, as that type wants values.
fn handed_over(copy: &Listed, to: &CredentialId) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "namespace": &*copy.place.namespace, "name": &*copy.place.name, "uid": copy.uid,
            "annotations": {ANNOTATION_ADOPT: to.to_string()},
        },
        "type": kind_of_type(copy.kind),
    })
}

/// Policies that allow just these namespaces, besides those that they allow already.
fn policies(
    from: &str,
    to: &BTreeSet<String>,
    kinds: &BTreeSet<&str>,
    defaults: bool,
    existing: &BTreeMap<String, Standing>,
) -> Vec<Value> {
    let (mut policies, mut to) = (Vec::new(), to.clone());
    for n in 0.. {
        if to.is_empty() {
            break;
        }
        let name = policy_name(from, n);
        let there = existing.get(&name);
        let whose = json!({"namespaces": {"names": [from]}});
        // One of the same name that is somebody's own, or would allow more than what is added.
        let is_other = |there: &Standing| {
            there.spec.get("from") != Some(&whose) || !there.takes("to", to.iter().map(String::as_str))
        };
        if there.is_some_and(is_other) {
            continue;
        }
        let mut spec = there.map_or_else(|| json!({"from": whose}), |there| there.spec.clone());
        let before = names(&spec, "/to/namespaces/names");
        let room = MAX_TARGET_NAMES.saturating_sub(before.len());
        let mut all: BTreeSet<String> = before.into_iter().collect();
        let new: Vec<String> = to.difference(&all).take(room).cloned().collect();
        all.extend(new);
        to = &to - &all;
        set(&mut spec, &["to", "namespaces", "names"], json!(all));
        let mut own: BTreeSet<String> = names(&spec, "/kinds").into_iter().collect();
        if there.is_none() || !own.is_empty() {
            own.extend(kinds.iter().map(|kind| (*kind).to_owned()));
            set(&mut spec, &["kinds"], json!(own));
        }
        if defaults {
            set(&mut spec, &["allowDefault"], true);
        }
        let policy = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy",
            "metadata": {"name": name}, "spec": spec,
        });
        policies.push(match there {
            Some(there) => there.described(policy),
            None => policy,
        });
    }
    policies
}
