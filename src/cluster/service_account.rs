//! ServiceAccounts: who they are in clouds, and tokens that show it.

use std::collections::BTreeMap;

use http::Request;
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use serde::Deserialize;
use serde_json::json;

use super::connection::Connection;
use crate::domain::SecretBytes;

/// How long such a token is good, in seconds; the least that an API server grants.
const LIFE: u32 = 600;

impl Connection {
    /// The annotations of a ServiceAccount; `None` when there is none.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, kube::Error> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let found = api.get_metadata_opt(name).await?;
        Ok(found.map(|account| account.metadata.annotations.unwrap_or_default()))
    }

    /// A token of a ServiceAccount, for one audience: a cloud, or the registry that it is shown to.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
    ) -> Result<SecretBytes, kube::Error> {
        #[derive(Deserialize)]
        struct Answer {
            status: Status,
        }
        #[derive(Deserialize)]
        struct Status {
            token: SecretBytes,
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": LIFE},
        });
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Bytes::from(body.to_string())).map_err(kube::Error::HttpError)?;
        let Answer { status } = self.send(request).await?;
        Ok(status.token)
    }
}
