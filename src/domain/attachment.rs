//! ServiceAccounts that name pull Secrets, and which of these names the operator put there.
//!
//! The list is atomic, and others write it too. An annotation on the ServiceAccount itself says which entries are ours, so
//! that exactly these are taken away again: also after a restart, and when the credential is gone.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    identity::{CredentialId, NamespacedName, OwnerId},
    labels::{is_dns_label, is_dns_subdomain, is_value},
    meta::{ResourceVersion, Uid},
    owner_index::OwnerIndex,
    ownership::Hub,
    repair_limiter::RepairLimiter,
    schedule::{ACCOUNT_REPAIRS, MAX_MARKS, MAX_MARKS_BYTES, MAX_PULL_SECRETS},
};
use crate::api::{ANNOTATION_ATTACHED, CredentialKind};

/// That an entry is ours: `<secret>=<hub>/<namespace>/<name>`, with the credential that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub secret: Arc<str>,
    /// Empty where an admission policy has written it, which does not know the hub.
    hub: Arc<str>,
    pub id: CredentialId,
    pub owner: OwnerId,
    /// Whether it speaks of a credential of this hub.
    pub is_ours: bool,
}

impl Mark {
    /// Reads one; `None` for what cannot be a name.
    fn parse(text: &str, hub: &Hub, is_local: bool) -> Option<Self> {
        let (secret, of) = text.split_once('=')?;
        let mut parts = of.splitn(3, '/');
        let (of, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let is_valid = is_dns_subdomain(secret)
            && (of.is_empty() || is_value(of))
            && is_dns_label(namespace)
            && is_dns_subdomain(name);
        let kind = CredentialKind::RegistryCredential;
        let id = || CredentialId { kind, namespace: namespace.into(), name: name.into() };
        let is_ours = || if of.is_empty() { is_local } else { hub.owns(of) };
        is_valid.then(|| Self::new(secret.into(), of.into(), id(), is_ours()))
    }

    fn new(secret: Arc<str>, hub: Arc<str>, id: CredentialId, is_ours: bool) -> Self {
        Self { secret, hub, owner: id.owner(), id, is_ours }
    }

    /// Whether it is for a credential of this hub that an owner stands for.
    pub fn is_of(&self, owner: &OwnerId) -> bool {
        self.is_ours && self.owner == *owner
    }

    /// All that an annotation holds. One that is too long was not written by us. One without a hub is by the policy of the cluster
    /// itself, so it is ours only where we run: in a member it is that of another operator.
    pub fn parse_all(text: &str, hub: &Hub, is_local: bool) -> Vec<Self> {
        if text.len() > MAX_MARKS_BYTES {
            return Vec::new();
        }
        let mut marks: Vec<Self> = Vec::new();
        for mark in text.split(',').take(MAX_MARKS).filter_map(|text| Self::parse(text, hub, is_local)) {
            if !marks.contains(&mark) {
                marks.push(mark);
            }
        }
        marks
    }

    /// The annotation that holds these.
    fn join(marks: &[Self]) -> String {
        marks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}/{}/{}", self.secret, self.hub, self.id.namespace, self.id.name)
    }
}

/// Whether an annotation says that an entry is an operator's.
pub(crate) fn is_marked(annotation: &str, secret: &str) -> bool {
    let mut marks = annotation.split(',').take(MAX_MARKS);
    annotation.len() <= MAX_MARKS_BYTES
        && marks.any(|mark| mark.split_once('=').is_some_and(|(name, _)| name == secret))
}

/// What matters of a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExistingAccount {
    pub uid: Uid,
    pub resource_version: ResourceVersion,
    /// The names in `imagePullSecrets`, in their order; empty for an entry without one. Shared by all that have the same.
    pub entries: Arc<[Arc<str>]>,
    /// Whether there are more of them.
    pub is_full: bool,
    pub marks: Arc<[Mark]>,
    /// Whether it has any annotations.
    pub annotated: bool,
    pub terminating: bool,
}

