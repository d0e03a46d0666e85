//! A control plane with namespaces to fill, and the objects that ask Claviger to.

use std::{path::PathBuf, time::Duration};

use claviger::api::{DistributionPolicy, RegistryCredential};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    operator::Measured,
    support::{ControlPlane, Error, Operator, Result, environment, operator_binary, wait_for},
};

/// Writes in flight, of the bare loop as of Claviger, whose default it is.
pub const CONCURRENCY: usize = 32;
/// What every copy is called, where there is one credential.
pub const SECRET: &str = "pull";
/// Where credentials and sources are.
pub const HOME: &str = "platform";
/// The label of the namespaces that get a copy, and its value.
pub const LABEL: &str = "bench";
pub const TARGET: &str = "target";
/// Whoever is measured is at rest for so long before, with all observers up: a machine that has been at rest is slower
/// for a moment than one in the middle of work.
pub const REST: Duration = Duration::from_secs(2);

/// The source that credentials share.
pub const SOURCE: &str = "source";
const DEADLINE: Duration = Duration::from_secs(3_600);
const GONE_DEADLINE: Duration = Duration::from_secs(900);
/// On a machine that something else keeps busy, a leader would give up in the middle.
const LEASE: [&str; 2] = ["--lease-duration=150s", "--lease-renew-deadline=120s"];

pub struct World {
    pub control_plane: ControlPlane,
    /// The namespaces that get a copy.
    pub targets: Vec<String>,
    binary: PathBuf,
}

impl World {
    /// Without kube-controller-manager: nobody but the client that is measured talks to the server.
    pub async fn new(namespaces: usize) -> Result<Self> {
        let control_plane = control_plane().await?;
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let mut world = Self { control_plane, targets: Vec::new(), binary };
        let client = world.client().await?;
        environment::prepare(&client).await?;
        create_namespace(&client, HOME, json!({})).await?;
        world.grow(&client, namespaces).await?;
        let policy: DistributionPolicy = serde_json::from_value(json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "bench"},
            "spec": {
                "from": {"namespaces": {"names": [HOME]}},
                "to": {"namespaces": {"selector": {"matchLabels": {LABEL: TARGET}}}},
            },
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &policy).await?;
        source(&client, SOURCE, "first").await?;
        Ok(world)
    }

    /// Makes targets until there are so many.
    pub async fn grow(&mut self, client: &Client, namespaces: usize) -> Result<()> {
        let more: Vec<_> =
            (self.targets.len()..namespaces).map(|number| format!("team-{number:06}")).collect();
        create_namespaces(client, more.iter().map(|name| (name.as_str(), json!({LABEL: TARGET})))).await?;
        self.targets.extend(more);
        Ok(())
    }

    /// Has the one policy allow something else, `{"namespaces": .., "clusters": ..}`.
    pub async fn allow(&self, client: &Client, to: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"to": to}}));
        Api::<DistributionPolicy>::all(client.clone())
            .patch("bench", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// A client with connections of its own.
    pub async fn client(&self) -> Result<Client> {
        self.control_plane.client().await
    }

    /// Claviger with its defaults but for the lease; back when it is ready. `SCALE_OPERATOR_ARGS` adds flags, to try them out.
    pub async fn operator(&self) -> Result<Measured> {
        self.operator_with(&[]).await
    }

    pub async fn operator_with(&self, flags: &[&str]) -> Result<Measured> {
        let more = std::env::var("SCALE_OPERATOR_ARGS").unwrap_or_default();
        let builder = Operator::builder(&self.binary, self.control_plane.kubeconfig())
            .namespace(environment::OPERATOR_NAMESPACE);
        let flags = LEASE.iter().chain(flags).copied().chain(more.split_whitespace());
        Ok(Measured::new(flags.fold(builder, |builder, flag| builder.arg(flag)).start().await?))
    }

    /// Deletes credentials; Claviger takes the copies back before they are gone.
    pub async fn delete_credentials(&self, client: &Client, names: &[String]) -> Result<()> {
        let api = credentials(client);
        for name in names {
            api.delete(name, &DeleteParams::default()).await?;
        }
        wait_for(GONE_DEADLINE, "the credentials to be gone", async || {
            let left = api.list(&ListParams::default()).await?;
            match left
                .items
                .iter()
                .find(|left| names.iter().any(|name| left.metadata.name.as_ref() == Some(name)))
            {
                None => Ok(()),
                Some(left) => Err(Error::new(serde_json::to_string(left)?)),
            }
        })
        .await
    }
}

