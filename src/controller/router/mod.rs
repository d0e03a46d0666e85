//! From events to keys: who is concerned by a change.

mod watches;

pub(crate) use watches::watch;

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock, Weak},
};

use super::{
    clusters::ClusterRegistry,
    context::Stores,
    keys::{Dirty, Queues},
};
use crate::{
    cluster::{AccountChange, EventHandler, Touched},
    domain::{
        identity::{NamespacedName, OwnerId},
        namespace::Namespace,
        selection::LOCAL,
    },
};

/// Turns events into keys.
pub(crate) struct Router {
    stores: Arc<Stores>,
    queues: Arc<Queues>,
    clusters: OnceLock<Weak<ClusterRegistry>>,
}

impl Router {
    pub fn new(stores: Arc<Stores>, queues: Arc<Queues>) -> Self {
        Self { stores, queues, clusters: OnceLock::new() }
    }

    /// Sets the clusters; once, as they are made with this.
    pub fn set_clusters(&self, clusters: &Arc<ClusterRegistry>) {
        // A second call would change nothing, and there is none.
        let _ = self.clusters.set(Arc::downgrade(clusters));
    }

    /// A namespace as it was last seen. One that is not known yet is looked at when it comes.
    fn seen(&self, cluster: &str, namespace: &str) -> Option<Namespace> {
        let member = self.clusters.get().and_then(Weak::upgrade).and_then(|all| all.get(cluster))?;
        member.seen()?.read().snapshot().namespaces.get(namespace).cloned()
    }

    /// Everybody who wants something in a cluster, or has something there.
    fn owners_in(&self, cluster: &Arc<str>) -> HashSet<OwnerId> {
        let mut owners = HashSet::new();
        self.stores.desired.each(|owner, published| {
            if published.clusters.contains_key(cluster) || published.removal.is_some() {
                owners.insert(*owner);
            }
        });
        owners.extend(self.stores.outcomes.owners_in(cluster));
        let member = self.clusters.get().and_then(Weak::upgrade).and_then(|all| all.get(cluster));
        if let Some(live) = member.as_ref().and_then(|member| member.seen()) {
            owners.extend(live.read().snapshot().owners().cloned());
        }
        owners
    }
}

impl EventHandler for Router {
    fn touched(&self, cluster: &Arc<str>, touched: Vec<Touched>) {
        for (owner, namespace) in touched {
            self.queues.sync(&owner, cluster, Dirty::namespace(namespace));
        }
    }

    fn account_changed(&self, cluster: &Arc<str>, change: AccountChange) {
        let NamespacedName { namespace, name } = &change.name;
        let Some(seen) = self.seen(cluster, namespace) else { return };
        let asking = self.stores.defaults.asking(name, cluster, namespace, &seen);
        for owner in asking.into_iter().filter(|owner| Some(*owner) != change.except) {
            self.queues.sync(&owner, cluster, Dirty::namespace(namespace.clone()));
        }
    }

    fn namespace_changed(
        &self,
        cluster: &Arc<str>,
        name: &Arc<str>,
        before: Option<&Namespace>,
        after: Option<&Namespace>,
    ) {
        // Most changes are of labels that nobody asks for: that is told without a verdict for each credential.
        let labels = Namespace::changed_labels(before, after);
        let mut targeting = Vec::new();
        self.stores.desired.each(|owner, published| {
            let Some(targets) = published.clusters.get(cluster) else { return };
            let concerned = labels.as_ref().is_none_or(|labels| targets.depends_on(labels));
            if concerned && !targets.ignores(name, before, after) {
                self.queues.sync(owner, cluster, Dirty::namespace(name.clone()));
                targeting.push(*owner);
            }
        });
        // Where a default comes or goes, the place of others there changes.
        if let Some(after) = after {
            let rivals = |owner: &OwnerId| self.stores.defaults.rivals_in(owner, cluster, name, after);
            let rivals: HashSet<OwnerId> = targeting.iter().flat_map(rivals).collect();
            for rival in rivals {
                self.queues.sync(&rival, cluster, Dirty::namespace(name.clone()));
            }
        }
        if &**cluster == LOCAL {
            // Policies look at the labels of a credential's own namespace, and a deletion at whether it goes.
            let within = self.stores.credentials.within(name);
            if !within.is_empty() {
                self.queues.policies(self.stores.policies.names());
            }
            self.queues.credentials(within);
        }
    }

    fn stuck_changed(&self, cluster: &Arc<str>, namespace: &Arc<str>) {
        let Some(seen) = self.seen(cluster, namespace) else { return };
        self.stores.desired.each(|owner, published| {
            let is_default = published.default.is_some() && published.removal.is_none();
            let targets = published.clusters.get(cluster);
            if is_default && targets.is_some_and(|targets| targets.wants(namespace, &seen)) {
                self.queues.sync(owner, cluster, Dirty::namespace(namespace.clone()));
            }
        });
    }

    fn relisted(&self, cluster: &Arc<str>) {
        for owner in self.owners_in(cluster) {
            self.queues.sync(&owner, cluster, Dirty::all());
        }
    }

    fn connectivity_changed(&self, cluster: &Arc<str>) {
        self.queues.member(cluster);
        self.relisted(cluster);
        // A member may be selected by its labels, and attests what a hub that was rebuilt has forgotten.
        self.queues.credentials(self.stores.credentials.owners());
    }

    fn secret_changed(&self, name: &NamespacedName, resource_version: Option<&str>) {
        self.queues.credentials(self.stores.credentials.source_changed(name, resource_version));
        self.queues.members(self.stores.members.readers(|read| read == name));
    }

    fn secrets_listing(&self) {
        self.stores.credentials.sources_listing();
    }

    fn secrets_listed(&self) {
        self.queues.credentials(self.stores.credentials.sources_listed());
        self.queues.members(self.stores.members.readers(|_| true));
    }
}
