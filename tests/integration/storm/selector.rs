//! What a selector means, written a second time: nothing here comes from the operator.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::environment::OPERATOR_NAMESPACE;

pub type Labels = BTreeMap<String, String>;

pub const OPT_OUT: &str = "claviger.dev/opt-out";

/// Namespaces that only a name reaches.
pub const SYSTEM: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", OPERATOR_NAMESPACE];

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    Is(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// Namespaces or clusters: by name, by label, and those that are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub names: Vec<String>,
    pub labels: Option<Vec<Requirement>>,
    pub exclude: Vec<String>,
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::In(key, values) => labels.get(key).is_some_and(|found| values.contains(found)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|found| !values.contains(found)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }

    fn expression(&self) -> Option<Value> {
        let (key, operator, values) = match self {
            Self::Is(..) => return None,
            Self::In(key, values) => (key, "In", values.as_slice()),
            Self::NotIn(key, values) => (key, "NotIn", values.as_slice()),
            Self::Exists(key) => (key, "Exists", &[][..]),
            Self::Absent(key) => (key, "DoesNotExist", &[][..]),
        };
        let mut expression = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            expression["values"] = json!(values);
        }
        Some(expression)
    }
}

impl Selector {
    pub fn named(names: &[&str]) -> Self {
        Self { names: names.iter().map(|&name| name.to_owned()).collect(), ..Self::default() }
    }

    pub fn labelled(requirements: Vec<Requirement>) -> Self {
        Self { labels: Some(requirements), ..Self::default() }
    }

    pub fn all() -> Self {
        Self::labelled(Vec::new())
    }

    fn meets_labels(&self, labels: &Labels) -> bool {
        self.labels.as_ref().is_some_and(|all| all.iter().all(|requirement| requirement.holds(labels)))
    }

    /// Whether a namespace is meant.
    pub fn means_namespace(&self, name: &str, labels: &Labels) -> bool {
        let listed = |list: &[String]| list.iter().any(|listed| listed == name);
        if listed(&self.exclude) {
            return false;
        }
        listed(&self.names) || (!SYSTEM.contains(&name) && self.meets_labels(labels))
    }

    /// Whether a cluster is meant. `local` has a second name.
    pub fn means_cluster(&self, name: &str, labels: &Labels) -> bool {
        let listed = |list: &[String]| {
            list.iter().any(|listed| listed == name || (name == "local" && listed == "in-cluster"))
        };
        !listed(&self.exclude) && (listed(&self.names) || self.meets_labels(labels))
    }

    /// As it stands in a custom resource.
    pub fn json(&self) -> Value {
        let mut object = json!({});
        for (key, names) in [("names", &self.names), ("exclude", &self.exclude)] {
            if !names.is_empty() {
                object[key] = json!(names);
            }
        }
        if let Some(requirements) = &self.labels {
            let mut selector = json!({});
            for requirement in requirements {
                if let Requirement::Is(key, value) = requirement {
                    selector["matchLabels"][key.as_str()] = json!(value);
                }
            }
            let expressions: Vec<Value> = requirements.iter().filter_map(Requirement::expression).collect();
            if !expressions.is_empty() {
                selector["matchExpressions"] = json!(expressions);
            }
            object["selector"] = selector;
        }
        object
    }
}
