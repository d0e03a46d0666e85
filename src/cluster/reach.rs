//! Whether a cluster can be worked with, and how hard.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Notify, watch as channel};
use tracing::{info, warn};

use super::{Cluster, Source, Trouble};
use crate::domain::{
    retry::Backoff,
    trouble::{Cause, ClusterTrouble},
};

/// How long nothing is written to a cluster that did not take a write. The longest wait is short, as by it
/// a cluster that is back has to wait.
const PAUSES: Backoff = Backoff { first: Duration::from_millis(500), limit: Duration::from_secs(10) };

/// Whether a cluster can be worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not everything was listed yet; why not, once something stood in the way.
    Connecting(Option<Cause>),
    /// All is known, and kept so by watches.
    Up,
    /// It does not answer.
    Down {
        /// Why.
        why: Cause,
        /// Since when.
        since: Timestamp,
    },
}

impl Reach {
    /// What is the matter, when it is not up.
    #[must_use]
    pub fn trouble(&self) -> Option<ClusterTrouble> {
        match self {
            Self::Up => None,
            Self::Connecting(None) => Some(ClusterTrouble::Connecting),
            Self::Connecting(Some(why)) => Some(ClusterTrouble::Failing(why.to_string())),
            Self::Down { why, .. } => Some(ClusterTrouble::Unreachable(why.to_string())),
        }
    }
}

/// What is known of a cluster's reach.
pub(super) struct State {
    /// What was listed since the watches last began.
    listed: channel::Sender<HashSet<Source>>,
    inner: Mutex<Inner>,
    asked: Notify,
}

#[derive(Default)]
struct Inner {
    /// What was listed at any time.
    ever: HashSet<Source>,
    /// Why a watch could not list.
    fault: Option<Cause>,
    /// Which watch has been silent for too long.
    deaf: Option<Cause>,
    down: Option<(Cause, Timestamp)>,
    failed_probes: u32,
    last_probe: Option<Timestamp>,
    version: Option<Arc<str>>,
    pause: Option<Pause>,
    failed_writes: u32,
}

struct Pause {
    until: Instant,
    trouble: ClusterTrouble,
}

