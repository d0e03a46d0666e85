//! The state of a cluster's connectivity, shared by watches, probes and writes.

use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::domain::{
    cluster_condition::{ClusterCondition, ConnectionError},
    connectivity::{Connectivity as State, Reach, Stage, WatchedKind},
    reference_kind::Kinds,
};

/// Whether a cluster can be worked with, and who waits for that.
pub(crate) struct Connectivity {
    began: Instant,
    state: watch::Sender<State>,
    probe: Notify,
}

impl Connectivity {
    /// Of a cluster in which these kinds are looked at.
    pub fn new(kinds: Kinds) -> Self {
        let state = watch::Sender::new(State::new(kinds));
        Self { began: Instant::now(), state, probe: Notify::new() }
    }

    /// What is known now. Must not be held over an await, nor while anything else is asked of this.
    pub fn state(&self) -> watch::Ref<'_, State> {
        self.state.borrow()
    }

    pub fn reach(&self) -> Reach {
        self.state().reach()
    }

    pub fn is_up(&self) -> bool {
        self.reach() == Reach::Up
    }

    /// Whether every cache was filled since the watches last began.
    pub fn is_filled(&self) -> bool {
        self.state().is_filled()
    }

    /// Whether every cache was filled at some time, so that they tell at least what was.
    pub fn was_seen(&self) -> bool {
        self.state().was_seen()
    }

    /// How much longer nothing is to be written, and why, after a write that the cluster did not take.
    pub fn pause(&self) -> Option<(Duration, ClusterCondition)> {
        self.state().pause(self.began.elapsed())
    }

    /// Waits until every cache is filled.
    pub async fn filled(&self) {
        self.wait(State::is_filled).await;
    }

    /// Waits until a kind is listed.
    pub(super) async fn listed(&self, kind: WatchedKind) {
        self.wait(|state| state.has_listed(kind)).await;
    }

    /// Waits until every cache is filled, or it is plain that this will take longer.
    pub async fn settled(&self) {
        self.wait(|state| !matches!(state.reach(), Reach::Connecting(None))).await;
    }

    async fn wait(&self, until: impl FnMut(&State) -> bool) {
        // The sender lives as long as this does.
        let _ = self.state.subscribe().wait_for(until).await;
    }

    /// Asks for a probe at once.
    pub fn probe_now(&self) {
        self.probe.notify_one();
    }

    /// Ends when a probe is asked for.
    pub(super) async fn probe_asked(&self) {
        self.probe.notified().await;
    }

    /// Changes what is known. Those who wait look at it when the change is news.
    pub(super) fn change(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        self.state.send_if_modified(change)
    }

    /// A watch listed everything, as some wait for. Returns whether that was the last one that was missing.
    pub(super) fn completed(&self, kind: WatchedKind) -> bool {
        let mut is_last = false;
        self.state.send_modify(|state| is_last = state.listed(kind));
        is_last
    }

    /// The watches begin anew.
    pub(super) fn begin(&self) {
        self.state.send_modify(State::begin);
    }

    /// A watch could not list or go on. Returns whether that is news.
    pub(super) fn faulted(&self, kind: WatchedKind, stage: Stage, why: ConnectionError) -> bool {
        let news = self.change(|state| state.faulted(kind, stage, why));
        self.probe_now();
        news
    }

    /// No connection could be made.
    pub(super) fn unconnected(&self, why: ConnectionError) {
        self.state.send_modify(|state| state.unconnected(why));
        self.probe_now();
    }

    /// A write was not taken for a reason that lies with the cluster.
    pub(super) fn strained(&self, why: ClusterCondition) {
        let (clock, jitter) = (self.began.elapsed(), rand::random());
        self.state.send_modify(|state| state.strained(why, clock, jitter));
        self.probe_now();
    }

    /// A write was taken.
    pub(super) fn eased(&self) {
        self.state.send_modify(State::eased);
    }
}
