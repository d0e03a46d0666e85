//! Who may push where. Decided before any source is read.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    namespace::Namespace,
    selection::{NamespaceMatcher, selects_cluster},
};
use crate::api::{ClusterSelector, CredentialKind, DistributionPolicySpec};

/// A DistributionPolicy made ready to be asked about many credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    kinds: Vec<CredentialKind>,
    from: NamespaceMatcher,
    clusters: Option<ClusterSelector>,
    grant: Grant,
    /// Whether tokens may be minted by the operator's own identity.
    pub allows_operator_identity: bool,
}

/// What a policy allows in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub namespaces: Arc<NamespaceMatcher>,
    /// Keys of labels and annotations, and prefixes of such keys that end in `/`.
    metadata: Arc<[String]>,
    /// Whether the Secrets may be attached to ServiceAccounts.
    pub allows_default: bool,
}

impl Grant {
    /// Whether a label or an annotation of this key may be put on Secrets.
    pub fn allows(&self, key: &str) -> bool {
        self.metadata.iter().any(|entry| key == entry || (entry.ends_with('/') && key.starts_with(entry)))
    }
}

impl Policy {
    pub fn new(spec: &DistributionPolicySpec, operator_namespace: &Arc<str>) -> Self {
        Self {
            kinds: spec.kinds.clone(),
            from: NamespaceMatcher::new(&spec.from.namespaces, operator_namespace),
            clusters: spec.to.clusters.clone(),
            allows_operator_identity: spec.allow_operator_identity,
            grant: Grant {
                namespaces: Arc::new(NamespaceMatcher::new(&spec.to.namespaces, operator_namespace)),
                metadata: spec.to.allowed_metadata.clone().into(),
                allows_default: spec.allow_default,
            },
        }
    }

    /// Whether it speaks of credentials of a kind in a namespace.
    pub fn covers(&self, kind: CredentialKind, namespace: &str, seen: &Namespace) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind)) && self.from.matches(namespace, seen)
    }

    /// What it allows in a cluster; `None` when it does not speak of the cluster.
    pub fn allows_in(&self, cluster: &str, labels: &BTreeMap<String, String>) -> Option<Grant> {
        selects_cluster(self.clusters.as_ref(), cluster, labels).then(|| self.grant.clone())
    }
}
