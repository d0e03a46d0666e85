//! Asking for passes: a set rather than a queue, so that it never holds more than there are
//! credentials, however much happens.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::Stream;
use tokio::sync::Notify;

/// How long what is not urgent is gathered.
const GATHER: Duration = Duration::from_millis(500);

/// Who is to be looked at.
#[derive(Debug)]
pub struct Wakes<T> {
    pending: Mutex<Pending<T>>,
    notify: Notify,
}

#[derive(Debug)]
struct Pending<T> {
    now: HashSet<T>,
    later: HashSet<T>,
    gathering: bool,
}

impl<T: Clone + Eq + Hash + Send + 'static> Default for Wakes<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Eq + Hash + Send + 'static> Wakes<T> {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        let pending = Pending { now: HashSet::new(), later: HashSet::new(), gathering: false };
        Self { pending: Mutex::new(pending), notify: Notify::new() }
    }

    /// Asks for a pass at once.
    pub fn now(&self, who: T) {
        if self.lock().now.insert(who) {
            self.notify.notify_one();
        }
    }

    /// Asks for a pass soon, together with whatever else comes until then.
    pub fn soon(self: &Arc<Self>, who: T) {
        let mut pending = self.lock();
        pending.later.insert(who);
        if !pending.gathering {
            pending.gathering = true;
            let wakes = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                let mut pending = wakes.lock();
                let later = std::mem::take(&mut pending.later);
                pending.now.extend(later);
                pending.gathering = false;
                drop(pending);
                wakes.notify.notify_one();
            });
        }
    }

    /// Who is asked for, as it comes. For one reader.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = T> + Send + 'static {
        futures::stream::unfold((self, Vec::new()), |(wakes, mut batch)| async move {
            loop {
                if let Some(next) = batch.pop() {
                    return Some((next, (wakes, batch)));
                }
                batch = wakes.lock().now.drain().collect();
                if batch.is_empty() {
                    wakes.notify.notified().await;
                }
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Pending<T>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_calls_make_one_wake() {
        let wakes = Arc::new(Wakes::new());
        for _ in 0..100 {
            wakes.now("a");
            wakes.soon("b");
        }
        let mut stream = std::pin::pin!(wakes.clone().stream());
        assert_eq!(stream.next().await, Some("a"));
        assert_eq!(stream.next().await, Some("b"), "it comes, after a while");
        let quiet = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
        assert!(quiet.is_err(), "and nothing comes twice");
        wakes.now("a");
        assert_eq!(stream.next().await, Some("a"));
    }
}