/// A control plane on which nobody works but who is measured.
pub async fn control_plane() -> Result<ControlPlane> {
    ControlPlane::builder()
        .without_controllers()
        .api_server_arg("--disable-admission-plugins=ServiceAccount")
        .start()
        .await
}

pub fn credentials(client: &Client) -> Api<RegistryCredential> {
    Api::namespaced(client.clone(), HOME)
}

/// Creates a credential, as [`credential`] makes it.
pub async fn create_credential(client: &Client, credential: Value) -> Result<()> {
    credentials(client).create(&PostParams::default(), &serde_json::from_value(credential)?).await?;
    Ok(())
}

/// Names for a number of credentials.
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{SECRET}-{number}")).collect()
}

/// Whether it is ready at a revision.
pub fn is_ready(credential: &RegistryCredential, revision: i64) -> bool {
    let Some(status) = credential.status.as_ref().map(|status| &status.common) else { return false };
    status.revision == Some(revision)
        && status.observed_generation == credential.metadata.generation
        && status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Waits until all these are ready at a revision, with so many copies each in all clusters together.
pub async fn wait_ready(
    client: &Client,
    operator: &Measured,
    names: &[String],
    revision: i64,
    copies: usize,
) -> Result<()> {
    let api = credentials(client);
    wait_for(DEADLINE, "the credentials to be ready", async || {
        // Nothing to wait for.
        if let Err(ended) = operator.check_running() {
            return Ok(Err(ended));
        }
        // One list costs the server less than many reads, and takes its time from nobody but the benchmark.
        let all = api.list(&ListParams::default()).await?;
        let is_done = |credential: &RegistryCredential| {
            let synced = credential.status.iter().flat_map(|status| &status.common.clusters);
            is_ready(credential, revision)
                && synced.map(|cluster| cluster.namespaces.synced).sum::<i64>() == copies as i64
        };
        let asked: Vec<_> = all
            .items
            .iter()
            .filter(|credential| names.iter().any(|name| credential.metadata.name.as_ref() == Some(name)))
            .collect();
        match asked.iter().find(|credential| !is_done(credential)) {
            None if asked.len() == names.len() => Ok(Ok(())),
            None => Err(Error::new("some are missing")),
            Some(waiting) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(Error::new(serde_json::to_string(&waiting.status)?))
            }
        }
    })
    .await?
}

/// A credential for all targets in this cluster.
pub fn credential(name: &str) -> Value {
    json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential", "metadata": {"name": name},
        "spec": {
            "provider": "Custom", "server": "registry.example.com", "secretRef": {"name": SOURCE},
            "deletionPolicy": "Force",
            "target": {"namespaces": {"selector": {"matchLabels": {LABEL: TARGET}}}},
        },
    })
}

/// Puts a password into a source, always of the same length.
pub async fn source(client: &Client, name: &str, word: &str) -> Result<()> {
    let password = format!("{word:x<40}");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "stringData": {"username": "robot", "password": password},
    });
    let api: Api<Secret> = Api::namespaced(client.clone(), HOME);
    api.patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(secret)).await?;
    Ok(())
}

/// One more namespace that gets a copy.
pub async fn create_target(client: &Client, name: &str) -> Result<()> {
    create_namespace(client, name, json!({LABEL: TARGET})).await
}

pub async fn create_namespaces(client: &Client, all: impl Iterator<Item = (&str, Value)>) -> Result<()> {
    stream::iter(all)
        .map(|(name, labels)| create_namespace(client, name, labels))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

pub async fn create_namespace(client: &Client, name: &str, labels: Value) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// Sets labels of a namespace.
pub async fn label(client: &Client, namespace: &str, labels: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    Api::<Namespace>::all(client.clone()).patch(namespace, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// A Pod as a Deployment makes it, which uses a Secret.
pub async fn create_pod(
    client: &Client,
    namespace: &str,
    name: &str,
    secret: &str,
    labels: Value,
) -> Result<()> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "containers": [{"name": "app", "image": "registry.example.com/team/app:1.2.3"}],
            "imagePullSecrets": [{"name": secret}],
        },
    }))?;
    Api::<Pod>::namespaced(client.clone(), namespace).create(&PostParams::default(), &pod).await?;
    Ok(())
}

/// Waits until a namespace has so many copies.
pub async fn wait_copies(client: &Client, namespace: &str, count: usize) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    wait_for(Duration::from_secs(60), &format!("{count} copies in {namespace}"), async || {
        let found = api.list_metadata(&ListParams::default()).await?.items.len();
        if found == count { Ok(()) } else { Err(Error::new(format!("{found} copies"))) }
    })
    .await
}
