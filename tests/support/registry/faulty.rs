//! A registry that does what a test says.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    Response,
    body::{Bytes, Frame, Incoming},
    header::AUTHORIZATION,
};
use tokio::time::{Instant, sleep};

use super::super::{
    error::Result,
    https::{Body, BoxError, Reset, Server},
    pki::Identity,
};

type Rule = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Without the question mark; empty when there is none.
    pub query: String,
    pub authorization: Option<String>,
    pub at: Instant,
}

/// What a request is told.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    delay: Duration,
    repeated: Option<Duration>,
    reset: bool,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { status, headers, body, delay: Duration::ZERO, repeated: None, reset: false }
    }

    /// The connection is reset.
    pub fn reset() -> Self {
        Self { reset: true, ..Self::status(0) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Nothing is said before; with `Duration::MAX`, ever.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The body comes again and again, without end: at once, or in drops.
    pub fn repeated(mut self, pause: Duration) -> Self {
        self.repeated = Some(pause);
        self
    }

    pub fn code(&self) -> u16 {
        self.status
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a server answers with.
    pub async fn give(self) -> Result<Response<Body>, BoxError> {
        sleep(self.delay).await;
        if self.reset {
            return Err(Reset.into());
        }
        let body = match self.repeated {
            None => Full::new(self.body).map_err(|never| match never {}).boxed_unsync(),
            Some(pause) => {
                let frames = stream::unfold(self.body, move |part| async move {
                    sleep(pause).await;
                    Some((Ok(Frame::data(part.clone())), part))
                });
                StreamBody::new(frames).boxed_unsync()
            }
        };
        let builder = Response::builder().status(self.status);
        Ok(self
            .headers
            .iter()
            .fold(builder, |builder, (name, value)| builder.header(*name, value))
            .body(body)?)
    }
}

/// Ends, with all its connections, when dropped. It lives in the runtime that it was started in.
pub struct FaultyRegistry {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    rule: Mutex<Rule>,
    seen: Mutex<Vec<Request>>,
}

impl FaultyRegistry {
    /// With a certificate, which may be a wrong one, or on plain HTTP. It knows nothing, until there is a rule.
    pub async fn start(identity: Option<&Identity>) -> Result<Self> {
        let nothing: Rule = Arc::new(|_| Answer::status(404));
        let shared = Arc::new(Shared { rule: Mutex::new(nothing), seen: Mutex::default() });
        let asked = shared.clone();
        let connected = move || {
            let shared = asked.clone();
            move |request| shared.note(&request).give()
        };
        Ok(Self { server: Server::start(identity, connected).await?, shared })
    }

    /// From now on this says how requests are answered.
    pub fn rule(&self, rule: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        *lock(&self.shared.rule) = Arc::new(rule);
    }

    /// One on plain HTTP that takes each login, after a while.
    pub async fn that_takes_each_login(delay: Duration) -> Result<Self> {
        let registry = Self::start(None).await?;
        registry.rule(move |request| match &request.authorization {
            None => Answer::status(401).header("www-authenticate", "Basic realm=\"x\"").after(delay),
            Some(_) => Answer::status(200).body("{}").after(delay),
        });
        Ok(registry)
    }

    /// The most requests that came within one second.
    pub fn most_in_a_second(&self) -> usize {
        let times: Vec<Instant> = self.requests().iter().map(|request| request.at).collect();
        let within = |from: Instant| {
            times.iter().filter(|at| (from..from + Duration::from_secs(1)).contains(*at)).count()
        };
        times.iter().map(|from| within(*from)).max().unwrap_or_default()
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.server.address()
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.seen).clone()
    }

    /// All `Authorization` headers so far: whoever was to tell no password has left none here.
    pub fn authorizations(&self) -> Vec<String> {
        lock(&self.shared.seen).iter().filter_map(|request| request.authorization.clone()).collect()
    }
}

impl Shared {
    fn note(&self, request: &hyper::Request<Incoming>) -> Answer {
        let authorization = request.headers().get(AUTHORIZATION);
        let mut seen = lock(&self.seen);
        let request = Request {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            authorization: authorization.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            at: Instant::now(),
        };
        seen.push(request.clone());
        drop(seen);
        let rule = lock(&self.rule).clone();
        rule(&request)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
