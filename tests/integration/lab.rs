//! A control plane and operators of a test's own, for faults that nobody else should feel.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{
    Api,
    api::{ListParams, ObjectList},
};

use crate::{
    scenario::Scenario,
    support::{
        AuditEvent, ControlPlane, FaultProxy, Operator, Result,
        environment::{OPERATOR_NAMESPACE, prepare},
        operator::Builder,
        operator_binary, random_name, wait_for,
    },
};

/// The user that operators are, so that the audit log tells them from others.
const USER: &str = "claviger-operator";

pub struct Lab {
    pub control_plane: ControlPlane,
    binary: PathBuf,
}

impl Lab {
    /// With CRDs and the operator's namespace, but no operator yet.
    pub async fn start() -> Result<Self> {
        let lab = Self::bare().await?;
        prepare(&lab.control_plane.client().await?).await?;
        Ok(lab)
    }

    /// As an administrator finds a new cluster.
    pub async fn bare() -> Result<Self> {
        let control_plane =
            ControlPlane::builder().audit(true).user(USER, &["system:masters"]).start().await?;
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        Ok(Self { control_plane, binary })
    }

    /// The user that operators are.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// What operators show to the API server.
    pub fn token(&self) -> Result<&str> {
        self.control_plane.token(USER)
    }

    /// An operator that acts at once.
    pub fn operator(&self) -> Result<Builder> {
        Ok(self.operator_with(&self.control_plane.kubeconfig_for(USER)?).arg("--leader-elect=false"))
    }

    /// The same, behind a proxy.
    pub fn operator_behind(&self, proxy: &FaultProxy) -> Result<Builder> {
        self.operator_at(&proxy.url())
    }

    /// The same, that finds the API server at another address.
    pub fn operator_at(&self, url: &str) -> Result<Builder> {
        let kubeconfig = self.control_plane.kubeconfig_with(url, self.control_plane.token(USER)?)?;
        Ok(self.operator_with(&kubeconfig).arg("--leader-elect=false"))
    }

    /// One that first has to become leader.
    pub fn candidate(&self) -> Result<Builder> {
        self.candidate_at(self.control_plane.server_url())
    }

    /// The same, behind a proxy.
    pub fn candidate_behind(&self, proxy: &FaultProxy) -> Result<Builder> {
        self.candidate_at(proxy.url())
    }

    fn candidate_at(&self, url: String) -> Result<Builder> {
        let kubeconfig = self.control_plane.kubeconfig_with(url, self.control_plane.token(USER)?)?;
        Ok(self.candidate_with(&kubeconfig))
    }

    /// The same, as somebody else, whose requests are not told among those of operators.
    pub fn candidate_with(&self, kubeconfig: &Path) -> Builder {
        ["--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=200ms"]
            .into_iter()
            .fold(self.operator_with(kubeconfig), Builder::arg)
    }

    fn operator_with(&self, kubeconfig: &Path) -> Builder {
        Operator::builder(&self.binary, kubeconfig).namespace(OPERATOR_NAMESPACE)
    }

    pub async fn scenario(&self) -> Result<Scenario> {
        Scenario::alone(&self.control_plane).await
    }

    /// A tenant as it was on another control plane.
    pub async fn scenario_as(&self, home: &str, mark: &str) -> Result<Scenario> {
        Scenario::again(&self.control_plane, home, mark).await
    }

    /// What operators wrote, but for leases: from the `after`-th request of the log on.
    pub fn writes(&self, after: usize) -> Result<Vec<AuditEvent>> {
        let events = self.control_plane.audit_events()?.into_iter().skip(after);
        Ok(events.filter(|e| e.user == USER && e.is_write() && e.resource != "leases").collect())
    }

    /// How many requests the log has so far.
    pub fn requests(&self) -> Result<usize> {
        Ok(self.control_plane.audit_events()?.len())
    }

    /// Requests of operators, of whatever kind, from the `after`-th on.
    pub fn requests_of_operators(&self, after: usize) -> Result<usize> {
        Ok(self.control_plane.audit_events()?.iter().skip(after).filter(|e| e.user == USER).count())
    }
}

/// Namespaces that carry the test's label, made several at a time.
pub async fn many_targets(test: &Scenario, count: usize) -> Result<Vec<String>> {
    let names: Vec<String> = (0..count).map(|_| random_name("many")).collect();
    let made: Vec<Result<_>> =
        futures::stream::iter(&names).map(|name| test.target(name)).buffer_unordered(16).collect().await;
    made.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(names)
}

/// Waits until Pods can be made in all of these namespaces: each needs its default ServiceAccount.
pub async fn wait_accounts(test: &Scenario, namespaces: &[String]) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::all(test.client.clone());
    let named = ListParams::default().fields("metadata.name=default");
    wait_for(Duration::from_secs(60), "the default ServiceAccounts", async || {
        let found = accounts.list(&named).await.map_err(|error| error.to_string())?;
        let found: HashSet<&str> = found.iter().filter_map(|a| a.metadata.namespace.as_deref()).collect();
        let missing = namespaces.iter().filter(|namespace| !found.contains(namespace.as_str())).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} are missing")) }
    })
    .await
}

/// All copies in the cluster.
pub async fn copies(test: &Scenario) -> Result<ObjectList<Secret>> {
    let secrets: Api<Secret> = Api::all(test.client.clone());
    Ok(secrets.list(&ListParams::default().labels("app.kubernetes.io/managed-by=claviger")).await?)
}

/// How many copies carry a revision.
pub async fn at_revision(test: &Scenario, revision: &str) -> Result<usize> {
    let found = copies(test).await?;
    Ok(found
        .iter()
        .filter(|copy| {
            let notes = copy.metadata.annotations.as_ref();
            notes.and_then(|notes| notes.get("claviger.dev/revision")).is_some_and(|found| found == revision)
        })
        .count())
}
