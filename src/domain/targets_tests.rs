use serde_json::json;

use super::*;
use crate::api::{CredentialKind, DistributionPolicySpec, Target};

/// The verdict on namespace `to` for a credential of `from` that targets all namespaces, and the named one.
fn verdict_in(cluster: &str, policies: &[serde_json::Value], from: &str, to: &str) -> Verdict {
    let operator: Arc<str> = "claviger-system".into();
    let policies: Vec<Policy> = policies
        .iter()
        .map(|spec| {
            let spec: DistributionPolicySpec = serde_json::from_value(spec.clone()).unwrap();
            Policy::new(&spec, &operator)
        })
        .collect();
    let target: Target =
        serde_json::from_value(json!({"namespaces": {"names": [to], "selector": {}}})).unwrap();
    let selector = target.namespaces.as_ref().map(|all| Arc::new(NamespaceMatcher::new(all, &operator)));
    let own = Namespace::default();
    let covering =
        policies.iter().filter(|policy| policy.covers(CredentialKind::RegistryCredential, from, &own));
    ClusterTargets::new(&from.into(), selector, covering, cluster, true, &BTreeMap::new())
        .judge(to, &Namespace::default())
}

fn allows_in(cluster: &str, policies: &[serde_json::Value], from: &str, to: &str) -> bool {
    verdict_in(cluster, policies, from, to) == Verdict::Permitted
}

fn allows(policies: &[serde_json::Value], from: &str, to: &str) -> bool {
    allows_in(LOCAL, policies, from, to)
}

#[test]
fn another_cluster_needs_a_policy_that_speaks_of_it() {
    let local =
        json!({"from": {"namespaces": {"names": ["platform"]}}, "to": {"namespaces": {"selector": {}}}});
    assert!(allows(std::slice::from_ref(&local), "platform", "web"));
    assert!(!allows_in("east", std::slice::from_ref(&local), "platform", "web"));
    assert!(!allows_in("east", &[local], "platform", "platform"), "the own namespace is here, not there");
    let east = json!({
        "from": {"namespaces": {"names": ["platform"]}},
        "to": {"namespaces": {"selector": {}}, "clusters": {"names": ["east"]}},
    });
    assert!(allows_in("east", std::slice::from_ref(&east), "platform", "platform"));
    assert!(!allows_in("west", std::slice::from_ref(&east), "platform", "web"));
    assert!(!allows(&[east], "platform", "web"), "it names another cluster, not this one");
}

#[test]
fn labels_and_annotations_in_other_namespaces_need_a_policy_that_allows_them() {
    let policy = |to: &str, keys: &[&str]| {
        let to = json!({"namespaces": {"names": [to]}, "allowedMetadata": keys});
        let spec = json!({"from": {"namespaces": {"names": ["team"]}}, "to": to});
        Policy::new(&serde_json::from_value(spec).unwrap(), &"claviger-system".into())
    };
    let refused = |policies: &[Policy], namespace: &str| {
        let target: Target = serde_json::from_value(json!({
            "namespaces": {"selector": {}}, "labels": {"jenkins.io/credentials-type": "x"}, "annotations": {"team": "a"},
        }))
        .unwrap();
        let selector =
            Arc::new(NamespaceMatcher::new(target.namespaces.as_ref().unwrap(), &"claviger-system".into()));
        let targets =
            ClusterTargets::new(&"team".into(), Some(selector), policies, LOCAL, true, &BTreeMap::new());
        let targets = targets.with_metadata(&target);
        let seen = Namespace::default();
        (targets.judge(namespace, &seen), targets.refused_key(namespace, &seen).map(str::to_owned))
    };
    let key = |key: &str| (Verdict::NotPermitted, Some(key.to_owned()));
    assert_eq!(refused(&[policy("web", &[])], "web"), key("jenkins.io/credentials-type"));
    assert_eq!(refused(&[policy("web", &["jenkins.io/"])], "web"), key("team"));
    assert_eq!(refused(&[policy("web", &["jenkins.io/", "te"])], "web"), key("team"), "that is no prefix");
    let both = [policy("web", &["jenkins.io/"]), policy("web", &["team"])];
    assert_eq!(refused(&both, "web"), (Verdict::Permitted, None), "policies add up");
    let elsewhere = [policy("web", &["jenkins.io/"]), policy("db", &["team"])];
    assert_eq!(refused(&elsewhere, "web"), key("team"), "where they allow a copy");
    assert_eq!(refused(&both, "db"), (Verdict::NotPermitted, None));
    assert_eq!(refused(&[], "team"), (Verdict::Permitted, None), "its own namespace is its own");
}

