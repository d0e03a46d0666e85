//! `/healthz`, `/readyz` and `/metrics` over HTTP/1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinSet};

use super::authentication::Authenticator;
use super::exposition::{Exposition, Text};
use super::newest::Newest;
use super::{health::Health, metrics::Metrics};
use crate::domain::review::Verdict;
use crate::domain::schedule::{
    HTTP_CONNECTIONS, HTTP_DRAIN, HTTP_HEADER_TIMEOUT, HTTP_TIMEOUT, METRICS_READERS,
};

/// hyper's smallest buffer: far more than a probe or a scraper sends.
const MAX_REQUEST_BYTES: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

type Answer = Response<Either<Full<Bytes>, Text>>;

/// The server of health and metrics.
pub(crate) struct Server {
    health: Arc<Health>,
    exposition: Exposition,
    authenticator: Option<Authenticator>,
    /// Connections that wait for an answer.
    waiting: Newest,
    /// Connections that are sent metrics. Those who do not read cut off each other, and never a probe.
    readers: Newest,
}

impl Server {
    /// Without an authenticator, everybody may read the metrics.
    pub fn new(
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        authenticator: Option<Authenticator>,
    ) -> Arc<Self> {
        let (waiting, readers) = (Newest::new(HTTP_CONNECTIONS), Newest::new(METRICS_READERS));
        Arc::new(Self { health, exposition: Exposition::new(metrics), authenticator, waiting, readers })
    }