/// What a credential wants of a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That it names this Secret.
    Attached(Arc<str>),
    /// That it names no Secret by our hand.
    Detached,
    /// That what it names is not ours any more.
    Released,
}

/// A change of a ServiceAccount: of its list, and of the annotation that says what is ours there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    attach: Option<Arc<str>>,
    /// Places in the list, the last first.
    detach: Vec<usize>,
    marks: Vec<Mark>,
}

impl Edit {
    /// Whether it takes an entry away.
    pub fn detaches(&self) -> bool {
        !self.detach.is_empty()
    }

    pub fn attaches(&self) -> bool {
        self.attach.is_some()
    }
}

impl ExistingAccount {
    pub fn has(&self, secret: &str) -> bool {
        self.entries.iter().any(|entry| **entry == *secret)
    }

    /// What has to be changed; `None` when all is as a credential wants it. An entry that is there without a mark is
    /// somebody else's: it serves, and stays. `hub` is the id that marks carry.
    pub fn edit(&self, id: &CredentialId, hub: &str, wanted: &Wanted) -> Option<Edit> {
        let owner = id.owner();
        let (mut attach, mut detach, mut marks) = (None, Vec::new(), Vec::new());
        let secret = match wanted {
            Wanted::Attached(secret) => Some(secret),
            Wanted::Detached | Wanted::Released => None,
        };
        let mark = |secret: &Arc<str>| Mark::new(secret.clone(), hub.into(), id.clone(), true);
        let mut is_marked = false;
        for other in &*self.marks {
            if !other.is_of(&owner) {
                marks.push(other.clone());
            } else if secret.is_some_and(|secret| other.secret == *secret) {
                // In the present form: with the id of this hub.
                marks.extend((!is_marked).then(|| mark(&other.secret)));
                is_marked = true;
            } else if *wanted != Wanted::Released
                && !self.marks.iter().any(|mark| mark.secret == other.secret && !mark.is_of(&owner))
                && let Some(at) = self.entries.iter().position(|entry| *entry == other.secret)
                && !detach.contains(&at)
            {
                detach.push(at);
            }
        }
        if let Some(secret) = secret.filter(|secret| !self.has(secret)) {
            attach = Some(secret.clone());
            marks.extend((!is_marked).then(|| mark(secret)));
        }
        detach.sort_unstable_by(|a, b| b.cmp(a));
        let is_same = attach.is_none() && detach.is_empty() && *marks == *self.marks;
        (!is_same).then_some(Edit { attach, detach, marks })
    }

    /// Whether there is room for one more entry that we would keep track of.
    pub fn has_room(&self) -> bool {
        !self.is_full && self.entries.len() < MAX_PULL_SECRETS && self.marks.len() < MAX_MARKS
    }

    /// A JSON patch that makes the change to this very state of the object, and to no other.
    pub fn patch(&self, edit: &Edit) -> Value {
        let test = |path: &str, value: String| json!({"op": "test", "path": path, "value": value});
        let mut steps = vec![
            test("/metadata/uid", self.uid.to_string()),
            test("/metadata/resourceVersion", self.resource_version.to_string()),
        ];
        for at in &edit.detach {
            let name = self.entries.get(*at).map_or("", |name| name);
            steps.push(test(&format!("/imagePullSecrets/{at}/name"), name.to_owned()));
            steps.push(json!({"op": "remove", "path": format!("/imagePullSecrets/{at}")}));
        }
        if let Some(secret) = &edit.attach {
            let entry = json!({"name": &**secret});
            steps.push(match self.entries.is_empty() {
                true => json!({"op": "add", "path": "/imagePullSecrets", "value": [entry]}),
                false => json!({"op": "add", "path": "/imagePullSecrets/-", "value": entry}),
            });
        }
        if *edit.marks != *self.marks {
            let path = format!("/metadata/annotations/{}", ANNOTATION_ATTACHED.replace('/', "~1"));
            let text = Mark::join(&edit.marks);
            steps.push(match (edit.marks.is_empty(), self.annotated) {
                (true, _) => json!({"op": "remove", "path": path}),
                (false, true) => json!({"op": "add", "path": path, "value": text}),
                (false, false) => {
                    json!({"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION_ATTACHED: text}})
                }
            });
        }
        Value::Array(steps)
    }

    /// Owners of credentials of this hub that have something here.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.marks.iter().filter(|mark| mark.is_ours).map(|mark| mark.owner)
    }

    /// Of what we attached, what this object lacks that was the same before: somebody else took it off.
    pub fn lost<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = OwnerId> + 'a {
        let same = self.uid == before.uid;
        let lost =
            move |mark: &&Mark| same && mark.is_ours && before.has(&mark.secret) && !self.has(&mark.secret);
        before.marks.iter().filter(lost).map(|mark| mark.owner)
    }

