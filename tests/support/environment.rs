//! What most integration tests share: one control plane with our CRDs, and one operator.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::sync::OnceCell;

use super::{
    apply::install_crds,
    control_plane::ControlPlane,
    error::{Error, Result},
    operator::Operator,
    operator_binary::operator_binary,
};

pub const OPERATOR_NAMESPACE: &str = "claviger-system";

pub struct Environment {
    pub control_plane: &'static ControlPlane,
    pub operator: Operator,
}

impl Environment {
    /// A client for the runtime that asks: each test has its own.
    pub async fn client(&self) -> Result<Client> {
        self.control_plane.client().await
    }
}

/// Made by the first test that asks. It fails for all when it fails for the first.
pub async fn environment() -> Result<&'static Environment> {
    static ENVIRONMENT: OnceCell<Result<Environment, String>> = OnceCell::const_new();
    let made = ENVIRONMENT.get_or_init(async || make().await.map_err(|error| error.to_string()));
    made.await.as_ref().map_err(Error::new)
}

async fn make() -> Result<Environment> {
    let control_plane = ControlPlane::shared().await?;
    prepare(&control_plane.client().await?).await?;
    let binary = tokio::task::spawn_blocking(operator_binary).await??;
    // A machine that stands still for longer than a lease would end it for all tests, as nobody starts it again.
    let operator = Operator::builder(binary, control_plane.kubeconfig())
        .namespace(OPERATOR_NAMESPACE)
        .arg("--leader-elect=false");
    // Tests that share it change policies all the time, so that a quiet period would never end.
    let at_once = ["CLAVIGER_CONSENT_GRACE_PERIOD", "CLAVIGER_SWEEP_GRACE_PERIOD"];
    let operator = at_once.iter().fold(operator, |operator, name| operator.env(name, "0s")).start().await?;
    Ok(Environment { control_plane, operator })
}

/// What the operator expects to find in a cluster: its CRDs and its own namespace.
pub async fn prepare(client: &Client) -> Result<()> {
    install_crds(client).await?;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": OPERATOR_NAMESPACE}}))?;
    let namespaces = Api::<Namespace>::all(client.clone());
    match namespaces.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => Ok(other.map(drop)?),
    }
}