    /// Serves until `shutdown` resolves, then lets answers under way finish for a moment.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                // Keeps the set from collecting finished tasks while nobody connects.
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.waiting.add(|| connections.spawn(self.clone().connection(stream))),
                Err(error) => {
                    // Out of file descriptors, or a client that left early: neither ends the server.
                    tracing::warn!(%error, "cannot accept a connection for health and metrics");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        // What is still open then is cut when the set drops.
        let _ = tokio::time::timeout(HTTP_DRAIN, drained).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.answer(&request).await) }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEADER_TIMEOUT)
            .max_buf_size(MAX_REQUEST_BYTES)
            .max_headers(MAX_HEADERS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // Errors are the client's: it left, does not read, or sent what is not HTTP.
        let _ = tokio::time::timeout(HTTP_TIMEOUT, serving).await;
    }

    async fn answer<B>(&self, request: &Request<B>) -> Answer {
        if request.method() != Method::GET {
            let refused = respond(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
            return with(refused, ALLOW, HeaderValue::from_static("GET"));
        }
        match request.uri().path() {
            "/healthz" => verdict(self.health.liveness(Instant::now())),
            "/readyz" => verdict(self.health.readiness()),
            "/metrics" => self.metrics(request.headers()).await,
            _ => respond(StatusCode::NOT_FOUND, "served here: /healthz, /readyz, /metrics\n"),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Answer {
        let verdict = match &self.authenticator {
            Some(authenticator) => authenticator.review(headers).await,
            None => Some(Verdict::Allowed),
        };
        match verdict {
            Some(Verdict::Allowed) => {
                if let Some(connection) = self.waiting.take(task::id()) {
                    self.readers.add(|| connection);
                }
                let answer = Response::new(Either::Right(self.exposition.text().await));
                with(answer, CONTENT_TYPE, OPEN_METRICS)
            }
            Some(Verdict::Unauthenticated) => {
                let refused = respond(StatusCode::UNAUTHORIZED, "a token of this cluster is needed\n");
                with(refused, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Some(Verdict::Forbidden) => respond(
                StatusCode::FORBIDDEN,
                "the user of this token may not get the nonResourceURL /metrics\n",
            ),
            None => respond(
                StatusCode::SERVICE_UNAVAILABLE,
                "the API server does not say whether this token may read the metrics\n",
            ),
        }
    }
}

fn verdict(state: Result<(), String>) -> Answer {
    match state {
        Ok(()) => respond(StatusCode::OK, "ok\n"),
        Err(why) => respond(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, PLAIN)
}

fn with(mut answer: Answer, header: http::HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(header, value);
    answer
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream as Client};

    use serde_json::json;
    use tokio::{sync::oneshot, task::JoinHandle};

    use super::super::freshness::Freshness;
    use super::*;
    use crate::api::{CredentialKind, CredentialStatus};
    use crate::domain::identity::CredentialId;

    struct Running {
        address: SocketAddr,
        server: Arc<Server>,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn start() -> Running {
        let freshness = Freshness::default();
        freshness.register("local", "pods", true).mark();
        start_with(Metrics::new(freshness.clone()), freshness).await
    }

    async fn start_with(metrics: Metrics, freshness: Freshness) -> Running {
        let health = Arc::new(Health::new(freshness, Duration::from_millis(50)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = Server::new(health, Arc::new(metrics), None);
        let task = tokio::spawn(server.clone().serve(listener, shutdown));
        Running { address, server, stop, task }
    }

    fn connect(address: SocketAddr) -> Client {
        let client = Client::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        client
    }

    /// Blocks: the server runs on other threads.
    fn ask(address: SocketAddr, request: &str) -> String {
        let mut client = connect(address);
        // The server may answer and close before it has read all.
        let _ = client.write_all(format!("{request}\r\n\r\n").as_bytes());
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn answers_each_path_and_nothing_else() {
        let server = start().await;
        let get = |path: &str| ask(server.address, &format!("GET {path} HTTP/1.1\r\nhost: x"));
        let ready = get("/readyz");
        assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("starting\n"), "{ready}");
        server.server.health.set_ready(Ok(()));
        assert!(get("/readyz").starts_with("HTTP/1.1 200"));
        let metrics = get("/metrics");
        assert!(metrics.contains("openmetrics-text") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(get("/").starts_with("HTTP/1.1 404"));
        let post = ask(server.address, "POST /healthz HTTP/1.1\r\nhost: x");
        assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET"), "{post}");

        tokio::time::sleep(Duration::from_millis(60)).await;
        let health = get("/healthz");
        assert!(health.starts_with("HTTP/1.1 503"), "{health}");
        assert!(health.contains("watch of pods in cluster local: last good answer"), "{health}");

        server.stop.send(()).unwrap();
        server.task.await.unwrap();
        assert!(Client::connect(server.address).is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn silent_clients_cannot_keep_a_probe_out() {
        let server = start().await;
        let mut silent: Vec<_> = (0..HTTP_CONNECTIONS + 8).map(|_| connect(server.address)).collect();
        let answer = ask(server.address, "GET /nothing HTTP/1.1\r\nhost: x");
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        // The oldest was pushed out long before its header timeout.
        let cut = silent[0].read(&mut [0]);
        let kept = |e: &std::io::Error| {
            matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        };
        assert!(!cut.as_ref().is_err_and(kept), "{cut:?}");
        drop(server.stop);
        server.task.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn oversized_headers_are_refused() {
        let server = start().await;
        let request = format!("GET /healthz HTTP/1.1\r\nx: {}", "a".repeat(64 * 1024));
        let answer = ask(server.address, &request);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(server.stop);
        server.task.await.unwrap();
    }

    /// Metrics that are too large for the buffers of sockets.
    fn large() -> Metrics {
        let metrics = Metrics::new(Freshness::default());
        let clusters: Vec<_> = (0..400)
            .map(|number| {
                json!({
                    "name": format!("member-{number}"), "state": "Synced",
                    "namespaces": {"desired": 120, "synced": 120, "failed": 0},
                })
            })
            .collect();
        let status: CredentialStatus = serde_json::from_value(json!({"clusters": clusters})).unwrap();
        let status = Arc::new(status);
        for number in 0..60 {
            let id = CredentialId {
                kind: CredentialKind::RegistryCredential,
                namespace: "platform".into(),
                name: format!("quay-{number}").as_str().into(),
            };
            metrics.credentials().set(&id, "Quay".to_owned(), status.clone());
        }
        metrics
    }

    /// Attack: 64 connections that ask for megabytes of metrics and do not read them.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn slow_readers_cut_off_each_other_and_no_probe() {
        let server = start_with(large(), Freshness::default()).await;
        let mut slow = Vec::new();
        for _ in 0..HTTP_CONNECTIONS {
            let mut client = connect(server.address);
            client.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut status = [0; 15];
            client.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 200 OK");
            slow.push(client);
        }
        assert_eq!(server.server.readers.open(), METRICS_READERS);
        let asked = Instant::now();
        let answer = ask(server.address, "GET /healthz HTTP/1.1\r\nhost: x");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(asked.elapsed() < Duration::from_secs(1), "the probe waited {:?}", asked.elapsed());
        assert_eq!(server.server.readers.open(), METRICS_READERS, "the probe pushed a reader out");
        let mut rest = Vec::new();
        let _ = slow[0].read_to_end(&mut rest);
        assert!(!rest.ends_with(b"# EOF\n"), "the oldest got all {} bytes", rest.len());
        let metrics = ask(server.address, "GET /metrics HTTP/1.1\r\nhost: x");
        assert!(metrics.len() > 8_000_000 && metrics.ends_with("# EOF\n"), "{} bytes", metrics.len());
        drop(server.stop);
        server.task.await.unwrap();
    }
}
