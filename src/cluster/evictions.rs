//! Evictions of stuck Pods: by the subresource, so that PodDisruptionBudgets hold.

use std::time::Duration;

use http::Request;
use hyper::body::Bytes;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{
    error::{WriteError, describe},
    writer::{Job, Writer},
};
use crate::domain::{
    eviction_limiter::Candidate,
    failure::Failure,
    identity::NamespacedName,
    plan::{Action, Change, Object},
    reason::Reason,
};

impl Writer {
    /// Changes that evict those of the stuck Pods whose turn it is, and how long the first of the others has to wait.
    pub fn evictions(&self, candidates: Vec<Candidate>) -> (Vec<Change>, Option<Duration>) {
        let (admitted, wait) = self.evicted.write().admit(candidates, self.began.elapsed());
        let change = |candidate: Candidate| Change {
            object: Object::Pod(candidate.pod.clone()),
            action: Action::Evict(candidate),
        };
        (admitted.into_iter().map(change).collect(), wait)
    }

    /// Evicts a Pod, in the state in which it was seen, and no other of its name. Returns whether that was done.
    pub(super) async fn evict(&self, candidate: &Candidate, job: Job<'_>) -> Result<bool, WriteError> {
        if (job.stop)() {
            return Ok(false);
        }
        match self.send_eviction(candidate).await {
            Ok(()) => {
                self.evicted.write().evicted(candidate);
                let changes = self.shared.write().change_stuck(&candidate.pod, None);
                self.shared.tell(changes);
                Ok(true)
            }
            Err(error) => {
                let error = refusal(&error);
                if let WriteError::Cluster(condition) = &error {
                    self.shared.connectivity.strained(condition.clone());
                }
                Err(error)
            }
        }
    }

    async fn send_eviction(&self, candidate: &Candidate) -> Result<(), kube::Error> {
        let NamespacedName { namespace, name } = &candidate.pod;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": **name, "namespace": **namespace},
            "deleteOptions": {"preconditions": {
                "uid": candidate.uid.to_string(), "resourceVersion": candidate.resource_version.to_string(),
            }},
        });
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Bytes::from(body.to_string())).map_err(kube::Error::HttpError)?;
        self.shared.connection.send::<IgnoredAny>(request).await.map(drop)
    }
}

/// What it means that an eviction was not made. That a budget does not allow it now is nothing of the cluster's: 429, or 500
/// where a Pod has several.
fn refusal(error: &kube::Error) -> WriteError {
    if let kube::Error::Api(status) = error {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        let by_budget = causes.any(|cause| cause.reason == "DisruptionBudget");
        if by_budget || status.code == 500 && status.message.contains("PodDisruptionBudget") {
            let (reason, message) = (Reason::DisruptionBudget, describe(error));
            return WriteError::Refused(Failure::Write { reason, message });
        }
    }
    WriteError::of(error)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answer(code: u16, message: &str, cause: Option<&str>) -> WriteError {
        let causes: Vec<_> = cause.iter().map(|reason| json!({"reason": reason, "message": "x"})).collect();
        let status = json!({
            "status": "Failure", "code": code, "reason": "TooManyRequests", "message": message, "details": {"causes": causes},
        });
        let status: Status = serde_json::from_value(status).unwrap();
        refusal(&kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_budget_is_waited_for_and_a_busy_server_is_not_a_budget() {
        let of_budget = |error: &WriteError| {
            matches!(error, WriteError::Refused(Failure::Write { reason: Reason::DisruptionBudget, .. }))
        };
        assert!(of_budget(&answer(429, "Cannot evict pod", Some("DisruptionBudget"))));
        let several = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        assert!(of_budget(&answer(500, several, None)));
        assert!(matches!(answer(429, "too many requests", None), WriteError::Cluster(_)));
        assert!(matches!(answer(500, "etcd", None), WriteError::Cluster(_)));
        assert_eq!(answer(404, "pods \"a\" not found", None), WriteError::Gone);
        assert_eq!(answer(409, "the UID in the precondition", None), WriteError::Changed);
    }
}
