//! Defaults: the Secret's name on ServiceAccounts, beside what others put there, and taken off again exactly.

mod consent;
mod contention;
mod life;
mod members;
mod restore;
mod rivals;
mod scale;
mod stuck;

use std::time::Duration;

use claviger::api::DefaultStatus;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    checks::merge,
    scenario::Scenario,
    support::{Result, stays, wait_for},
};

const MARK: &str = "claviger.dev/attached-pull-secrets";

/// How long the operator may take, beside other tests.
const LONG: Duration = Duration::from_secs(120);

/// A spec that wants to be a default in this test's namespaces.
fn spec(test: &Scenario, priority: i32) -> Value {
    json!({
        "provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}, "target": test.selector(),
        "verification": {"mode": "Off"}, "default": {"enabled": true, "priority": priority},
    })
}

/// Consent for copies, and for defaults or not, in all namespaces of this test.
async fn policy(test: &Scenario, allow_default: bool) -> Result<()> {
    let name = format!("policy-{}", test.mark);
    let object = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": name},
        "spec": {
            "from": {"namespaces": {"names": [test.home.name]}},
            "to": {
                "namespaces": {"selector": {"matchLabels": {"test": test.mark}}},
                "clusters": {"selector": {}},
            },
            "allowDefault": allow_default,
        },
    });
    test.apply_cluster("DistributionPolicy", &name, object).await
}

/// ServiceAccounts of one cluster.
struct Accounts(kube::Client);

impl Accounts {
    fn of(test: &Scenario) -> Self {
        Self(test.client.clone())
    }

    fn api(&self, namespace: &str) -> Api<ServiceAccount> {
        Api::namespaced(self.0.clone(), namespace)
    }

    /// The names in the list of the default one, and our annotation; `None` when there is none.
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<(Vec<String>, String)>> {
        let Some(account) = self.api(namespace).get_opt(name).await? else { return Ok(None) };
        let names = account.image_pull_secrets.unwrap_or_default().into_iter().map(|entry| entry.name);
        let mut annotations = account.metadata.annotations.unwrap_or_default();
        Ok(Some((names.collect(), annotations.remove(MARK).unwrap_or_default())))
    }

    async fn wait_names(&self, namespace: &str, name: &str, expected: &[&str]) -> Result<()> {
        let what = format!("ServiceAccount {namespace}/{name} to name {expected:?}");
        wait_for(LONG, &what, async || match self.read(namespace, name).await {
            Ok(Some((names, _))) if names == expected => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    async fn stays_names(&self, namespace: &str, expected: &[&str]) -> Result<()> {
        stays(Duration::from_secs(1), &format!("{namespace}/default"), async || {
            let found = self.read(namespace, "default").await;
            found.is_ok_and(|found| found.is_some_and(|(names, _)| names == expected))
        })
        .await
    }

    /// Replaces the list, as a tool does that knows nothing of others.
    async fn set(&self, namespace: &str, names: &[&str]) -> Result<()> {
        let entries: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        merge(&self.api(namespace), "default", json!({"imagePullSecrets": entries})).await.map(drop)
    }

    async fn exists(&self, namespace: &str) -> Result<()> {
        wait_for(LONG, "the default ServiceAccount", async || {
            let found = self.api(namespace).get_opt("default").await;
            found.is_ok_and(|found| found.is_some())
        })
        .await
    }

    async fn create(&self, namespace: &str, name: &str) -> Result<()> {
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        self.api(namespace).create(&PostParams::default(), &account).await?;
        Ok(())
    }

    /// How many in the cluster name a Secret.
    async fn naming(&self, secret: &str) -> Result<usize> {
        let all: Api<ServiceAccount> = Api::all(self.0.clone());
        let names = |account: &ServiceAccount| {
            account.image_pull_secrets.iter().flatten().any(|entry| entry.name == secret)
        };
        Ok(all.list(&ListParams::default()).await?.iter().filter(|account| names(account)).count())
    }
}

async fn default_status(test: &Scenario, name: &str) -> Result<DefaultStatus> {
    let object = test.credentials().get(name).await?;
    Ok(object.status.and_then(|status| status.default).unwrap_or_default())
}

async fn wait_default(test: &Scenario, name: &str, status: &str, reason: &str) -> Result<()> {
    test.wait_condition(name, "Default", status, reason).await.map(drop)
}
