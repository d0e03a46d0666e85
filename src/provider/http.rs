//! Requests to servers that a tenant, or another server, has named.
//!
//! No redirect is followed. What is connected to is an address that was checked, not a name; the answer is bounded in
//! time and size; and the certificate of the server is always checked.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::ready,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, OnceLock},
};

use futures::future::{BoxFuture, FutureExt};
use http::{HeaderName, HeaderValue, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, dns::Name, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use k8s_openapi::jiff::fmt::rfc2822;
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::{ServiceExt, service_fn};
use tracing::warn;

use crate::domain::{
    SecretBytes,
    schedule::{MAX_REGISTRY_ANSWER, REGISTRY_TIMEOUT},
    verification::{
        Answer, Authorities, Authorization, Login, Method, NoAnswer, Reach, Request, Scheme, Server, basic,
        bearer,
    },
};

/// What a manifest may be, so that a registry gives one.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// Authorities by which registries are trusted besides those of the system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roots(Vec<CertificateDer<'static>>);

/// A file with authorities cannot be used.
#[derive(Debug, Error)]
#[error("it has no certificate in PEM")]
pub(crate) struct RootsError;

impl Roots {
    /// From PEM.
    ///
    /// # Errors
    /// When there is no certificate in it, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        read.ok().filter(|all| !all.is_empty()).map(Self).ok_or(RootsError)
    }
}

/// Makes sessions.
pub(super) struct Http {
    roots: Roots,
    /// All that are trusted; the system's are read when they are needed first.
    trusted: OnceLock<Arc<RootCertStore>>,
    proxies: Matcher,
}

impl Http {
    pub fn new(roots: Roots) -> Self {
        Self { roots, trusted: OnceLock::new(), proxies: Matcher::from_env() }
    }

    /// A session, for one login where there is one, whose servers are trusted by these certificates, too.
    pub fn session(&self, login: Option<Arc<Login>>, authorities: Option<Authorities>) -> Session<'_> {
        Session { http: self, login, authorities, tls: None, connections: HashMap::new() }
    }

    fn trusted(&self) -> &Arc<RootCertStore> {
        self.trusted.get_or_init(|| {
            let mut store = RootCertStore::empty();
            let system = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(system.certs);
            store.add_parsable_certificates(self.roots.0.iter().cloned());
            if store.is_empty() {
                warn!("this system trusts no CA, so no registry can be trusted");
            }
            Arc::new(store)
        })
    }

    fn tls(&self, authorities: Option<&Authorities>) -> Result<TlsConnector, NoAnswer> {
        let mut roots = self.trusted().clone();
        if let Some(own) = authorities {
            let own = own.iter().map(|der| CertificateDer::from(der.clone()));
            Arc::make_mut(&mut roots).add_parsable_certificates(own);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| NoAnswer::Tls)?;
        Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }
}

/// The requests by which one login is tried. Connections are kept until its end.
pub(super) struct Session<'a> {
    http: &'a Http,
    login: Option<Arc<Login>>,
    authorities: Option<Authorities>,
    tls: Option<TlsConnector>,
    connections: HashMap<(Scheme, Server), Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// Moves what is sent and received.
    driver: BoxFuture<'static, ()>,
}

