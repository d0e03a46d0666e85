//! Many clusters out of one: a member for each port, which sees of a real API server only what is its own.
//!
//! In front of the one API server stands a proxy per member. It speaks TLS, shows of all namespaces the member's own and
//! `kube-system` with a uid of its own, by which the operator knows clusters, and of Secrets and Pods those in that namespace. All
//! else passes through, watches too.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
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
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::DEADLINE;
use crate::{
    support::{
        ControlPlane, Error, FaultProxy, Result,
        kubeconfig::{Identity, kubeconfig},
        pki::Authority,
        wait_for,
    },
    world::{CONCURRENCY, LABEL, create_namespace},
};

/// Which member a namespace is shown to.
const OF: &str = "member";
const EVERYBODY: &str = "all";

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

/// All members; gone when dropped.
pub struct Crowd {
    pub members: Vec<Member>,
    /// In front of the first member.
    pub fault: FaultProxy,
    /// Of the API server that all share.
    control_plane: ControlPlane,
    _serving: JoinSet<()>,
}

/// One member, as the operator sees it.
pub struct Member {
    pub name: String,
    /// The one that gets a copy.
    pub namespace: String,
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
}

/// What the proxy of a member knows.
struct Front {
    upstream: Client,
    member: String,
    namespace: String,
    /// The uid of `kube-system`, and the one that is shown in its place.
    uid: String,
    shown: String,
    requests: Arc<AtomicU64>,
}

impl Crowd {
    pub async fn start(count: usize) -> Result<Self> {
        let control_plane = ControlPlane::builder()
            .without_controllers()
            .api_server_arg("--disable-admission-plugins=ServiceAccount")
            .start()
            .await?;
        let client = control_plane.client().await?;
        let uid = share_kube_system(&client).await?;
        let names: Vec<(String, String)> =
            (0..count).map(|number| (format!("member-{number:03}"), format!("team-{number:03}"))).collect();
        stream::iter(&names)
            .map(|(name, namespace)| create_namespace(&client, namespace, json!({OF: name, LABEL: "target"})))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        let authority = Authority::new("members")?;
        let acceptor = acceptor(&authority)?;
        let mut serving = JoinSet::new();
        let mut members = Vec::new();
        for (number, (name, namespace)) in names.into_iter().enumerate() {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let port = listener.local_addr()?.port();
            let requests = Arc::<AtomicU64>::default();
            let front = Front {
                // With connections of its own: what holds one member up is not to hold up another one here.
                upstream: control_plane.client().await?,
                member: name.clone(),
                namespace: namespace.clone(),
                uid: uid.clone(),
                // Of the same length, so that no header has to change.
                shown: format!("{}{number:012}", &uid[..uid.len() - 12]),
                requests: requests.clone(),
            };
            serving.spawn(serve(listener, acceptor.clone(), Arc::new(front)));
            members.push(Member { name, namespace, port, kubeconfig: String::new(), requests });
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

    /// The namespaces of all but the one that faults are for.
    pub fn healthy(&self) -> HashSet<String> {
        self.members.iter().skip(1).map(|member| member.namespace.clone()).collect()
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
        head.uri = self.narrowed(&head.uri)?;
        head.headers.remove(header::AUTHORIZATION);
        head.headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
        let body = Body::from(body.collect().await?.to_bytes().to_vec());
        let response = self.upstream.send(Request::from_parts(head, body)).await?;
        let (head, body) = response.into_parts();
        if is_watch {
            return Ok(Response::from_parts(head, body.boxed_unsync()));
        }
        Ok(Response::from_parts(head, whole(self.disguised(body.collect().await?.to_bytes()))))
    }

    /// Lists and watches of the whole cluster, as those of the member's part.
    fn narrowed(&self, uri: &Uri) -> Result<Uri> {
        let query = uri.query().unwrap_or_default();
        let narrowed = match uri.path() {
            "/api/v1/namespaces" => {
                let of = format!("{OF}%20in%20({},{EVERYBODY})", self.member);
                format!("/api/v1/namespaces?{query}&labelSelector={of}")
            }
            "/api/v1/secrets" => format!("/api/v1/namespaces/{}/secrets?{query}", self.namespace),
            "/api/v1/pods" => format!("/api/v1/namespaces/{}/pods?{query}", self.namespace),
            _ => return Ok(uri.clone()),
        };
        Ok(narrowed.parse()?)
    }

    /// With the uid that this member is known by.
    fn disguised(&self, bytes: Bytes) -> Bytes {
        let (uid, shown) = (self.uid.as_bytes(), self.shown.as_bytes());
        let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(uid)).collect();
        if places.is_empty() {
            return bytes;
        }
        let mut bytes = bytes.to_vec();
        for at in places {
            bytes[at..at + shown.len()].copy_from_slice(shown);
        }
        bytes.into()
    }
}

fn whole(bytes: Bytes) -> UnsyncBoxBody<Bytes, kube::Error> {
    Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
}
