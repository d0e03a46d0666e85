//! Clients of one cluster's API server.
//!
//! Every request has a deadline for its answer to begin; and each watch has a client of its own, so
//! that an answer to it can be told from any other and the age of the last one be known.

use std::{
    sync::Arc,
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
use tower::{BoxError, Layer, Service};

use crate::telemetry::{Beat, Metrics, RequestMetricsLayer};

/// Time that the answer to a watch may be late beyond the time that was asked for.
const WATCH_MARGIN: Duration = Duration::from_secs(10);

/// Times that bound every request.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long one watch request lasts; the server ends it then and it is renewed.
    pub watch: Duration,
    /// How long any answer may take to begin.
    pub request: Duration,
}

/// Makes clients of one cluster.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    timeouts: Timeouts,
    cluster: Arc<str>,
    metrics: Arc<Metrics>,
}

impl Connector {
    /// A connector to the API server of `config`.
    #[must_use]
    pub fn new(mut config: Config, timeouts: Timeouts, cluster: Arc<str>, metrics: Arc<Metrics>) -> Self {
        config.connect_timeout = Some(timeouts.request);
        // A connection on which nothing comes for longer than a watch may last is dead. This also
        // ends the body of an answer that froze in the middle.
        config.read_timeout = Some(timeouts.watch + WATCH_MARGIN);
        config.reset_reader_on_write = true;
        // kube's own retry stays inside of one call for minutes, and status would not know.
        config.default_retry = false;
        Self { config, timeouts, cluster, metrics }
    }

    /// A client; `beat` is marked at each good answer that it gets.
    ///
    /// # Errors
    /// When the configuration cannot be used, such as a certificate that does not parse.
    pub fn client(&self, beat: Option<Beat>) -> Result<Client, kube::Error> {
        let bound = BoundLayer { deadline: self.timeouts.request, beat };
        let metrics = RequestMetricsLayer::new(self.metrics.clone(), self.cluster.clone());
        let client =
            ClientBuilder::try_from(self.config.clone())?.with_layer(&bound).with_layer(&metrics).build();
        Ok(client)
    }

    /// Whether another one leads to the same server, whoever asks.
    #[must_use]
    pub fn leads_where(&self, other: &Self) -> bool {
        self.config.cluster_url == other.config.cluster_url && self.config.root_cert == other.config.root_cert
    }

    /// The times that bound requests.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// The answer to a request did not begin in time.
#[derive(Debug, Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
pub struct DeadlineExceeded(Duration);

#[derive(Clone)]
struct BoundLayer {
    deadline: Duration,
    beat: Option<Beat>,
}

impl<S> Layer<S> for BoundLayer {
    type Service = Bound<S>;

    fn layer(&self, inner: S) -> Bound<S> {
        Bound { inner, deadline: self.deadline, beat: self.beat.clone() }
    }
}

/// Ends a request whose answer does not begin in time, and marks good answers.
#[derive(Clone)]
struct Bound<S> {
    inner: S,
    deadline: Duration,
    beat: Option<Beat>,
}

impl<S, B> Service<Request<Body>> for Bound<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.inner.call(request);
        let (deadline, beat) = (self.deadline, self.beat.clone());
        async move {
            let answer = tokio::time::timeout(deadline, answer)
                .await
                .map_err(|_| BoxError::from(DeadlineExceeded(deadline)))?
                .map_err(Into::into)?;
            if let Some(beat) = beat.filter(|_| answer.status().is_success()) {
                beat.mark();
            }
            Ok(answer)
        }
        .boxed()
    }
}
