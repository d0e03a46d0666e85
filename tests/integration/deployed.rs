//! The operator as its Deployment would run it, from whatever made that Deployment.

use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::TokenRequest,
    core::v1::{Container, EnvVar, PodSpec, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::support::{ControlPlane, Error, Operator, Result, operator::Builder, operator_binary};

/// A Deployment, whose ServiceAccount has the same name.
#[derive(Debug, Clone, Copy)]
pub struct Deployed<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Deployed<'_> {
    /// What kubelet would give to a Pod under an account beside it.
    pub async fn token(&self, client: &Client, account: &str) -> Result<String> {
        let request: TokenRequest = serde_json::from_value(
            json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": 7200}}),
        )?;
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), self.namespace);
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        answer.status.and_then(|status| status.token).ok_or_else(|| Error::new("no token"))
    }

    pub async fn kubeconfig(&self, control_plane: &ControlPlane, account: &str) -> Result<PathBuf> {
        let token = self.token(&control_plane.client().await?, account).await?;
        control_plane.kubeconfig_with(control_plane.server_url(), &token)
    }

    pub async fn pod_spec(&self, client: &Client) -> Result<PodSpec> {
        let deployment = Api::<Deployment>::namespaced(client.clone(), self.namespace).get(self.name).await?;
        let pod_spec = deployment.spec.template.spec.ok_or_else(|| Error::new("no Pod"))?;
        assert_eq!(pod_spec.service_account_name.as_deref(), Some(self.name));
        Ok(pod_spec)
    }

    /// Gives an operator the flags and variables of the Deployment, under a Pod's name.
    pub async fn configure(&self, client: &Client, mut operator: Builder, pod: &str) -> Result<Builder> {
        let pod_spec = self.pod_spec(client).await?;
        let container = &pod_spec.containers[0];
        // The runner gives these three itself.
        let given = ["run", "--listen-address", "--log-format"];
        for arg in container.args.iter().flatten().filter(|arg| !given.iter().any(|own| arg.starts_with(own)))
        {
            operator = operator.arg(arg);
        }
        for (name, value) in self.environment(container, pod)? {
            operator = operator.env(&name, value);
        }
        Ok(operator)
    }

    /// The variables of a container, as a kubelet sets them.
    pub fn environment(&self, container: &Container, pod: &str) -> Result<BTreeMap<String, String>> {
        let fields = BTreeMap::from([("metadata.namespace", self.namespace), ("metadata.name", pod)]);
        let value = |variable: &EnvVar| {
            let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
            let value = field.and_then(|field| fields.get(field.field_path.as_str()).copied());
            let value = value.or(variable.value.as_deref()).ok_or_else(|| Error::new(&variable.name))?;
            Ok::<_, Error>((variable.name.clone(), value.to_owned()))
        };
        container.env.iter().flatten().map(value).collect()
    }

    /// The operator, not started yet, under the rights of its ServiceAccount.
    pub async fn operator(&self, control_plane: &ControlPlane, pod: &str) -> Result<Builder> {
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let operator = Operator::builder(binary, self.kubeconfig(control_plane, self.name).await?);
        self.configure(&control_plane.client().await?, operator, pod).await
    }
}
