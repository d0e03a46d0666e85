//! A proxy that reads the requests to an API server: it notes each, and can treat some of them badly.
//!
//! It speaks TLS on both sides, with a certificate that the control plane's own authority has signed. Clients
//! authenticate by token: a client certificate does not come through.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Response,
    body::{Bytes, Frame, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, CONNECTION, TRANSFER_ENCODING},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::TlsConnector;

use super::{
    error::Result,
    https::{self, Body, BoxError, Server, answer},
    pki::Identity,
};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Pass,
    /// It does not reach the server; the client is told this status code.
    Answer(u16),
    /// A watch is told, as by the server, that its resourceVersion is too old.
    Expire,
    /// The connection is closed.
    Cut,
    /// The connection is closed when so many bytes of the answer have come through.
    CutAfter(usize),
    /// Nothing moves until another rule says otherwise.
    Hold,
    /// It reaches the server, and the answer is held back until another rule says otherwise.
    HoldAnswer,
    /// In the answer, a text is replaced by another of the same length, where no part of the answer ends in it.
    Replace(&'static str, &'static str),
}

/// A rule is asked when a request comes, before each part of its answer, and whenever the rule changes: so it
/// also concerns watches that are open already.
type Rule = Arc<dyn Fn(&Request) -> Action + Send + Sync>;

/// One request, as far as its head tells.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// How many came before it.
    pub number: usize,
    pub method: String,
    pub path: String,
    pub accept: String,
    /// Empty when it is not about a resource.
    pub resource: String,
    pub namespace: String,
    /// Empty when it is about a collection.
    pub name: String,
    parameters: Vec<(String, String)>,
}

impl Request {
    fn read(number: usize, request: &hyper::Request<Incoming>) -> Self {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (method, accept) = (request.method().to_string(), accept.to_owned());
        let query = request.uri().query().unwrap_or_default();
        Self { number, method, accept, ..Self::parse(request.uri().path(), query) }
    }

    fn parse(path: &str, query: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let rest: Vec<&str> = match parts.next() {
            Some("api") => parts.skip(1).collect(),
            Some("apis") => parts.skip(2).collect(),
            _ => Vec::new(),
        };
        let (namespace, resource, name) = match rest.as_slice() {
            // A third part is a resource in the namespace, or a subresource of the namespace itself.
            ["namespaces", namespace, resource, rest @ ..] if !["status", "finalize"].contains(resource) => {
                (*namespace, *resource, rest.first().copied())
            }
            [resource, rest @ ..] => ("", *resource, rest.first().copied()),
            [] => ("", "", None),
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let parameters = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self {
            path: path.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.unwrap_or_default().to_owned(),
            parameters: parameters.collect(),
            ..Self::default()
        }
    }

    /// A parameter of the query.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    pub fn is_watch(&self) -> bool {
        self.method == "GET" && self.parameter("watch").is_some_and(|value| ["true", "1"].contains(&value))
    }

    /// A list, or a watch that begins with one.
    pub fn is_list(&self) -> bool {
        let streamed = self.parameter("sendInitialEvents") == Some("true");
        self.method == "GET"
            && !self.resource.is_empty()
            && self.name.is_empty()
            && (!self.is_watch() || streamed)
    }

    /// Not the first page of a list.
    pub fn is_continued(&self) -> bool {
        self.parameter("continue").is_some_and(|token| !token.is_empty())
    }

    /// The requirements of the label selector.
    pub fn labels(&self) -> Vec<&str> {
        self.parameter("labelSelector").map(|labels| labels.split(',').collect()).unwrap_or_default()
    }
}

/// Ends, with all its connections, when dropped. It lives in the runtime that it was started in.
pub struct HttpProxy {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    tls: TlsConnector,
    rule: watch::Sender<Rule>,
    seen: Mutex<Vec<Request>>,
    held: AtomicUsize,
}

