//! Watches that feed a cluster's cache, and tell who is concerned.

use std::{fmt::Debug, marker::PhantomData, sync::Arc};

use kube::{
    Api, Client, Resource,
    api::{ApiResource, ListParams},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, watch},
    task::AbortHandle,
};
use tracing::{debug, info, warn};

use super::{
    account::Account,
    cache::Cache,
    changes::Changes,
    discovery::discover,
    error::connection_error,
    guard::Guarded,
    object::{MarkedSecret, SecretMetadata, SlimNamespace, SlimPod},
    referrer::{GrantObject, Referrer, Workload},
    reflector::{Refusal, Store, name_of, reflect},
    shared::Shared,
    writer::Writer,
};
use crate::{
    api::{LABEL_MANAGED_BY, MANAGER},
    domain::{
        attachment::AccountNames,
        cluster_condition::ConnectionError,
        connectivity::{Stage, WatchedKind},
        identity::NamespacedName,
        schedule::{MAX_KEPT, MAX_KEPT_FOR_OPTIONAL, MAX_OBJECTS},
    },
};

/// Starts all watches of a cluster, on connections of their own.
///
/// # Errors
/// When a client cannot be made from the cluster's configuration.
pub(super) fn start(shared: &Arc<Shared>, writer: &Arc<Writer>) -> Result<Vec<AbortHandle>, kube::Error> {
    let mut tasks = vec![
        watch::<SlimNamespace>(shared, writer, WatchedKind::Namespaces)?,
        watch::<MarkedSecret>(shared, writer, WatchedKind::Copies)?,
        watch::<SlimPod>(shared, writer, WatchedKind::PODS)?,
        watch::<SecretMetadata>(shared, writer, WatchedKind::Secrets)?,
    ];
    let supervisor = &shared.options.supervisor;
    let kinds = shared.options.kinds();
    for kind in WatchedKind::optional(kinds) {
        let name = format!("watch of {} in cluster {}", kind.name(), shared.name);
        let (shared, writer) = (shared.clone(), writer.clone());
        tasks.push(match shared.options.accounts.clone().filter(|_| kind == WatchedKind::ACCOUNTS) {
            Some(names) => supervisor.spawn_endless(name, follow_accounts(shared, writer, names)),
            None => supervisor.spawn_endless(name, follow(shared, writer, kind)),
        });
    }
    let (name, shared) = (format!("discovery in cluster {}", shared.name), shared.clone());
    tasks.push(supervisor.spawn_endless(name, async move { discover(&shared, kinds).await }));
    Ok(tasks)
}

fn watch<K: Watched + Resource<DynamicType = ()>>(
    shared: &Arc<Shared>,
    writer: &Arc<Writer>,
    kind: WatchedKind,
) -> Result<AbortHandle, kube::Error> {
    let feed = Feed::<K>::new(shared, writer, kind);
    let watching = reflect(&shared.connection.connector(), kind.name(), Api::all, params(kind), feed)?;
    let name = format!("watch of {} in cluster {}", kind.name(), shared.name);
    Ok(shared.options.supervisor.spawn_endless(name, watching))
}

/// Watches what a cluster may lack, or keep from us, for as long as it is there.
async fn follow(shared: Arc<Shared>, writer: Arc<Writer>, kind: WatchedKind) {
    let mut discovered = shared.types.subscribe();
    loop {
        // What is a copy decides what is kept.
        shared.connectivity.listed(WatchedKind::Copies).await;
        let (rounds, resource) = {
            let now = discovered.borrow_and_update();
            (now.rounds, now.get(kind))
        };
        match resource {
            Some(resource) => {
                let watched = match kind {
                    WatchedKind::Grants(_) => feed::<GrantObject>(&shared, &writer, kind, resource).await,
                    WatchedKind::Users(of) if of.template().is_some() => {
                        feed::<Workload>(&shared, &writer, kind, resource).await
                    }
                    _ => feed::<Referrer>(&shared, &writer, kind, resource).await,
                };
                if let Err(error) = watched {
                    shared.connectivity.unconnected(connection_error(&error));
                }
                discovered.mark_unchanged();
            }
            None if rounds > 0 => {
                Feed::<Referrer>::new(&shared, &writer, kind).refused(Refusal::Absent);
            }
            None => {}
        }
        // It is tried again when the cluster was asked again what there is. The sender lives as long as this does.
        let _ = discovered.changed().await;
    }
}

