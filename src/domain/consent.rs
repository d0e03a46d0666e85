//! Who may push where. Decided before any source is read.

use std::collections::BTreeMap;

use super::selection::NamespaceMatcher;
use crate::api::{CredentialKind, DistributionPolicySpec};

/// What the policies allow one credential.
#[derive(Debug)]
pub struct Consent<'a> {
    own_namespace: &'a str,
    grants: Vec<NamespaceMatcher<'a>>,
}

impl<'a> Consent<'a> {
    /// Picks the policies that speak of a kind in a namespace with these labels.
    pub fn new(
        policies: impl IntoIterator<Item = &'a DistributionPolicySpec>,
        kind: CredentialKind,
        own_namespace: &'a str,
        own_labels: &BTreeMap<String, String>,
        operator_namespace: &'a str,
    ) -> Self {
        let grants = policies
            .into_iter()
            .filter(|policy| policy.kinds.is_empty() || policy.kinds.contains(&kind))
            .filter(|policy| {
                NamespaceMatcher::new(&policy.from.namespaces, operator_namespace)
                    .matches(own_namespace, own_labels)
            })
            .map(|policy| NamespaceMatcher::new(&policy.to.namespaces, operator_namespace))
            .collect();
        Self { own_namespace, grants }
    }

    /// Whether the credential may write into a namespace: its own always, another one when any
    /// policy says so.
    #[must_use]
    pub fn allows(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        namespace == self.own_namespace || self.grants.iter().any(|grant| grant.matches(namespace, labels))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(value: serde_json::Value) -> DistributionPolicySpec {
        serde_json::from_value(value).unwrap()
    }

    fn allows(policies: &[DistributionPolicySpec], from: &str, to: &str) -> bool {
        let none = BTreeMap::new();
        Consent::new(policies, CredentialKind::RegistryCredential, from, &none, "claviger-system")
            .allows(to, &none)
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
