//! One shared copy of values that many objects have.

use std::{collections::HashSet, hash::Hash, sync::Arc};

/// Below this many values nothing is looked through.
const LEAST: usize = 1024;

/// One shared copy of values that many objects have. What nothing refers to any more is dropped as values come.
#[derive(Debug)]
pub(super) struct Interner<T: ?Sized + Eq + Hash> {
    values: HashSet<Arc<T>>,
    limit: usize,
}

impl<T: ?Sized + Eq + Hash> Default for Interner<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), limit: LEAST }
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    /// The shared copy of a value.
    pub fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(found) = self.values.get(&*value) {
            return found.clone();
        }
        self.insert(value)
    }

    fn insert(&mut self, value: Arc<T>) -> Arc<T> {
        if self.values.len() >= self.limit {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            // So that the work of looking through is spread over as many new values.
            self.limit = LEAST.max(self.values.len() * 2);
            self.values.shrink_to(self.limit);
        }
        self.values.insert(value.clone());
        value
    }
}

impl Interner<str> {
    /// The shared copy of a text.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(found) = self.values.get(text) {
            return found.clone();
        }
        self.insert(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_what_nobody_uses_is_dropped() {
        let mut texts = Interner::<str>::default();
        let kept = texts.text("kept");
        assert!(Arc::ptr_eq(&kept, &texts.text("kept")));
        for number in 0..100_000 {
            texts.text(&number.to_string());
        }
        assert!(texts.values.len() <= 2 * LEAST, "{}", texts.values.len());
        assert!(Arc::ptr_eq(&kept, &texts.text("kept")));
    }
}
