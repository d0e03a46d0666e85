//! Leadership while it lasts.

use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{decision::Round, elector::Elector, error::Error};

/// Leadership, renewed in the background until it is lost, released or dropped. Dropping it
/// stops the renewal and leaves the lease to expire: only [`Leadership::release`] says that the
/// work has stopped.
#[derive(Debug)]
pub struct Leadership {
    /// When it was renewed; none when it is lost.
    renewed: watch::Receiver<Option<Instant>>,
    release: oneshot::Sender<()>,
    task: JoinHandle<()>,
    renew_deadline: Duration,
}

impl Leadership {
    /// Waits until this process leads. `None` when `shutdown` resolved first. A server that does not answer or refuses
    /// is asked again, with a warning in the log.
    ///
    /// # Errors
    /// A lease that the server calls invalid.
    pub async fn acquire(
        elector: &mut Elector,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Option<Self>, Error> {
        tokio::pin!(shutdown);
        loop {
            // Not cut short by the shutdown: a write on its way could leave a lease that nobody
            // uses. Each call has its own deadline.
            let retry = elector.timing.jittered_retry();
            let pause = match elector.round(None).await {
                Ok(Round::Held(renewed)) => {
                    if shutdown.as_mut().now_or_never().is_some() {
                        elector.give_up().await;
                        return Ok(None);
                    }
                    tracing::info!(lease = %elector.lease, identity = %elector.identity, "leading");
                    return Ok(Some(Self::start(elector.clone(), renewed)));
                }
                Ok(Round::Wait(left)) => {
                    let holder = elector.holder();
                    tracing::debug!(lease = %elector.lease, %holder, "standing by");
                    left.min(retry)
                }
                Ok(Round::Lost) => retry,
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot run for leadership, trying again");
                    retry
                }
            };
            tokio::select! {
                () = &mut shutdown => return Ok(None),
                () = sleep(pause) => {}
            }
        }
    }

    fn start(elector: Elector, renewed: Instant) -> Self {
        let renew_deadline = elector.timing.renew_deadline;
        let (told, state) = watch::channel(Some(renewed));
        let (release, asked) = oneshot::channel();
        let task = tokio::spawn(renew(elector, renewed, told, asked));
        Self { renewed: state, release, task, renew_deadline }
    }

    /// Resolves when leadership is lost: all writing must stop at once. The future owns what it
    /// needs and may be moved to other tasks.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.renewed.clone();
        async move {
            // An error means that the renewing task is gone, and leadership with it.
            let _ = state.wait_for(Option::is_none).await;
        }
    }

    /// Tells whether this process leads at a moment, also judged by the clock: only within the
    /// renew deadline of the last renewal, even if the renewing task got no time to run.
    pub fn guard(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let (state, deadline) = (self.renewed.clone(), self.renew_deadline);
        move || {
            let renewed = *state.borrow();
            renewed.is_some_and(|renewed| renewed.elapsed() < deadline) && state.has_changed().is_ok()
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
async fn renew(
    mut elector: Elector,
    mut renewed: Instant,
    told: watch::Sender<Option<Instant>>,
    mut asked: oneshot::Receiver<()>,
) {
    let timing = elector.timing;
    let mut next = Instant::now() + timing.retry_period;
    loop {
        tokio::select! {
            answer = &mut asked => {
                told.send_replace(None);
                if answer.is_ok() {
                    elector.give_up().await;
                }
                return;
            }
            () = sleep_until(next) => {}
        }
        let deadline = renewed + timing.renew_deadline;
        let round = timeout_at(deadline, elector.round(Some(renewed))).await;
        let in_time = Instant::now() < deadline;
        let reason = match round {
            Ok(Ok(Round::Held(at))) => {
                renewed = at;
                told.send_replace(Some(at));
                None
            }
            Ok(Ok(Round::Lost)) if in_time => Some("another operator leads"),
            Ok(Ok(Round::Wait(_))) if in_time => None,
            Ok(Err(error)) if in_time => {
                tracing::warn!(%error, "cannot renew the lease, trying again");
                None
            }
            _ => Some("the lease could not be renewed in time"),
        };
        if let Some(reason) = reason {
            let holder = elector.holder();
            tracing::error!(lease = %elector.lease, %holder, "leadership lost: {reason}");
            told.send_replace(None);
            return;
        }
        next = (Instant::now() + timing.retry_period).min(renewed + timing.renew_deadline);
    }
}
