//! Work in flight: one errand at a time for each credential and cluster, beside the passes, so that none of them
//! ever waits for a cluster.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Roster, queue::Queue};
use crate::{
    cluster::{Applied, Cluster, Pace, Produced},
    domain::{
        CredentialId,
        ownership::{Hub, OwnerId},
        plan::{Failure, Plan},
        retry::Backoff,
    },
};

/// How long writes go on before the plan is made anew.
const SLICE: Duration = Duration::from_secs(2);

/// Waits before namespaces that refused a copy are tried again.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), limit: Duration::from_secs(60) };

/// Waits after an errand whose view was out of date.
const RECHECK: Backoff = Backoff { first: Duration::from_millis(20), limit: Duration::from_secs(5) };

/// At the latest after this long who waits for others looks again by itself.
pub const TURN: Duration = Duration::from_secs(5);

/// What is to be done in one cluster for one credential.
pub struct Errand {
    /// The credential.
    pub id: CredentialId,
    /// Who we are on copies.
    pub hub: Arc<Hub>,
    /// The work.
    pub plan: Plan,
    /// What is written.
    pub produced: Option<Arc<Produced>>,
    /// Whether to ask the API server itself who uses what before anything is deleted.
    pub confirm: bool,
    /// A request to read the copies past the watch first.
    pub refresh: Option<String>,
}

/// The errands in flight, and what the last ones met.
pub struct Lanes {
    roster: Weak<Roster>,
    inner: Mutex<Inner>,
    running: watch::Sender<usize>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Inner {
    lanes: HashMap<OwnerId, HashMap<Arc<str>, Lane>>,
    queues: HashMap<Arc<str>, Queue>,
}

#[derive(Default)]
struct Lane {
    running: Option<Running>,
    /// Namespaces that refused their copy, and when they are tried again.
    refusals: HashMap<Arc<str>, Failure>,
    refused: u32,
    retry: Option<Instant>,
    /// Errands in a row that found the view out of date and got nothing done.
    stale: u32,
    pause: Option<Instant>,
    refreshed: Option<String>,
}

struct Running {
    stop: Arc<AtomicBool>,
    /// What is being written: whether that is still wanted.
    purpose: Purpose,
}

/// What an errand is for; with another purpose it is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The generation of the credential.
    pub generation: i64,
    /// Of the content that is written.
    pub revision: Option<i64>,
    /// Whether the credential is being deleted.
    pub deleting: bool,
}

/// How a lane stands.
#[derive(Clone, Debug, Default)]
pub struct Glance {
    /// Whether an errand is in flight.
    pub busy: bool,
    /// Namespaces that refused their copy and are not tried just now.
    pub refusals: HashMap<Arc<str>, Failure>,
    /// When the refusals, or everything, can be tried again.
    pub wait: Option<Duration>,
    /// Whether nothing is to be done before that.
    pub paused: bool,
    /// The last request to read the copies past the watch that was met.
    pub refreshed: Option<String>,
}

