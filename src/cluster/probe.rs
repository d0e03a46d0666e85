//! Asking a member's API server, time and again, whether it is there.

use std::{error::Error as _, io, time::Duration};

use super::{
    connection::Connection, connectivity::Connectivity, connector::DeadlineExceeded, error::connection_error,
};
use crate::domain::{
    cluster_condition::ConnectionError,
    connectivity::{Answered, Unanswered},
    schedule::{PROBE_PAUSE, PROBE_RETRY},
};

/// What a probe changed.
pub(super) enum Probed {
    Answered(Answered),
    Unanswered(Unanswered, ConnectionError),
}

/// Asks once. `silent` tells, when the server answers, which watch has had no answer for too long all the same.
pub(super) async fn probe(
    connection: &Connection,
    connectivity: &Connectivity,
    silent: impl FnOnce() -> Option<ConnectionError>,
) -> Probed {
    // Needs no rights that RBAC gives, and does not touch the store.
    match connection.client().apiserver_version().await {
        Ok(info) => Probed::Answered(connectivity.answered(Some(&info.git_version), silent())),
        // Whoever refuses is there.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 429) => {
            Probed::Answered(connectivity.answered(None, silent()))
        }
        Err(error) => {
            let certain = matches!(&error, kube::Error::Api(_)) || is_late(&error);
            let why = connection_error(&error);
            Probed::Unanswered(connectivity.unanswered(why.clone(), certain), why)
        }
    }
}

/// Waits until the next probe: for `interval`, sooner when asked or while there is no answer.
pub(super) async fn pause(connectivity: &Connectivity, interval: Duration, failures: u32) {
    let jitter = rand::random::<f64>();
    tokio::time::sleep(PROBE_PAUSE).await;
    if failures > 0 {
        // While it is down nothing but time helps; a request to probe is for one that seems to be up.
        return tokio::time::sleep(PROBE_RETRY.wait(failures, jitter)).await;
    }
    let wait = interval.mul_f64(0.9 + 0.2 * jitter);
    let _ = tokio::time::timeout(wait, connectivity.probe_asked()).await;
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
