//! The state of a cluster's connectivity, shared by watches, probes and writes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::domain::{
    cluster_condition::{ClusterCondition, ConnectionError},
    connectivity::{Answered, Connectivity as State, Reach, Unanswered, WatchedKind},
};

/// Whether a cluster can be worked with, and who waits for that.
pub(crate) struct Connectivity {
    began: Instant,
    state: Mutex<State>,
    /// Counts changes, for those who wait.
    changes: watch::Sender<u64>,
    probe: Notify,
}

impl Connectivity {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            probe: Notify::new(),
        }
    }

    pub fn reach(&self) -> Reach {
        self.lock().reach()
    }

    pub fn is_up(&self) -> bool {
        self.reach() == Reach::Up
    }

    /// Whether every cache was filled since the watches last began.
    pub fn is_filled(&self) -> bool {
        self.lock().is_filled()
    }

    /// Whether every cache was filled at some time, so that they tell at least what was.
    pub fn was_seen(&self) -> bool {
        self.lock().was_seen()
    }

    /// Version of its API server, as the last probe that was answered found it.
    pub fn version(&self) -> Option<Arc<str>> {
        self.lock().version()
    }

    /// When its API server was last asked.
    pub fn last_probe(&self) -> Option<Timestamp> {
        self.lock().last_probe()
    }

    /// How much longer nothing is to be written, and why, after a write that the cluster did not take.
    pub fn pause(&self) -> Option<(Duration, ClusterCondition)> {
        self.lock().pause(self.began.elapsed())
    }

    /// Waits until every cache is filled.
    pub async fn filled(&self) {
        self.wait(State::is_filled).await;
    }

    /// Waits until every cache is filled, or it is plain that this will take longer.
    pub async fn settled(&self) {
        self.wait(|state| !matches!(state.reach(), Reach::Connecting(None))).await;
    }

    /// Asks for a probe at once.
    pub fn probe_now(&self) {
        self.probe.notify_one();
    }

    /// Ends when a probe is asked for.
    pub async fn probe_asked(&self) {
        self.probe.notified().await;
    }

    /// The watches begin anew.
    pub(super) fn begin(&self) {
        self.change(State::begin);
    }

    pub(super) fn listed(&self, kind: WatchedKind) -> bool {
        self.change(|state| state.listed(kind))
    }

    pub(super) fn faulted(&self, why: ConnectionError) -> bool {
        let news = self.change(|state| state.faulted(why));
        self.probe_now();
        news
    }

    pub(super) fn answered(&self, version: Option<&str>, silent: Option<ConnectionError>) -> Answered {
        self.change(|state| state.answered(version, silent, Timestamp::now()))
    }

    pub(super) fn unanswered(&self, why: ConnectionError, certain: bool) -> Unanswered {
        self.change(|state| state.unanswered(why, certain, Timestamp::now()))
    }

    pub(super) fn strained(&self, why: ClusterCondition) {
        let (clock, jitter) = (self.began.elapsed(), rand::random());
        self.change(|state| state.strained(why, clock, jitter));
        self.probe_now();
    }

    pub(super) fn eased(&self) {
        self.change(State::eased);
    }

    async fn wait(&self, until: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !until(&self.lock()) {
            // The sender lives as long as this does.
            let _ = changes.changed().await;
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
