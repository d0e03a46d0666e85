//! Which credentials are to be defaults, and for which registries: so that a pass over one of them finds its rivals without
//! a look at all others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    domain::{
        attachment::{AccountNames, Accounts},
        default::{DefaultWish, Rival},
        desired::DesiredState,
        identity::{CredentialId, OwnerId},
        namespace::Namespace,
        outcome::DefaultOutcome,
        reason::Reason,
        sync_state::SyncState,
        targets::ClusterTargets,
    },
    lock::Lock,
};

/// What a default wants, in all clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    id: CredentialId,
    wish: Arc<DefaultWish>,
    /// Whether it ever had a content: recorded with the revision, so that a restart knows it.
    has_content: bool,
    pub clusters: BTreeMap<Arc<str>, Arc<ClusterTargets>>,
}

impl Claim {
    /// What a credential wants; `None` when it is no default, or not any more.
    pub fn of(state: &DesiredState) -> Option<Self> {
        let wish = state.default.clone().filter(|_| state.removal.is_none())?;
        let (id, clusters) = (state.id.clone(), state.clusters.clone());
        Some(Self { id, wish, has_content: state.revision.is_some(), clusters })
    }

    /// What it asks for in a namespace, as far as its rivals are concerned.
    fn asks(&self, cluster: &str, name: &str, seen: &Namespace) -> Option<(&DefaultWish, bool)> {
        let targets = self.clusters.get(cluster)?;
        targets.permits_default(name, seen).then_some((&*self.wish, self.has_content))
    }
}

/// All defaults.
pub(crate) struct Defaults {
    /// Whether anything is attached to ServiceAccounts at all.
    pub enabled: bool,
    names: watch::Sender<Option<Arc<AccountNames>>>,
    inner: Lock<Inner>,
    /// Whether all are known that there were at the start.
    is_known: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// The ServiceAccounts that credentials name, as they are declared.
    declared: HashMap<OwnerId, AccountNames>,
    is_listed: bool,
    claims: HashMap<OwnerId, Arc<Claim>>,
    by_key: HashMap<Arc<str>, BTreeSet<OwnerId>>,
}

impl Defaults {
    pub fn new(enabled: bool) -> Self {
        let names = watch::Sender::new(None);
        Self { enabled, names, inner: Lock::default(), is_known: AtomicBool::new(false) }
    }

    /// The names of ServiceAccounts that are asked for; `None` where nothing is attached to any.
    pub fn names(&self) -> Option<watch::Receiver<Option<Arc<AccountNames>>>> {
        self.enabled.then(|| self.names.subscribe())
    }

    /// Notes which ServiceAccounts a credential names as it is declared.
    pub fn declare(&self, owner: &OwnerId, names: Option<AccountNames>) {
        let mut inner = self.inner.write();
        if inner.declared.get(owner) == names.as_ref() {
            return;
        }
        match names {
            Some(names) => inner.declared.insert(*owner, names),
            None => inner.declared.remove(owner),
        };
        self.tell_names(&inner);
    }

    /// All credentials were listed that can be defaults.
    pub fn listed(&self) {
        let mut inner = self.inner.write();
        inner.is_listed = true;
        self.tell_names(&inner);
    }

    fn tell_names(&self, inner: &Inner) {
        if inner.is_listed {
            let names: AccountNames = inner.declared.values().flatten().cloned().collect();
            self.names.send_if_modified(|before| {
                let is_news = before.as_deref() != Some(&names);
                if is_news {
                    *before = Some(Arc::new(names));
                }
                is_news
            });
        }
    }

    /// Puts what a credential wants in the place of what it wanted before; returns that, if anything has changed.
    pub fn set(&self, owner: &OwnerId, claim: Option<Claim>) -> Option<Option<Arc<Claim>>> {
        let mut inner = self.inner.write();
        let before = inner.claims.get(owner).cloned();
        if before.as_deref() == claim.as_ref() {
            return None;
        }
        for key in before.iter().flat_map(|before| &before.wish.keys) {
            if let Some(owners) = inner.by_key.get_mut(key) {
                owners.remove(owner);
                if owners.is_empty() {
                    inner.by_key.remove(key);
                }
            }
        }
        for key in claim.iter().flat_map(|claim| &claim.wish.keys) {
            inner.by_key.entry(key.clone()).or_default().insert(*owner);
        }
        match claim {
            Some(claim) => inner.claims.insert(*owner, Arc::new(claim)),
            None => inner.claims.remove(owner),
        };
        Some(before)
    }

    /// Whether all are known that there were at the start. `has` tells of one that was declared whether it is. Says so once.
    pub fn becomes_known(&self, has: impl Fn(&OwnerId) -> bool) -> bool {
        if self.is_known.load(Ordering::Relaxed) {
            return false;
        }
        let inner = self.inner.read();
        let is_known = inner.is_listed && inner.declared.keys().all(has);
        is_known && !self.is_known.swap(true, Ordering::Relaxed)
    }

