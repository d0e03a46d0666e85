//! Who may push where. Decided before any source is read.

use std::collections::BTreeMap;

use super::selection::{LOCAL, NamespaceMatcher, means_cluster};
use crate::api::{CredentialKind, DistributionPolicySpec};

/// What the policies allow one credential in one cluster.
#[derive(Debug)]
pub struct Consent<'a> {
    /// The namespace that needs none: its own, in its own cluster.
    own_namespace: Option<&'a str>,
    grants: Vec<NamespaceMatcher<'a>>,
}

/// A cluster, as policies and targets see it.
#[derive(Clone, Copy, Debug)]
pub struct ClusterIdentity<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

impl ClusterIdentity<'_> {
    /// Whether the operator, and so the credential, lives there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.name == LOCAL
    }
}

impl<'a> Consent<'a> {
    /// Picks the policies that speak of a kind in a namespace with these labels, and of the cluster.
    pub fn new(
        policies: impl IntoIterator<Item = &'a DistributionPolicySpec>,
        kind: CredentialKind,
        own_namespace: &'a str,
        own_labels: &BTreeMap<String, String>,
        operator_namespace: &'a str,
        cluster: ClusterIdentity<'_>,
    ) -> Self {
        let grants = policies
            .into_iter()
            .filter(|policy| policy.kinds.is_empty() || policy.kinds.contains(&kind))
            .filter(|policy| {
                NamespaceMatcher::new(&policy.from.namespaces, operator_namespace)
                    .matches(own_namespace, own_labels)
            })
            .filter(|policy| means_cluster(policy.to.clusters.as_ref(), cluster.name, cluster.labels))
            .map(|policy| NamespaceMatcher::new(&policy.to.namespaces, operator_namespace))
            .collect();
        Self { own_namespace: cluster.is_local().then_some(own_namespace), grants }
    }

    /// Whether a namespace is the credential's own.
    #[must_use]
    pub fn is_own(&self, namespace: &str) -> bool {
        self.own_namespace == Some(namespace)
    }

    /// Whether the credential may write into a namespace: its own always, another one when any
    /// policy says so. In another cluster, none is its own.
    #[must_use]
    pub fn allows(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.is_own(namespace) || self.grants.iter().any(|grant| grant.matches(namespace, labels))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(value: serde_json::Value) -> DistributionPolicySpec {
        serde_json::from_value(value).unwrap()
    }

    fn allows_in(cluster: &str, policies: &[DistributionPolicySpec], from: &str, to: &str) -> bool {
        let none = BTreeMap::new();
        let cluster = ClusterIdentity { name: cluster, labels: &none };
        Consent::new(policies, CredentialKind::RegistryCredential, from, &none, "claviger-system", cluster)
            .allows(to, &none)
    }

    fn allows(policies: &[DistributionPolicySpec], from: &str, to: &str) -> bool {
        allows_in(LOCAL, policies, from, to)
    }

    #[test]
    fn another_cluster_needs_a_policy_that_speaks_of_it() {
        let local = policy(
            json!({"from": {"namespaces": {"names": ["platform"]}}, "to": {"namespaces": {"selector": {}}}}),
        );
        assert!(allows(std::slice::from_ref(&local), "platform", "web"));
        assert!(!allows_in("east", std::slice::from_ref(&local), "platform", "web"));
        assert!(!allows_in("east", &[local], "platform", "platform"), "the own namespace is here, not there");
        let east = policy(json!({
            "from": {"namespaces": {"names": ["platform"]}},
            "to": {"namespaces": {"selector": {}}, "clusters": {"names": ["east"]}},
        }));
        assert!(allows_in("east", std::slice::from_ref(&east), "platform", "platform"));
        assert!(!allows_in("west", std::slice::from_ref(&east), "platform", "web"));
        assert!(!allows(&[east], "platform", "web"), "it names another cluster, not this one");
    }

    #[test]
    fn without_a_policy_only_the_own_namespace() {
        assert!(allows(&[], "team", "team"));
        assert!(!allows(&[], "team", "web"));
        assert!(allows(&[], "kube-system", "kube-system"));
    }

    #[test]
    fn policies_only_ever_add() {
        let policies = [
            policy(
                json!({"from": {"namespaces": {"names": ["platform"]}}, "to": {"namespaces": {"selector": {}, "exclude": ["db"]}}}),
            ),
            policy(
                json!({"from": {"namespaces": {"names": ["platform"]}}, "to": {"namespaces": {"names": ["db"]}}}),
            ),
        ];
        assert!(allows(&policies, "platform", "web"));
        assert!(allows(&policies, "platform", "db"), "an exclude of one policy takes nothing from another");
        assert!(!allows(&policies, "team", "web"));
    }

    #[test]
    fn system_namespaces_need_a_name_on_both_sides() {
        let all =
            policy(json!({"from": {"namespaces": {"selector": {}}}, "to": {"namespaces": {"selector": {}}}}));
        assert!(allows(std::slice::from_ref(&all), "team", "web"));
        assert!(!allows(std::slice::from_ref(&all), "team", "kube-system"));
        assert!(!allows(&[all], "kube-system", "web"));
        let named = policy(
            json!({"from": {"namespaces": {"names": ["claviger-system"]}}, "to": {"namespaces": {"names": ["kube-system"]}}}),
        );
        assert!(allows(&[named], "claviger-system", "kube-system"));
    }

    #[test]
    fn an_empty_selector_in_from_grants_nobody() {
        let nobody = policy(json!({"from": {"namespaces": {}}, "to": {"namespaces": {"selector": {}}}}));
        assert!(!allows(&[nobody], "team", "web"));
    }
}
