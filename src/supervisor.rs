//! Tasks of the background: the end of one that must not end is noticed, and ends the process.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use thiserror::Error;
use tokio::{sync::mpsc, task::AbortHandle};

/// A task ended that must not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("task '{task}' {end}")]
pub(crate) struct TaskEnded {
    pub task: Arc<str>,
    /// How, as the end of a sentence.
    pub end: String,
}

/// Starts tasks, and learns how they end. Clones report to the same place.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor(mpsc::UnboundedSender<TaskEnded>);

impl Supervisor {
    /// A supervisor, and where it reports.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<TaskEnded>) {
        let (send, receive) = mpsc::unbounded_channel();
        (Self(send), receive)
    }

    /// Starts a task that may come to its end, but not by a panic.
    pub fn spawn(
        &self,
        name: impl Into<Arc<str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        self.start(name.into(), task, false)
    }

    /// Starts a task that goes on until it is aborted.
    pub fn spawn_endless(
        &self,
        name: impl Into<Arc<str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        self.start(name.into(), task, true)
    }

    fn start(
        &self,
        task: Arc<str>,
        future: impl Future<Output = ()> + Send + 'static,
        endless: bool,
    ) -> AbortHandle {
        let reports = self.0.clone();
        let supervised = async move {
            let end = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(()) if !endless => return,
                Ok(()) => "came to its end".to_owned(),
                Err(panic) => format!("panicked: {}", text(&*panic)),
            };
            // Nobody listens any more only when the process is about to end.
            let _ = reports.send(TaskEnded { task, end });
        };
        tokio::spawn(supervised).abort_handle()
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_ends_and_must_not_is_named() {
        let (supervisor, mut reports) = Supervisor::new();
        supervisor.spawn("short", async {});
        supervisor.spawn_endless("watch of pods", async {});
        assert_eq!(reports.recv().await.unwrap().to_string(), "task 'watch of pods' came to its end");
        supervisor.spawn("sweep", async { panic!("index {} of 3", 7) });
        assert_eq!(reports.recv().await.unwrap().to_string(), "task 'sweep' panicked: index 7 of 3");
        assert!(reports.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_is_aborted_is_no_loss() {
        let (supervisor, mut reports) = Supervisor::new();
        supervisor.spawn_endless("probe", std::future::pending()).abort();
        drop(supervisor);
        assert_eq!(reports.recv().await, None);
    }
}