    /// Whether it is known which defaults there are.
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// How the ServiceAccounts of a cluster stand for a default. `hides_accounts` tells that they may not be read there.
    pub fn outcome(
        &self,
        wish: &DefaultWish,
        state: &SyncState,
        accounts: &Accounts,
        hides_accounts: bool,
    ) -> DefaultOutcome {
        let hidden = || hides_accounts.then_some(Reason::ServiceAccountsForbidden);
        let unavailable = if self.enabled { hidden() } else { Some(Reason::DefaultsDisabled) };
        DefaultOutcome {
            counts: state.accounts.counts(),
            failures: state.accounts.failures(),
            is_unknown: unavailable.is_none()
                && (!wish.accounts.is_subset(&accounts.listed) || !self.is_known()),
            unavailable,
            stuck: state.stuck(),
        }
    }

    /// All that claim anything, with the clusters in which they do.
    pub fn all(&self) -> Vec<(OwnerId, Vec<Arc<str>>)> {
        let inner = self.inner.read();
        let each = inner.claims.iter();
        each.map(|(owner, claim)| (*owner, claim.clusters.keys().cloned().collect())).collect()
    }

    /// Defaults for one of the same registries as this one, in a cluster; `None` while not all are known.
    pub fn rivals(&self, owner: &OwnerId, wish: &DefaultWish, cluster: &str) -> Option<Vec<Rival>> {
        if !self.is_known.load(Ordering::Relaxed) {
            return None;
        }
        let inner = self.inner.read();
        let rivals = inner.sharing(owner, &wish.keys).into_iter().filter_map(|rival| {
            let Claim { id, wish, has_content, clusters } = &**inner.claims.get(&rival)?;
            let targets = clusters.get(cluster)?.clone();
            Some(Rival { id: id.clone(), wish: wish.clone(), targets, has_content: *has_content })
        });
        Some(rivals.collect())
    }

    /// Those for which a change of one default matters in a namespace of a cluster.
    pub fn rivals_in(&self, owner: &OwnerId, cluster: &str, name: &str, seen: &Namespace) -> Vec<OwnerId> {
        let inner = self.inner.read();
        let Some(claim) = inner.claims.get(owner) else { return Vec::new() };
        let is_there = |rival: &OwnerId| {
            let targets = inner.claims.get(rival).and_then(|claim| claim.clusters.get(cluster));
            targets.is_some_and(|targets| targets.wants(name, seen))
        };
        inner.sharing(owner, &claim.wish.keys).into_iter().filter(is_there).collect()
    }

    /// Those that ask for ServiceAccounts of a name in a cluster, and whose target a namespace is.
    pub fn asking(&self, account: &str, cluster: &str, name: &str, seen: &Namespace) -> Vec<OwnerId> {
        let inner = self.inner.read();
        let asks = |claim: &Claim| {
            claim.wish.accounts.contains(account)
                && claim.clusters.get(cluster).is_some_and(|targets| targets.wants(name, seen))
        };
        inner.claims.iter().filter(|(_, claim)| asks(claim)).map(|(owner, _)| *owner).collect()
    }

    /// Whose place in which namespaces of a cluster changes with a claim.
    pub fn concerned<'n>(
        &self,
        owner: &OwnerId,
        cluster: &str,
        (before, after): (Option<&Claim>, Option<&Claim>),
        namespaces: impl Iterator<Item = (&'n Arc<str>, &'n Namespace)>,
    ) -> (HashSet<OwnerId>, HashSet<Arc<str>>) {
        let rivals: HashSet<OwnerId> = {
            let inner = self.inner.read();
            let keys = [before, after].into_iter().flatten().flat_map(|claim| &claim.wish.keys);
            let rivals = inner.sharing(owner, keys).into_iter();
            let is_there =
                |rival: &OwnerId| inner.claims.get(rival).is_some_and(|c| c.clusters.contains_key(cluster));
            rivals.filter(is_there).collect()
        };
        if rivals.is_empty() {
            return (rivals, HashSet::new());
        }
        let asks = |claim: Option<&Claim>, name: &str, seen| {
            let asked = claim.and_then(|claim| claim.asks(cluster, name, seen));
            asked.map(|(wish, has_content)| (wish.clone(), has_content))
        };
        let changed = namespaces.filter(|(name, seen)| asks(before, name, seen) != asks(after, name, seen));
        let changed = changed.map(|(name, _)| name.clone()).collect();
        (rivals, changed)
    }
}

impl Inner {
    /// Other owners that are defaults for one of these registries.
    fn sharing<'k>(
        &self,
        owner: &OwnerId,
        keys: impl IntoIterator<Item = &'k Arc<str>>,
    ) -> BTreeSet<OwnerId> {
        let sharing = keys.into_iter().filter_map(|key| self.by_key.get(key)).flatten().copied();
        sharing.filter(|other| other != owner).collect()
    }
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
