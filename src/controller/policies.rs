//! All DistributionPolicies, made ready to be asked.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::SetOnce;

use crate::{
    api::{CredentialKind, DistributionPolicy, DistributionPolicySpec},
    domain::{consent::Policy, namespace::Namespace, withdrawal::Consent},
    lock::Lock,
};

/// All DistributionPolicies.
pub(crate) struct Policies {
    operator_namespace: Arc<str>,
    grace: Duration,
    began: Instant,
    inner: Lock<Inner>,
    /// Set when all policies were listed once.
    pub listed: SetOnce<()>,
}

#[derive(Default)]
struct Inner {
    /// `None` where one cannot be read.
    policies: BTreeMap<String, Option<Arc<Policy>>>,
    /// Those that can be read, as the API server has them.
    objects: BTreeMap<String, Arc<DistributionPolicy>>,
    /// Policies as they were before a recent change or removal.
    recent: Vec<(Instant, Arc<Policy>)>,
    /// When a policy that could not be read was last replaced or removed: nobody knows whom it was about.
    unreadable_until: Option<Instant>,
}

impl Policies {
    /// `grace` is the quiet period after a change, before a lack of consent takes copies away.
    pub fn new(operator_namespace: &str, grace: Duration) -> Self {
        Self {
            operator_namespace: operator_namespace.into(),
            grace,
            began: Instant::now(),
            inner: Lock::default(),
            listed: SetOnce::new(),
        }
    }

    /// Puts a policy in as the API server has it.
    pub fn set_object(&self, name: &str, object: Option<DistributionPolicy>) {
        let mut inner = self.inner.write();
        match object {
            Some(object) => inner.objects.insert(name.to_owned(), Arc::new(object)),
            None => inner.objects.remove(name),
        };
    }

    /// A policy that can be read, as the API server has it, and made ready to be asked.
    pub fn get(&self, name: &str) -> Option<(Arc<DistributionPolicy>, Arc<Policy>)> {
        let inner = self.inner.read();
        Some((inner.objects.get(name)?.clone(), inner.policies.get(name)?.clone()?))
    }

    /// Puts a policy in; `None` for one that cannot be read. Returns whether anything changed.
    pub fn set(&self, name: &str, spec: Option<&DistributionPolicySpec>) -> bool {
        let policy = spec.map(|spec| Arc::new(Policy::new(spec, &self.operator_namespace)));
        let mut inner = self.inner.write();
        if inner.policies.get(name) == Some(&policy) {
            return false;
        }
        if let Some(before) = inner.policies.insert(name.to_owned(), policy) {
            inner.remember(before, self.grace);
        }
        true
    }

    pub fn remove(&self, name: &str) -> bool {
        let mut inner = self.inner.write();
        inner.objects.remove(name);
        let Some(before) = inner.policies.remove(name) else { return false };
        inner.remember(before, self.grace);
        true
    }

    pub fn names(&self) -> Vec<String> {
        self.inner.read().policies.keys().cloned().collect()
    }

    pub fn unreadable(&self) -> usize {
        self.inner.read().unreadable()
    }

    /// The policies that cover credentials of a kind in a namespace, and whether that is all of them: whether each
    /// policy could be read.
    pub fn covering(
        &self,
        kind: CredentialKind,
        namespace: &str,
        seen: &Namespace,
    ) -> (Vec<Arc<Policy>>, bool) {
        let inner = self.inner.read();
        let readable = inner.policies.values().flatten();
        let covering = readable.filter(|policy| policy.covers(kind, namespace, seen)).cloned().collect();
        (covering, inner.unreadable() == 0)
    }

    /// Whether a lack of consent takes copies away by now: of a credential of a kind in a namespace.
    pub fn consent(&self, kind: CredentialKind, namespace: &str, seen: &Namespace) -> Consent {
        let inner = self.inner.read();
        let covering = inner.recent.iter().filter(|(_, policy)| policy.covers(kind, namespace, seen));
        let changed = covering.map(|(changed, _)| *changed).chain(inner.unreadable_until).max();
        // At the start nobody knows what has just changed.
        let quiet = changed.unwrap_or(self.began).elapsed();
        Consent::judge(quiet, self.grace, inner.unreadable())
    }
}

impl Inner {
    fn unreadable(&self) -> usize {
        self.policies.values().filter(|policy| policy.is_none()).count()
    }

    /// Notes that a policy changed or went. One that is new takes nothing away.
    fn remember(&mut self, before: Option<Arc<Policy>>, grace: Duration) {
        self.recent.retain(|(changed, _)| changed.elapsed() < grace);
        let now = Instant::now();
        match before {
            Some(before) => self.recent.push((now, before)),
            None => self.unreadable_until = Some(now),
        }
    }
}
