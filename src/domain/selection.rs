//! Which namespaces and clusters a selector means.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::namespace::Namespace;
use crate::api::{ClusterSelector, LabelSelector, NamespaceSelector, SelectorOperator};

/// Name of the cluster that the operator runs in.
pub const LOCAL: &str = "local";

/// What Argo CD calls the cluster that it runs in.
const IN_CLUSTER: &str = "in-cluster";

/// Namespaces that only a name reaches, never a label, besides the operator's own.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Whether labels, asked for by key, meet a selector.
pub(crate) fn matches<'l>(selector: &LabelSelector, label: impl Fn(&str) -> Option<&'l str>) -> bool {
    selector.match_labels.iter().all(|(key, value)| label(key) == Some(value))
        && selector.match_expressions.iter().all(|requirement| {
            let value = label(&requirement.key);
            let listed = |value: &str| requirement.values.iter().any(|one| one == value);
            match requirement.operator {
                SelectorOperator::In => value.is_some_and(listed),
                SelectorOperator::NotIn => !value.is_some_and(listed),
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
            }
        })
}

/// A [`NamespaceSelector`] made ready to be asked about many namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceMatcher {
    names: HashSet<Arc<str>>,
    exclude: HashSet<Arc<str>>,
    selector: Option<LabelSelector>,
    operator_namespace: Arc<str>,
}

impl NamespaceMatcher {
    pub fn new(selector: &NamespaceSelector, operator_namespace: &Arc<str>) -> Self {
        let set = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
        Self {
            names: set(&selector.names),
            exclude: set(&selector.exclude),
            selector: selector.selector.clone(),
            operator_namespace: operator_namespace.clone(),
        }
    }

    /// Whether a namespace is selected: by name or label, and not excluded. A system namespace must be named.
    pub fn matches(&self, name: &str, namespace: &Namespace) -> bool {
        if self.exclude.contains(name) {
            return false;
        }
        self.names.contains(name)
            || (!SYSTEM_NAMESPACES.contains(&name)
                && name != &*self.operator_namespace
                && self
                    .selector
                    .as_ref()
                    .is_some_and(|selector| matches(selector, |key| namespace.label(name, key))))
    }

    /// Whether it asks for one of these labels.
    pub fn asks_for(&self, labels: &[&str]) -> bool {
        self.selector.as_ref().is_some_and(|selector| {
            let keys = selector.match_expressions.iter().map(|requirement| &requirement.key);
            selector.match_labels.keys().chain(keys).any(|key| labels.contains(&key.as_str()))
        })
    }

    /// Whether the selector lists a name and does not exclude it.
    pub fn lists(&self, name: &str) -> bool {
        self.names.contains(name) && !self.exclude.contains(name)
    }

    /// Names that the selector lists and does not exclude.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter().filter(|name| !self.exclude.contains(&***name))
    }
}

/// The name by which we know a cluster: `local` has two.
pub fn canonical(cluster: &str) -> &str {
    if cluster == IN_CLUSTER { LOCAL } else { cluster }
}

/// Whether a selector lists a cluster by name.
pub fn lists_cluster(selector: Option<&ClusterSelector>, name: &str) -> bool {
    selector.is_some_and(|selector| selector.names.iter().any(|listed| canonical(listed) == name))
}

/// Whether a cluster is selected: by name or label, and not excluded. No selector means `local`.
pub(crate) fn selects_cluster(
    selector: Option<&ClusterSelector>,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let Some(selector) = selector else { return name == LOCAL };
    let listed = |names: &[String]| names.iter().any(|listed| canonical(listed) == name);
    !listed(&selector.exclude)
        && (listed(&selector.names)
            || selector
                .selector
                .as_ref()
                .is_some_and(|selector| matches(selector, |key| labels.get(key).map(String::as_str))))
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
        let namespace = Namespace::new(name, labels(pairs), false);
        NamespaceMatcher::new(&selector(value), &"claviger-system".into()).matches(name, &namespace)
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
    fn the_label_that_every_namespace_has_is_its_name() {
        let by_name = json!({"selector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}});
        assert!(hit(by_name.clone(), "web", &[("kubernetes.io/metadata.name", "web")]));
        assert!(!hit(by_name, "db", &[("kubernetes.io/metadata.name", "db")]));
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
            let labels = labels(pairs);
            matches(&serde_json::from_value(selector).unwrap(), |key| labels.get(key).map(String::as_str))
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
            selects_cluster(selector.as_ref(), name, &labels(pairs))
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
            let hit = NamespaceMatcher::new(&selector, &"operator".into()).matches(&name, &Namespace::default());
            prop_assert_eq!(hit, !exclude.contains(&name) && (all || names.contains(&name)));
        }
    }
}