impl State {
    pub(super) fn new() -> Self {
        Self { listed: channel::Sender::default(), inner: Mutex::default(), asked: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watches begin anew.
    pub(super) fn begin(&self) {
        self.listed.send_replace(HashSet::new());
        let mut inner = self.lock();
        (inner.down, inner.fault, inner.pause, inner.failed_writes) = (None, None, None, 0);
    }

    /// Asks for a probe at once.
    pub(super) fn probe_now(&self) {
        self.asked.notify_one();
    }

    /// Ends when a probe is asked for.
    pub(super) async fn probe_asked(&self) {
        self.asked.notified().await;
    }
}

impl Cluster {
    /// Whether it can be worked with.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let inner = self.reach.lock();
        if let Some((why, since)) = &inner.down {
            return Reach::Down { why: why.clone(), since: *since };
        }
        if self.is_filled() && inner.deaf.is_none() {
            return Reach::Up;
        }
        Reach::Connecting(inner.deaf.clone().or_else(|| inner.fault.clone()))
    }

    /// Which watch has been without a good answer for too long, though the server answers.
    fn deaf(&self) -> Option<Cause> {
        let stale = self.freshness.stale(&self.name, self.stale_after);
        let (kind, age) = stale.first().filter(|_| self.is_filled())?;
        Some(format!("the watch of {kind} has had no answer for {} s", age.as_secs()).as_str().into())
    }

    /// Version of its API server, as the last probe that was answered found it.
    #[must_use]
    pub fn server_version(&self) -> Option<Arc<str>> {
        self.reach.lock().version.clone()
    }

    /// When its API server was last asked.
    #[must_use]
    pub fn last_probe(&self) -> Option<Timestamp> {
        self.reach.lock().last_probe
    }

    /// Whether every cache was filled at some time, so that they tell at least what was.
    #[must_use]
    pub fn was_seen(&self) -> bool {
        self.reach.lock().ever.len() == Source::ALL
    }

    /// Waits until every cache is filled.
    pub async fn filled(&self) {
        // The sender lives as long as the cluster, so this ends only when it is so.
        let _ = self.reach.listed.subscribe().wait_for(|listed| listed.len() == Source::ALL).await;
    }

    /// Waits until every cache is filled, or it is plain that this will take longer.
    pub async fn settled(&self) {
        let mut listed = self.reach.listed.subscribe();
        loop {
            if !matches!(self.reach(), Reach::Connecting(None)) {
                return;
            }
            let _ = listed.changed().await;
        }
    }

    pub(super) fn is_filled(&self) -> bool {
        self.reach.listed.borrow().len() == Source::ALL
    }

    pub(super) fn was_listed(&self, source: Source) -> bool {
        self.reach.lock().ever.contains(&source)
    }

    /// A watch listed everything.
    pub(super) fn listed(&self, source: Source) {
        {
            let mut inner = self.reach.lock();
            inner.ever.insert(source);
            // It answers again, so there is nothing to wait for.
            (inner.pause, inner.failed_writes, inner.fault) = (None, 0, None);
        }
        let mut filled = false;
        self.reach.listed.send_if_modified(|listed| {
            let new = listed.insert(source);
            filled = new && listed.len() == Source::ALL;
            new
        });
        if filled && self.is_local() {
            // All pass at the start anyway.
            self.metrics.set_cluster_up(&self.name, true);
        } else if filled {
            info!(cluster = &*self.name, "connected");
            self.tell_reach();
        }
    }

    /// A watch could not list or go on.
    pub(super) fn faulted(&self, why: Cause) {
        let told = {
            let mut inner = self.reach.lock();
            let new = inner.fault.is_none() && !self.is_filled();
            inner.fault = Some(why);
            new
        };
        if told && !self.is_local() {
            self.reach.listed.send_if_modified(|_| true);
            self.tell_reach();
        }
        self.reach.probe_now();
    }

    /// A probe was answered.
    pub(super) fn answered(self: &Arc<Self>, version: Option<&str>) {
        let deaf = self.deaf();
        let (back, turned) = {
            let mut inner = self.reach.lock();
            (inner.failed_probes, inner.last_probe) = (0, Some(Timestamp::now()));
            if let Some(version) = version {
                inner.version = Some(version.into());
            }
            let turned = inner.deaf.is_some() != deaf.is_some();
            inner.deaf = deaf;
            (inner.down.is_some(), turned)
        };
        if back {
            info!(cluster = &*self.name, "answers again");
            self.reach.begin();
            if let Err(error) = self.watch_anew() {
                self.faulted(super::error::cause(&error));
            }
        }
        if back || turned {
            self.tell_reach();
        }
    }

    /// A probe was not answered, or not well. Returns how many in a row.
    pub(super) fn unanswered(&self, why: Cause, certain: bool) -> u32 {
        let (failures, fell) = {
            let mut inner = self.reach.lock();
            inner.last_probe = Some(Timestamp::now());
            inner.failed_probes = inner.failed_probes.saturating_add(1);
            // One lost packet is no outage.
            let fell = inner.down.is_none() && (certain || inner.failed_probes > 1 || !self.is_filled());
            match &mut inner.down {
                Some((before, _)) => *before = why.clone(),
                None if fell => inner.down = Some((why.clone(), Timestamp::now())),
                None => {}
            }
            (inner.failed_probes, fell)
        };
        if fell {
            warn!(cluster = &*self.name, "does not answer: {why}");
            self.rest();
            self.reach.listed.send_replace(HashSet::new());
            self.tell_reach();
        }
        failures
    }

    pub(super) fn tell_reach(&self) {
        self.metrics.set_cluster_up(&self.name, self.reach() == Reach::Up);
        self.sink.cluster_changed(&self.name, &self.owners());
    }

    /// How long nothing is to be written, and why, after a write that the cluster did not take.
    #[must_use]
    pub fn pause(&self) -> Option<(Duration, ClusterTrouble)> {
        let inner = self.reach.lock();
        let pause = inner.pause.as_ref()?;
        let left = pause.until.checked_duration_since(Instant::now())?;
        Some((left, pause.trouble.clone()))
    }

    /// A write was not taken for a reason that lies with the cluster.
    pub(super) fn strained(&self, trouble: &Trouble) {
        let trouble = match trouble {
            Trouble::Throttled(why) => ClusterTrouble::Throttled(why.clone()),
            Trouble::Failing(why) => ClusterTrouble::Failing(why.clone()),
            Trouble::Unreachable(why) => ClusterTrouble::Unreachable(why.clone()),
            _ => return,
        };
        {
            let mut inner = self.reach.lock();
            inner.failed_writes = inner.failed_writes.saturating_add(1);
            let wait = PAUSES.wait(inner.failed_writes, rand::random());
            inner.pause = Some(Pause { until: Instant::now() + wait, trouble });
        }
        self.reach.probe_now();
    }

    /// A write was taken.
    pub(super) fn eased(&self) {
        let mut inner = self.reach.lock();
        (inner.pause, inner.failed_writes) = (None, 0);
    }
}
