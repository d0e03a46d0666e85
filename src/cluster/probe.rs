//! Asking a member's API server, time and again, whether it is there.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use tokio::task::AbortHandle;

use super::{Cluster, DeadlineExceeded, error::cause};
use crate::domain::retry::Backoff;

/// Waits between probes while there is no answer.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), limit: Duration::from_secs(5) };

/// The least time between two probes, however much they are asked for.
const PAUSE: Duration = Duration::from_millis(200);

/// Probes every `interval`, sooner when asked or while there is no answer.
pub(super) fn start(cluster: &Arc<Cluster>, interval: Duration) -> AbortHandle {
    let cluster = Arc::downgrade(cluster);
    tokio::spawn(async move {
        while let Some(cluster) = cluster.upgrade() {
            let failures = probe(&cluster).await;
            let jitter = rand::random::<f64>();
            let wait = match failures {
                0 => interval.mul_f64(0.9 + 0.2 * jitter),
                failures => RETRY.wait(failures, jitter),
            };
            tokio::time::sleep(PAUSE).await;
            // While it is down nothing but time helps; a request to probe is for one that seems to be up.
            let _ = tokio::time::timeout(wait, async {
                if failures > 0 {
                    std::future::pending::<()>().await;
                }
                cluster.reach.probe_asked().await;
            })
            .await;
        }
    })
    .abort_handle()
}

/// Returns how many probes in a row were not answered.
async fn probe(cluster: &Arc<Cluster>) -> u32 {
    // Needs no rights that RBAC gives, and does not touch the store.
    match cluster.client().apiserver_version().await {
        Ok(info) => {
            cluster.answered(Some(&info.git_version));
            0
        }
        // Whoever refuses is there.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 429) => {
            cluster.answered(None);
            0
        }
        Err(error) => {
            let refused = matches!(&error, kube::Error::Api(_));
            cluster.unanswered(cause(&error), refused || is_late(&error))
        }
    }
}

/// Whether the deadline passed: that took long enough to be sure at once.
fn is_late(error: &kube::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        // A connection that could not be made has the same deadline, and may be the first to tell.
        let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        if error.is::<DeadlineExceeded>() || error.downcast_ref().is_some_and(timed_out) {
            return true;
        }
        cause = error.source();
    }
    false
}