impl Session<'_> {
    /// The server of the login, where a request goes to another one: it has chosen what is asked there.
    pub fn sender(&self, request: &Request) -> Option<Server> {
        let own = &self.login.as_ref()?.server;
        let (scheme, to) = (request.scheme, &request.server);
        let is_own = (&own.host, own.port(scheme)) == (&to.host, to.port(scheme));
        (!is_own).then(|| own.clone())
    }

    /// Asks, and reads the answer.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, NoAnswer> {
        timeout(REGISTRY_TIMEOUT, self.exchange(request)).await.unwrap_or(Err(NoAnswer::TimedOut))
    }

    async fn exchange(&mut self, request: &Request) -> Result<Answer, NoAnswer> {
        let key = (request.scheme, request.server.clone());
        let kept = self.connections.remove(&key).filter(|kept| kept.requests.is_ready());
        let mut answered = None;
        if let Some(kept) = kept {
            answered = match send(kept, self.message(request)?, request.method).await {
                // The server may have closed it meanwhile.
                Err(NoAnswer::Broken) if request.method != Method::Post => None,
                answered => Some(answered?),
            };
        }
        let (answer, connection) = match answered {
            Some(answered) => answered,
            None => {
                let connection = self.connect(request).await?;
                send(connection, self.message(request)?, request.method).await?
            }
        };
        if let Some(connection) = connection {
            self.connections.insert(key, connection);
        }
        Ok(answer)
    }

    fn message(&self, request: &Request) -> Result<http::Request<Full<Bytes>>, NoAnswer> {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
            Method::Post => http::Method::POST,
        };
        let mut message = http::Request::builder()
            .method(method)
            .uri(&request.path)
            .header(header::HOST, request.server.to_string())
            .header(header::USER_AGENT, concat!("claviger/", env!("CARGO_PKG_VERSION")));
        if !request.headers.iter().any(|(name, _)| *name == header::ACCEPT) {
            let accept = if request.method == Method::Head { MANIFESTS } else { "*/*" };
            message = message.header(header::ACCEPT, accept);
        }
        if let Some((name, value)) = self.authorization(&request.authorization)? {
            message = message.header(name, value);
        }
        for (name, value) in &request.headers {
            message = message.header(*name, sensitive(value.clone())?);
        }
        let body = request.body.clone().map(Bytes::from_owner).unwrap_or_default();
        message.body(Full::new(body)).map_err(|_| NoAnswer::Broken)
    }

    fn authorization(&self, who: &Authorization) -> Result<Option<(HeaderName, HeaderValue)>, NoAnswer> {
        let pair = self.login.as_ref().and_then(|login| login.pair()).unwrap_or_default();
        let (username, password) = (pair.0.as_bytes(), pair.1.as_bytes());
        let (name, value) = match who {
            Authorization::Nobody => return Ok(None),
            Authorization::Basic => (header::AUTHORIZATION, basic(username, password)),
            Authorization::Bearer(token) => (header::AUTHORIZATION, bearer(token.expose())),
            Authorization::AuthToken => {
                (HeaderName::from_static("x-auth-token"), SecretBytes::concat(&[password]))
            }
        };
        Ok(Some((name, sensitive(value)?)))
    }

    async fn connect(&mut self, request: &Request) -> Result<Connection, NoAnswer> {
        let Request { scheme, server, reach, .. } = request;
        let uri: Uri = format!("{scheme}://{server}/").parse().map_err(|_| NoAnswer::NameNotFound)?;
        // Whoever has set a proxy trusts it to know where it may connect to; what an address says, it says here.
        let literal = server.host.parse::<IpAddr>().ok();
        if literal.is_some_and(|address| !reach.allows(address)) {
            return Err(NoAnswer::AddressNotAllowed);
        }
        let proxy = match reach {
            // No proxy has the same machine.
            Reach::Machine => None,
            _ => self.http.proxies.intercept(&uri),
        };
        let stream = match proxy {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), HttpConnector::new());
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let target = format!("{scheme}://{}", with_port(server, *scheme));
                let target = target.parse::<Uri>().map_err(|_| NoAnswer::NameNotFound)?;
                tunnel.oneshot(target).await.map_err(|_| NoAnswer::NotConnected)?
            }
            None => {
                let addresses = match literal {
                    Some(address) => vec![SocketAddr::new(address, 0)],
                    None => resolve(&server.host, *scheme, *reach).await?,
                };
                let resolver =
                    service_fn(move |_: Name| ready(Ok::<_, Infallible>(addresses.clone().into_iter())));
                let mut connector = HttpConnector::new_with_resolver(resolver);
                connector.enforce_http(false);
                connector.set_nodelay(true);
                connector.oneshot(uri).await.map_err(|_| NoAnswer::NotConnected)?
            }
        };
        match scheme {
            Scheme::Http => handshake(stream).await,
            Scheme::Https => {
                let name =
                    ServerName::try_from(server.host.clone()).map_err(|_| NoAnswer::CertificateName)?;
                let tls = match &self.tls {
                    Some(tls) => tls.clone(),
                    None => self.tls.insert(self.http.tls(self.authorities.as_ref())?).clone(),
                };
                let stream =
                    tls.connect(name, stream.into_inner()).await.map_err(|error| untrusted(&error))?;
                handshake(TokioIo::new(stream)).await
            }
        }
    }
}

