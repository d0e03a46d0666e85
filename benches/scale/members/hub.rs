//! The cluster of the operator, and a credential that goes to members.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use claviger::api::MemberCluster;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    DEADLINE,
    virtual_members::{Member, VirtualMembers},
};
use crate::{
    observer::Observer,
    readiness::Readiness,
    support::{Error, Result, environment::OPERATOR_NAMESPACE, wait_for},
    world::{
        LABEL, SECRET, SOURCE, TARGET, World, create_credential, credential, credentials, is_ready, source,
    },
};

/// Before each change, with all observers up: the status is written about once a second, and the write for the last change is not to be in the way of this one.
const PAUSE: Duration = Duration::from_millis(1_200);

pub struct Hub {
    pub world: World,
    pub client: Client,
    /// Of the credential.
    revision: i64,
    /// Of the source, over all credentials.
    word: u64,
}

/// One fan-out or rotation.
pub struct Change {
    began: Instant,
    /// Seconds until the copies were there.
    pub written: f64,
    readiness: Readiness,
}

impl Change {
    /// Seconds from the last copy until the credential said so.
    pub async fn wait(self) -> Result<f64> {
        Ok((self.readiness.told().await? - self.began).as_secs_f64() - self.written)
    }
}

impl Hub {
    pub async fn new() -> Result<Self> {
        let world = World::new(0).await?;
        let client = world.client().await?;
        world.allow(&client, json!({"clusters": {"selector": {}}})).await?;
        Ok(Self { world, client, revision: 0, word: 0 })
    }

    /// Declares members.
    pub async fn declare(&self, members: &[Member]) -> Result<()> {
        for Member { name, kubeconfig, .. } in members {
            self.declare_one(name, kubeconfig).await?;
        }
        Ok(())
    }

    pub async fn declare_one(&self, name: &str, kubeconfig: &str) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE);
        let clusters: Api<MemberCluster> = Api::all(self.client.clone());
        let secret = json!({"metadata": {"name": name}, "stringData": {"kubeconfig": kubeconfig}});
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        let declared = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster", "metadata": {"name": name},
            "spec": {"kubeconfigSecretRef": {"name": name}},
        });
        clusters.create(&PostParams::default(), &serde_json::from_value(declared)?).await?;
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

    /// A new credential for all members without the hub: how long until all these namespaces had their copy.
    pub async fn fan_out(&mut self, members: &VirtualMembers, to: HashSet<String>) -> Result<Change> {
        self.revision = 1;
        let create = create_credential(&self.client, everywhere(SECRET, &["local"]));
        self.change(members, to, create).await
    }

    /// A new value at the source: how long until all these namespaces had it.
    pub async fn rotation(&mut self, members: &VirtualMembers, to: HashSet<String>) -> Result<Change> {
        (self.revision, self.word) = (self.revision + 1, self.word + 1);
        let word = format!("word-{}-", self.word);
        let client = self.client.clone();
        self.change(members, to, source(&client, SOURCE, &word)).await
    }

    async fn change(
        &self,
        members: &VirtualMembers,
        to: HashSet<String>,
        trigger: impl Future<Output = Result<()>>,
    ) -> Result<Change> {
        let seen = Observer::start(members.client().await?).await?.expect_in(to, self.revision);
        let readiness = Readiness::watch(self.world.client().await?, SECRET, self.revision).await?;
        tokio::time::sleep(PAUSE).await;
        let began = Instant::now();
        trigger.await?;
        let seen = tokio::time::timeout(DEADLINE, seen).await;
        let seen = seen.map_err(|_| Error::new(format!("not everywhere within {DEADLINE:?}")))???;
        Ok(Change { began, written: (seen - began).as_secs_f64(), readiness })
    }

    /// Has the credential go to all members but these, and waits until that is so.
    pub async fn exclude(&self, members: &[&str]) -> Result<()> {
        let excluded: Vec<&str> = std::iter::once("local").chain(members.iter().copied()).collect();
        let patch = Patch::Merge(json!({"spec": {"target": {"clusters": {"exclude": excluded}}}}));
        credentials(&self.client).patch(SECRET, &PatchParams::default(), &patch).await?;
        self.wait_ready().await?;
        Ok(())
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
        self.world.delete_credentials(&self.client, &[SECRET.to_owned()]).await
    }
}

/// A credential for the targets of all clusters but these.
pub fn everywhere(name: &str, excluded: &[&str]) -> Value {
    let mut made = credential(name);
    made["spec"]["target"]["clusters"] = json!({"selector": {}, "exclude": excluded});
    made
}

/// A credential for the targets of one member, with a source of its own.
pub fn of_one(name: &str, member: &Member, source: &str) -> Value {
    let mut made = credential(name);
    made["spec"]["secretRef"]["name"] = json!(source);
    made["spec"]["target"] = json!({
        "clusters": {"names": [member.name]},
        "namespaces": {"selector": {"matchLabels": {LABEL: TARGET}}},
    });
    made
}
