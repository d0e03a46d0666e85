//! Which namespaces and clusters a selector means.

use std::collections::{BTreeMap, HashSet};

use crate::api::{ClusterSelector, LABEL_OPT_OUT, LabelSelector, NamespaceSelector, SelectorOperator};

/// Name of the cluster that the operator runs in.
pub const LOCAL: &str = "local";

/// What Argo CD calls the cluster that it runs in.
const IN_CLUSTER: &str = "in-cluster";

/// Namespaces that only a name reaches, never a label, besides the operator's own.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Whether labels meet a selector.
#[must_use]
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match requirement.operator {
                SelectorOperator::In => value.is_some_and(|value| requirement.values.contains(value)),
                SelectorOperator::NotIn => !value.is_some_and(|value| requirement.values.contains(value)),
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
            }
        })
}

/// A [`NamespaceSelector`] made ready to be asked about many namespaces.
#[derive(Debug)]
pub struct NamespaceMatcher<'a> {
    names: HashSet<&'a str>,
    exclude: HashSet<&'a str>,
    selector: Option<&'a LabelSelector>,
    operator_namespace: &'a str,
}

impl<'a> NamespaceMatcher<'a> {
    /// Makes it ready.
    #[must_use]
    pub fn new(selector: &'a NamespaceSelector, operator_namespace: &'a str) -> Self {
        Self {
            names: selector.names.iter().map(String::as_str).collect(),
            exclude: selector.exclude.iter().map(String::as_str).collect(),
            selector: selector.selector.as_ref(),
            operator_namespace,
        }
    }

    /// Whether a namespace is meant: named or labelled, and not left out. A system namespace must
    /// be named.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        if self.exclude.contains(name) {
            return false;
        }
        self.names.contains(name)
            || (!SYSTEM_NAMESPACES.contains(&name)
                && name != self.operator_namespace
                && self.selector.is_some_and(|selector| matches(selector, labels)))
    }
}

/// The name by which we know a cluster: `local` has two.
#[must_use]
pub fn canonical(cluster: &str) -> &str {
    if cluster == IN_CLUSTER { LOCAL } else { cluster }
}

/// Whether a cluster is meant: named or labelled, and not left out. No selector means `local`.
#[must_use]
pub fn means_cluster(
    selector: Option<&ClusterSelector>,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let Some(selector) = selector else { return name == LOCAL };
    let listed = |names: &[String]| names.iter().any(|listed| canonical(listed) == name);
    !listed(&selector.exclude)
        && (listed(&selector.names)
            || selector.selector.as_ref().is_some_and(|selector| matches(selector, labels)))
}

/// Whether a namespace refuses credentials of other namespaces.
#[must_use]
pub fn opted_out(labels: &BTreeMap<String, String>) -> bool {
    labels.get(LABEL_OPT_OUT).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn selector(value: serde_json::Value) -> NamespaceSelector {
        serde_json::from_value(value).unwrap()
    }

    fn hit(value: serde_json::Value, name: &str, pairs: &[(&str, &str)]) -> bool {
        NamespaceMatcher::new(&selector(value), "claviger-system").matches(name, &labels(pairs))
    }

    #[test]
    fn names_and_labels_add_up_and_exclude_wins() {
        let both = json!({"names": ["web"], "selector": {"matchLabels": {"team": "billing"}}, "exclude": ["sandbox"]});
        assert!(hit(both.clone(), "web", &[]));
        assert!(hit(both.clone(), "db", &[("team", "billing")]));
        assert!(!hit(both.clone(), "db", &[("team", "other")]));
        assert!(!hit(both, "sandbox", &[("team", "billing")]));
        assert!(hit(json!({"selector": {}}), "any", &[]));
        assert!(!hit(json!({}), "any", &[]));
    }

    #[test]
    fn system_namespaces_must_be_named() {
        for name in ["kube-system", "kube-public", "kube-node-lease", "claviger-system"] {
            assert!(!hit(json!({"selector": {}}), name, &[]), "{name}");
            assert!(hit(json!({"selector": {}, "names": [name]}), name, &[]), "{name}");
        }
    }

    #[test]
    fn expressions_mean_what_they_mean_in_kubernetes() {
        let hit = |operator: &str, values: &[&str], pairs: &[(&str, &str)]| {
            let selector =
                json!({"matchExpressions": [{"key": "env", "operator": operator, "values": values}]});
            matches(&serde_json::from_value(selector).unwrap(), &labels(pairs))
        };
        assert!(hit("In", &["prod"], &[("env", "prod")]) && !hit("In", &["prod"], &[]));
        assert!(hit("NotIn", &["prod"], &[]) && !hit("NotIn", &["prod"], &[("env", "prod")]));
        assert!(hit("Exists", &[], &[("env", "")]) && !hit("Exists", &[], &[]));
        assert!(hit("DoesNotExist", &[], &[]) && !hit("DoesNotExist", &[], &[("env", "x")]));
    }

    #[test]
    fn clusters_by_name_by_label_and_local_by_default() {
        let means = |selector: serde_json::Value, name: &str, pairs: &[(&str, &str)]| {
            let selector: Option<ClusterSelector> = serde_json::from_value(selector).unwrap();
            means_cluster(selector.as_ref(), name, &labels(pairs))
        };
        let none = serde_json::Value::Null;
        assert!(means(none.clone(), "local", &[]) && !means(none, "east", &[]));
        let named = json!({"names": ["east"], "selector": {"matchLabels": {"env": "prod"}}});
        assert!(means(named.clone(), "east", &[]) && means(named.clone(), "west", &[("env", "prod")]));
        assert!(!means(named.clone(), "west", &[]) && !means(named, "local", &[]));
        let all = json!({"selector": {}, "exclude": ["east"]});
        assert!(means(all.clone(), "local", &[]) && means(all.clone(), "west", &[]));
        assert!(!means(all, "east", &[]));
        assert!(!means(json!({}), "local", &[]), "an empty list is nobody");
        assert!(means(json!({"names": ["in-cluster"]}), "local", &[]), "as Argo CD says");
        assert!(!means(json!({"selector": {}, "exclude": ["in-cluster"]}), "local", &[]));
    }

    proptest! {
        #[test]
        fn exclude_always_wins_and_names_always_reach(
            name in "[a-z]{1,3}", names in prop::collection::vec("[a-z]{1,3}", 0..4),
            exclude in prop::collection::vec("[a-z]{1,3}", 0..4), all: bool,
        ) {
            let selector = NamespaceSelector {
                names: names.clone(), exclude: exclude.clone(), selector: all.then(LabelSelector::default),
            };
            let hit = NamespaceMatcher::new(&selector, "operator").matches(&name, &BTreeMap::new());
            prop_assert_eq!(hit, !exclude.contains(&name) && (all || names.contains(&name)));
        }
    }
}
