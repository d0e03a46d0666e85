//! A server on loopback, for what stands between or beside real servers: a proxy, a webhook.

use std::{error::Error as _, fmt, future::Future, sync::Arc};

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    client::install_crypto,
    error::{Context, Error, Result},
    fault_proxy::bind,
    pki::Identity,
};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Ends, with all its connections, when dropped. It lives in the runtime that it was started in.
pub struct Server {
    port: u16,
    tls: bool,
    accepting: JoinHandle<()>,
}

impl Server {
    /// HTTPS with an identity, else plain HTTP. `connected` is called for each connection; what it returns answers
    /// each request on it. An error instead of an answer closes the connection; [`Reset`] does so with a TCP reset.
    /// HTTP/1.1 only: one request at a time on a connection.
    pub async fn start<H, F>(
        identity: Option<&Identity>,
        connected: impl Fn() -> H + Send + 'static,
    ) -> Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
    {
        let acceptor = identity.map(acceptor).transpose()?;
        let tls = acceptor.is_some();
        let (port, listener) = bind().await?;
        let accepting = tokio::spawn(async move {
            // Aborts what is in it when this task ends.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        let (acceptor, handle) = (acceptor.clone(), connected());
                        connections.spawn(async move {
                            let _ = stream.set_nodelay(true);
                            match acceptor {
                                None => serve(stream, handle, |stream| stream).await,
                                Some(acceptor) => {
                                    let Ok(stream) = acceptor.accept(stream).await else { return };
                                    serve(stream, handle, |stream| stream.get_ref().0).await;
                                }
                            }
                        });
                    }
                    Some(_) = connections.join_next() => {}
                    else => return,
                }
            }
        });
        Ok(Self { port, tls, accepting })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The error of an answer that is a TCP reset.
#[derive(Debug)]
pub struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset")
    }
}

impl std::error::Error for Reset {}

async fn serve<S, H, F>(stream: S, handle: H, tcp: impl Fn(&S) -> &TcpStream)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let mut serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(handle));
    // Of other errors nobody needs to be told: whoever has closed it knows.
    if let Err(error) = (&mut serving).await
        && error.source().is_some_and(|cause| cause.is::<Reset>())
    {
        // Without lingering, closing sends a reset.
        let _ = tcp(&serving.into_parts().io.into_inner()).set_zero_linger();
    }
}

fn acceptor(identity: &Identity) -> Result<TlsAcceptor> {
    install_crypto();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).map_err(pem)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(pem)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    Ok(TlsAcceptor::from(Arc::new(config.context("TLS")?)))
}

/// Connects to servers whose certificates this authority has signed.
pub fn connector(ca_pem: &str) -> Result<TlsConnector> {
    install_crypto();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(pem)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An answer in JSON.
pub fn answer(code: u16, body: &serde_json::Value) -> Result<Response<Body>, BoxError> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    Ok(Response::builder().status(code).header("content-type", "application/json").body(body)?)
}

fn pem(error: rustls::pki_types::pem::Error) -> Error {
    Error::new(format!("PEM: {error:?}"))
}
