//! An installed release, and the operator as it would run in its Pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    apps::v1::Deployment,
    authentication::v1::TokenRequest,
    core::v1::{Container, EnvVar, Namespace, Secret, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::sync::OnceCell;

use super::helm::{chart, helm};
use crate::support::{
    ControlPlane, Error, Operator, Result, client_from, operator_binary, wait::DEADLINE, wait_for,
};

/// Names that are not the defaults, so that nothing works only because it is called `claviger`.
pub const NAMESPACE: &str = "keys-system";
pub const NAME: &str = "keys";
pub const FULL_NAME: &str = "keys-claviger";

/// A release in a namespace that takes only Pods of the restricted standard.
pub struct Release {
    pub control_plane: ControlPlane,
    pub notes: String,
    /// Where the operator runs.
    pub namespace: String,
}

impl Release {
    pub async fn install(control_plane: ControlPlane, values: &[&str]) -> Result<Self> {
        Self::install_in(NAMESPACE, control_plane, values).await
    }

    /// With the operator in any namespace, which `values` say.
    pub async fn install_in(namespace: &str, control_plane: ControlPlane, values: &[&str]) -> Result<Self> {
        let namespaces = Api::all(control_plane.client().await?);
        let names = BTreeSet::from([NAMESPACE, namespace]);
        for name in names {
            let namespace: Namespace = serde_json::from_value(json!({"metadata": {
                "name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            }}))?;
            namespaces.create(&PostParams::default(), &namespace).await?;
        }
        let mut release = Self { control_plane, notes: String::new(), namespace: namespace.to_owned() };
        release.notes = release.helm("install", values).await?;
        release.wait_fenced().await?;
        Ok(release)
    }

    /// `helm install` or `helm upgrade` of this chart.
    pub async fn helm(&self, verb: &str, values: &[&str]) -> Result<String> {
        let chart = chart().display().to_string();
        let namespace = format!("--namespace={NAMESPACE}");
        let mut args = vec![verb, NAME, &chart, &namespace];
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
        self.kubeconfig_of(FULL_NAME).await
    }

    /// The same of any ServiceAccount beside the operator.
    pub async fn kubeconfig_of(&self, account: &str) -> Result<PathBuf> {
        let request: TokenRequest = serde_json::from_value(
            json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": 7200}}),
        )?;
        let accounts = Api::<ServiceAccount>::namespaced(self.client().await?, &self.namespace);
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token).ok_or_else(|| Error::new("no token"))?;
        self.control_plane.kubeconfig_with(self.control_plane.server_url(), &token)
    }

    /// A client that is the operator, for whoever has got hold of its token.
    pub async fn thief(&self) -> Result<Client> {
        client_from(&self.kubeconfig().await?).await
    }

    /// The operator with the flags and variables of the Deployment, under a Pod's name.
    pub async fn operator(&self, pod: &str) -> Result<Operator> {
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let deployment =
            Api::<Deployment>::namespaced(self.client().await?, &self.namespace).get(FULL_NAME).await?;
        let pod_spec = deployment.spec.template.spec.ok_or_else(|| Error::new("no Pod"))?;
        assert_eq!(pod_spec.service_account_name.as_deref(), Some(FULL_NAME));
        let container = &pod_spec.containers[0];
        let mut builder = Operator::builder(binary, self.kubeconfig().await?);
        // The runner gives these three itself.
        let given = ["run", "--listen-address", "--log-format"];
        for arg in container.args.iter().flatten().filter(|arg| !given.iter().any(|own| arg.starts_with(own)))
        {
            builder = builder.arg(arg);
        }
        for (name, value) in self.environment(container, pod)? {
            builder = builder.env(&name, value);
        }
        builder.start().await
    }

    /// The variables of a container, as a kubelet sets them.
    pub fn environment(&self, container: &Container, pod: &str) -> Result<BTreeMap<String, String>> {
        let fields = BTreeMap::from([("metadata.namespace", &*self.namespace), ("metadata.name", pod)]);
        let value = |variable: &EnvVar| {
            let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
            let value = field.and_then(|field| fields.get(field.field_path.as_str()).copied());
            let value = value.or(variable.value.as_deref()).ok_or_else(|| Error::new(&variable.name))?;
            Ok::<_, Error>((variable.name.clone(), value.to_owned()))
        };
        container.env.iter().flatten().map(value).collect()
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
