//! The connection to a cluster: it changes with its credentials.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{connector::Connector, object::WholeSecret};
use crate::lock::Lock;

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
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error> {
        let api: Api<WholeSecret> = Api::namespaced(self.client(), namespace);
        Ok(api.get_opt(name).await?.map(Secret::from))
    }
}
