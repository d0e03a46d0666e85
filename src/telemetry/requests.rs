//! Counts and times the requests of a cluster's client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Method, Request, Response, Uri};
use tower::{Layer, Service};

use super::metrics::{Code, Metrics};

/// A layer for `kube::client::ClientBuilder` that reports each request of one cluster's client,
/// timed to the answer's headers. `ClientBuilder::with_layer` puts it outside kube's own retries:
/// with those on, it counts calls, not tries.
#[derive(Clone, Debug)]
pub struct RequestMetricsLayer {
    metrics: Arc<Metrics>,
    cluster: Arc<str>,
}

impl RequestMetricsLayer {
    /// For the client of `cluster`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, cluster: impl Into<Arc<str>>) -> Self {
        Self { metrics, cluster: cluster.into() }
    }
}

impl<S> Layer<S> for RequestMetricsLayer {
    type Service = RequestMetrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestMetrics { inner, layer: self.clone() }
    }
}

/// The service of [`RequestMetricsLayer`].
#[derive(Clone, Debug)]
pub struct RequestMetrics<S> {
    inner: S,
    layer: RequestMetricsLayer,
}

impl<S, B, R> Service<Request<B>> for RequestMetrics<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, resource) = classify(request.method(), request.uri());
        let layer = self.layer.clone();
        let mut report = Report { layer, verb, resource, started: Instant::now(), code: Code::Cancelled };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // By a method: an assignment would capture a copy of the field, not the report.
            report.ended(match &answer {
                Ok(response) => Code::Status(response.status().as_u16()),
                Err(_) => Code::Error,
            });
            answer
        })
    }
}

/// Reports when dropped: a caller that gives up drops the future, and that is worth counting.
struct Report {
    layer: RequestMetricsLayer,
    verb: &'static str,
    resource: &'static str,
    started: Instant,
    code: Code,
}

impl Report {
    fn ended(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let RequestMetricsLayer { metrics, cluster } = &self.layer;
        metrics.api_request(cluster, self.verb, self.resource, self.code, self.started.elapsed());
    }
}

/// Resources that we ask for; every other is `other`, which keeps the label bounded.
const RESOURCES: [&str; 14] = [
    "basicauthcredentials",
    "configmaps",
    "customresourcedefinitions",
    "distributionpolicies",
    "events",
    "ingresses",
    "leases",
    "memberclusters",
    "namespaces",
    "pods",
    "registrycredentials",
    "secrets",
    "serviceaccounts",
    "tlscredentials",
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

fn verb(method: &Method, named: bool, uri: &Uri) -> &'static str {
    let watch = || uri.query().is_some_and(|q| q.split('&').any(|p| matches!(p, "watch=true" | "watch=1")));
    match *method {
        Method::GET if watch() => "watch",
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
    use super::super::Freshness;
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

    struct Server(Option<u16>);

    impl Service<Request<()>> for Server {
        type Response = Response<()>;
        type Error = std::io::Error;
        type Future = Pin<Box<dyn Future<Output = Result<Response<()>, Self::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            let code = self.0;
            Box::pin(async move {
                let Some(code) = code else { return std::future::pending().await };
                if code == 0 {
                    return Err(std::io::Error::other("refused"));
                }
                let mut response = Response::new(());
                *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
                Ok(response)
            })
        }
    }

    #[tokio::test]
    async fn counts_answers_failures_and_callers_that_gave_up() {
        let metrics = Arc::new(Metrics::new(Freshness::new()));
        let layer = RequestMetricsLayer::new(Arc::clone(&metrics), "local");
        for server in [Server(Some(409)), Server(Some(0)), Server(None)] {
            let call = layer.layer(server).call(Request::new(()));
            let _ = tokio::time::timeout(std::time::Duration::from_millis(5), call).await;
        }
        let text = metrics.encode();
        for code in ["409", "error", "cancelled"] {
            assert!(text.contains(&format!("code=\"{code}\"}} 1")), "{code}: {text}");
        }
    }
}
