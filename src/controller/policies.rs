//! All DistributionPolicies, made ready to be asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    api::{CredentialKind, DistributionPolicySpec},
    domain::{consent::Policy, namespace::Namespace, withdrawal::Consent},
};

/// All DistributionPolicies.
pub(crate) struct Policies {
    operator_namespace: Arc<str>,
    grace: Duration,
    inner: RwLock<Inner>,
    listed: watch::Sender<bool>,
}

struct Inner {
    /// `None` where one cannot be read.
    policies: BTreeMap<String, Option<Arc<Policy>>>,
    changed: Instant,
}

impl Policies {
    /// `grace` is the quiet period after a change, before a lack of consent takes copies away.
    pub fn new(operator_namespace: &str, grace: Duration) -> Self {
        // At the start nobody knows what has just changed.
        let inner = Inner { policies: BTreeMap::new(), changed: Instant::now() };
        Self {
            operator_namespace: operator_namespace.into(),
            grace,
            inner: RwLock::new(inner),
            listed: watch::Sender::new(false),
        }
    }

    /// Puts a policy in; `None` for one that cannot be read. Returns whether anything changed.
    pub fn set(&self, name: &str, spec: Option<&DistributionPolicySpec>) -> bool {
        let policy = spec.map(|spec| Arc::new(Policy::new(spec, &self.operator_namespace)));
        let mut inner = self.write();
        if inner.policies.get(name) == Some(&policy) {
            return false;
        }
        // One that is new takes nothing away.
        if inner.policies.insert(name.to_owned(), policy).is_some() {
            inner.changed = Instant::now();
        }
        true
    }

    pub fn remove(&self, name: &str) -> bool {
        let mut inner = self.write();
        let removed = inner.policies.remove(name).is_some();
        if removed {
            inner.changed = Instant::now();
        }
        removed
    }

    pub fn names(&self) -> Vec<String> {
        self.read().policies.keys().cloned().collect()
    }

    pub fn unreadable(&self) -> usize {
        self.read().policies.values().filter(|policy| policy.is_none()).count()
    }

    /// The policies that cover credentials of a kind in a namespace.
    pub fn covering(&self, kind: CredentialKind, namespace: &str, seen: &Namespace) -> Vec<Arc<Policy>> {
        let inner = self.read();
        let readable = inner.policies.values().flatten();
        readable.filter(|policy| policy.covers(kind, namespace, seen)).cloned().collect()
    }

    /// Whether a lack of consent takes copies away by now.
    pub fn consent(&self) -> Consent {
        let quiet = self.read().changed.elapsed();
        Consent::judge(quiet, self.grace, self.unreadable())
    }

    pub fn listed(&self) {
        self.listed.send_replace(true);
    }

    /// Ends when all policies were listed once.
    pub async fn wait_until_listed(&self) {
        // The sender lives as long as this does.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    pub fn operator_namespace(&self) -> &Arc<str> {
        &self.operator_namespace
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}
