//! What matters of a Namespace.

use std::{collections::BTreeMap, sync::Arc};

use crate::api::LABEL_OPT_OUT;

/// The label that the API server puts on every Namespace: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What a label takes, roughly, besides its text.
const LABEL_BYTES: usize = 96;

pub(crate) type Labels = BTreeMap<String, String>;

/// What matters of a Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// Without the label that holds the name, so that many namespaces share one value.
    labels: Arc<Labels>,
    has_name_label: bool,
    /// Whether it is being deleted. Nothing is ever written there then.
    pub terminating: bool,
}

impl Namespace {
    pub fn new(name: &str, mut labels: Labels, terminating: bool) -> Self {
        let has_name_label = labels.get(NAME_LABEL).is_some_and(|value| value == name);
        if has_name_label {
            labels.remove(NAME_LABEL);
        }
        Self { labels: Arc::new(labels), has_name_label, terminating }
    }

    /// Has the labels shared with other namespaces that have the same.
    pub fn share(&mut self, intern: impl FnOnce(Arc<Labels>) -> Arc<Labels>) {
        self.labels = intern(std::mem::take(&mut self.labels));
    }

    /// About how many bytes its labels take.
    pub fn bytes(&self) -> usize {
        self.labels.iter().map(|(key, value)| key.len() + value.len() + LABEL_BYTES).sum()
    }

    /// The value of a label. `name` is the name of this namespace.
    pub fn label<'a>(&'a self, name: &'a str, key: &str) -> Option<&'a str> {
        if self.has_name_label && key == NAME_LABEL {
            return Some(name);
        }
        self.labels.get(key).map(String::as_str)
    }

    /// The labels that differ; `None` when more than labels does.
    pub fn changed_labels<'a>(before: Option<&'a Self>, after: Option<&'a Self>) -> Option<Vec<&'a str>> {
        let (before, after) = before.zip(after)?;
        let others = |seen: &Self| (seen.terminating, seen.has_name_label);
        let differs = |key: &&String| before.labels.get(*key) != after.labels.get(*key);
        let keys = before.labels.keys().chain(after.labels.keys()).filter(differs);
        (others(before) == others(after)).then(|| keys.map(String::as_str).collect())
    }

    /// Whether it refuses credentials of other namespaces.
    pub fn opted_out(&self) -> bool {
        self.labels.get(LABEL_OPT_OUT).is_some_and(|value| value == "true")
    }
}
