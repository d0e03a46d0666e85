//! Many clusters out of one: a member for each port, which sees of a real API server only what is its own.
//!
//! In front of the one API server stands a proxy per member. It speaks TLS, and adds a label of the member to the Secrets
//! that are written and to the selector of what is listed and watched: so the API server itself keeps the members apart. Of
//! all namespaces a member sees its own and `kube-system`, with a uid of its own, by which the operator knows clusters. All
//! else passes through.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    client::Body,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{DEADLINE, disguise};
use crate::{
    support::{
        ControlPlane, Error, FaultProxy, Result,
        kubeconfig::{Identity, kubeconfig},
        pki::Authority,
        wait_for,
    },
    world::{LABEL, TARGET, control_plane, create_namespaces},
};

/// Which member an object is shown to. It sorts before all other labels.
pub const OF: &str = "a.bench/member";
const EVERYBODY: &str = "all";

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

/// All members; gone when dropped.
pub struct VirtualMembers {
    pub members: Vec<Member>,
    /// In front of the first member.
    pub fault: FaultProxy,
    /// Of the API server that all share.
    pub control_plane: ControlPlane,
    _serving: JoinSet<()>,
}

/// One member, as the operator sees it.
pub struct Member {
    pub name: String,
    /// Those that get a copy.
    pub namespaces: Vec<String>,
    /// To which the operator connects.
    pub port: u16,
    pub kubeconfig: String,
    requests: Arc<AtomicU64>,
}

impl Member {
    /// How many requests it has had.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The label of what it sees.
    pub fn label(&self) -> Value {
        json!({OF: self.name})
    }
}

/// What the proxy of a member knows.
struct Front {
    upstream: Client,
    member: String,
    /// The uid of `kube-system`, and the one that is shown in its place.
    uid: String,
    shown: String,
    requests: Arc<AtomicU64>,
}

impl VirtualMembers {
    /// A member for each number, with so many namespaces.
    pub async fn start(namespaces: &[usize]) -> Result<Self> {
        let control_plane = control_plane().await?;
        let client = control_plane.client().await?;
        let uid = share_kube_system(&client).await?;
        let authority = Authority::new("members")?;
        let acceptor = acceptor(&authority)?;
        let mut serving = JoinSet::new();
        let mut members = Vec::new();
        for (number, count) in namespaces.iter().enumerate() {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let member = Member {
                name: format!("member-{number:03}"),
                namespaces: (0..*count).map(|namespace| format!("team-{number:03}-{namespace:04}")).collect(),
                port: listener.local_addr()?.port(),
                kubeconfig: String::new(),
                requests: Arc::default(),
            };
            let labels = json!({OF: member.name, LABEL: TARGET});
            create_namespaces(&client, member.namespaces.iter().map(|name| (name.as_str(), labels.clone())))
                .await?;
            let front = Front {
                // With connections of its own: what holds one member up is not to hold up another one here.
                upstream: control_plane.client().await?,
                member: member.name.clone(),
                uid: uid.clone(),
                // Of the same length, so that no header has to change.
                shown: format!("{}{number:012}", &uid[..uid.len() - 12]),
                requests: member.requests.clone(),
            };
            serving.spawn(serve(listener, acceptor.clone(), Arc::new(front)));
            members.push(member);
        }
        let first = members.first_mut().ok_or_else(|| Error::new("no members"))?;
        let fault = FaultProxy::start(format!("127.0.0.1:{}", first.port)).await?;
        first.port =
            fault.address().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        for member in &mut members {
            let server = format!("https://127.0.0.1:{}", member.port);
            member.kubeconfig = kubeconfig(&server, authority.pem(), &Identity::Token("of-no-interest"));
        }
        Ok(Self { members, fault, control_plane, _serving: serving })
    }

    /// A client that sees everything.
    pub async fn client(&self) -> Result<Client> {
        self.control_plane.client().await
    }
}

