//! A hub with an operator, and members that can be cut off.

use std::time::Duration;

use claviger::{
    api::{ClusterStatus, MemberCluster},
    cli::member_rbac::{MemberRbacArgs, manifests},
};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    checks::{self, good_source},
    lab::Lab,
    member_rbac::token_in_member,
    scenario::Scenario,
    support::{
        ControlPlane, FaultProxy, HttpProxy, Operator, Result, apply_yaml,
        builder::Builder as ControlPlaneBuilder, environment::OPERATOR_NAMESPACE, operator::Builder,
        wait_for,
    },
};

/// For what takes a few time-outs.
pub const LONG: Duration = Duration::from_secs(90);

pub struct World {
    pub lab: Lab,
    pub test: Scenario,
    pub operator: Operator,
}

impl World {
    /// A hub whose operator notices within seconds what takes minutes by default.
    pub async fn new(args: &[&str]) -> Result<Self> {
        let world = Self::without_policy(|lab| Ok(quick(lab)?.args(args))).await?;
        world.consent(json!({"selector": {}})).await?;
        Ok(world)
    }

    /// A hub with another operator, where nobody may push anything yet.
    pub async fn without_policy(operator: impl FnOnce(&Lab) -> Result<Builder>) -> Result<Self> {
        let lab = Lab::start().await?;
        let operator = operator(&lab)?.start().await?;
        Self::of(lab, operator).await
    }

    /// A hub whose operator was started in some other way. Nobody may push anything yet.
    pub async fn of(lab: Lab, operator: Operator) -> Result<Self> {
        let test = lab.scenario().await?;
        good_source(&test, "src", "the-password").await?;
        Ok(Self { lab, test, operator })
    }

    /// The one policy: the home namespace may push into all namespaces of the test in these clusters.
    pub async fn consent(&self, clusters: Value) -> Result<()> {
        let from = json!({"namespaces": {"names": [self.test.home.name]}});
        let policy = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "fleet"},
            "spec": {"from": from, "to": merge(self.test.selector(), json!({"clusters": clusters}))},
        });
        self.test.apply_cluster("DistributionPolicy", "fleet", policy).await
    }

    /// The spec of a credential for all namespaces of the test in these clusters.
    pub fn spec(&self, clusters: Value) -> Value {
        json!({
            "provider": "Custom", "server": "registry.example.com", "secretRef": {"name": "src"},
            "target": merge(self.test.selector(), json!({"clusters": clusters})),
        })
    }

    /// Declares a member, and waits until it is ready.
    pub async fn join(&self, member: &Member, labels: Value) -> Result<()> {
        self.declare(member, labels).await?;
        self.wait_member(&member.name, "Ready", "True").await
    }

    /// Declares a member.
    pub async fn declare(&self, member: &Member, labels: Value) -> Result<()> {
        let name = &member.name;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"kubeconfig": member.kubeconfig},
        });
        let secrets: Api<Secret> = Api::namespaced(self.test.client.clone(), OPERATOR_NAMESPACE);
        secrets.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await?;
        let object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster",
            "metadata": {"name": name, "labels": labels}, "spec": {"kubeconfigSecretRef": {"name": name}},
        });
        self.test.apply_cluster("MemberCluster", name, object).await
    }

    pub fn members(&self) -> Api<MemberCluster> {
        Api::all(self.test.client.clone())
    }

    pub async fn wait_member(&self, name: &str, condition: &str, status: &str) -> Result<()> {
        wait_for(LONG, &format!("member {name} to be {condition}={status}"), async || {
            let object = self.members().get(name).await.map_err(|error| error.to_string())?;
            let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
            let told: Vec<_> = conditions
                .iter()
                .map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message))
                .collect();
            if conditions.iter().any(|c| c.type_ == condition && c.status == status) {
                Ok(())
            } else {
                Err(told.join("; "))
            }
        })
        .await
    }

    /// The row of a cluster in the status of a credential, once it meets `is`.
    pub async fn wait_row(
        &self,
        credential: &str,
        cluster: &str,
        what: &str,
        is: impl Fn(&ClusterStatus) -> bool,
    ) -> Result<ClusterStatus> {
        wait_for(LONG, &format!("{credential}'s row of {cluster}: {what}"), async || {
            let rows = self.test.status(credential).await.map_err(|error| error.to_string())?.clusters;
            rows.iter().find(|row| row.name == cluster && is(row)).cloned().ok_or_else(|| format!("{rows:?}"))
        })
        .await
    }
}

/// One object with the fields of another added, level by level.
pub fn merge(mut base: Value, more: Value) -> Value {
    json_patch::merge(&mut base, &more);
    base
}

/// An operator of a hub that notices within seconds what takes minutes by default.
pub fn quick(lab: &Lab) -> Result<Builder> {
    quick_with(lab, "--request-timeout=2s")
}

/// The same, with another `--request-timeout`: how long an answer is waited for.
pub fn quick_with(lab: &Lab, request_timeout: &str) -> Result<Builder> {
    let args = [request_timeout, "--watch-timeout=5s", "--member-probe-interval=1s"];
    Ok(lab.operator()?.env("CLAVIGER_CONSENT_GRACE_PERIOD", "1s").args(&args))
}

