//! What a queue knows of its keys: values, and no waiting.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::key::{Key, Next, Work};
use crate::domain::backoff::Backoff;

pub(super) struct State<K: Key, W: Work> {
    workers: usize,
    backoff: Backoff,
    entries: HashMap<K, Entry<W>>,
    groups: HashMap<Option<Arc<str>>, Group<K>>,
    /// Keys that wait for a time, by that time and then by number.
    delayed: BTreeMap<(Instant, u64), K>,
    next_number: u64,
}

struct Group<K> {
    running: usize,
    line: VecDeque<K>,
}

#[derive(Default)]
struct Entry<W> {
    work: W,
    state: Place,
    /// When and under which number it comes by itself.
    due: Option<(Instant, u64)>,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Idle,
    InLine,
    Running,
    /// It was added while it was worked on.
    RunningAndAdded,
}

impl<K: Key, W: Work> State<K, W> {
    pub fn new(workers: usize, backoff: Backoff) -> Self {
        Self {
            workers,
            backoff,
            entries: HashMap::new(),
            groups: HashMap::new(),
            delayed: BTreeMap::new(),
            next_number: 0,
        }
    }

    pub fn add(&mut self, key: K, work: W) {
        self.entry(&key).work.merge(work);
        self.get_in_line(key);
    }

    pub fn add_after(&mut self, key: K, work: W, due: Instant) {
        let entry = self.entry(&key);
        entry.work.merge(work);
        if entry.state == Place::InLine || entry.due.is_some_and(|(at, _)| at <= due) {
            return;
        }
        self.delay(key, due);
    }

    #[cfg(test)]
    pub fn depth(&self) -> usize {
        self.groups.values().map(|group| group.line.len()).sum()
    }

    /// Keys whose turn it is, with what is to be done; and when the next one comes by itself.
    pub fn take(&mut self, now: Instant) -> (Vec<(K, W)>, Option<Instant>) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            self.entry(&key).due = None;
            self.get_in_line(key);
        }
        let mut ready = Vec::new();
        for group in self.groups.values_mut() {
            while group.running < self.workers
                && let Some(key) = group.line.pop_front()
            {
                let Some(entry) = self.entries.get_mut(&key) else { continue };
                entry.state = Place::Running;
                group.running += 1;
                ready.push((key, std::mem::take(&mut entry.work)));
            }
        }
        (ready, self.delayed.keys().next().map(|(due, _)| *due))
    }

    pub fn done(&mut self, key: &K, next: Next, now: Instant, jitter: f64) {
        let name = key.group();
        if let Some(group) = self.groups.get_mut(&name) {
            group.running = group.running.saturating_sub(1);
        }
        let backoff = self.backoff;
        let entry = self.entry(key);
        let added = std::mem::replace(&mut entry.state, Place::Idle) == Place::RunningAndAdded;
        entry.failures = if next == Next::Retry { entry.failures.saturating_add(1) } else { 0 };
        let wait = match next {
            Next::Done => None,
            Next::Again => Some(Duration::ZERO),
            Next::After(wait) => Some(wait),
            Next::Retry => Some(backoff.wait(entry.failures, jitter)),
        };
        if added || wait.is_some_and(|wait| wait.is_zero()) {
            self.get_in_line(key.clone());
        } else if let Some(wait) = wait {
            let due = now + wait;
            if self.entry(key).due.is_none_or(|(at, _)| at > due) {
                self.delay(key.clone(), due);
            }
        }
        // A key of which nothing is to be remembered takes no memory.
        let entry = self.entry(key);
        if entry.state == Place::Idle && entry.due.is_none() && entry.failures == 0 {
            self.entries.remove(key);
        }
        if self.groups.get(&name).is_some_and(|group| group.running == 0 && group.line.is_empty()) {
            self.groups.remove(&name);
        }
    }

    fn entry(&mut self, key: &K) -> &mut Entry<W> {
        self.entries.entry(key.clone()).or_default()
    }

    fn get_in_line(&mut self, key: K) {
        let entry = self.entry(&key);
        match entry.state {
            Place::Idle => entry.state = Place::InLine,
            Place::Running => {
                entry.state = Place::RunningAndAdded;
                return;
            }
            Place::InLine | Place::RunningAndAdded => return,
        }
        if let Some(due) = entry.due.take() {
            self.delayed.remove(&due);
        }
        let group = self.groups.entry(key.group());
        let group = group.or_insert_with(|| Group { running: 0, line: VecDeque::new() });
        group.line.push_back(key);
    }

    fn delay(&mut self, key: K, due: Instant) {
        self.next_number = self.next_number.wrapping_add(1);
        let place = (due, self.next_number);
        if let Some(before) = self.entry(&key).due.replace(place) {
            self.delayed.remove(&before);
        }
        self.delayed.insert(place, key);
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.groups.is_empty() && self.delayed.is_empty()
    }
}