impl Lanes {
    /// No work; `roster` is told when an errand ends.
    #[must_use]
    pub fn new(roster: &Arc<Roster>) -> Self {
        Self {
            roster: Arc::downgrade(roster),
            inner: Mutex::default(),
            running: watch::Sender::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// How the lane of a credential into a cluster stands. An errand of another purpose is told to stop.
    #[must_use]
    pub fn look(&self, owner: &OwnerId, cluster: &str, purpose: &Purpose) -> Glance {
        let lanes = &mut self.lock().lanes;
        let Some(lane) = lanes.get_mut(owner).and_then(|lanes| lanes.get_mut(cluster)) else {
            return Glance::default();
        };
        if let Some(running) = lane.running.as_ref().filter(|running| running.purpose != *purpose) {
            running.stop.store(true, Ordering::Relaxed);
        }
        let now = Instant::now();
        let until = |at: Option<Instant>| at.and_then(|at| at.checked_duration_since(now));
        let (retry, pause) = (until(lane.retry), until(lane.pause));
        Glance {
            busy: lane.running.is_some(),
            refusals: retry.map(|_| lane.refusals.clone()).unwrap_or_default(),
            wait: pause.or(retry),
            paused: pause.is_some(),
            refreshed: lane.refreshed.clone(),
        }
    }

    /// Whether an errand is in flight.
    #[must_use]
    pub fn is_busy(&self, owner: &OwnerId, cluster: &str) -> bool {
        let lanes = &self.lock().lanes;
        lanes.get(owner).and_then(|lanes| lanes.get(cluster)).is_some_and(|lane| lane.running.is_some())
    }

    /// Sets out, unless something of this credential is in flight there already. Returns false when others are first:
    /// then it is told when it is its turn.
    pub fn start(self: &Arc<Self>, cluster: &Arc<Cluster>, purpose: Purpose, errand: Errand) -> bool {
        if self.closed.load(Ordering::Relaxed) {
            return true;
        }
        let owner = errand.id.owner();
        let stop = Arc::new(AtomicBool::new(false));
        {
            let inner = &mut *self.lock();
            let lane = inner.lanes.get(&owner).and_then(|lanes| lanes.get(cluster.name()));
            if lane.is_some_and(|lane| lane.running.is_some()) {
                return true;
            }
            if !inner.queues.entry(cluster.name().clone()).or_default().enter(&owner) {
                return false;
            }
            let of_owner = inner.lanes.entry(owner.clone()).or_default();
            let lane = of_owner.entry(cluster.name().clone()).or_default();
            lane.running = Some(Running { stop: stop.clone(), purpose });
            self.running.send_modify(|running| *running += 1);
        }
        let (lanes, cluster) = (self.clone(), cluster.clone());
        tokio::spawn(async move {
            // Also when the errand panics or is aborted: a lane that seems busy for ever would never be used again.
            let mut arrival = Arrival { lanes, owner, cluster: cluster.name().clone(), met: None };
            let refreshed = match &errand.refresh {
                Some(request) => {
                    cluster.refresh_or_strain(&arrival.owner).await;
                    Some(request.clone())
                }
                None => None,
            };
            let pace = Pace { slice: SLICE, stop: &stop };
            let Errand { id, hub, mut plan, produced, confirm, .. } = errand;
            let mut spared = false;
            if confirm && !plan.delete.is_empty() {
                spared = cluster.spare_used(&mut plan).await.unwrap_or_else(|_| {
                    plan.delete.clear();
                    true
                });
            }
            let mut applied = cluster.apply(&plan, &id, &hub, produced.as_deref(), pace).await;
            applied.again |= spared;
            arrival.met = Some(Met { applied, refreshed });
        });
        true
    }

    /// Has the next in the queue of a cluster looked at, when there is a place: whoever was called may have found
    /// nothing to do.
    pub fn call_next(&self, cluster: &str) {
        let next = self.lock().queues.get_mut(cluster).and_then(Queue::next);
        self.wake(next);
    }

    fn wake(&self, owners: impl IntoIterator<Item = OwnerId>) {
        if let Some(roster) = self.roster.upgrade() {
            for owner in owners {
                roster.owner(&owner);
            }
        }
    }

    fn arrived(&self, owner: &OwnerId, cluster: &str, met: Option<Met>) {
        let next = {
            let inner = &mut *self.lock();
            if let Some(of_owner) = inner.lanes.get_mut(owner) {
                if let Some(lane) = of_owner.get_mut(cluster) {
                    lane.running = None;
                    lane.note(met);
                    if lane.is_blank() {
                        of_owner.remove(cluster);
                    }
                }
                if of_owner.is_empty() {
                    inner.lanes.remove(owner);
                }
            }
            let queue = inner.queues.entry(cluster.into()).or_default();
            queue.leave();
            let next = queue.next();
            if queue.is_empty() {
                inner.queues.remove(cluster);
            }
            next
        };
        self.running.send_modify(|running| *running = running.saturating_sub(1));
        self.wake(next.into_iter().chain([owner.clone()]));
    }

    /// Nothing is left to do there, so that what was met before is of no interest.
    pub fn rest(&self, owner: &OwnerId, cluster: &str) {
        let lanes = &mut self.lock().lanes;
        let Some(of_owner) = lanes.get_mut(owner) else { return };
        if of_owner.get(cluster).is_some_and(|lane| lane.running.is_none() && lane.refreshed.is_none()) {
            of_owner.remove(cluster);
        }
        if of_owner.is_empty() {
            lanes.remove(owner);
        }
    }

    /// Forgets what was refused and read for a credential that is gone or at rest.
    pub fn forget(&self, owner: &OwnerId) {
        let lanes = &mut self.lock().lanes;
        if let Some(of_owner) = lanes.get_mut(owner) {
            of_owner.retain(|_, lane| {
                *lane = Lane { running: lane.running.take(), ..Lane::default() };
                lane.running.is_some()
            });
            if of_owner.is_empty() {
                lanes.remove(owner);
            }
        }
    }

    /// Lets nothing new begin, and waits for the writes that are in flight.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for lane in self.lock().lanes.values().flat_map(HashMap::values) {
            if let Some(running) = &lane.running {
                running.stop.store(true, Ordering::Relaxed);
            }
        }
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an errand met.
struct Met {
    applied: Applied,
    refreshed: Option<String>,
}

/// Tells that an errand ended, however it did.
struct Arrival {
    lanes: Arc<Lanes>,
    owner: OwnerId,
    cluster: Arc<str>,
    met: Option<Met>,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.lanes.arrived(&self.owner, &self.cluster, self.met.take());
    }
}

impl Lane {
    fn note(&mut self, met: Option<Met>) {
        let Some(Met { applied, refreshed }) = met else {
            self.stall();
            return;
        };
        self.refreshed = refreshed.or_else(|| self.refreshed.take());
        let progress = applied.written + applied.removed > 0;
        if (applied.again || applied.gone > 0) && !progress {
            self.stall();
        } else {
            (self.stale, self.pause) = (0, None);
        }
        let due = self.retry.is_none_or(|at| at <= Instant::now());
        if due {
            self.refusals.clear();
        }
        // What is told in the plan itself needs no other try.
        let refusals: Vec<_> =
            applied.failures.into_iter().filter(|(_, failure)| !failure.is_final()).collect();
        if refusals.is_empty() && self.refusals.is_empty() {
            (self.refused, self.retry) = (0, None);
        } else if !refusals.is_empty() {
            self.refused = self.refused.saturating_add(u32::from(due));
            let wait = RETRY.wait(self.refused, rand::random());
            self.retry = Some(Instant::now() + wait);
            self.refusals.extend(refusals);
        }
    }