/// That of [`quick`], with more flags, and started.
pub async fn start(lab: &Lab, args: &[&str]) -> Result<Operator> {
    quick(lab)?.args(args).start().await
}

/// A cluster that a hub can push to, through a proxy that can misbehave.
pub struct Member {
    pub name: String,
    pub control_plane: ControlPlane,
    pub proxy: FaultProxy,
    pub admin: Client,
    /// With the rights that `claviger member-rbac` gives.
    pub kubeconfig: String,
}

impl Member {
    pub async fn start(name: &str) -> Result<Self> {
        Self::with(name, ControlPlane::builder().audit(true)).await
    }

    pub async fn with(name: &str, builder: ControlPlaneBuilder) -> Result<Self> {
        let control_plane = builder.start().await?;
        let admin = control_plane.client().await?;
        let args = MemberRbacArgs::default();
        apply_yaml(&admin, &manifests(&args)?).await?;
        let token = token_in_member(&admin, &args).await?;
        let proxy = FaultProxy::start(control_plane.address()).await?;
        let kubeconfig = control_plane.kubeconfig_text(proxy.url(), &token);
        Ok(Self { name: name.to_owned(), control_plane, proxy, admin, kubeconfig })
    }

    /// One of which nothing is needed but its API server: without controllers, and reached as an administrator.
    pub async fn bare(name: &str) -> Result<Self> {
        let control_plane = ControlPlane::builder().without_controllers().start().await?;
        let proxy = FaultProxy::start(control_plane.address()).await?;
        let kubeconfig = control_plane.kubeconfig_text(proxy.url(), control_plane.admin_token()?);
        let admin = control_plane.client().await?;
        Ok(Self { name: name.to_owned(), control_plane, proxy, admin, kubeconfig })
    }

    /// A proxy that reads requests, through which the hub reaches it from its next kubeconfig on.
    pub async fn http_proxy(&mut self) -> Result<HttpProxy> {
        let proxy = self.control_plane.http_proxy().await?;
        self.kubeconfig = self.kubeconfig.replace(&self.proxy.url(), &proxy.url());
        Ok(proxy)
    }

    /// Namespaces with the label of a test.
    pub async fn namespaces(&self, test: &Scenario, names: &[&str]) -> Result<()> {
        for name in names {
            let namespace: Namespace =
                serde_json::from_value(json!({"metadata": {"name": name, "labels": {"test": test.mark}}}))?;
            Api::all(self.admin.clone()).create(&PostParams::default(), &namespace).await?;
        }
        Ok(())
    }

    /// The same for one in which somebody else has a Secret of a name already.
    pub async fn occupied_namespace(&self, test: &Scenario, name: &str, secret: &str) -> Result<()> {
        let namespaces = Api::<Namespace>::all(self.admin.clone());
        let namespace = json!({"metadata": {"name": name}});
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        let taken = json!({"metadata": {"name": secret}, "stringData": {"a": "b"}});
        self.secrets(name).create(&PostParams::default(), &serde_json::from_value(taken)?).await?;
        checks::merge(&namespaces, name, json!({"metadata": {"labels": {"test": test.mark}}})).await?;
        Ok(())
    }

    pub fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), namespace)
    }

    /// Waits for a copy at a revision.
    pub async fn wait_copy(&self, namespace: &str, name: &str, revision: &str) -> Result<Secret> {
        let what = format!("{}: copy {namespace}/{name} at revision {revision}", self.name);
        wait_for(LONG, &what, async || {
            let copy = self.secrets(namespace).get(name).await.map_err(|error| error.to_string())?;
            let found = copy.metadata.annotations.as_ref().and_then(|all| all.get("claviger.dev/revision"));
            if found.is_some_and(|found| found == revision) { Ok(copy) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    pub async fn wait_no_copy(&self, namespace: &str, name: &str) -> Result<()> {
        wait_for(LONG, &format!("{}: no copy {namespace}/{name}", self.name), async || {
            self.secrets(namespace).get_opt(name).await.is_ok_and(|found| found.is_none())
        })
        .await
    }

    /// How many copies of ours are there.
    pub async fn copies(&self) -> Result<usize> {
        let params = ListParams::default().labels("app.kubernetes.io/managed-by=claviger");
        Ok(Api::<Secret>::all(self.admin.clone()).list(&params).await?.items.len())
    }

    /// A Pod that uses a Secret.
    pub async fn pod(&self, namespace: &str, name: &str, secret: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), namespace);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "app", "image": "x"}], "imagePullSecrets": [{"name": secret}], "serviceAccountName": "default"},
        });
        // The ServiceAccount of a new namespace takes a moment.
        wait_for(LONG, "the Pod to be admitted", async || {
            pods.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&pod)).await.map(drop)
        })
        .await
    }

    pub async fn delete_pod(&self, namespace: &str, name: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), namespace);
        pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// What the hub's identity has written there, from the `after`-th request of the audit log on.
    pub fn writes(&self, after: usize) -> Result<Vec<String>> {
        let events = self.control_plane.audit_events()?.into_iter().skip(after);
        let ours = events.filter(|event| event.user.contains("claviger-member") && event.is_write());
        Ok(ours.map(|event| format!("{} {}", event.verb, event.resource)).collect())
    }

    pub fn requests(&self) -> Result<usize> {
        Ok(self.control_plane.audit_events()?.len())
    }
}