/// Makes `kube-system` one that everybody sees. Returns its uid.
async fn share_kube_system(client: &Client) -> Result<String> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": {OF: EVERYBODY}}}));
    let shared = wait_for(DEADLINE, "kube-system", async || {
        namespaces.patch("kube-system", &PatchParams::default(), &patch).await
    })
    .await?;
    shared.uid().filter(|uid| uid.len() == 36).ok_or_else(|| Error::new("kube-system has no uid"))
}

fn acceptor(authority: &Authority) -> Result<TlsAcceptor> {
    let identity = authority.server(&["127.0.0.1"])?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, front: Arc<Front>) {
    // Aborts what is in it when this task ends.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let (acceptor, front) = (acceptor.clone(), front.clone());
                connections.spawn(async move {
                    let _ = client.set_nodelay(true);
                    let Ok(client) = acceptor.accept(client).await else { return };
                    let service = service_fn(|request| answer(&front, request));
                    // An end is an end, whichever side has caused it.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(front: &Front, request: Request<Incoming>) -> Result<Answer, Infallible> {
    front.requests.fetch_add(1, Ordering::Relaxed);
    Ok(front.pass(request).await.unwrap_or_else(|error| {
        let mut response = Response::new(whole(error.to_string().into()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }))
}

impl Front {
    async fn pass(&self, request: Request<Incoming>) -> Result<Answer> {
        let (mut head, body) = request.into_parts();
        let is_watch = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        let body = body.collect().await?.to_bytes();
        let body = if is_secret_write(&head.method, head.uri.path()) {
            disguise::with_label(&body, OF, &self.member)
        } else {
            body.to_vec()
        };
        head.uri = self.narrowed(&head.uri)?;
        head.headers.remove(header::AUTHORIZATION);
        head.headers.remove(header::ACCEPT_ENCODING);
        // The body may have another length now.
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
        let response = self.upstream.send(Request::from_parts(head, Body::from(body))).await?;
        let (mut head, body) = response.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        let label = format!("\"{OF}\":\"{}\",", self.member);
        if is_watch {
            return Ok(Response::from_parts(head, disguise::lines_without(body, label)));
        }
        let body = disguise::without(body.collect().await?.to_bytes(), label.as_bytes());
        let body = disguise::replaced(body, self.uid.as_bytes(), self.shown.as_bytes());
        Ok(Response::from_parts(head, whole(body)))
    }

    /// Lists and watches of the whole cluster, as those of the member's part.
    fn narrowed(&self, uri: &Uri) -> Result<Uri> {
        let of = match uri.path() {
            "/api/v1/namespaces" => format!("{OF} in ({},{EVERYBODY})", self.member),
            "/api/v1/secrets" | "/api/v1/pods" | "/apis/apps/v1/deployments" | "/apis/batch/v1/cronjobs" => {
                format!("{OF}={}", self.member)
            }
            _ => return Ok(uri.clone()),
        };
        let of = of.replace(' ', "%20").replace('/', "%2F").replace(',', "%2C").replace('=', "%3D");
        let query = uri.query().unwrap_or_default();
        let mut parameters: Vec<String> =
            query.split('&').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        match parameters.iter_mut().find(|one| one.starts_with("labelSelector=")) {
            Some(selector) if selector.ends_with('=') => selector.push_str(&of),
            Some(selector) => *selector = format!("{selector}%2C{of}"),
            None => parameters.push(format!("labelSelector={of}")),
        }
        Ok(format!("{}?{}", uri.path(), parameters.join("&")).parse()?)
    }
}

/// Whether a Secret is created or replaced as a whole. A patch leaves the label as it is.
fn is_secret_write(method: &Method, path: &str) -> bool {
    let mut parts = path.strip_prefix("/api/v1/namespaces/").unwrap_or_default().split('/');
    (method == Method::POST || method == Method::PUT) && parts.nth(1) == Some("secrets")
}

fn whole(bytes: Bytes) -> UnsyncBoxBody<Bytes, kube::Error> {
    Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
}
