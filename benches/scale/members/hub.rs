//! The cluster of the operator, and a credential that goes to members.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use claviger::api::{DistributionPolicy, MemberCluster, RegistryCredential};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    DEADLINE,
    crowd::{Crowd, Member},
};
use crate::{
    observer::Observer,
    support::{Error, Result, environment::OPERATOR_NAMESPACE, wait_for},
    world::{SECRET, World, credential, credentials, is_ready},
};

/// Between two rotations: the status is written about once a second, and its write is not to be in the next one's way.
const PAUSE: Duration = Duration::from_millis(1_200);

pub struct Hub {
    pub world: World,
    client: Client,
    /// Of the credential.
    revision: i64,
    /// Of the source, over all credentials.
    word: u64,
}

impl Hub {
    pub async fn new() -> Result<Self> {
        let world = World::new(0).await?;
        let client = world.client().await?;
        let patch = Patch::Merge(json!({"spec": {"to": {"clusters": {"selector": {}}}}}));
        Api::<DistributionPolicy>::all(client.clone())
            .patch("bench", &PatchParams::default(), &patch)
            .await?;
        Ok(Self { world, client, revision: 0, word: 0 })
    }

    /// Declares members.
    pub async fn declare(&self, members: &[Member]) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE);
        let clusters: Api<MemberCluster> = Api::all(self.client.clone());
        for Member { name, kubeconfig, .. } in members {
            let secret = json!({"metadata": {"name": name}, "stringData": {"kubeconfig": kubeconfig}});
            secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
            let declared = json!({
                "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster", "metadata": {"name": name},
                "spec": {"kubeconfigSecretRef": {"name": name}},
            });
            clusters.create(&PostParams::default(), &serde_json::from_value(declared)?).await?;
        }
        Ok(())
    }

    /// Waits until all these members are ready.
    pub async fn joined(&self, members: &[Member]) -> Result<()> {
        for member in members {
            self.wait_member(member, "True", "").await?;
        }
        Ok(())
    }

    pub async fn wait_unreachable(&self, member: &Member) -> Result<()> {
        self.wait_member(member, "False", "Unreachable").await
    }

    async fn wait_member(&self, member: &Member, status: &str, reason: &str) -> Result<()> {
        let clusters: Api<MemberCluster> = Api::all(self.client.clone());
        wait_for(DEADLINE, &format!("{} to be Ready={status} {reason}", member.name), async || {
            let object = clusters.get(&member.name).await.map_err(|error| error.to_string())?;
            let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|c| c.type_ == "Ready").ok_or("not looked at yet")?;
            let is_so = ready.status == status && (reason.is_empty() || ready.reason == reason);
            if is_so { Ok(()) } else { Err(format!("{} {}", ready.reason, ready.message)) }
        })
        .await
    }

    /// A new credential for the whole fleet without the hub: how long until all these namespaces had their copy.
    pub async fn fan_out(&mut self, crowd: &Crowd, to: HashSet<String>) -> Result<Duration> {
        let mut asked = credential(SECRET);
        asked["spec"]["target"]["clusters"] = json!({"selector": {}, "exclude": ["local"]});
        let asked: RegistryCredential = serde_json::from_value(asked)?;
        self.revision = 1;
        let seen = Observer::start(crowd.client().await?).await?.expect_in(to, self.revision);
        let began = Instant::now();
        credentials(&self.client).create(&PostParams::default(), &asked).await?;
        let took = seen.await?? - began;
        self.wait_ready().await?;
        Ok(took)
    }

    /// A new value at the source: how long until all these namespaces had it.
    pub async fn rotation(&mut self, crowd: &Crowd, to: HashSet<String>) -> Result<Duration> {
        tokio::time::sleep(PAUSE).await;
        (self.revision, self.word) = (self.revision + 1, self.word + 1);
        let seen = Observer::start(crowd.client().await?).await?.expect_in(to, self.revision);
        let began = Instant::now();
        self.world.source(&self.client, &format!("word-{}-", self.word)).await?;
        let seen = tokio::time::timeout(DEADLINE, seen).await;
        Ok(seen.map_err(|_| Error::new(format!("no rotation within {DEADLINE:?}")))??? - began)
    }

    /// Waits until all clusters have the present revision; returns how long that took.
    pub async fn wait_ready(&self) -> Result<Duration> {
        let began = Instant::now();
        let api = credentials(&self.client);
        wait_for(DEADLINE, "the credential to be ready", async || {
            let credential = api.get(SECRET).await?;
            if is_ready(&credential, self.revision) {
                return Ok(());
            }
            Err(Error::new(serde_json::to_string(&credential.status).unwrap_or_default()))
        })
        .await?;
        Ok(began.elapsed())
    }

    pub async fn clear(&self) -> Result<()> {
        self.world.delete_credential(&self.client, SECRET).await
    }
}
