//! Members: other clusters, from the MemberCluster that a person or a tool declares to one that is worked with.

mod adoption;
mod life;
mod refusals;
mod restart;

use std::time::Duration;

use claviger::api::{MemberCluster, MemberClusterStatus};
use k8s_openapi::api::{
    core::v1::{Namespace, Secret},
    events::v1::Event,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{
    ControlPlane, Error, Operator, Result,
    environment::{OPERATOR_NAMESPACE, prepare},
    operator_binary, wait_for,
};

const LONG: Duration = Duration::from_secs(60);

/// Where Argo CD would be.
const ARGOCD: &str = "argocd";

/// A hub with an operator that adopts, for tests that need members and little else of it.
pub struct Hub {
    pub control_plane: ControlPlane,
    pub operator: Operator,
}

impl Hub {
    /// Made by the first test that asks.
    pub async fn shared() -> Result<&'static Self> {
        static HUB: OnceCell<Result<Hub, String>> = OnceCell::const_new();
        let made = HUB.get_or_init(async || Self::start().await.map_err(|error| error.to_string()));
        made.await.as_ref().map_err(Error::new)
    }

    async fn start() -> Result<Self> {
        let control_plane = ControlPlane::builder().start().await?;
        let client = control_plane.client().await?;
        prepare(&client).await?;
        for name in [ARGOCD, "team"] {
            let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        }
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let operator = Operator::builder(binary, control_plane.kubeconfig())
            .namespace(OPERATOR_NAMESPACE)
            .arg("--leader-elect=false")
            .arg("--member-probe-interval=1s")
            .arg("--unreachable-grace-period=10s")
            .arg(format!("--adopt-argocd-clusters={ARGOCD}"))
            .arg("--adopt-cluster-api=*")
            .start()
            .await?;
        Ok(Self { control_plane, operator })
    }

    pub async fn desk(&self) -> Result<Desk> {
        Ok(Desk { client: self.control_plane.client().await? })
    }
}

/// What a person does at the hub.
pub struct Desk {
    pub client: Client,
}

impl Desk {
    pub fn members(&self) -> Api<MemberCluster> {
        Api::all(self.client.clone())
    }

    pub fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A Secret with a kubeconfig, where the operator looks for it.
    pub async fn kubeconfig(&self, name: &str, text: &str) -> Result<()> {
        self.secret(OPERATOR_NAMESPACE, name, &json!({}), json!({"value": text})).await
    }

    pub async fn secret(&self, namespace: &str, name: &str, labels: &Value, data: Value) -> Result<()> {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "stringData": data});
        let params = PatchParams::apply("test").force();
        self.secrets(namespace).patch(name, &params, &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// A MemberCluster by the kubeconfig of the same name.
    pub async fn member(&self, name: &str, spec: Value) -> Result<MemberCluster> {
        let mut object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster", "metadata": {"name": name},
            "spec": {"kubeconfigSecretRef": {"name": name}},
        });
        json_patch::merge(&mut object["spec"], &spec);
        Ok(self.members().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?)
    }

    pub async fn delete(&self, name: &str) -> Result<()> {
        self.members().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub async fn wait_gone(&self, name: &str) -> Result<()> {
        wait_for(LONG, &format!("member {name} to be gone"), async || {
            match self.members().get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(left)) => Err(told(left.status.as_ref())),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Waits until a condition has a status and reason; the condition's message, and the whole status.
    pub async fn wait(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<(String, MemberClusterStatus)> {
        wait_for(LONG, &format!("{name} to be {type_}={status} ({reason})"), async || {
            let object = self.members().get(name).await.map_err(|error| error.to_string())?;
            let generation = object.metadata.generation;
            let found = object.status.clone().unwrap_or_default();
            let condition = found.conditions.iter().find(|c| {
                c.type_ == type_
                    && c.status == status
                    && c.reason == reason
                    && c.observed_generation == generation
            });
            match condition {
                Some(condition) => Ok((condition.message.clone(), found.clone())),
                None => Err(told(Some(&found))),
            }
        })
        .await
    }

    /// Reasons of Events about an object, and their sentences.
    pub async fn events(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<(String, String)>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let about = events.list(&ListParams::default()).await?.into_iter().filter(|event| {
            let regarding = event.regarding.as_ref();
            regarding.is_some_and(|r| r.kind.as_deref() == Some(kind) && r.name.as_deref() == Some(name))
        });
        Ok(about.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect())
    }

    pub async fn wait_event(&self, name: &str, reason: &str) -> Result<String> {
        wait_for(LONG, &format!("an Event {reason} about {name}"), async || {
            let events =
                self.events("default", "MemberCluster", name).await.map_err(|error| error.to_string())?;
            let found = events.iter().find(|(found, _)| found == reason).map(|(_, note)| note.clone());
            found.ok_or_else(|| format!("{events:?}"))
        })
        .await
    }
}

fn told(status: Option<&MemberClusterStatus>) -> String {
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    let lines = conditions.iter().map(|c| format!("{}={} ({}): {}", c.type_, c.status, c.reason, c.message));
    lines.collect::<Vec<_>>().join("\n")
}

/// A kubeconfig of a token, to edit.
pub fn kubeconfig(server: &str, cluster: Value, user: Value) -> String {
    let mut all = json!({"server": server});
    json_patch::merge(&mut all, &cluster);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": all}], "users": [{"name": "u", "user": user}],
    })
    .to_string()
}
