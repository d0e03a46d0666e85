//! Asking a member's API server, time and again, whether it is there.

use std::{io, time::Duration};

use kube::Client;

use super::{answer::AnswerError, connectivity::Connectivity, connector::DeadlineExceeded, error::causes};
use crate::domain::{
    foreign_text::foreign_text,
    schedule::{MAX_WORD, PROBE_PAUSE, PROBE_RETRY},
};

/// Asks once. Returns the server's version, where it tells that.
pub(super) async fn ask(client: Client) -> Result<Option<String>, kube::Error> {
    // Needs no rights that RBAC gives, and does not touch the store.
    match client.apiserver_version().await {
        Ok(info) => Ok(Some(foreign_text(&info.git_version, MAX_WORD))),
        // Whoever refuses is there.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 429) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether one such answer is enough to be sure: the API server says itself that it cannot work, or the deadline
/// passed, which took long enough.
pub(super) fn is_certain(error: &kube::Error) -> bool {
    // A connection that could not be made has the same deadline, and may be the first to tell.
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    matches!(error, kube::Error::Api(_))
        || causes(error).any(|cause| {
            cause.is::<DeadlineExceeded>()
                || cause.is::<AnswerError>()
                || cause.downcast_ref().is_some_and(timed_out)
        })
}

/// Waits until the next probe: for `interval`, sooner when asked or while there is no answer.
pub(super) async fn pause(connectivity: &Connectivity, interval: Duration) {
    let jitter = rand::random::<f64>();
    tokio::time::sleep(PROBE_PAUSE).await;
    let failures = connectivity.state().failed_probes;
    if failures > 0 {
        // While it is down nothing but time helps; a request to probe is for one that seems to be up.
        return tokio::time::sleep(PROBE_RETRY.wait(failures, jitter)).await;
    }
    let wait = interval.mul_f64(0.9 + 0.2 * jitter);
    let _ = tokio::time::timeout(wait, connectivity.probe_asked()).await;
}