    /// About how many bytes it takes, besides what is shared.
    pub fn bytes(&self) -> usize {
        let marks = self.marks.iter().map(|mark| mark.secret.len() + mark.id.name.len() + 96);
        self.entries.iter().map(|entry| entry.len() + 16).chain(marks).sum()
    }
}

/// Names of ServiceAccounts.
pub(crate) type AccountNames = BTreeSet<Arc<str>>;

/// The ServiceAccounts of a cluster that defaults ask for, or that carry our marks.
#[derive(Debug)]
pub(crate) struct Accounts {
    by_name: HashMap<NamespacedName, ExistingAccount>,
    by_owner: OwnerIndex,
    /// The names that are kept besides those with our marks.
    pub wanted: Arc<AccountNames>,
    /// Those of them of which all are known.
    pub listed: Arc<AccountNames>,
    /// Attachments that somebody else takes off.
    pub reverts: RepairLimiter<(OwnerId, NamespacedName)>,
    bytes: usize,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            by_owner: OwnerIndex::default(),
            wanted: Arc::default(),
            listed: Arc::default(),
            reverts: RepairLimiter::new(ACCOUNT_REPAIRS),
            bytes: 0,
        }
    }
}

impl Accounts {
    pub fn get(&self, name: &NamespacedName) -> Option<&ExistingAccount> {
        self.by_name.get(name)
    }

    /// Puts one in; returns the one that was there.
    pub fn insert(&mut self, name: NamespacedName, account: ExistingAccount) -> Option<ExistingAccount> {
        let before = self.remove(&name);
        self.bytes += account.bytes();
        for owner in account.owners() {
            self.by_owner.insert(owner, name.clone());
        }
        self.by_name.insert(name, account);
        before
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &NamespacedName) -> Option<ExistingAccount> {
        let account = self.by_name.remove(name)?;
        self.bytes -= account.bytes();
        for owner in account.owners() {
            self.by_owner.remove(&owner, name);
        }
        Some(account)
    }

    /// Those in a namespace in which an owner has something.
    pub fn within<'a>(
        &'a self,
        owner: &OwnerId,
        namespace: &Arc<str>,
    ) -> impl Iterator<Item = (&'a NamespacedName, &'a ExistingAccount)> {
        self.by_owner.within(owner, namespace).filter_map(|name| Some((name, self.by_name.get(name)?)))
    }

    /// Those in which an owner has something.
    pub fn of<'a>(
        &'a self,
        owner: &OwnerId,
    ) -> impl Iterator<Item = (&'a NamespacedName, &'a ExistingAccount)> {
        self.by_owner.of(owner).filter_map(|name| Some((name, self.by_name.get(name)?)))
    }

    pub fn has(&self, owner: &OwnerId) -> bool {
        self.by_owner.has(owner)
    }

    pub fn owners(&self) -> impl Iterator<Item = &OwnerId> {
        self.by_owner.owners()
    }

    /// How many carry marks of ours.
    pub fn attached(&self) -> usize {
        self.by_name.values().filter(|account| account.owners().next().is_some()).count()
    }

    pub fn names(&self) -> impl Iterator<Item = &NamespacedName> {
        self.by_name.keys()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// About how many bytes they take, besides what each takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
#[path = "attachment_tests.rs"]
mod tests;
