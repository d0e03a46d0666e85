//! Electors against a small server in memory that holds Leases as an API server does.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tower::Service;

use super::*;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases";

#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    leases: HashMap<String, Value>,
    version: u64,
    /// Requests are swallowed without an answer, as on a cut network.
    frozen: bool,
    writes: u32,
}

impl Server {
    fn client(&self) -> Client {
        Client::new(self.clone(), "ops")
    }

    fn elector(&self, identity: &str, timing: Timing) -> Elector {
        Elector::new(self.client(), "ops", "claviger", identity, timing)
    }

    fn lease(&self) -> LeaseSpec {
        let state = self.0.lock().unwrap();
        serde_json::from_value(state.leases["claviger"]["spec"].clone()).unwrap()
    }

    fn holder(&self) -> Option<String> {
        self.lease().holder_identity
    }

    fn freeze(&self, frozen: bool) {
        self.0.lock().unwrap().frozen = frozen;
    }

    fn handle(&self, method: &Method, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let mut state = self.0.lock().unwrap();
        if state.frozen {
            return None;
        }
        let name = path.strip_prefix(PATH).unwrap().trim_start_matches('/').to_owned();
        let status = |code: u16, reason: &str| {
            let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": reason, "code": code, "message": reason});
            Some((code, body))
        };
        if *method == Method::GET {
            return match state.leases.get(&name) {
                Some(lease) => Some((200, lease.clone())),
                None => status(404, "NotFound"),
            };
        }
        let mut lease: Value = serde_json::from_slice(body).unwrap();
        let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
        let current = state.leases.get(&name).map(|l| l["metadata"]["resourceVersion"].clone());
        match (method, current) {
            (&Method::POST, Some(_)) => return status(409, "AlreadyExists"),
            (&Method::PUT, None) => return status(404, "NotFound"),
            (&Method::PUT, Some(v)) if v != lease["metadata"]["resourceVersion"] => {
                return status(409, "Conflict");
            }
            _ => {}
        }
        state.version += 1;
        state.writes += 1;
        lease["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.leases.insert(name, lease.clone());
        Some((200, lease))
    }
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            // Lets others in between a look and the write after it.
            tokio::task::yield_now().await;
            let Some((code, answer)) = server.handle(&head.method, head.uri.path(), &body) else {
                return std::future::pending().await;
            };
            let mut response = Response::new(Body::from(serde_json::to_vec(&answer)?));
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
            Ok(response)
        })
    }
}

/// A hundredth of the usual; lease durations stand in whole seconds, so that one stays.
fn quick() -> Timing {
    Timing {
        lease_duration: Duration::from_secs(1),
        renew_deadline: Duration::from_millis(200),
        retry_period: Duration::from_millis(20),
    }
}

async fn leads(elector: &mut Elector) -> Leadership {
    let leadership = Leadership::acquire(elector, std::future::pending()).await;
    leadership.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn renews_while_it_leads_and_hands_over_on_release() {
    let server = Server::default();
    let first = leads(&mut server.elector("first", quick())).await;
    assert_eq!(server.lease().lease_transitions, Some(0));
    let acquired = server.lease().acquire_time;

    let mut second = server.elector("second", quick());
    let waiting = Leadership::acquire(&mut second, sleep(Duration::from_millis(1200)));
    assert!(waiting.await.unwrap().is_none(), "a renewed lease outlives its duration");
    assert!((first.guard())());
    assert_eq!(server.lease().acquire_time, acquired);
    assert!(server.lease().renew_time > acquired);

    first.release().await;
    assert_eq!(server.holder().as_deref(), Some(""));
    assert_eq!(server.lease().lease_duration_seconds, Some(1));
    let started = Instant::now();
    let second = leads(&mut second).await;
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
    assert_eq!(server.lease().lease_transitions, Some(1));
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn of_many_that_race_exactly_one_leads() {
    let server = Server::default();
    let mut racing = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut elector = server.elector(&format!("operator-{number}"), quick());
        racing
            .spawn(async move { Leadership::acquire(&mut elector, sleep(Duration::from_millis(300))).await });
    }
    let mut leaders = Vec::new();
    while let Some(done) = racing.join_next().await {
        leaders.extend(done.unwrap().unwrap());
    }
    assert_eq!(leaders.len(), 1);
    assert!((leaders[0].guard())());
    assert_eq!(server.lease().lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_expired_lease_is_taken_over_after_its_duration_and_not_before() {
    let server = Server::default();
    let first = leads(&mut server.elector("first", quick())).await;
    drop(first);
    let started = Instant::now();
    let second = leads(&mut server.elector("second", quick())).await;
    assert!(started.elapsed() >= Duration::from_millis(950), "{:?}", started.elapsed());
    assert_eq!(server.holder().as_deref(), Some("second"));
    assert_eq!(server.lease().lease_transitions, Some(1));
    second.release().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_others_may_start() {
    let server = Server::default();
    let leadership = leads(&mut server.elector("first", quick())).await;
    server.freeze(true);
    let started = Instant::now();
    let lost = leadership.lost();
    timeout(Duration::from_millis(900), lost).await.expect("lost within the lease's duration");
    assert!(started.elapsed() <= Duration::from_millis(400), "{:?}", started.elapsed());
    assert!(!(leadership.guard())());
    server.freeze(false);
    leadership.release().await;
    assert_eq!(server.holder().as_deref(), Some("first"), "what is lost is not released");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_another_took_stops_at_once() {
    let server = Server::default();
    let leadership = leads(&mut server.elector("first", quick())).await;
    {
        let mut state = server.0.lock().unwrap();
        let lease = state.leases.get_mut("claviger").unwrap();
        lease["spec"]["holderIdentity"] = "thief".into();
        lease["metadata"]["resourceVersion"] = "foreign".into();
    }
    timeout(Duration::from_millis(150), leadership.lost()).await.unwrap();
    assert_eq!(server.holder().as_deref(), Some("thief"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_makes_a_deleted_lease_anew() {
    let server = Server::default();
    let leadership = leads(&mut server.elector("first", quick())).await;
    server.0.lock().unwrap().leases.clear();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.holder().as_deref(), Some("first"));
    assert!((leadership.guard())());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_while_waiting_leaves_the_lease_alone() {
    let server = Server::default();
    let first = leads(&mut server.elector("first", quick())).await;
    let mut second = server.elector("second", quick());
    assert!(Leadership::acquire(&mut second, std::future::ready(())).await.unwrap().is_none());
    assert_eq!(server.holder().as_deref(), Some("first"));
    first.release().await;
    assert!(Leadership::acquire(&mut second, std::future::ready(())).await.unwrap().is_none());
    assert_eq!(server.holder().as_deref(), Some(""), "taken and given back");
}

#[tokio::test(start_paused = true)]
async fn metadata_of_others_survives_a_renewal() {
    let server = Server::default();
    let leadership = leads(&mut server.elector("first", quick())).await;
    {
        let mut state = server.0.lock().unwrap();
        state.version += 1;
        let version = state.version.to_string();
        let lease = state.leases.get_mut("claviger").unwrap();
        lease["metadata"]["labels"] = json!({"team": "platform"});
        lease["metadata"]["resourceVersion"] = version.into();
    }
    sleep(Duration::from_millis(100)).await;
    assert!((leadership.guard())());
    let state = server.0.lock().unwrap();
    assert_eq!(state.leases["claviger"]["metadata"]["labels"]["team"], "platform");
    assert!(state.writes > 3);
}
