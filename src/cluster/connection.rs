//! The connection to a cluster: it changes with its credentials.

use http::Request;
use hyper::body::Bytes;
use kube::{Api, Client, client::Body, core::Status};
use serde::de::DeserializeOwned;

use super::{connector::Connector, object::WholeSecret};
use crate::{domain::content::ReadSecret, lock::Lock};

/// The connection to a cluster.
pub(crate) struct Connection(Lock<(Connector, Client)>);

impl Connection {
    /// # Errors
    /// When a client cannot be made from the configuration; nothing is asked of the cluster.
    pub fn new(connector: Connector) -> Result<Self, kube::Error> {
        let client = connector.client(None)?;
        Ok(Self(Lock::new((connector, client))))
    }

    /// A client for all requests but watches.
    pub fn client(&self) -> Client {
        self.0.read().1.clone()
    }

    pub fn connector(&self) -> Connector {
        self.0.read().0.clone()
    }

    /// Goes on with other credentials, or at another address. Returns whether it is another address.
    ///
    /// # Errors
    /// When a client cannot be made from the configuration; then nothing changes.
    pub fn swap(&self, connector: Connector) -> Result<bool, kube::Error> {
        let client = connector.client(None)?;
        let moved = !self.connector().leads_where(&connector);
        *self.0.write() = (connector, client);
        Ok(moved)
    }

    /// Goes on with new TCP connections.
    ///
    /// # Errors
    /// As [`Connection::swap`].
    pub fn renew(&self) -> Result<(), kube::Error> {
        self.swap(self.connector()).map(drop)
    }

    /// Reads one Secret; `None` when there is none.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<ReadSecret>, kube::Error> {
        let api: Api<WholeSecret> = Api::namespaced(self.client(), namespace);
        Ok(api.get_opt(name).await?.map(ReadSecret::from))
    }

    /// Sends a request with a body that kube does not own.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn send<T: DeserializeOwned>(&self, request: Request<Bytes>) -> Result<T, kube::Error> {
        let answer = self.client().send(request.map(Body::from)).await?;
        let code = answer.status();
        let text = answer.into_body().collect_bytes().await?;
        if code.is_client_error() || code.is_server_error() {
            let status = serde_json::from_slice::<Status>(&text).unwrap_or_else(|_| {
                // From a proxy, and not from the API server.
                let text = String::from_utf8_lossy(&text);
                Status::failure(text.trim(), "Failed to parse error data").with_code(code.as_u16())
            });
            return Err(kube::Error::Api(status.boxed()));
        }
        serde_json::from_slice(&text).map_err(kube::Error::SerdeError)
    }
}
