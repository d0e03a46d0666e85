//! Counts and times the requests of a cluster's client.

use std::{borrow::Cow, sync::Arc, time::Instant};

use http::{Method, StatusCode, Uri};

use super::metrics::Metrics;

/// One request of a cluster's client. Reports when dropped: a caller that gives up drops the future, and that is
/// worth counting.
#[derive(Debug)]
pub struct RequestReport {
    metrics: Arc<Metrics>,
    cluster: Arc<str>,
    verb: &'static str,
    resource: &'static str,
    started: Instant,
    code: Cow<'static, str>,
}

impl RequestReport {
    /// A request begins.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, cluster: Arc<str>, method: &Method, uri: &Uri) -> Self {
        let (verb, resource) = classify(method, uri);
        Self { metrics, cluster, verb, resource, started: Instant::now(), code: "cancelled".into() }
    }

    /// The request ended with this status, or without an answer.
    pub fn ended(&mut self, status: Option<StatusCode>) {
        self.code = status.map_or("error".into(), |status| status.as_str().to_owned().into());
    }
}

impl Drop for RequestReport {
    fn drop(&mut self) {
        let code = std::mem::take(&mut self.code);
        self.metrics.api_request(&self.cluster, self.verb, self.resource, code, self.started.elapsed());
    }
}

/// Resources that we ask for; every other is `other`, which keeps the label bounded.
const RESOURCES: [&str; 13] = [
    "basicauthcredentials",
    "distributionpolicies",
    "events",
    "leases",
    "memberclusters",
    "namespaces",
    "objectstoragecredentials",
    "pods",
    "registrycredentials",
    "secrets",
    "subjectaccessreviews",
    "tlscredentials",
    "tokenreviews",
];

/// The API verb and resource of a request, as RBAC rules name them.
fn classify(method: &Method, uri: &Uri) -> (&'static str, &'static str) {
    let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
    let prefix = match segments.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return (verb(method, true, uri), "other"),
    };
    let mut rest = segments.skip(prefix).peekable();
    let mut resource = rest.next();
    let mut name = rest.next();
    // `namespaces/x/pods` is about pods; `namespaces/x` and its subresources are about namespaces.
    if resource == Some("namespaces")
        && rest.peek().is_some_and(|next| !matches!(*next, "status" | "finalize"))
    {
        resource = rest.next();
        name = rest.next();
    }
    let known = RESOURCES.into_iter().find(|known| Some(*known) == resource);
    (verb(method, name.is_some(), uri), known.unwrap_or("other"))
}

/// Whether a request for this is a watch.
#[must_use]
pub fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|q| q.split('&').any(|p| matches!(p, "watch=true" | "watch=1")))
}

fn verb(method: &Method, named: bool, uri: &Uri) -> &'static str {
    match *method {
        Method::GET if is_watch(uri) => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_requests_as_rbac_does() {
        for (method, path, wanted) in [
            (Method::GET, "/api/v1/secrets?limit=500", ("list", "secrets")),
            (Method::GET, "/api/v1/pods?&watch=true&allowWatchBookmarks=true", ("watch", "pods")),
            (Method::POST, "/api/v1/namespaces/web/secrets", ("create", "secrets")),
            (Method::PUT, "/api/v1/namespaces/web/secrets/quay-pull", ("update", "secrets")),
            (Method::DELETE, "/api/v1/namespaces/web/secrets/quay-pull", ("delete", "secrets")),
            (Method::DELETE, "/api/v1/namespaces/web/secrets", ("deletecollection", "secrets")),
            (Method::GET, "/api/v1/namespaces/web", ("get", "namespaces")),
            (Method::GET, "/api/v1/namespaces", ("list", "namespaces")),
            (
                Method::PATCH,
                "/apis/claviger.dev/v1alpha1/namespaces/web/registrycredentials/quay/status",
                ("patch", "registrycredentials"),
            ),
            (Method::GET, "/apis/coordination.k8s.io/v1/namespaces/x/leases/y", ("get", "leases")),
            (Method::GET, "/apis/example.com/v1/widgets", ("list", "other")),
            (Method::GET, "/version", ("get", "other")),
        ] {
            let uri: Uri = path.parse().unwrap();
            assert_eq!(classify(&method, &uri), wanted, "{method} {path}");
        }
    }
}
