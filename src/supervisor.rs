//! Background tasks. When a task ends that must not, the process ends.

use std::{any::Any, panic::AssertUnwindSafe};

use futures::FutureExt;
use tokio::{sync::mpsc, task::AbortHandle};

/// Starts tasks, and tells, as a sentence, of each that ended and must not. Clones report to the same place.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor(mpsc::UnboundedSender<String>);

impl Supervisor {
    /// A supervisor, and where it reports.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (send, receive) = mpsc::unbounded_channel();
        (Self(send), receive)
    }

    /// Starts a task that may come to its end, but not by a panic.
    pub fn spawn(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        self.start(name.into(), task, false)
    }

    /// Starts a task that goes on until it is aborted.
    pub fn spawn_endless(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        self.start(name.into(), task, true)
    }

    fn start(
        &self,
        name: String,
        task: impl Future<Output = ()> + Send + 'static,
        endless: bool,
    ) -> AbortHandle {
        let reports = self.0.clone();
        let supervised = async move {
            let end = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) if !endless => return,
                Ok(()) => "ended".to_owned(),
                Err(panic) => format!("panicked: {}", text(&*panic)),
            };
            // Nobody listens any more only when the process is about to end.
            let _ = reports.send(format!("task '{name}' {end}"));
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
        assert_eq!(reports.recv().await.unwrap(), "task 'watch of pods' ended");
        supervisor.spawn("sweep", async { panic!("index {} of 3", 7) });
        assert_eq!(reports.recv().await.unwrap(), "task 'sweep' panicked: index 7 of 3");
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