impl HttpProxy {
    /// `upstream` is host and port. See `ControlPlane::http_proxy`.
    pub(super) async fn start(upstream: String, ca_pem: &str, identity: &Identity) -> Result<Self> {
        let pass: Rule = Arc::new(|_| Action::Pass);
        let shared = Arc::new(Shared {
            upstream,
            tls: https::connector(ca_pem)?,
            rule: watch::Sender::new(pass),
            seen: Mutex::default(),
            held: AtomicUsize::new(0),
        });
        let connections = shared.clone();
        let connected = move || {
            // A connection of a client has one of its own to the server.
            let (shared, upstream) = (connections.clone(), Arc::new(tokio::sync::Mutex::new(None)));
            move |request| exchange(shared.clone(), upstream.clone(), request)
        };
        Ok(Self { server: Server::start(Some(identity), connected).await?, shared })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on this is what happens to requests, those in progress included. It should tell them by what
    /// they are: it is asked many times about the same one.
    pub fn rule(&self, rule: impl Fn(&Request) -> Action + Send + Sync + 'static) {
        self.shared.rule.send_replace(Arc::new(rule));
    }

    /// From now on everything passes.
    pub fn pass(&self) {
        self.rule(|_| Action::Pass);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen().clone()
    }

    /// How many requests there were so far: the number of the next one.
    pub fn mark(&self) -> usize {
        self.shared.seen().len()
    }

    /// How many requests there were from the `mark`-th on that are like this.
    pub fn count(&self, mark: usize, is: impl Fn(&Request) -> bool) -> usize {
        self.shared.seen().iter().skip(mark).filter(|request| is(request)).count()
    }

    /// How many answers are here and held back.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Request>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, request: &hyper::Request<Incoming>) -> Request {
        let mut seen = self.seen();
        let new = Request::read(seen.len(), request);
        seen.push(new.clone());
        new
    }