/// Watches ServiceAccounts, from where it is known on which of them are asked for. When others are, all are listed anew.
async fn follow_accounts(
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    mut names: watch::Receiver<Option<Arc<AccountNames>>>,
) {
    let kind = WatchedKind::ACCOUNTS;
    let mut discovered = shared.types.subscribe();
    loop {
        shared.connectivity.listed(WatchedKind::Copies).await;
        discovered.mark_unchanged();
        // The senders live as long as the operator does.
        let Ok(wanted) = names.wait_for(Option::is_some).await.map(|names| names.clone()) else {
            return std::future::pending().await;
        };
        shared.write().want_accounts(wanted.clone().unwrap_or_default());
        let Some(resource) = shared.types.get(kind) else { return std::future::pending().await };
        let watched = tokio::select! {
            watched = feed::<Account>(&shared, &writer, kind, resource) => watched,
            () = shared.others_wanted(wanted.unwrap_or_default(), &mut names) => continue,
        };
        if let Err(error) = watched {
            shared.connectivity.unconnected(connection_error(&error));
        }
        // It may not be read: it is tried again when the cluster was asked again what there is.
        tokio::select! {
            _ = discovered.changed() => {}
            _ = names.changed() => {}
        }
    }
}

/// Feeds the cache until the kind is given up.
async fn feed<K: Watched + Resource<DynamicType = ApiResource>>(
    shared: &Arc<Shared>,
    writer: &Arc<Writer>,
    kind: WatchedKind,
    resource: ApiResource,
) -> Result<(), kube::Error> {
    let api = |client: Client| Api::all_with(client, &resource);
    let feed = Feed::<K>::new(shared, writer, kind);
    // Where defaults depend on it, a watch that is silent for ever would be told of by nobody else.
    let is_vital = kind == WatchedKind::ACCOUNTS && shared.options.accounts.is_some();
    let connector = shared.connection.connector();
    let connector = if is_vital { connector } else { connector.optional() };
    reflect(&connector, kind.name(), api, ListParams::default(), feed)?.await;
    Ok(())
}

/// Objects that are watched, and how they go into the cache.
trait Watched: Resource + Clone + DeserializeOwned + Debug + Send + 'static {
    fn put(self, kind: WatchedKind, cache: &mut Cache, listed: bool) -> Changes;
}

impl Watched for SlimNamespace {
    fn put(self, _: WatchedKind, cache: &mut Cache, _: bool) -> Changes {
        cache.set_namespace(self)
    }
}

impl Watched for MarkedSecret {
    fn put(self, _: WatchedKind, cache: &mut Cache, listed: bool) -> Changes {
        let changes = cache.observe_copy(&self, listed);
        changes.unwrap_or_else(|| cache.observe_foreign(self.meta(), listed))
    }
}

macro_rules! users {
    ($($object:ty),*) => {$(
        impl Watched for $object {
            fn put(self, kind: WatchedKind, cache: &mut Cache, _: bool) -> Changes {
                match kind {
                    WatchedKind::Users(kind) => cache.set_user(kind, &self),
                    _ => Changes::default(),
                }
            }
        }
    )*};
}

users!(SlimPod, Workload, Referrer);

impl Watched for Account {
    fn put(self, kind: WatchedKind, cache: &mut Cache, listed: bool) -> Changes {
        let mut changes = cache.set_account(&self, listed);
        if let WatchedKind::Users(kind) = kind
            && cache.accounts_are_users
        {
            changes.add(cache.set_user(kind, &self));
        }
        changes
    }
}

impl Watched for GrantObject {
    fn put(self, kind: WatchedKind, cache: &mut Cache, _: bool) -> Changes {
        match kind {
            WatchedKind::Grants(kind) => cache.set_grants(kind, &self),
            _ => Changes::default(),
        }
    }
}

