//! A control plane with namespaces to fill, and the objects that ask Claviger to.

use std::{path::PathBuf, time::Duration};

use claviger::api::{DistributionPolicy, RegistryCredential};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{ControlPlane, Error, Operator, Result, environment, operator_binary, wait_for};

/// Writes in flight, of the bare loop as of Claviger, whose default it is.
pub const CONCURRENCY: usize = 32;
/// What every copy is called.
pub const SECRET: &str = "pull";
/// Where credentials and sources are.
pub const HOME: &str = "platform";

const SOURCE: &str = "source";
/// The label of the namespaces that get a copy.
pub const LABEL: &str = "bench";

pub struct World {
    pub control_plane: ControlPlane,
    /// The namespaces that get a copy.
    pub targets: Vec<String>,
    binary: PathBuf,
}

impl World {
    /// Without kube-controller-manager: nobody but the client that is measured talks to the server.
    pub async fn new(namespaces: usize) -> Result<Self> {
        let control_plane = ControlPlane::builder()
            .without_controllers()
            .api_server_arg("--disable-admission-plugins=ServiceAccount")
            .start()
            .await?;
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let targets = (0..namespaces).map(|number| format!("team-{number:06}")).collect();
        let world = Self { control_plane, targets, binary };
        let client = world.client().await?;
        environment::prepare(&client).await?;
        create_namespace(&client, HOME, json!({})).await?;
        stream::iter(&world.targets)
            .map(|name| create_namespace(&client, name, json!({LABEL: "target"})))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        let policy: DistributionPolicy = serde_json::from_value(json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "bench"},
            "spec": {
                "from": {"namespaces": {"names": [HOME]}},
                "to": {"namespaces": {"selector": {"matchLabels": {LABEL: "target"}}}},
            },
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &policy).await?;
        world.source(&client, "first").await?;
        Ok(world)
    }

    /// A client with connections of its own.
    pub async fn client(&self) -> Result<Client> {
        self.control_plane.client().await
    }

    /// Claviger with its defaults; back when it is ready. `SCALE_OPERATOR_ARGS` adds flags, to try them out.
    pub async fn operator(&self) -> Result<Operator> {
        let flags = std::env::var("SCALE_OPERATOR_ARGS").unwrap_or_default();
        let builder = Operator::builder(&self.binary, self.control_plane.kubeconfig())
            .namespace(environment::OPERATOR_NAMESPACE);
        flags.split_whitespace().fold(builder, |builder, flag| builder.arg(flag)).start().await
    }

    /// Puts a password into the source, always of the same length.
    pub async fn source(&self, client: &Client, word: &str) -> Result<()> {
        let password = format!("{word:x<40}");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SOURCE},
            "stringData": {"username": "robot", "password": password},
        });
        let api: Api<Secret> = Api::namespaced(client.clone(), HOME);
        api.patch(SOURCE, &PatchParams::apply("bench").force(), &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// A credential for all targets, whose copies are called as it is.
    pub async fn credential(&self, client: &Client, name: &str) -> Result<()> {
        let credential: RegistryCredential = serde_json::from_value(credential(name))?;
        credentials(client).create(&PostParams::default(), &credential).await?;
        Ok(())
    }

    /// Deletes the credential; Claviger takes the copies back before it is gone.
    pub async fn delete_credential(&self, client: &Client, name: &str) -> Result<()> {
        let api = credentials(client);
        api.delete(name, &DeleteParams::default()).await?;
        wait_for(Duration::from_secs(600), "the credential to be gone", async || {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(Error::new("still there")),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

/// One more namespace that gets a copy.
pub async fn create_target(client: &Client, name: &str) -> Result<()> {
    create_namespace(client, name, json!({LABEL: "target"})).await
}

pub fn credentials(client: &Client) -> Api<RegistryCredential> {
    Api::namespaced(client.clone(), HOME)
}

/// Whether it is ready at a revision.
pub fn is_ready(credential: &RegistryCredential, revision: i64) -> bool {
    let Some(status) = credential.status.as_ref().map(|status| &status.common) else { return false };
    status.revision == Some(revision)
        && status.observed_generation == credential.metadata.generation
        && status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// A credential for all targets in this cluster.
pub fn credential(name: &str) -> Value {
    json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential", "metadata": {"name": name},
        "spec": {
            "provider": "Custom", "server": "registry.example.com", "secretRef": {"name": SOURCE},
            "deletionPolicy": "Force", "verification": {"mode": "Off"},
            "target": {"namespaces": {"selector": {"matchLabels": {LABEL: "target"}}}},
        },
    })
}

pub async fn create_namespace(client: &Client, name: &str, labels: Value) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(())
}