#[test]
fn without_a_policy_only_the_own_namespace() {
    assert!(allows(&[], "team", "team"));
    assert_eq!(verdict_in(LOCAL, &[], "team", "web"), Verdict::NotPermitted);
    assert!(allows(&[], "kube-system", "kube-system"));
}

#[test]
fn policies_only_ever_add() {
    let policies = [
        json!({"from": {"namespaces": {"names": ["platform"]}}, "to": {"namespaces": {"selector": {}, "exclude": ["db"]}}}),
        json!({"from": {"namespaces": {"names": ["platform"]}}, "to": {"namespaces": {"names": ["db"]}}}),
    ];
    assert!(allows(&policies, "platform", "web"));
    assert!(allows(&policies, "platform", "db"), "an exclude of one policy takes nothing from another");
    assert!(!allows(&policies, "team", "web"));
}

#[test]
fn system_namespaces_need_a_name_on_both_sides() {
    let all = json!({"from": {"namespaces": {"selector": {}}}, "to": {"namespaces": {"selector": {}}}});
    assert!(allows(std::slice::from_ref(&all), "team", "web"));
    assert!(!allows(std::slice::from_ref(&all), "team", "kube-system"));
    assert!(!allows(&[all], "kube-system", "web"));
    let named = json!({"from": {"namespaces": {"names": ["claviger-system"]}}, "to": {"namespaces": {"names": ["kube-system"]}}});
    assert!(allows(&[named], "claviger-system", "kube-system"));
}

#[test]
fn an_empty_selector_in_from_grants_nobody() {
    let nobody = json!({"from": {"namespaces": {}}, "to": {"namespaces": {"selector": {}}}});
    assert!(!allows(&[nobody], "team", "web"));
}

#[test]
fn a_namespace_that_refuses_or_goes_is_no_target_but_the_own_one_refuses_nobody() {
    let operator: Arc<str> = "operator".into();
    let target: Target = serde_json::from_value(json!({"namespaces": {"selector": {}}})).unwrap();
    let selector = target.namespaces.as_ref().map(|all| Arc::new(NamespaceMatcher::new(all, &operator)));
    let targets = ClusterTargets::new(&"home".into(), selector, [], LOCAL, true, &BTreeMap::new());
    let opted_out = Namespace::new("x", [("claviger.dev/opt-out".into(), "true".into())].into(), false);
    assert_eq!(targets.judge("web", &opted_out), Verdict::NotTargeted);
    assert_eq!(targets.judge("home", &opted_out), Verdict::Permitted);
    let going = Namespace::new("home", BTreeMap::new(), true);
    assert_eq!(targets.judge("home", &going), Verdict::NotTargeted);
}

#[test]
fn a_change_that_is_none_for_the_credential_is_ignored() {
    let operator: Arc<str> = "operator".into();
    let spec = json!({"namespaces": {"names": ["web"], "selector": {"matchLabels": {"team": "a"}}}});
    let target: Target = serde_json::from_value(spec).unwrap();
    let selector = target.namespaces.as_ref().map(|all| Arc::new(NamespaceMatcher::new(all, &operator)));
    let targets = ClusterTargets::new(&"home".into(), selector, [], LOCAL, true, &BTreeMap::new());
    let plain = Namespace::default();
    let other = Namespace::new("x", [("unrelated".into(), "1".into())].into(), false);
    let team = Namespace::new("x", [("team".into(), "a".into())].into(), false);
    assert!(targets.ignores("x", Some(&plain), Some(&other)), "neither is a target");
    assert!(targets.ignores("x", None, Some(&other)) && targets.ignores("x", Some(&other), None));
    assert!(!targets.ignores("x", Some(&plain), Some(&team)) && !targets.ignores("x", Some(&team), None));
    assert!(!targets.ignores("web", None, Some(&plain)), "a name that is listed appears");
    assert!(targets.ignores("web", Some(&plain), Some(&other)), "it stays a target");
    let going = Namespace::new("x", BTreeMap::new(), true);
    let depends = |after| {
        let labels = Namespace::changed_labels(Some(&plain), Some(after));
        labels.map(|labels| targets.depends_on(&labels))
    };
    assert_eq!((depends(&other), depends(&team)), (Some(false), Some(true)));
    assert_eq!(depends(&going), None, "more than labels");
    assert!(targets.depends_on(&[LABEL_OPT_OUT]));
}