/// All other Secrets: they may be sources, or be where a copy should. Nothing of them is kept.
impl Watched for SecretMetadata {
    fn put(self, _: WatchedKind, cache: &mut Cache, _: bool) -> Changes {
        // A Secret that came or changed may be ours with its labels removed, or no longer taken.
        cache.freed(&name_of(self.meta()))
    }
}

/// Which objects of a kind are watched.
fn params(kind: WatchedKind) -> ListParams {
    let params = ListParams::default();
    match kind {
        WatchedKind::Copies => params.labels(&format!("{LABEL_MANAGED_BY}={MANAGER}")),
        WatchedKind::Secrets => params
            .labels(&format!("{LABEL_MANAGED_BY}!={MANAGER}"))
            // By far the most Secrets of a usual cluster, never a source, and never in the way.
            .fields("type!=helm.sh/release.v1"),
        WatchedKind::Namespaces | WatchedKind::Users(_) | WatchedKind::Grants(_) => params,
    }
}

/// Feeds the cache with objects of one kind. Of an object that cannot be read, what is known stays.
struct Feed<K> {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    kind: WatchedKind,
    object: PhantomData<fn() -> K>,
    is_full: bool,
    /// What the list in progress was first to show, in a member: dropped when it shows too much, or each list could add as much.
    new: Vec<NamespacedName>,
    /// Whether it was told since the list began that an object cannot be read, or not be kept.
    told: bool,
}

impl<K: Watched> Feed<K> {
    fn new(shared: &Arc<Shared>, writer: &Arc<Writer>, kind: WatchedKind) -> Self {
        Self {
            shared: shared.clone(),
            writer: writer.clone(),
            kind,
            object: PhantomData,
            is_full: false,
            new: Vec::new(),
            told: false,
        }
    }

    /// Whether there is room for one more object.
    fn has_room(&self, cache: &Cache) -> bool {
        // Of `local`, tenants have no more than its API server lets them have.
        let kept = if self.shared.is_local() { 0 } else { cache.kept() };
        let is_needed = self.kind.is_required() || self.kind == WatchedKind::ACCOUNTS;
        cache.count(self.kind) < MAX_OBJECTS
            && kept <= if is_needed { MAX_KEPT } else { MAX_KEPT_FOR_OPTIONAL }
    }

    /// A first try has told what there is of a kind that a cluster may lack.
    fn settled(&self) {
        if self.shared.connectivity.change(|state| state.settled(self.kind)) {
            self.filled();
        }
    }

    /// All is known from here on.
    fn filled(&self) {
        if !self.shared.is_local() {
            info!(cluster = &*self.shared.name, "connected");
        }
        self.shared.tell_connectivity();
    }

    /// Tells of a Secret that may be a source; sources are all in `local`.
    fn tell_secret(&self, name: &NamespacedName, resource_version: Option<&str>) {
        if self.shared.is_local() && matches!(self.kind, WatchedKind::Copies | WatchedKind::Secrets) {
            self.shared.options.handler.secret_changed(name, resource_version);
        }
    }

    /// There is no room for an object. Of what is not required the others go on: before a Secret goes, the API server itself is
    /// asked who uses it.
    fn no_room(&mut self) {
        self.is_full |= self.kind.is_required();
        if !self.is_full && !std::mem::replace(&mut self.told, true) {
            let (cluster, watch) = (&*self.shared.name, self.kind.name());
            warn!(cluster, watch, "there are too many objects; some users of Secrets are not listed");
        }
    }

    /// Whether complete lists tell which sources are gone.
    fn lists_sources(&self) -> bool {
        self.shared.is_local() && self.kind == WatchedKind::Secrets
    }
}

impl<K: Watched> Store for Feed<K> {
    type Object = Guarded<K>;

    fn turns(&self) -> Option<Arc<Semaphore>> {
        (!self.kind.is_required()).then(|| self.shared.turns.clone())
    }

