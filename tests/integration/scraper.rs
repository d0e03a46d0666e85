//! Who asks for the metrics with a token of a ServiceAccount, as a Prometheus does.

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    authorization::v1::SubjectAccessReview,
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::support::{Error, Operator, Result, http, wait::DEADLINE, wait_for};

/// A ServiceAccount.
pub struct Scraper {
    client: Client,
    namespace: String,
    name: &'static str,
}

impl Scraper {
    /// One that may do nothing.
    pub async fn new(client: &Client, namespace: &str, name: &'static str) -> Result<Self> {
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        let accounts = Api::namespaced(client.clone(), namespace);
        accounts.create(&PostParams::default(), &account).await?;
        Ok(Self { client: client.clone(), namespace: namespace.to_owned(), name })
    }

    /// Gives it a ClusterRole, and waits until it may read metrics by that.
    pub async fn bind(&self, role: &str) -> Result<()> {
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": self.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}],
        }))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &binding).await?;
        let review: SubjectAccessReview = serde_json::from_value(json!({"metadata": {}, "spec": {
            "user": format!("system:serviceaccount:{}:{}", self.namespace, self.name),
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        }}))?;
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        wait_for(DEADLINE, "the API server to heed the binding", async || {
            let review = reviews.create(&PostParams::default(), &review).await;
            review.is_ok_and(|review| review.status.is_some_and(|status| status.allowed))
        })
        .await
    }

    /// A new token.
    pub async fn token(&self) -> Result<String> {
        let request: TokenRequest = serde_json::from_value(
            json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": 3600}}),
        )?;
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &self.namespace);
        let answer = accounts.create_token_request(self.name, &PostParams::default(), &request).await?;
        answer.status.and_then(|status| status.token).ok_or_else(|| Error::new("no token"))
    }
}

/// A role by which metrics may be read, as the chart has one.
pub async fn create_role(client: &Client, name: &str) -> Result<()> {
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": name}, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &role).await?;
    Ok(())
}

/// What an operator answers to who wants its metrics and shows this token.
pub async fn scrape(operator: &Operator, token: &str) -> Result<http::Response> {
    http::get_with(operator.address(), "/metrics", &format!("Authorization: Bearer {token}\r\n")).await
}
