//! A work queue in the manner of client-go's, and nothing of Kubernetes in it.
//!
//! - A key is never worked on twice at once; one that is added meanwhile comes again.
//! - What is to be done about a key is merged, so that a queue never holds more than there are keys.
//! - Keys belong to groups. Each group has a number of workers, so that no group takes another's, and within a group
//!   keys take turns: one that is not done yields and goes to the end of the line.
//! - A key that failed comes again after a back-off of its own.

mod key;
mod state;

pub(crate) use key::{Key, Next, Work};

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{
    sync::{Notify, SetOnce},
    task::JoinSet,
    time::Instant,
};

use crate::{domain::backoff::Backoff, lock::Lock};
use state::State;

/// A queue of keys, and of what is to be done about each.
pub(crate) struct Queue<K: Key, W: Work> {
    state: Lock<State<K, W>>,
    wake: Notify,
    closed: SetOnce<()>,
}

impl<K: Key, W: Work> Queue<K, W> {
    /// A queue with this many workers per group.
    pub fn new(workers: usize, backoff: Backoff) -> Self {
        Self { state: Lock::new(State::new(workers, backoff)), wake: Notify::new(), closed: SetOnce::new() }
    }

    /// Has a key worked on as soon as it is its turn.
    pub fn add(&self, key: K, work: W) {
        self.state.write().add(key, work);
        self.wake.notify_one();
    }

    /// Has a key worked on after `delay`, or sooner when it is added.
    pub fn add_after(&self, key: K, work: W, delay: Duration) {
        self.state.write().add_after(key, work, Instant::now() + delay);
        self.wake.notify_one();
    }

    /// How many keys wait for their turn.
    #[cfg(test)]
    pub fn depth(&self) -> usize {
        self.state.read().depth()
    }

    /// Lets nothing new begin.
    pub fn close(&self) {
        // Once is enough.
        let _ = self.closed.set(());
    }

    /// Whether nothing new begins.
    pub fn is_closed(&self) -> bool {
        self.closed.initialized()
    }

    /// Works keys off, once everything that they need is `ready`, until the queue is closed; then waits for the work
    /// that is in progress. Before it is ready there is nothing to finish, and what a finish would wait for may never
    /// come.
    ///
    /// # Panics
    /// When `handle` does: whoever supervises this learns of it.
    pub async fn run<F: Future<Output = Next> + Send + 'static>(
        self: Arc<Self>,
        ready: impl Future<Output = ()>,
        handle: impl Fn(K, W) -> F,
    ) {
        tokio::select! {
            () = ready => {}
            _ = self.closed.wait() => return,
        }
        let mut tasks = JoinSet::new();
        loop {
            let (ready, due) = self.state.write().take(Instant::now());
            for (key, work) in ready {
                let done = handle(key.clone(), work);
                tasks.spawn(done.map(|next| (key, next)));
            }
            let due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = self.closed.wait() => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => self.ended(ended),
                () = self.wake.notified() => {}
                () = due => {}
            }
        }
        while let Some(ended) = tasks.join_next().await {
            self.ended(ended);
        }
    }

    fn ended(&self, ended: Result<(K, Next), tokio::task::JoinError>) {
        match ended {
            Ok((key, next)) => self.state.write().done(&key, next, Instant::now(), rand::random()),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only the end of the runtime cancels a task of this set.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
