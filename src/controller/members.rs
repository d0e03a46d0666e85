//! All members as the API server has them, what is known of each between two looks, and which of them a change
//! concerns.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tokio::sync::SetOnce;

use super::keys::Queues;
use crate::{
    api::{ANNOTATION_FORCE_DELETE, AdoptedFrom, MemberCluster, MemberClusterStatus},
    cluster::Guarded,
    domain::{
        adoption::adopted_from,
        condition::{self, ConditionType},
        identity::NamespacedName,
        reason::Reason,
    },
    lock::Lock,
};

/// Members, by name.
pub(crate) struct MemberIndex {
    inner: Lock<Inner>,
    /// Set when each member that there was at the start has been looked at.
    pub started: SetOnce<()>,
    queues: Arc<Queues>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Arc<str>, Entry>,
    listed: bool,
    /// How many ids were claimed in this process.
    claims: u64,
}

/// The claim of a member that has had its id when this process began.
const RECORDED: u64 = 0;

/// The claim of a member that another one has had the id of already.
const RECORDED_DUPLICATE: u64 = 1;

/// What is known of one member.
#[derive(Clone)]
pub(crate) struct Entry {
    pub object: Arc<Guarded<MemberCluster>>,
    looked_at: bool,
    /// The Secret of `local` that says how to reach it.
    pub reads: Option<NamespacedName>,
    /// The id of its cluster, as that says itself.
    pub id: Option<String>,
    /// A smaller number claimed its id before: nobody takes an id away from another one by claiming it.
    claim: u64,
    /// The address at which that was seen.
    pub seen_at: Option<String>,
    /// The status as it was written last, and its resourceVersion, until the watch shows it.
    pub written: Option<(String, MemberClusterStatus)>,
    /// Whether nothing was left to take back at the last look.
    pub settled: bool,
}

impl Entry {
    fn new(object: Arc<Guarded<MemberCluster>>) -> Self {
        let status = shown(&object);
        let (id, seen_at) = status.map(|s| (s.cluster_id.clone(), s.server.clone())).unwrap_or_default();
        let claim = if status.is_some_and(is_duplicate) { RECORDED_DUPLICATE } else { RECORDED };
        Self { object, looked_at: false, reads: None, id, claim, seen_at, written: None, settled: false }
    }

    /// The status that the server has.
    pub fn status(&self) -> Option<&MemberClusterStatus> {
        match &self.written {
            Some((_, written)) => Some(written),
            None => shown(&self.object),
        }
    }

    /// Forgets what was written once the watch shows it or something newer.
    fn believe_the_watch(&mut self) {
        let number = |version: &str| version.parse::<u64>().ok();
        let shown = self.object.meta().resource_version.as_deref().and_then(number);
        if self.written.as_ref().is_some_and(|(version, _)| shown >= number(version)) {
            self.written = None;
        }
    }

    pub fn uid(&self) -> &str {
        self.object.meta().uid.as_deref().unwrap_or_default()
    }

    fn created(&self) -> Option<Timestamp> {
        self.object.meta().creation_timestamp.as_ref().map(|time| time.0)
    }
}

impl MemberIndex {
    pub fn new(queues: Arc<Queues>) -> Self {
        Self { inner: Lock::default(), started: SetOnce::new(), queues }
    }

    /// Puts a member in. Returns whether more changed than its status.
    pub fn set(&self, object: Guarded<MemberCluster>) -> bool {
        let name: Arc<str> = object.name_any().into();
        let object = Arc::new(object);
        let mut inner = self.inner.write();
        let before = inner.entries.get(&name);
        // A status that somebody else wrote is corrected.
        let changed =
            before.is_none_or(|before| differs(&before.object, &object) || before.status() != shown(&object));
        let mut entry = match before {
            Some(before) if before.object.meta().uid == object.meta().uid => {
                Entry { object, ..before.clone() }
            }
            _ => Entry::new(object),
        };
        entry.believe_the_watch();
        self.tell_adopted(&entry);
        inner.entries.insert(name, entry);
        changed
    }

    /// Takes a member out.
    pub fn remove(&self, name: &str) {
        let mut inner = self.inner.write();
        let Some(entry) = inner.entries.remove(name) else { return };
        self.tell_adopted(&entry);
        // Another member of the same cluster may have waited for this.
        if let Some(id) = &entry.id {
            self.wake_twins(&inner, name, id);
        }
        self.check_start(&inner);
    }

    /// All members are known.
    pub fn listed(&self) {
        let mut inner = self.inner.write();
        inner.listed = true;
        self.check_start(&inner);
    }

    pub fn names(&self) -> Vec<Arc<str>> {
        self.inner.read().entries.keys().cloned().collect()
    }

    pub fn get(&self, name: &str) -> Option<Entry> {
        self.inner.read().entries.get(name).cloned()
    }

    /// How many members this version cannot read.
    pub fn unreadable(&self) -> usize {
        self.inner.read().entries.values().filter(|entry| entry.object.0.is_err()).count()
    }

    /// Members that were made of other tools' Secrets.
    pub fn adopted(&self) -> Vec<MemberCluster> {
        let inner = self.inner.read();
        let readable = inner.entries.values().filter_map(|entry| entry.object.0.as_ref().ok());
        readable.filter(|member| adopted_from(member).is_some()).cloned().collect()
    }

    /// The member that another one has made way for: of the same Secret of a tool, under another name.
    pub fn successor(&self, name: &str, from: &AdoptedFrom) -> Option<String> {
        let inner = self.inner.read();
        let readable = inner.entries.values().filter_map(|entry| entry.object.0.as_ref().ok());
        let mut staying = readable.filter(|member| member.metadata.deletion_timestamp.is_none());
        staying
            .find(|member| adopted_from(member).as_ref() == Some(from) && member.name_any() != name)
            .map(ResourceExt::name_any)
    }

