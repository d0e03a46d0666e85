//! Leadership while it lasts.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::decision::Role;
use super::elector::{Elector, Round};
use super::error::Error;

/// Leadership, renewed in the background until it is lost, released or dropped. Dropping it
/// stops the renewal and leaves the lease to expire: only [`Leadership::release`] says that the
/// work has stopped.
#[derive(Debug)]
pub struct Leadership {
    state: watch::Receiver<State>,
    release: oneshot::Sender<()>,
    task: JoinHandle<()>,
    renew_deadline: Duration,
}

#[derive(Clone, Copy, Debug)]
struct State {
    renewed: Instant,
    lost: bool,
}

impl Leadership {
    /// Waits until this process leads. `None` when `shutdown` resolved first.
    ///
    /// # Errors
    /// Times that contradict each other, or a lease that the server calls invalid.
    pub async fn acquire(
        elector: &mut Elector,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Option<Self>, Error> {
        Ok(elector.acquire(shutdown).await?.map(|renewed| Self::start(elector.clone(), renewed)))
    }

    fn start(elector: Elector, renewed: Instant) -> Self {
        let renew_deadline = elector.timing.renew_deadline;
        let (told, state) = watch::channel(State { renewed, lost: false });
        let (release, asked) = oneshot::channel();
        let task = tokio::spawn(renew(elector, told, asked));
        Self { state, release, task, renew_deadline }
    }

    /// Resolves when leadership is lost: all writing must stop at once. The future owns what it
    /// needs and may be moved to other tasks.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            // An error means that the renewing task is gone, and leadership with it.
            let _ = state.wait_for(|state| state.lost).await;
        }
    }

    /// Tells whether this process leads at a moment, also judged by the clock: only within the
    /// renew deadline of the last renewal, even if the renewing task got no time to run.
    pub fn guard(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let (state, deadline) = (self.state.clone(), self.renew_deadline);
        move || {
            let now = *state.borrow();
            !now.lost && state.has_changed().is_ok() && now.renewed.elapsed() < deadline
        }
    }

    /// Gives leadership up, so that another operator takes over at its next try. Call it when
    /// all work that needs leadership has stopped.
    pub async fn release(self) {
        let _ = self.release.send(());
        let _ = self.task.await;
    }
}

/// Renews until leadership is lost, or `asked` to release; a dropped sender just stops it.
async fn renew(mut elector: Elector, told: watch::Sender<State>, mut asked: oneshot::Receiver<()>) {
    let timing = elector.timing;
    let mut renewed = told.borrow().renewed;
    let mut next = Instant::now() + timing.retry_period;
    loop {
        tokio::select! {
            answer = &mut asked => {
                told.send_modify(|state| state.lost = true);
                if answer.is_ok() {
                    elector.give_up().await;
                }
                return;
            }
            () = sleep_until(next) => {}
        }
        let deadline = renewed + timing.renew_deadline;
        let role = Role::Leader { renewed: renewed.into_std() };
        let round = timeout_at(deadline, elector.round(role)).await;
        let reason = match round {
            Ok(Ok(Round::Held(at))) => {
                renewed = at;
                told.send_modify(|state| state.renewed = at);
                None
            }
            Ok(Ok(Round::Lost)) if Instant::now() < deadline => Some("another operator leads"),
            Ok(Err(error)) if Instant::now() < deadline => {
                tracing::warn!(%error, "cannot renew the lease, trying again");
                None
            }
            Ok(Ok(Round::Wait(_))) if Instant::now() < deadline => None,
            _ => Some("the lease could not be renewed in time"),
        };
        if let Some(reason) = reason {
            let holder = elector.holder();
            tracing::error!(lease = %elector.lease(), %holder, "leadership lost: {reason}");
            told.send_modify(|state| state.lost = true);
            return;
        }
        next = (Instant::now() + timing.retry_period).min(renewed + timing.renew_deadline);
    }
}
