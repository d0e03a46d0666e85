//! What is said of a default, and which ServiceAccounts the policy then attaches.

use serde_json::{Value, json};

use super::{NAMESPACE, ROBOT};

/// In which of the namespaces a credential is attached, by its name: what it asks for, and what the operator has said.
pub fn rules(home: &str) -> Vec<(&'static str, Value, Option<Value>, Vec<&str>)> {
    let good = || Some(json!({}));
    let to = |namespaces: Value| json!({"target": {"namespaces": namespaces}});
    let by = |selector: Value| to(json!({"selector": selector}));
    let env = |operator: &str, values: Value| {
        let mut requirement = json!({"key": "env", "operator": operator});
        if !values.is_null() {
            requirement["values"] = values;
        }
        by(json!({"matchLabels": {"team": "billing"}, "matchExpressions": [requirement]}))
    };
    let clusters =
        |clusters: Value| json!({"target": {"namespaces": {"names": ["web"]}, "clusters": clusters}});
    let home_and_web = || to(json!({"names": [home, "web"]}));
    let with = |default: Value| json!({"target": {"namespaces": {"names": ["web"]}}, "default": default});
    vec![
        ("all", by(json!({})), good(), vec!["web", "db", home]),
        ("own", json!({}), good(), vec![home]),
        ("nobody", to(json!({})), good(), vec![]),
        (
            "named",
            to(json!({"names": ["web", "out", "kube-system", NAMESPACE]})),
            good(),
            vec!["web", "kube-system", NAMESPACE],
        ),
        ("labels", by(json!({"matchLabels": {"team": "billing"}})), good(), vec!["web", "db"]),
        ("other-label", by(json!({"matchLabels": {"team": "other"}})), good(), vec![]),
        ("both", by(json!({"matchLabels": {"team": "billing", "env": "prod"}})), good(), vec!["web"]),
        ("in", env("In", json!(["stage", "prod"])), good(), vec!["web"]),
        ("not-in", env("NotIn", json!(["stage", "prod"])), good(), vec!["db"]),
        ("exists", env("Exists", Value::Null), good(), vec!["web"]),
        ("missing", env("DoesNotExist", Value::Null), good(), vec!["db"]),
        (
            "name-label",
            by(json!({"matchLabels": {"kubernetes.io/metadata.name": "web"}})),
            good(),
            vec!["web"],
        ),
        (
            "union",
            to(json!({"names": ["db"], "selector": {"matchLabels": {"env": "prod"}}})),
            good(),
            vec!["web", "db"],
        ),
        ("excluded", to(json!({"selector": {}, "exclude": ["web"]})), good(), vec!["db", home]),
        ("excluded-name", to(json!({"names": ["web"], "exclude": ["web"]})), good(), vec![]),
        ("local", clusters(json!({"names": ["east", "local"]})), good(), vec!["web"]),
        ("in-cluster", clusters(json!({"names": ["in-cluster"]})), good(), vec!["web"]),
        ("east", clusters(json!({"names": ["east"]})), good(), vec![]),
        ("not-here", clusters(json!({"names": ["local"], "exclude": ["in-cluster"]})), good(), vec![]),
        // The operator knows the labels of this cluster.
        ("by-cluster-label", clusters(json!({"selector": {}})), good(), vec![]),
        ("off", with(json!({"enabled": false, "serviceAccounts": [ROBOT]})), good(), vec![]),
        ("other-account", with(json!({"enabled": true, "serviceAccounts": ["builder"]})), good(), vec![]),
        ("default-account", with(json!({"enabled": true})), good(), vec![]),
        ("no-default", with(Value::Null), good(), vec![]),
        // Without a word of the operator about this very spec, only its own namespace may have it.
        ("unjudged", home_and_web(), None, vec![home]),
        ("judged-before", home_and_web(), Some(json!({"observedGeneration": 0})), vec![home]),
        (
            "not-permitted",
            home_and_web(),
            Some(json!({"status": "False", "reason": "DefaultNotPermitted"})),
            vec![home],
        ),
        (
            "conflict",
            home_and_web(),
            Some(json!({"status": "False", "reason": "DefaultConflict"})),
            vec![home],
        ),
        (
            "failing",
            home_and_web(),
            Some(json!({"status": "False", "reason": "Forbidden"})),
            vec![home, "web"],
        ),
        ("at-it", home_and_web(), Some(json!({"status": "False", "reason": "Progressing"})), vec![home]),
        (
            "unknown",
            home_and_web(),
            Some(json!({"status": "Unknown", "reason": "ClusterUnreachable"})),
            vec![home, "web"],
        ),
        ("other-condition", home_and_web(), Some(json!({"type": "Ready"})), vec![home]),
    ]
}