    async fn connect(&self) -> Result<SendRequest<Incoming>, BoxError> {
        let stream = TcpStream::connect(&self.upstream).await?;
        stream.set_nodelay(true)?;
        let name = self.upstream.rsplit_once(':').map_or(&*self.upstream, |(host, _)| host).to_owned();
        let stream = self.tls.connect(ServerName::try_from(name)?, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is gone.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// One request, and what the rules say of it.
struct Exchange {
    shared: Arc<Shared>,
    rules: watch::Receiver<Rule>,
    request: Request,
}

impl Exchange {
    fn action(&mut self) -> Action {
        let rule = self.rules.borrow_and_update().clone();
        rule(&self.request)
    }

    /// What is to happen, once it is not to wait.
    async fn released(&mut self, answered: bool) -> Action {
        let mut held = None;
        loop {
            match self.action() {
                Action::Hold => {}
                Action::HoldAnswer if answered => {}
                action => return action,
            }
            if answered && held.is_none() {
                held = Some(Held::new(self.shared.clone()));
            }
            if self.rules.changed().await.is_err() {
                return Action::Cut;
            }
        }
    }
}

struct Held(Arc<Shared>);

impl Held {
    fn new(shared: Arc<Shared>) -> Self {
        shared.held.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn exchange(
    shared: Arc<Shared>,
    upstream: Arc<tokio::sync::Mutex<Option<SendRequest<Incoming>>>>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let noted = shared.note(&request);
    let mut exchange = Exchange { rules: shared.rule.subscribe(), shared: shared.clone(), request: noted };
    if let Some(instead) = instead(exchange.released(false).await, &exchange.request) {
        return instead;
    }
    let mut upstream = upstream.lock().await;
    let mut open = upstream.take();
    if let Some(sender) = &mut open
        && sender.ready().await.is_err()
    {
        open = None;
    }
    let mut open = match open {
        Some(open) => open,
        None => shared.connect().await?,
    };
    open.ready().await?;
    let real = upstream.insert(open).send_request(request).await?;
    if let Some(instead) = instead(exchange.released(true).await, &exchange.request) {
        return instead;
    }
    let (mut head, body) = real.into_parts();
    // Of this connection to the server, and no other.
    for header in [CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(header);
    }
    Ok(Response::from_parts(head, flow(exchange, body)))
}

/// What is said in place of the server.
fn instead(action: Action, request: &Request) -> Option<Result<Response<Body>, BoxError>> {
    match action {
        Action::Cut => Some(Err("cut".into())),
        Action::Answer(code) => Some(answer(code, &status(code))),
        Action::Expire if request.is_watch() => Some(answer(200, &expired())),
        Action::Expire => Some(answer(410, &status(410))),
        Action::Pass | Action::CutAfter(_) | Action::Hold | Action::HoldAnswer | Action::Replace(..) => None,
    }
}

fn status(code: u16) -> Value {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": "said by the proxy of a test",
    })
}

fn expired() -> Value {
    json!({"type": "ERROR", "object": status(410)})
}

/// The answer as it comes, for as long as the rules let it.
fn flow(exchange: Exchange, body: Incoming) -> Body {
    let frames = stream::unfold(Some((exchange, body, 0)), |state| async move {
        let (mut exchange, mut body, mut sent) = state?;
        loop {
            match exchange.released(true).await {
                Action::Cut | Action::Answer(_) => return Some((Err("cut".into()), None)),
                Action::CutAfter(most) if sent >= most => return Some((Err("cut".into()), None)),
                Action::Expire => {
                    let event = Bytes::from(format!("{}\n", expired()));
                    return Some((Ok(Frame::data(event)), None));
                }
                _ => {}
            }
            tokio::select! {
                changed = exchange.rules.changed() => if changed.is_err() { return None },
                frame = body.frame() => {
                    let mut frame: Result<Frame<Bytes>, BoxError> = frame?.map_err(Into::into);
                    if let (Action::Replace(text, other), Ok(frame)) = (exchange.action(), &mut frame)
                        && let Some(data) = frame.data_mut()
                    {
                        *data = replaced(data, text, other);
                    }
                    sent += frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
                    let rest = frame.is_ok().then_some((exchange, body, sent));
                    return Some((frame, rest));
                }
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

fn replaced(data: &[u8], text: &str, other: &str) -> Bytes {
    let mut data = data.to_vec();
    let places: Vec<usize> = data
        .windows(text.len())
        .enumerate()
        .filter(|(_, found)| *found == text.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in places {
        data[at..at + text.len()].copy_from_slice(other.as_bytes());
    }
    data.into()
}

/// A text of a query, without its percent signs.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn requests_are_told_by_path_and_query() {
        let of = |path: &str, query: &str| {
            let request = Request { method: "GET".into(), ..Request::parse(path, query) };
            (request.namespace.clone(), request.resource.clone(), request.name.clone(), request.is_list())
        };
        let owned = |a: &str, b: &str, c: &str, list| (a.to_owned(), b.to_owned(), c.to_owned(), list);
        assert_eq!(of("/api/v1/secrets", "limit=500"), owned("", "secrets", "", true));
        assert_eq!(of("/api/v1/secrets", "watch=true"), owned("", "secrets", "", false));
        assert_eq!(of("/api/v1/namespaces/a/secrets/b", ""), owned("a", "secrets", "b", false));
        assert_eq!(of("/api/v1/namespaces/a/status", ""), owned("", "namespaces", "a", false));
        assert_eq!(of("/apis/claviger.dev/v1alpha1/members/m", ""), owned("", "members", "m", false));
        assert_eq!(of("/version", ""), owned("", "", "", false));
        let request = Request::parse("/api/v1/secrets", "labelSelector=a%2Fb%21%3Dc%2Cd%3De&continue=x");
        assert_eq!(request.labels(), ["a/b!=c", "d=e"]);
        assert!(request.is_continued());
    }
}
