//! What makes a credential win over the other defaults for its registries.

use std::collections::BTreeSet;

use super::registry::registry;
use crate::api::RegistryCredentialSpec;

/// A credential, as far as defaults are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Namespace and name.
    pub title: String,
    /// Keys in `auths`.
    pub keys: BTreeSet<String>,
    pub enabled: bool,
    pub priority: i32,
}

/// What has to stand in the spec of the credential that shall win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub priority: i32,
    /// Whether it stands there already.
    pub is_made: bool,
    /// The defaults for a registry of it, which come after it, with the highest priority first.
    pub loses: Vec<Candidate>,
}

impl Candidate {
    pub fn new(title: String, spec: &RegistryCredentialSpec) -> Self {
        let keys = spec.entries().iter().map(|login| registry(login).key).collect();
        let default = spec.default.as_ref();
        Self {
            title,
            keys,
            enabled: default.is_some_and(|default| default.enabled),
            priority: default.map_or(0, |default| default.priority),
        }
    }

    /// What makes this one win over all others; the title of the one that nothing wins over, where there is one.
    pub fn choose(&self, others: Vec<Self>) -> Result<Choice, String> {
        let mut loses: Vec<Self> = others
            .into_iter()
            .filter(|other| other.enabled && other.title != self.title && !other.keys.is_disjoint(&self.keys))
            .collect();
        loses.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.title.cmp(&b.title)));
        let needed = match loses.first() {
            None => self.priority,
            Some(first) if self.priority > first.priority => self.priority,
            Some(first) => first.priority.checked_add(1).ok_or_else(|| first.title.clone())?,
        };
        let is_made = self.enabled && self.priority == needed;
        Ok(Choice { priority: needed, is_made, loses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(title: &str, keys: &[&str], priority: Option<i32>) -> Candidate {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let (enabled, priority) = (priority.is_some(), priority.unwrap_or_default());
        Candidate { title: title.to_owned(), keys, enabled, priority }
    }

    fn choice(priority: i32, is_made: bool, loses: &[Candidate]) -> Result<Choice, String> {
        Ok(Choice { priority, is_made, loses: loses.to_vec() })
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
        let top = candidate("a/top", &["quay.io"], Some(i32::MAX));
        assert_eq!(own(None).choose(vec![top]), Err("a/top".to_owned()));
    }
}
