//! What a policy tells of itself: whom it is about in words, and how many credentials that is.

use super::counted::listed;
use crate::api::{DistributionPolicySpec, DistributionPolicyStatus, LabelSelector};

/// The status of a policy of a generation that is about so many credentials.
pub(crate) fn policy_status(
    spec: &DistributionPolicySpec,
    generation: Option<i64>,
    credentials: usize,
) -> DistributionPolicyStatus {
    let (from, to) = (&spec.from.namespaces, &spec.to.namespaces);
    let clusters = match &spec.to.clusters {
        Some(clusters) => words(&clusters.names, clusters.selector.as_ref(), &clusters.exclude),
        None => "local".to_owned(),
    };
    DistributionPolicyStatus {
        observed_generation: generation,
        from: Some(words(&from.names, from.selector.as_ref(), &from.exclude)),
        to: Some(words(&to.names, to.selector.as_ref(), &to.exclude)),
        clusters: Some(clusters),
        credentials: i64::try_from(credentials).ok(),
    }
}

/// A selector in words.
fn words(names: &[String], selector: Option<&LabelSelector>, exclude: &[String]) -> String {
    let named: Vec<&String> = names.iter().filter(|name| !exclude.contains(name)).collect();
    let selects_all =
        |selector: &LabelSelector| selector.match_labels.is_empty() && selector.match_expressions.is_empty();
    let selected = selector.map(|selector| if selects_all(selector) { "all" } else { "by label" });
    let mut parts: Vec<String> = selected.map(str::to_owned).into_iter().collect();
    // An empty selector leaves out the system namespaces, which only names reach.
    if !named.is_empty() {
        parts.push(listed(named.iter().map(ToString::to_string), named.len()));
    }
    if parts.is_empty() {
        return "none".to_owned();
    }
    let told = parts.join(", ");
    // What is left out of a list of names alone is not in it.
    if exclude.is_empty() || selector.is_none() {
        return told;
    }
    format!("{told} except {}", listed(exclude.iter().cloned(), exclude.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(from: Value, to: Value) -> DistributionPolicyStatus {
        let spec = json!({"from": {"namespaces": from}, "to": to});
        policy_status(&serde_json::from_value(spec).unwrap(), Some(3), 7)
    }

    #[test]
    fn selectors_are_told_in_words() {
        let label = json!({"matchLabels": {"team": "billing"}});
        for (selector, words) in [
            (json!({}), "none"),
            (json!({"names": ["web"]}), "web"),
            (json!({"names": ["a", "b", "c", "d", "e"]}), "a, b, c and 2 more"),
            (json!({"names": ["a", "b"], "exclude": ["b"]}), "a"),
            (json!({"names": ["a"], "exclude": ["a"]}), "none"),
            (json!({"selector": {}}), "all"),
            (json!({"selector": {}, "names": ["kube-system"]}), "all, kube-system"),
            (json!({"selector": {}, "exclude": ["sandbox"]}), "all except sandbox"),
            (json!({"selector": label}), "by label"),
            (json!({"selector": label, "names": ["web"]}), "by label, web"),
            (
                json!({"selector": label, "exclude": ["a", "b", "c", "d"]}),
                "by label except a, b, c and 1 more",
            ),
        ] {
            let told = status(selector.clone(), json!({"namespaces": selector, "clusters": selector}));
            for words_told in [told.from, told.to, told.clusters] {
                assert_eq!(words_told.as_deref(), Some(words), "{selector}");
            }
        }
    }

    #[test]
    fn without_clusters_it_is_about_the_local_one() {
        let told = status(json!({"names": ["a"]}), json!({"namespaces": {}}));
        assert_eq!((told.clusters.as_deref(), told.credentials), (Some("local"), Some(7)));
        assert_eq!(told.observed_generation, Some(3));
    }

    #[test]
    fn the_longest_words_fit() {
        let names: Vec<String> = (0..1024).map(|n| format!("{n:0>63}")).collect();
        let selector =
            json!({"selector": {"matchLabels": {"a": "b"}}, "names": names, "exclude": names[500..]});
        let told = status(selector.clone(), json!({"namespaces": selector}));
        assert!(told.from.is_some_and(|words| words.len() < 1024));
    }
}
