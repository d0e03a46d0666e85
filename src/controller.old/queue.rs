//! Turns in a cluster: a few errands at once, and the names of those who wait.

use std::collections::VecDeque;

use crate::domain::ownership::OwnerId;

/// How many errands are in flight in one cluster at once. The others wait, as a name each and no more.
const ERRANDS: usize = 8;

/// Who waits for others to be done in a cluster.
#[derive(Default)]
pub struct Queue {
    running: usize,
    waiting: VecDeque<OwnerId>,
}

impl Queue {
    /// Takes a place for an errand, or a number in the queue.
    pub fn enter(&mut self, owner: &OwnerId) -> bool {
        let enters = self.running < ERRANDS;
        if enters {
            self.running += 1;
        } else if !self.waiting.contains(owner) {
            self.waiting.push_back(owner.clone());
        }
        enters
    }

    /// Whose turn it is, if there is a place.
    pub fn next(&mut self) -> Option<OwnerId> {
        if self.running < ERRANDS { self.waiting.pop_front() } else { None }
    }

    /// An errand has ended.
    pub fn leave(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_a_few_are_in_flight_and_each_has_its_turn() {
        let mut queue = Queue::default();
        let owners: Vec<OwnerId> =
            (0..ERRANDS + 3).map(|number| OwnerId::from_label(number.to_string().into())).collect();
        let entered = owners.iter().filter(|owner| queue.enter(owner)).count();
        assert_eq!(entered, ERRANDS);
        assert!(!queue.enter(&owners[ERRANDS]), "and nobody waits twice");
        assert_eq!(queue.waiting.len(), 3);
        assert_eq!(queue.next(), None, "there is no place");
        queue.leave();
        assert_eq!(queue.next().as_ref(), owners.get(ERRANDS));
        // Who was called finds nothing to do; the next is called.
        assert_eq!(queue.next().as_ref(), owners.get(ERRANDS + 1));
        assert!(queue.enter(&owners[ERRANDS + 1]));
        assert_eq!(queue.next(), None);
    }
}