/// Sends a message, and reads the answer. Returns the connection, if another message may follow.
async fn send(
    mut connection: Connection,
    message: http::Request<Full<Bytes>>,
    method: Method,
) -> Result<(Answer, Option<Connection>), NoAnswer> {
    let (answer, is_open) = {
        let mut answered = pin!(async {
            let answer = connection.requests.send_request(message).await.map_err(|_| NoAnswer::Broken)?;
            read(answer, method).await
        });
        tokio::select! {
            biased;
            answer = &mut answered => (answer?, true),
            // The last answer of a connection comes with its end.
            () = &mut connection.driver => (answered.await?, false),
        }
    };
    Ok((answer, is_open.then_some(connection)))
}

/// A value of a header, wiped with the last of its users.
fn sensitive(value: SecretBytes) -> Result<HeaderValue, NoAnswer> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).map_err(|_| NoAnswer::Broken)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn handshake<S>(stream: S) -> Result<Connection, NoAnswer>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let handshake = http1::Builder::new().max_buf_size(MAX_REGISTRY_ANSWER).handshake(stream).await;
    let (requests, driver) = handshake.map_err(|_| NoAnswer::Broken)?;
    Ok(Connection { requests, driver: driver.map(|_| ()).boxed() })
}

/// Reads what counts of an answer.
async fn read(answer: http::Response<Incoming>, method: Method) -> Result<Answer, NoAnswer> {
    let (head, mut body) = answer.into_parts();
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let challenges = head.headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(text).collect();
    let retry_after = head.headers.get(header::RETRY_AFTER).and_then(text);
    let region = head.headers.get("x-amz-bucket-region").and_then(text);
    let mut parts: Vec<Bytes> = Vec::new();
    let mut length = 0;
    let date = head.headers.get(header::DATE).and_then(text);
    let date = date.and_then(|date| Some(rfc2822::parse(&date).ok()?.timestamp()));
    while method != Method::Head
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame.map_err(|_| NoAnswer::Broken)?.into_data() else { continue };
        length += data.len();
        if length > MAX_REGISTRY_ANSWER {
            return Err(NoAnswer::TooLong);
        }
        parts.push(data);
    }
    let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
    let answer = Answer::new(head.status.as_u16(), SecretBytes::concat(&parts));
    Ok(Answer { challenges, retry_after, date, region, ..answer })
}

async fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

/// A name to which no search domain is added. One of a single word, or of a Service as clusters abbreviate it, needs one.
fn whole(name: &str) -> String {
    if name.contains('.') && !name.ends_with(".svc") { format!("{name}.") } else { name.to_owned() }
}

/// The addresses of a name that may be connected to.
async fn resolve(name: &str, scheme: Scheme, reach: Reach) -> Result<Vec<SocketAddr>, NoAnswer> {
    let mut found = look_up(&whole(name)).await;
    // A file of hosts knows no names with a dot at their end. Without TLS nobody would notice that another server
    // answers, as one that a tenant has called so that a search domain leads to it.
    if found.is_err() && scheme == Scheme::Https {
        found = look_up(name).await;
    }
    let found = found.ok().filter(|found| !found.is_empty()).ok_or(NoAnswer::NameNotFound)?;
    let allowed: Vec<_> = found.into_iter().filter(|address| reach.allows(address.ip())).collect();
    if allowed.is_empty() { Err(NoAnswer::AddressNotAllowed) } else { Ok(allowed) }
}

fn untrusted(error: &io::Error) -> NoAnswer {
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(problem)) => match problem {
            CertificateError::UnknownIssuer => NoAnswer::UnknownAuthority,
            // It has signed itself, as its own authority. The error of webpki has no type here.
            CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => {
                NoAnswer::UnknownAuthority
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => NoAnswer::CertificateExpired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                NoAnswer::CertificateName
            }
            _ => NoAnswer::Tls,
        },
        Some(_) => NoAnswer::Tls,
        None => NoAnswer::Broken,
    }
}

fn with_port(server: &Server, scheme: Scheme) -> Server {
    Server { port: Some(server.port(scheme)), ..server.clone() }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
