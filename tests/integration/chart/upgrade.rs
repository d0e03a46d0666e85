//! Upgrading and uninstalling: what is declared stays, consent that was withdrawn does not.

use std::time::Instant;

use claviger::api::{DistributionPolicy, RegistryCredential};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    helm::{chart, helm, values},
    release::{FULL_NAME, NAME, NAMESPACE, Release},
};
use crate::support::{
    ControlPlane, Error, Result, discovery::serves_mutating_policies, wait::DEADLINE, wait_for,
};

const WITH_POLICY: [&str; 2] = ["--set", "distributionPolicy.create=true"];

/// To be said: Helm takes the last values for those of an upgrade that names none.
const WITHOUT_POLICY: [&str; 2] = ["--set", "distributionPolicy.create=false"];

fn crd_names() -> Vec<String> {
    claviger::api::crds().into_iter().filter_map(|crd| crd.metadata.name).collect()
}

/// A cluster to install into again and again.
struct Cluster {
    release: Release,
    crds: Api<CustomResourceDefinition>,
    policies: Api<DistributionPolicy>,
    credentials: Api<RegistryCredential>,
}

impl Cluster {
    async fn install(values: &[&str]) -> Result<Self> {
        let release = Release::install(ControlPlane::builder().start().await?, values).await?;
        let client = release.client().await?;
        Ok(Self {
            release,
            crds: Api::all(client.clone()),
            policies: Api::all(client.clone()),
            credentials: Api::namespaced(client, "default"),
        })
    }

    async fn uninstall(&self) -> Result<()> {
        let kubeconfig = self.release.control_plane.kubeconfig();
        helm(Some(&kubeconfig), &["uninstall", NAME, "--namespace", NAMESPACE]).await.map(drop)
    }

