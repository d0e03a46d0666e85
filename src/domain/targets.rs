//! Which namespaces of a cluster a credential wants to reach, and which it may.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    consent::{Grant, Policy},
    namespace::Namespace,
    selection::{LOCAL, NamespaceMatcher},
};
use crate::api::{LABEL_OPT_OUT, Target};

/// What a credential wants of one cluster, and may have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterTargets {
    /// The namespace of the credential's name; it needs no consent in the credential's own cluster.
    home: Arc<str>,
    is_local: bool,
    /// Whether the target lists the cluster by name.
    is_listed: bool,
    /// `None` means the namespace of the credential's name.
    selector: Option<Arc<NamespaceMatcher>>,
    grants: Vec<Grant>,
    /// Keys of the labels and annotations that it puts on copies.
    metadata: Vec<String>,
}

/// What a credential has to do with a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does not want a copy there, or the namespace refuses or takes none.
    NotTargeted,
    /// It wants a copy there, and no policy allows it.
    NotPermitted,
    /// It wants a copy there, and may have it.
    Permitted,
}

impl ClusterTargets {
    /// `home` is the namespace of the credential, and `policies` are those that cover it. `is_listed` tells that its target
    /// lists the cluster by name.
    pub fn new<'p>(
        home: &Arc<str>,
        selector: Option<Arc<NamespaceMatcher>>,
        policies: impl IntoIterator<Item = &'p Policy>,
        cluster: &str,
        is_listed: bool,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        Self {
            home: home.clone(),
            is_local: cluster == LOCAL,
            is_listed,
            selector,
            grants: policies.into_iter().filter_map(|policy| policy.allows_in(cluster, labels)).collect(),
            metadata: Vec::new(),
        }
    }

    pub fn judge(&self, name: &str, namespace: &Namespace) -> Verdict {
        let wanted = match &self.selector {
            Some(selector) => selector.matches(name, namespace),
            None => name == &*self.home,
        };
        let own = self.is_local && name == &*self.home;
        if !wanted || namespace.terminating || (!own && namespace.opted_out()) {
            Verdict::NotTargeted
        } else if own || (self.is_granted(name, namespace) && self.refused_key(name, namespace).is_none()) {
            Verdict::Permitted
        } else {
            Verdict::NotPermitted
        }
    }

    /// Whether it wants a copy there, permitted or not.
    pub fn wants(&self, name: &str, namespace: &Namespace) -> bool {
        self.judge(name, namespace) != Verdict::NotTargeted
    }

    /// Whether it may have a copy there, and be attached to ServiceAccounts.
    pub fn permits_default(&self, name: &str, namespace: &Namespace) -> bool {
        let own = self.is_local && name == &*self.home;
        self.judge(name, namespace) == Verdict::Permitted
            && (own || self.grants(name, namespace).any(|grant| grant.allows_default))
    }

    /// The same, with the labels and annotations that a target puts on copies.
    pub fn with_metadata(self, target: &Target) -> Self {
        Self { metadata: target.labels.keys().chain(target.annotations.keys()).cloned().collect(), ..self }
    }

    fn grants(&self, name: &str, namespace: &Namespace) -> impl Iterator<Item = &Grant> + Clone {
        self.grants.iter().filter(move |grant| grant.namespaces.matches(name, namespace))
    }

    fn is_granted(&self, name: &str, namespace: &Namespace) -> bool {
        self.grants(name, namespace).next().is_some()
    }

    /// A label or an annotation that no policy allows in another namespace, though one allows a copy there.
    pub fn refused_key(&self, name: &str, namespace: &Namespace) -> Option<&str> {
        let mut keys = self.metadata.iter().map(String::as_str);
        keys.find(|key| {
            let mut grants = self.grants(name, namespace).peekable();
            grants.peek().is_some() && !grants.any(|grant| grant.allows(key))
        })
    }

    /// Whether a verdict can depend on one of these labels of a namespace.
    pub fn depends_on(&self, labels: &[&str]) -> bool {
        labels.contains(&LABEL_OPT_OUT)
            || self
                .selector
                .iter()
                .chain(self.grants.iter().map(|grant| &grant.namespaces))
                .any(|matcher| matcher.asks_for(labels))
    }

    /// Whether a change of a namespace is none for the credential.
    pub fn ignores(&self, name: &str, before: Option<&Namespace>, after: Option<&Namespace>) -> bool {
        let judge = |seen: Option<&Namespace>| seen.map(|namespace| self.judge(name, namespace));
        let targeted = |verdict: Option<Verdict>| verdict.is_some_and(|v| v != Verdict::NotTargeted);
        let (old, new) = (judge(before), judge(after));
        let comes_or_goes = before.is_some() != after.is_some();
        !(self.lists(name) && comes_or_goes) && (old == new || !targeted(old) && !targeted(new))
    }

    /// Whether the target lists a name. That of the credential's own namespace, where the target lists none, is no
    /// promise that other clusters have it.
    pub fn lists(&self, name: &str) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.lists(name))
    }

    /// Whether the credential itself says the name: in its target, or as its own namespace.
    pub fn names_itself(&self, name: &str) -> bool {
        *self.home == *name || self.lists(name)
    }

    /// Whether the cluster must not be told of: no policy allows anything there, and the target does not list it.
    pub fn is_concealed(&self) -> bool {
        !self.is_listed && !self.is_local && self.grants.is_empty()
    }

    /// Names that the target lists.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.selector.iter().flat_map(|selector| selector.names())
    }
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