    fn begin(&mut self) {
        (self.is_full, self.told) = (false, false);
        self.new.clear();
        self.shared.write().begin_list(self.kind);
        if self.lists_sources() {
            self.shared.options.handler.secrets_listing();
        }
    }

    fn upsert(&mut self, object: Guarded<K>, listed: bool) {
        let name = name_of(object.meta());
        match object.0 {
            Ok(object) => {
                self.tell_secret(&name, object.meta().resource_version.as_deref());
                let changes = {
                    let mut cache = self.shared.write();
                    if !cache.has(self.kind, &name) {
                        if !self.has_room(&cache) {
                            drop(cache);
                            return self.no_room();
                        }
                        if listed && !self.shared.is_local() {
                            self.new.push(name);
                        }
                    }
                    object.put(self.kind, &mut cache, listed)
                };
                self.shared.tell(changes);
            }
            // Once for a list: there may be any number of them.
            Err(_) if std::mem::replace(&mut self.told, true) => {}
            Err(_) => {
                let (cluster, watch) = (&*self.shared.name, self.kind.name());
                let (namespace, name) = (&*name.namespace, &*name.name);
                warn!(cluster, watch, namespace, name, "object cannot be read");
            }
        }
    }

    fn remove(&mut self, object: Guarded<K>) {
        let name = name_of(object.meta());
        self.tell_secret(&name, None);
        let changes = self.shared.write().remove(self.kind, &name, object.meta().uid.as_deref());
        self.shared.tell(changes);
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.shared.read().known(self.kind)
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        self.new = Vec::new();
        let (unsure, changes) = {
            let mut cache = self.shared.write();
            if self.kind == WatchedKind::ACCOUNTS {
                cache.listed_accounts();
            }
            cache.end_list(self.kind, vanished)
        };
        self.shared.tell(changes);
        self.writer.read_again(unsure);
        let (shared, handler) = (&self.shared, &self.shared.options.handler);
        if self.lists_sources() {
            handler.secrets_listed();
        }
        debug!(cluster = &*shared.name, watch = self.kind.name(), "listed");
        if shared.types.set_denied(self.kind, false) {
            info!(cluster = &*shared.name, watch = self.kind.name(), "may be read now");
        }
        let again = shared.connectivity.is_filled();
        if shared.connectivity.completed(self.kind) {
            self.filled();
        } else if again {
            handler.relisted(&shared.name);
        }
    }

    fn is_full(&self) -> bool {
        self.is_full
    }

    fn refused(&mut self, why: Refusal) -> bool {
        if self.kind.is_required() {
            return false;
        }
        let (cluster, watch) = (&*self.shared.name, self.kind.name());
        // What may not be read any more stays as it was last seen, so that it goes on holding what it uses.
        if why == Refusal::Absent {
            let changes = {
                let mut cache = self.shared.write();
                let known = cache.known(self.kind);
                cache.end_list(self.kind, known).1
            };
            self.shared.tell(changes);
        } else if self.shared.types.set_denied(self.kind, true) {
            warn!(
                cluster,
                watch, "the operator may not list and watch these, so it is not known which Secrets they use"
            );
            self.shared.options.handler.relisted(&self.shared.name);
        }
        self.shared.options.freshness.remove(cluster, watch);
        self.settled();
        true
    }

    fn followed(&mut self) {
        if self.shared.connectivity.change(|state| state.followed(self.kind)) {
            self.shared.tell_connectivity();
        }
    }

    fn failed(&mut self, stage: Stage, why: ConnectionError) {
        let new = std::mem::take(&mut self.new);
        if self.is_full {
            for name in new {
                let changes = self.shared.write().remove(self.kind, &name, None);
                self.shared.tell(changes);
            }
        }
        if !self.kind.is_required() {
            return self.settled();
        }
        let why = ConnectionError { message: format!("{}: {why}", self.kind.name()), ..why };
        let connectivity = &self.shared.connectivity;
        if self.shared.is_local() {
            connectivity.unconnected(why);
        } else if connectivity.faulted(self.kind, stage, why) {
            self.shared.tell_connectivity();
        }
    }
}