    async fn credential(&self) -> Result<()> {
        let credential: RegistryCredential = serde_json::from_value(json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential", "metadata": {"name": "quay"},
            "spec": {"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}},
        }))?;
        self.credentials.create(&PostParams::default(), &credential).await.map(drop).map_err(Into::into)
    }

    async fn delete_crds(&self) -> Result<()> {
        for name in crd_names() {
            self.crds.delete(&name, &DeleteParams::default()).await?;
        }
        self.wait_no_crds().await
    }

    async fn wait_no_crds(&self) -> Result<()> {
        let mut nudged = Instant::now();
        wait_for(6 * DEADLINE, "the definitions to be gone", async || {
            for name in crd_names() {
                if self.crds.get_opt(&name).await?.is_some() {
                    // The API server's finalizer backs off to minutes when the storage of a definition that has just
                    // changed is not ready for it; a change has it look again at once.
                    if nudged.elapsed() > DEADLINE / 4 {
                        nudged = Instant::now();
                        let nudge = json!({"metadata": {"annotations": {"nudged": format!("{nudged:?}")}}});
                        let _ = self.crds.patch(&name, &PatchParams::default(), &Patch::Merge(nudge)).await;
                    }
                    return Err(Error::new(name));
                }
            }
            // Discovery, by which Helm decides, lags behind.
            let groups = self.release.client().await?.list_api_groups().await?.groups;
            if groups.iter().any(|group| group.name == "claviger.dev") {
                Err(Error::new("still served"))
            } else {
                Ok(())
            }
        })
        .await
    }

    /// The policy's annotations, when there is one.
    async fn policy(&self) -> Result<Option<String>> {
        match self.policies.get_opt(FULL_NAME).await {
            Ok(policy) => {
                Ok(policy.map(|policy| format!("{:?}", policy.metadata.annotations.unwrap_or_default())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[tokio::test]
async fn what_was_declared_outlives_upgrade_and_uninstall() -> Result<()> {
    let cluster = Cluster::install(&[]).await?;
    let notes = &cluster.release.notes;
    for part in [
        concat!("Claviger ", env!("CARGO_PKG_VERSION"), " runs in namespace keys-system."),
        "kubectl -n keys-system rollout status deployment/keys-claviger",
        "kubectl get credentials -A\n  helm test keys -n keys-system\n",
        "A credential reaches other namespaces only if a DistributionPolicy of a cluster administrator",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    assert!(!notes.contains("WARNING"), "{notes}");
    cluster.credential().await?;

    let notes = cluster
        .release
        .helm("upgrade", &["--set", "replicaCount=3,fence.enabled=false,logLevel=debug"])
        .await?;
    assert!(notes.contains("WARNING: fence.enabled is false"), "{notes}");
    let deployments = Api::<Deployment>::namespaced(cluster.release.client().await?, NAMESPACE);
    assert_eq!(deployments.get(FULL_NAME).await?.spec.replicas, Some(3));
    cluster.credentials.get("quay").await?;

    cluster.uninstall().await?;
    assert!(deployments.get_opt(FULL_NAME).await?.is_none());
    for name in crd_names() {
        cluster.crds.get(&name).await?;
    }
    cluster.credentials.get("quay").await?;
    // The same release takes over what it had left, and the policy needs no hook now.
    let notes = cluster.release.helm("install", &WITH_POLICY).await?;
    assert!(
        notes.contains("The DistributionPolicy `keys-claviger` allows credentials of\nkeys-system in"),
        "{notes}"
    );
    let annotations = cluster.policy().await?.ok_or_else(|| Error::new("no policy"))?;
    assert!(!annotations.contains("helm.sh/hook"), "{annotations}");
    cluster.uninstall().await?;
    assert_eq!(cluster.policy().await?, None, "consent outlives the release");
    cluster.credentials.get("quay").await?;

    // Under another name it is somebody else's, until that is said.
    let chart = chart().display().to_string();
    let kubeconfig = cluster.release.control_plane.kubeconfig();
    let mut other = vec!["install", "other", &chart, "--namespace", NAMESPACE];
    let refused =
        helm(Some(&kubeconfig), &other).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("cannot be imported into the current release"), "{refused}");
    other.push("--take-ownership");
    helm(Some(&kubeconfig), &other).await?;
    helm(Some(&kubeconfig), &["uninstall", "other", "--namespace", NAMESPACE]).await?;
    cluster.credentials.get("quay").await?;

    // Everything on, as far as this server knows the kinds. Definitions that are not kept go with the release.
    let full = values("full");
    let client = cluster.release.client().await?;
    for name in ["keys-home", "monitoring"] {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    }
    let mut unknown = "serviceMonitor.enabled=false,prometheusRule.enabled=false".to_owned();
    if !serves_mutating_policies(&client, "all values with an admission policy for defaults").await? {
        unknown.push_str(",defaults.admissionPolicy.enabled=false");
    }
    let notes =
        cluster.release.helm("install", &["--take-ownership", "--values", &full, "--set", &unknown]).await?;
    assert!(notes.contains("WARNING: crds.keep is false."), "{notes}");
    assert!(cluster.policies.get_opt("platform").await?.is_some());
    assert!(notes.contains("kubectl -n keys-home rollout status deployment/keys"), "{notes}");
    let there = Api::<Deployment>::namespaced(cluster.release.client().await?, "keys-home");
    assert!(there.get_opt("keys").await?.is_some());
    cluster.uninstall().await?;
    assert!(there.get_opt("keys").await?.is_none());
    cluster.wait_no_crds().await
}

#[tokio::test]
async fn a_first_policy_comes_and_goes_with_its_value() -> Result<()> {
    // Helm cannot make a kind and an object of it at once: the first one is a hook's.
    let cluster = Cluster::install(&WITH_POLICY).await?;
    let policy = cluster.policies.get(FULL_NAME).await?;
    assert_eq!(
        serde_json::to_value(&policy.spec)?,
        json!({"from": {"namespaces": {"names": [NAMESPACE]}}, "to": {"namespaces": {"selector": {}}}})
    );
    assert!(cluster.policy().await?.is_some_and(|annotations| annotations.contains("helm.sh/hook")));
    // The next revision takes it over.
    cluster
        .release
        .helm(
            "upgrade",
            &[WITH_POLICY[0], WITH_POLICY[1], "--set", "distributionPolicy.toNamespaces.names={web}"],
        )
        .await?;
    let policy = cluster.policies.get(FULL_NAME).await?;
    assert_eq!(policy.spec.to.namespaces.names, ["web"]);
    assert_eq!(policy.spec.to.namespaces.selector, None);
    assert!(cluster.policy().await?.is_some_and(|annotations| !annotations.contains("helm.sh/hook")));
    // A way back to the first revision makes it anew.
    let kubeconfig = cluster.release.control_plane.kubeconfig();
    helm(Some(&kubeconfig), &["rollback", NAME, "1", "--namespace", NAMESPACE]).await?;
    assert!(cluster.policies.get(FULL_NAME).await?.spec.to.namespaces.selector.is_some());
    cluster.release.helm("upgrade", &WITH_POLICY).await?;
    assert!(cluster.policy().await?.is_some());
    cluster.release.helm("upgrade", &WITHOUT_POLICY).await?;
    assert_eq!(cluster.policy().await?, None, "consent outlives the value");
    cluster.uninstall().await?;

    // A hook's own, turned off at once.
    cluster.delete_crds().await?;
    cluster.release.helm("install", &WITH_POLICY).await?;
    assert!(cluster.policy().await?.is_some_and(|annotations| annotations.contains("helm.sh/hook")));
    cluster.release.helm("upgrade", &WITHOUT_POLICY).await?;
    assert_eq!(cluster.policy().await?, None, "a hook's consent outlives the value");
    cluster.uninstall().await?;

    // A hook's own, uninstalled at once.
    cluster.delete_crds().await?;
    cluster.release.helm("install", &WITH_POLICY).await?;
    assert!(cluster.policy().await?.is_some());
    cluster.uninstall().await?;
    assert_eq!(cluster.policy().await?, None, "a hook's consent outlives the release");
    Ok(())
}