    /// Changes what is known of a member, if it is still the same object.
    pub fn change(&self, name: &str, uid: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.inner.write().entries.get_mut(name).filter(|entry| entry.uid() == uid) {
            change(entry);
        }
    }

    /// Notes that a member was looked at.
    pub fn looked_at(&self, name: &str) {
        let mut inner = self.inner.write();
        if let Some(entry) = inner.entries.get_mut(name) {
            entry.looked_at = true;
        }
        self.check_start(&inner);
    }

    /// The members that read a Secret of `local` for which this is true.
    pub fn readers(&self, is_meant: impl Fn(&NamespacedName) -> bool) -> Vec<Arc<str>> {
        let inner = self.inner.read();
        let readers = inner.entries.iter().filter(|(_, entry)| entry.reads.as_ref().is_some_and(&is_meant));
        readers.map(|(name, _)| name.clone()).collect()
    }

    /// Notes the id of a member's cluster, as seen at an address.
    pub fn seen(&self, name: &str, uid: &str, id: &str, server: Option<String>) {
        let mut inner = self.inner.write();
        let claim = inner.claims + RECORDED_DUPLICATE + 1;
        let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid() == uid) else { return };
        entry.seen_at = server;
        if entry.id.as_deref() != Some(id) {
            entry.id = Some(id.to_owned());
            entry.claim = claim;
            inner.claims += 1;
            self.wake_twins(&inner, name, id);
        }
    }

    /// The member that a cluster of this id belongs to, if that is another one that has claimed it before `name`. Of those
    /// that have had it since before this process, the one that was created first has it.
    pub fn holder(&self, name: &str, id: &str) -> Option<String> {
        let inner = self.inner.read();
        let (name, own) = inner.entries.get_key_value(name)?;
        let holders = inner.entries.iter().filter(|(_, entry)| entry.id.as_deref() == Some(id));
        let ranks = holders.map(|(other, entry)| (entry.claim, entry.created(), other));
        ranks
            .filter(|rank| *rank < (own.claim, own.created(), name))
            .min()
            .map(|(.., other)| other.to_string())
    }

    /// Wakes the other members of a cluster.
    fn wake_twins(&self, inner: &Inner, name: &str, id: &str) {
        for (twin, entry) in &inner.entries {
            if &**twin != name && entry.id.as_deref() == Some(id) {
                self.queues.member(twin);
            }
        }
    }

    fn tell_adopted(&self, entry: &Entry) {
        let member = entry.object.0.as_ref().ok();
        if let Some(from) = member.and_then(adopted_from) {
            self.queues.adoption.add(from, ());
        }
    }

    fn check_start(&self, inner: &Inner) {
        if inner.listed && inner.entries.values().all(|entry| entry.looked_at) {
            // Once is enough.
            let _ = self.started.set(());
        }
    }
}

fn is_duplicate(status: &MemberClusterStatus) -> bool {
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    ready.is_some_and(|ready| ready.reason == Reason::DuplicateCluster.as_str())
}

/// The status that the watch shows.
fn shown(object: &Guarded<MemberCluster>) -> Option<&MemberClusterStatus> {
    object.0.as_ref().ok()?.status.as_ref()
}

/// Whether something changed that concerns the member loop: all but the status and annotations of others.
fn differs(before: &Guarded<MemberCluster>, after: &Guarded<MemberCluster>) -> bool {
    let (old, new) = (before.meta(), after.meta());
    old.uid != new.uid
        || old.generation != new.generation
        || old.finalizers != new.finalizers
        || old.labels != new.labels
        || old.deletion_timestamp != new.deletion_timestamp
        || before.annotations().get(ANNOTATION_FORCE_DELETE)
            != after.annotations().get(ANNOTATION_FORCE_DELETE)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn index() -> MemberIndex {
        MemberIndex::new(Arc::default())
    }

    /// A member that was created in this second of the minute.
    fn member(name: &str, second: u8, status: Value) -> Guarded<MemberCluster> {
        let object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster",
            "metadata": {"name": name, "uid": name, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"kubeconfigSecretRef": {"name": name}}, "status": status,
        });
        serde_json::from_str(&object.to_string()).unwrap()
    }

    fn recorded(reason: &str) -> Value {
        let ready = json!({
            "type": "Ready", "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        json!({"clusterId": "id", "conditions": [ready]})
    }

    fn holder(index: &MemberIndex, name: &str) -> Option<String> {
        index.holder(name, "id")
    }

    #[test]
    fn nobody_takes_an_id_away_by_claiming_it() {
        let index = index();
        index.set(member("old", 1, Value::Null));
        index.set(member("young", 2, Value::Null));
        index.seen("young", "young", "id", None);
        index.seen("old", "old", "another", None);
        assert_eq!(holder(&index, "young"), None);
        // The older member lies, or its address leads elsewhere now.
        index.seen("old", "old", "id", None);
        assert_eq!(holder(&index, "young"), None);
        assert_eq!(holder(&index, "old").as_deref(), Some("young"));
        index.remove("young");
        assert_eq!(holder(&index, "old"), None);
    }

    #[test]
    fn over_a_restart_the_one_that_had_the_id_keeps_it() {
        let index = index();
        index.set(member("liar", 1, recorded("DuplicateCluster")));
        index.set(member("true", 2, recorded("Connected")));
        assert_eq!((holder(&index, "true"), holder(&index, "liar").as_deref()), (None, Some("true")));
        // Of two that are recorded alike the older one has it.
        index.set(member("older", 0, recorded("Connected")));
        assert_eq!(holder(&index, "true").as_deref(), Some("older"));
    }
}
