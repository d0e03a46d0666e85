//! An installed release, and the operator as it would run in its Pod.

use std::{collections::BTreeSet, path::PathBuf};

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    core::v1::{Namespace, Secret},
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::sync::OnceCell;

use super::helm::{chart, helm};
use crate::{
    deployed::Deployed,
    support::{ControlPlane, Error, Operator, Result, client_from, wait::DEADLINE, wait_for},
};

/// Names that are not the defaults, so that nothing works only because it is called `claviger`.
pub const NAMESPACE: &str = "keys-system";
pub const NAME: &str = "keys";
pub const FULL_NAME: &str = "keys-claviger";
pub const DEPLOYED: Deployed<'static> = Deployed { namespace: NAMESPACE, name: FULL_NAME };

/// A release in a namespace that takes only Pods of the restricted standard.
pub struct Release {
    pub control_plane: ControlPlane,
    pub notes: String,
    /// Where the operator runs.
    pub namespace: String,
    /// Where Helm takes the chart from.
    chart: String,
}

impl Release {
    pub async fn install(control_plane: ControlPlane, values: &[&str]) -> Result<Self> {
        Self::install_chart(NAMESPACE, control_plane, chart().display().to_string(), values).await
    }

    /// The same, of a chart that is somewhere else.
    pub async fn install_from(control_plane: ControlPlane, chart: String, values: &[&str]) -> Result<Self> {
        Self::install_chart(NAMESPACE, control_plane, chart, values).await
    }

    /// With the operator in any namespace, which `values` say.
    pub async fn install_in(namespace: &str, control_plane: ControlPlane, values: &[&str]) -> Result<Self> {
        Self::install_chart(namespace, control_plane, chart().display().to_string(), values).await
    }

    async fn install_chart(
        namespace: &str,
        control_plane: ControlPlane,
        chart: String,
        values: &[&str],
    ) -> Result<Self> {
        let namespaces = Api::all(control_plane.client().await?);
        let names = BTreeSet::from([NAMESPACE, namespace]);
        for name in names {
            let namespace: Namespace = serde_json::from_value(json!({"metadata": {
                "name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            }}))?;
            namespaces.create(&PostParams::default(), &namespace).await?;
        }
        let namespace = namespace.to_owned();
        let mut release = Self { control_plane, notes: String::new(), namespace, chart };
        release.notes = release.helm("install", values).await?;
        release.wait_fenced().await?;
        Ok(release)
    }

    /// `helm install` or `helm upgrade` of this chart.
    pub async fn helm(&self, verb: &str, values: &[&str]) -> Result<String> {
        let namespace = format!("--namespace={NAMESPACE}");
        let mut args = vec![verb, NAME, &self.chart, &namespace];
        args.extend(values);
        helm(Some(&self.control_plane.kubeconfig()), &args).await
    }

    pub async fn client(&self) -> Result<Client> {
        self.control_plane.client().await
    }

    /// The operator's user, as the API server calls it.
    pub fn user() -> String {
        format!("system:serviceaccount:{NAMESPACE}:{FULL_NAME}")
    }

    /// A kubeconfig with a token of the chart's ServiceAccount, as its Pod has one.
    pub async fn kubeconfig(&self) -> Result<PathBuf> {
        self.deployed().kubeconfig(&self.control_plane, FULL_NAME).await
    }

    /// What the Deployment runs.
    pub fn deployed(&self) -> Deployed<'_> {
        Deployed { namespace: &self.namespace, name: FULL_NAME }
    }

    /// A client that is the operator, for whoever has got hold of its token.
    pub async fn thief(&self) -> Result<Client> {
        client_from(&self.kubeconfig().await?).await
    }

    /// The operator with the flags and variables of the Deployment, under a Pod's name.
    pub async fn operator(&self, pod: &str) -> Result<Operator> {
        self.deployed().operator(&self.control_plane, pod).await?.start().await
    }

    /// The API server takes a moment to heed a new policy.
    async fn wait_fenced(&self) -> Result<()> {
        let secrets = Api::<Secret>::namespaced(self.thief().await?, "default");
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "x"}}))?;
        wait_for(DEADLINE, "the fence", async || match secrets.create(&params, &secret).await {
            Err(kube::Error::Api(status)) if status.message.contains("-fence") => Ok(()),
            other => Err(format!("{:?}", other.map(|_| "written"))),
        })
        .await?;
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.client().await?);
        for policy in ["deletion-guard", "fence", "fence-serviceaccounts", "resource-fence"] {
            wait_for(DEADLINE, &format!("the types of the {policy} to be checked"), async || {
                let status = policies.get(&format!("{FULL_NAME}-{policy}")).await?.status.unwrap_or_default();
                let checked = status.type_checking.ok_or_else(|| Error::new("not yet"))?;
                let warnings = checked.expression_warnings.unwrap_or_default();
                if warnings.is_empty() { Ok(()) } else { Err(Error::new(format!("{warnings:?}"))) }
            })
            .await?;
        }
        Ok(())
    }
}

/// One release that several tests look at, with the operator at work.
pub struct Installed {
    pub release: Release,
    pub operator: Operator,
}

/// Users of that release's cluster, who may do nothing yet.
pub const EDITOR: &str = "edith";
pub const VIEWER: &str = "victor";

pub async fn installed() -> Result<&'static Installed> {
    static INSTALLED: OnceCell<Result<Installed, String>> = OnceCell::const_new();
    let install = async || -> Result<Installed> {
        let control_plane = ControlPlane::builder().user(EDITOR, &[]).user(VIEWER, &[]).start().await?;
        let release = Release::install(control_plane, &[]).await?;
        let operator = release.operator("keys-claviger-1").await?;
        Ok(Installed { release, operator })
    };
    let made = INSTALLED.get_or_init(async || install().await.map_err(|error| error.to_string()));
    made.await.as_ref().map_err(Error::new)
}
