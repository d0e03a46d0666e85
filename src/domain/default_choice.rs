//! What makes a credential win over the other defaults for its registries.

use std::collections::BTreeSet;

use serde::Serialize;

use super::registry::registry;
use crate::api::{MAX_PRIORITY, RegistryCredentialSpec};

/// A credential, as far as defaults are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub namespace: String,
    /// Namespace and name.
    pub title: String,
    /// Keys in `auths`.
    pub keys: BTreeSet<String>,
    pub enabled: bool,
    pub priority: i32,
    /// Whether it is for its own namespace only.
    pub is_local: bool,
}

/// Why a default does not come after the one that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Kept {
    /// It is for its own namespace only, and comes first there.
    OwnNamespace,
    /// It has the highest priority that there is.
    HighestPriority,
}

/// What has to stand in the spec of the credential that shall win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub priority: i32,
    /// Whether it stands there already.
    pub is_made: bool,
    /// The defaults for a registry of it, which come after it, with the highest priority first.
    pub loses: Vec<Candidate>,
    /// Those that it does not come before. Anybody may write such a one in a namespace of their own, so they say nothing
    /// about its priority.
    pub keeps: Vec<(Candidate, Kept)>,
}

impl Candidate {
    pub fn new(namespace: &str, name: &str, spec: &RegistryCredentialSpec) -> Self {
        let keys = spec.entries().iter().map(|login| registry(login).key).collect();
        let default = spec.default.as_ref();
        Self {
            namespace: namespace.to_owned(),
            title: format!("{namespace}/{name}"),
            keys,
            enabled: default.is_some_and(|default| default.enabled),
            priority: default.map_or(0, |default| default.priority),
            is_local: spec.target.namespaces.is_none(),
        }
    }

    /// Why it keeps its place beside one of that namespace and priority.
    fn kept(&self, namespace: &str, priority: i32) -> Option<Kept> {
        if self.priority == MAX_PRIORITY {
            return Some(Kept::HighestPriority);
        }
        let is_elsewhere = self.is_local && self.namespace != namespace;
        (is_elsewhere && self.priority >= priority).then_some(Kept::OwnNamespace)
    }

    /// What makes this one win over the others.
    pub fn choose(&self, others: Vec<Self>) -> Choice {
        let mut rivals: Vec<Self> = others
            .into_iter()
            .filter(|other| other.enabled && other.title != self.title && !other.keys.is_disjoint(&self.keys))
            .collect();
        rivals.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.title.cmp(&b.title)));
        let counts = |rival: &&Self| rival.kept(&self.namespace, i32::MIN).is_none();
        let above = rivals.iter().find(counts).map_or(i32::MIN, |first| first.priority.saturating_add(1));
        let priority = self.priority.max(above);
        let (mut loses, mut keeps) = (Vec::new(), Vec::new());
        for rival in rivals {
            match rival.kept(&self.namespace, priority) {
                Some(why) => keeps.push((rival, why)),
                None => loses.push(rival),
            }
        }
        let is_made = self.enabled && self.priority == priority;
        Choice { priority, is_made, loses, keeps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(title: &str, keys: &[&str], priority: Option<i32>) -> Candidate {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let (enabled, priority) = (priority.is_some(), priority.unwrap_or_default());
        let namespace = title.split('/').next().unwrap().to_owned();
        Candidate { namespace, title: title.to_owned(), keys, enabled, priority, is_local: false }
    }

    fn choice(priority: i32, is_made: bool, loses: &[Candidate]) -> Choice {
        Choice { priority, is_made, loses: loses.to_vec(), keeps: Vec::new() }
    }

    #[test]
    fn it_comes_before_those_for_the_same_registry() {
        let own = |priority| candidate("p/own", &["quay.io", "ghcr.io"], priority);
        let low = candidate("a/low", &["quay.io"], Some(-3));
        let high = candidate("a/high", &["ghcr.io"], Some(7));
        let off = candidate("a/off", &["quay.io"], None);
        let other = candidate("a/other", &["nvcr.io"], Some(50));
        assert_eq!(own(None).choose(vec![]), choice(0, false, &[]));
        assert_eq!(own(None).choose(vec![off, other]), choice(0, false, &[]));
        assert_eq!(own(None).choose(vec![low.clone()]), choice(0, false, std::slice::from_ref(&low)));
        assert_eq!(
            own(Some(7)).choose(vec![low.clone(), high.clone()]),
            choice(8, false, &[high.clone(), low])
        );
        assert_eq!(own(Some(8)).choose(vec![high.clone()]), choice(8, true, &[high]));
        assert_eq!(own(Some(0)).choose(vec![own(Some(0))]), choice(0, true, &[]), "itself is no other");
    }

    /// Whoever may write a credential in one namespace says nothing about the defaults of others.
    #[test]
    fn others_neither_push_nor_block_it() {
        let own = candidate("p/own", &["quay.io"], None);
        let top = candidate("a/top", &["quay.io"], Some(MAX_PRIORITY));
        let local =
            |title, priority| Candidate { is_local: true, ..candidate(title, &["quay.io"], Some(priority)) };
        let (high, low) = (local("a/high", 900), local("a/low", -3));
        let wide = candidate("b/wide", &["quay.io"], Some(4));
        assert_eq!(
            own.choose(vec![low.clone(), high.clone(), wide.clone(), top.clone()]),
            Choice {
                priority: 5,
                is_made: false,
                loses: vec![wide, low],
                keeps: vec![(top, Kept::HighestPriority), (high, Kept::OwnNamespace)],
            }
        );
        // In its own namespace it has to win.
        let beside = local("p/beside", 9);
        assert_eq!(own.choose(vec![beside.clone()]), choice(10, false, &[beside]));
        let last = candidate("b/last", &["quay.io"], Some(MAX_PRIORITY - 1));
        assert_eq!(own.choose(vec![last.clone()]), choice(MAX_PRIORITY, false, &[last]));
    }

    #[test]
    fn a_credential_without_namespaces_is_for_its_own() {
        let candidate = |target| {
            let spec = serde_json::json!({"provider": "Custom", "server": "quay.io", "secretRef": {"name": "s"}, "target": target});
            Candidate::new("a", "b", &serde_json::from_value(spec).unwrap())
        };
        assert!(candidate(serde_json::json!({})).is_local);
        assert!(!candidate(serde_json::json!({"namespaces": {"names": ["c"]}})).is_local);
    }
}
