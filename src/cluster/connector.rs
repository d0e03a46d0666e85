//! Clients of one cluster's API server.
//!
//! Every request has a deadline for its answer to begin, and every answer bounds; and each watch has a client of its
//! own, so that an answer to it can be told from any other and the age of the last one be known.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use thiserror::Error;
use tower::{BoxError, Service, layer::layer_fn};

use super::answer::{Answer, Bounds, ByObject, Unit};
use crate::{
    domain::schedule::{MAX_ANSWER, MAX_REFUSAL},
    telemetry::{Beat, Freshness, Metrics, RequestReport, is_watch},
};

/// Time that the answer to a watch may be late beyond the time that was asked for.
const WATCH_MARGIN: Duration = Duration::from_secs(10);

/// Times that bound every request.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long one watch request lasts; the server ends it then and it is renewed.
    pub watch: Duration,
    /// How long any answer may take to begin, and then to end, unless it is a watch.
    pub request: Duration,
}

/// Makes clients of one cluster.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    pub(super) timeouts: Timeouts,
    pub(super) cluster: Arc<str>,
    metrics: Arc<Metrics>,
    freshness: Freshness,
    waiting: Arc<AtomicUsize>,
    is_optional: bool,
}

impl Connector {
    /// A connector to the API server of `config`.
    #[must_use]
    pub fn new(
        mut config: Config,
        timeouts: Timeouts,
        cluster: Arc<str>,
        metrics: Arc<Metrics>,
        freshness: Freshness,
    ) -> Self {
        config.connect_timeout = Some(timeouts.request);
        // A connection on which nothing comes for longer than a watch may last is dead. This also
        // ends the body of an answer that froze in the middle.
        config.read_timeout = Some(timeouts.watch + WATCH_MARGIN);
        config.reset_reader_on_write = true;
        // kube's own retry stays inside of one call for minutes, and status would not know.
        config.default_retry = false;
        Self { config, timeouts, cluster, metrics, freshness, waiting: Arc::default(), is_optional: false }
    }

    /// The same, for watches of what a cluster may lack: that one of them is stale is no reason to start anew.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    /// A connector to another cluster, with the same times.
    #[must_use]
    pub fn to(&self, cluster: Arc<str>, config: Config) -> Self {
        Self::new(config, self.timeouts, cluster, self.metrics.clone(), self.freshness.clone())
    }

    /// A client for one watch, by whose name the age of its last good answer is known; or for all other requests.
    ///
    /// # Errors
    /// When the configuration cannot be used, such as a certificate that does not parse.
    pub fn client(&self, watch: Option<&str>) -> Result<Client, kube::Error> {
        let is_vital = !self.is_optional;
        let beat = watch.map(|watch| self.freshness.register(&self.cluster, watch, is_vital));
        let bound = layer_fn(|inner| Bound {
            inner,
            timeouts: self.timeouts,
            waiting: self.waiting.clone(),
            beat: beat.clone(),
            metrics: self.metrics.clone(),
            cluster: self.cluster.clone(),
        });
        Ok(ClientBuilder::try_from(self.config.clone())?.with_layer(&bound).build())
    }

    /// Whether another one leads to the same server, whoever asks.
    #[must_use]
    pub fn leads_where(&self, other: &Self) -> bool {
        self.config.cluster_url == other.config.cluster_url && self.config.root_cert == other.config.root_cert
    }
}

/// The answer to a request did not begin in time.
#[derive(Debug, Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
pub struct DeadlineExceeded(Duration);

/// Ends a request whose answer does not begin in time, and an answer beyond its bounds; marks good answers, and reports
/// each request, timed to the answer's headers.
#[derive(Clone)]
struct Bound<S> {
    inner: S,
    timeouts: Timeouts,
    waiting: Arc<AtomicUsize>,
    beat: Option<Beat>,
    metrics: Arc<Metrics>,
    cluster: Arc<str>,
}

impl<S, B> Service<Request<Body>> for Bound<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<Answer<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (metrics, cluster) = (self.metrics.clone(), self.cluster.clone());
        let mut report = RequestReport::new(metrics, cluster, request.method(), request.uri());
        let is_list = request.extensions().get::<ByObject>().is_some();
        let unit = if is_watch(request.uri()) {
            Unit::Line
        } else if is_list {
            Unit::Object
        } else {
            Unit::Answer
        };
        let answer = self.inner.call(request);
        let (timeouts, waiting, beat) = (self.timeouts, self.waiting.clone(), self.beat.clone());
        async move {
            let deadline = timeouts.request;
            let answer = match tokio::time::timeout(deadline, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(DeadlineExceeded(deadline).into()),
            };
            let status = answer.as_ref().ok().map(Response::status);
            report.ended(status);
            let good = status.is_some_and(|status| status.is_success());
            if let Some(beat) = beat.filter(|_| good) {
                beat.mark();
            }
            let (unit, longest) = if good { (unit, MAX_ANSWER) } else { (Unit::Answer, MAX_REFUSAL) };
            let time = if unit == Unit::Line { timeouts.watch + WATCH_MARGIN / 2 } else { timeouts.request };
            let bounds = Bounds { unit, longest, time, waiting };
            answer.map(|answer| answer.map(|body| Answer::new(body, bounds)))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Freshness;

    struct Server(Option<u16>);

    impl Service<Request<Body>> for Server {
        type Response = Response<()>;
        type Error = std::io::Error;
        type Future = BoxFuture<'static, Result<Response<()>, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
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
        let metrics = Arc::new(Metrics::new(Freshness::default()));
        for server in [Server(Some(409)), Server(Some(0)), Server(None)] {
            let mut bound = Bound {
                inner: server,
                timeouts: Timeouts { watch: Duration::from_secs(60), request: Duration::from_secs(10) },
                waiting: Arc::default(),
                beat: None,
                metrics: metrics.clone(),
                cluster: "local".into(),
            };
            let call = bound.call(Request::new(Body::empty()));
            let _ = tokio::time::timeout(Duration::from_millis(5), call).await;
        }
        let text = metrics.encode();
        for code in ["409", "error", "cancelled"] {
            assert!(text.contains(&format!("code=\"{code}\"}} 1")), "{code}: {text}");
        }
    }
}