    fn stall(&mut self) {
        self.stale = self.stale.saturating_add(1);
        self.pause = Some(Instant::now() + RECHECK.wait(self.stale, rand::random()));
    }

    fn is_blank(&self) -> bool {
        self.running.is_none()
            && self.refusals.is_empty()
            && self.retry.is_none()
            && self.pause.is_none()
            && self.refreshed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(applied: Applied) -> Option<Met> {
        Some(Met { applied, refreshed: None })
    }

    fn refused(namespace: &str) -> Applied {
        let failure = Failure::Write { reason: "QuotaExceeded", message: "full".into() };
        Applied { failures: vec![(namespace.into(), failure)], ..Applied::default() }
    }

    #[test]
    fn work_that_was_done_leaves_nothing_behind() {
        let mut lane = Lane::default();
        lane.note(met(Applied { written: 3, ..Applied::default() }));
        assert!(lane.is_blank());
    }

    #[test]
    fn a_refusal_waits_longer_each_time_and_ends_with_success() {
        let mut lane = Lane::default();
        lane.note(met(refused("web")));
        assert_eq!((lane.refused, lane.refusals.len()), (1, 1));
        // Other work meanwhile neither forgets it nor counts as another try.
        lane.note(met(Applied { written: 1, ..Applied::default() }));
        assert_eq!((lane.refused, lane.refusals.len()), (1, 1));
        lane.retry = Some(Instant::now());
        lane.note(met(refused("web")));
        assert_eq!(lane.refused, 2);
        lane.retry = Some(Instant::now());
        lane.note(met(Applied { written: 1, ..Applied::default() }));
        assert!(lane.is_blank());
    }

    #[test]
    fn a_name_that_is_taken_is_the_plans_to_tell() {
        let mut lane = Lane::default();
        let failure = Failure::SecretNameConflict("somebody".into());
        lane.note(met(Applied { failures: vec![("web".into(), failure)], ..Applied::default() }));
        assert!(lane.is_blank());
    }

    #[test]
    fn an_errand_that_got_nothing_done_does_not_set_out_again_at_once() {
        let mut lane = Lane::default();
        lane.note(met(Applied { again: true, ..Applied::default() }));
        assert!(lane.pause.is_some());
        lane.note(met(Applied { again: true, written: 1, ..Applied::default() }));
        assert!(lane.pause.is_none());
        lane.note(None);
        assert!(lane.pause.is_some(), "it was cut short");
    }
}
