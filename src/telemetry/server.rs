//! `/healthz`, `/readyz` and `/metrics` over HTTP/1.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::{health::Health, metrics::Metrics};

/// Connections served at once. One more pushes out the oldest: whoever holds many open cannot
/// keep the kubelet's probe, always the newest, from its answer.
const MAX_CONNECTIONS: usize = 64;
/// For the request line and headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole connection, which carries one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// For answers under way at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// hyper's smallest buffer: far more than a probe or a scraper sends.
const MAX_REQUEST_BYTES: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Serves until `shutdown` resolves, then lets answers under way finish for a second.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Keeps the set from collecting finished tasks while nobody connects.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or a client that left early: neither ends the server.
                tracing::warn!(%error, "cannot accept a connection for health and metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        oldest_first.retain(|task| !task.is_finished());
        if oldest_first.len() >= MAX_CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        let connection = connection(stream, Arc::clone(&health), Arc::clone(&metrics));
        oldest_first.push_back(connections.spawn(connection));
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    // What is still open then is cut when the set drops.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

async fn connection(stream: TcpStream, health: Arc<Health>, metrics: Arc<Metrics>) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &health, &metrics);
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_REQUEST_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Errors are the client's: it left, or sent what is not HTTP.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await;
}

fn answer<B>(request: &Request<B>, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut refused = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET is served here\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    match request.uri().path() {
        "/healthz" => verdict(health.liveness(Instant::now())),
        "/readyz" => verdict(health.readiness()),
        "/metrics" => respond(StatusCode::OK, OPEN_METRICS, metrics.encode()),
        _ => respond(StatusCode::NOT_FOUND, PLAIN, "served here: /healthz, /readyz, /metrics\n"),
    }
}

fn verdict(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => respond(StatusCode::OK, PLAIN, "ok\n"),
        Err(why) => respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why),
    }
}

fn respond(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream as Client};

    use tokio::{sync::oneshot, task::JoinHandle};

    use super::super::freshness::Freshness;
    use super::*;

    struct Running {
        address: SocketAddr,
        health: Arc<Health>,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn start() -> Running {
        let freshness = Freshness::default();
        let health = Arc::new(Health::new(freshness.clone(), Duration::from_millis(50)));
        freshness.register("local", "pods").mark();
        let metrics = Arc::new(Metrics::new(freshness));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, Arc::clone(&health), metrics, shutdown));
        Running { address, health, stop, task }
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
        server.health.set_ready(Ok(()));
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
        let mut silent: Vec<_> = (0..MAX_CONNECTIONS + 8).map(|_| connect(server.address)).collect();
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
}
