//! Writes of ours, which a watch echoes, and before or after which a list may show an object.

use std::collections::HashMap;

use crate::domain::identity::NamespacedName;

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The answer shows the object as it is after the write.
    Answered,
    /// It was refused, got no answer, or took the object away. A refusal proves nothing: the state that the write was
    /// for may be gone, with an etcd that was restored.
    Unanswered,
}

/// Writes of ours to objects of one kind, with what is kept about each while it is in flight.
#[derive(Debug)]
pub(super) struct OwnWrites<T> {
    in_flight: HashMap<NamespacedName, T>,
    /// While objects are listed: those with a write in flight since the list began, and the best ending of one of these.
    since_list: Option<HashMap<NamespacedName, Ending>>,
}

impl<T> Default for OwnWrites<T> {
    fn default() -> Self {
        Self { in_flight: HashMap::new(), since_list: None }
    }
}

impl<T> OwnWrites<T> {
    pub fn begin(&mut self, name: &NamespacedName, details: T) {
        self.in_flight.insert(name.clone(), details);
        if let Some(writes) = &mut self.since_list {
            writes.entry(name.clone()).or_insert(Ending::Unanswered);
        }
    }

    /// Returns what was kept about the write.
    pub fn end(&mut self, name: &NamespacedName, ending: Ending) -> Option<T> {
        if let Some(writes) = self.since_list.as_mut().filter(|_| ending == Ending::Answered) {
            writes.insert(name.clone(), ending);
        }
        self.in_flight.remove(name)
    }

    pub fn get(&self, name: &NamespacedName) -> Option<&T> {
        self.in_flight.get(name)
    }

    pub fn get_mut(&mut self, name: &NamespacedName) -> Option<&mut T> {
        self.in_flight.get_mut(name)
    }

    pub fn begin_list(&mut self) {
        let in_flight = self.in_flight.keys().cloned();
        self.since_list = Some(in_flight.map(|name| (name, Ending::Unanswered)).collect());
    }

    /// Returns the objects with a write in flight since the list began, of which it cannot tell whether they are there.
    pub fn end_list(&mut self) -> HashMap<NamespacedName, Ending> {
        self.since_list.take().unwrap_or_default()
    }

    /// Whether the list may show an object as it was before a write that was answered.
    pub fn is_answered(&self, name: &NamespacedName) -> bool {
        self.since_list.as_ref().and_then(|writes| writes.get(name)) == Some(&Ending::Answered)
    }
}
