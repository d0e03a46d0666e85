//! Tokens that are minted for registries, by the vendors' contracts: see `support::cloud`.

mod aws;
mod contracts;
mod flows;
mod hostile;
mod identity;
mod operator_identity;
mod refresh;
mod restart;
mod secrecy;
mod sharing;
mod verified;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};

use crate::{
    lab::Lab,
    scenario::Scenario,
    support::{
        Error, Result,
        cloud::{ACCOUNT, ACR, Asked, CLIENT, Cloud, Minted, PROVIDER, REGION, Service, TENANT},
        operator::Builder,
        wait_for,
    },
};

/// For all that a token takes, with a pause between two tries.
const SOON: Duration = Duration::from_secs(60);

const ECR_HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const ACR_HOST: &str = "acmeimages.azurecr.io";

/// A control plane of the test's own, whose ServiceAccounts the vendors can know.
struct World {
    // Before the control plane, whose operators ask it.
    cloud: Cloud,
    test: Scenario,
    lab: Lab,
}

impl World {
    async fn start() -> Result<Self> {
        let (lab, test) = lab().await?;
        Ok(Self { cloud: Cloud::start(&test.client).await?, test, lab })
    }

    async fn with_aws() -> Result<Self> {
        let (lab, test) = lab().await?;
        Ok(Self { cloud: Cloud::with_aws(&test.client).await?, test, lab })
    }

    /// An operator that finds the vendors.
    fn operator(&self) -> Result<Builder> {
        Ok(self.cloud.known_to(self.lab.operator()?))
    }

    /// A ServiceAccount in the home namespace that all vendors know.
    async fn account(&self, name: &str, annotations: Value) -> Result<()> {
        account(&self.test.client, &self.test.home.name, name, annotations).await?;
        self.cloud.let_in(&self.test.home.name, name);
        Ok(())
    }

    /// The source of a client secret.
    async fn azure_secret(&self) -> Result<()> {
        let data = json!({"AZURE_CLIENT_SECRET": self.cloud.client_secret()});
        self.test.source("azure", data).await.map(drop)
    }

    /// Waits until the newest token of a service is in the copy in the home namespace, alone, under this key; the token.
    async fn wait_minted(&self, name: &str, service: Service, key: &str) -> Result<Minted> {
        self.wait_refreshed(name, "True", "Refreshed").await?;
        let home = &self.test.home.name;
        let what = format!("the newest token of {service:?} in {name}");
        let waited = wait_for(SOON, &what, async || {
            let newest = self.cloud.newest(service).ok_or("none was minted")?;
            let auths = auths(&self.test, home, name).await.map_err(|error| error.to_string())?;
            let pair = (newest.user.clone(), newest.token.clone());
            if auths == [(key.to_owned(), pair.0, pair.1)] {
                return Ok(newest);
            }
            let told: Vec<_> = auths.iter().map(|(key, user, token)| (key, user, token.len())).collect();
            Err(format!("{told:?}"))
        });
        self.test.home.explain(waited.await).await
    }

    /// Waits for what is told of the tokens of a credential, with patience for a pause between two tries.
    async fn wait_refreshed(&self, name: &str, status: &str, reason: &str) -> Result<String> {
        let what = format!("{name} to be Refreshed={status} ({reason})");
        let waited = wait_for(SOON, &what, async || {
            let conditions = self.test.status(name).await.map_err(|error| error.to_string())?.conditions;
            let found = conditions.into_iter().find(|condition| condition.type_ == "Refreshed");
            let found = found.ok_or("no condition")?;
            if (found.status.as_str(), found.reason.as_str()) == (status, reason) {
                return Ok(found.message);
            }
            Err(format!("{}={}: {}", found.status, found.reason, found.message))
        });
        let waited = waited.await.map_err(|error| Error::new(format!("{error}\n{}", self.told())));
        self.test.home.explain(waited).await
    }

    /// Waits for a reason in whatever condition has it, as to where a fault of an input belongs depends on what reads it.
    async fn wait_fault(&self, name: &str, reason: &str) -> Result<()> {
        wait_for(SOON, &format!("{name} to be told of: {reason}"), async || {
            let conditions = self.test.status(name).await.map_err(|error| error.to_string())?.conditions;
            let found = conditions.iter().any(|c| c.status == "False" && c.reason == reason);
            found.then_some(()).ok_or_else(|| format!("{conditions:?}"))
        })
        .await
    }

    /// What was asked, and how it was answered, for people.
    fn told(&self) -> String {
        let told = |asked: Asked| {
            let (method, host, path) = (&asked.request.method, &asked.request.host, &asked.request.path);
            format!("{method} {host}{path}: {:?} {}", asked.status, asked.refusal.unwrap_or_default())
        };
        self.cloud.asked().into_iter().map(told).collect::<Vec<_>>().join("\n")
    }

    /// Every request was right: no vendor had to refuse anything, and none was asked for what it does not have.
    fn assert_by_the_book(&self) {
        let right = |asked: &Asked| asked.service.is_some() && asked.refusal.is_none();
        assert!(self.cloud.asked().iter().all(right), "{}", self.told());
    }
}

async fn lab() -> Result<(Lab, Scenario)> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    Ok((lab, test))
}

async fn account(client: &Client, namespace: &str, name: &str, annotations: Value) -> Result<()> {
    let account = json!({"metadata": {"name": name, "annotations": annotations}});
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    Ok(())
}

/// A token of a ServiceAccount, as kubelet puts it into a Pod.
async fn account_token(client: &Client, namespace: &str, name: &str, audience: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec { audiences: Some(vec![audience.to_owned()]), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
    answer.status.and_then(|status| status.token).ok_or_else(|| Error::new("no token"))
}

fn off(mut spec: Value) -> Value {
    spec["verification"] = json!({"mode": "Off"});
    spec
}

fn ecr(auth: Value) -> Value {
    off(json!({"provider": "ECR", "ecr": {"accountId": ACCOUNT, "region": REGION, "auth": auth}}))
}

fn acr(auth: Value) -> Value {
    off(json!({"provider": "ACR", "acr": {"registry": ACR, "auth": auth}}))
}

/// By a client secret.
fn acr_by_secret() -> Value {
    acr(json!({"tenantId": TENANT, "clientId": CLIENT, "secretRef": {"name": "azure"}}))
}

fn google(auth: Value) -> Value {
    off(
        json!({"provider": "GoogleArtifactRegistry", "googleArtifactRegistry": {"location": "europe-west3", "auth": auth}}),
    )
}

/// By a ServiceAccount of the cluster.
fn google_by_account(name: &str) -> Value {
    google(json!({"serviceAccountRef": {"name": name}, "workloadIdentityProvider": PROVIDER}))
}

fn quay(account: &str) -> Value {
    off(json!({
        "provider": "Quay", "username": "acme+ci",
        "quay": {"namespace": "acme", "auth": {"serviceAccountRef": {"name": account}}},
    }))
}

fn with_target(mut spec: Value, target: Value) -> Value {
    spec["target"] = target;
    spec
}

/// Consent for the operator's own identity, for credentials of these namespaces.
async fn consent(test: &Scenario, name: &str, namespaces: &[&str], allowed: bool) -> Result<()> {
    let policy = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": name},
        "spec": {
            "from": {"namespaces": {"names": namespaces}}, "to": {"namespaces": {"names": ["not-there"]}},
            "allowOperatorIdentity": allowed,
        },
    });
    test.apply_cluster("DistributionPolicy", name, policy).await
}

fn policies(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("claviger.dev", "v1alpha1", "DistributionPolicy");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// The whole status, as it stands there.
async fn status(test: &Scenario, name: &str) -> Result<Value> {
    let kind = GroupVersionKind::gvk("claviger.dev", "v1alpha1", "RegistryCredential");
    let all: Api<DynamicObject> =
        Api::namespaced_with(test.client.clone(), &test.home.name, &ApiResource::from_gvk(&kind));
    Ok(all.get(name).await?.data["status"].clone())
}

/// Until when a token is good, as the status says.
async fn expiration(test: &Scenario, name: &str) -> Result<Timestamp> {
    let status = status(test, name).await?;
    let told = &status["expirationTime"];
    assert_eq!(*told, status["registry"]["token"]["expirationTime"], "{status}");
    Ok(told.as_str().ok_or_else(|| Error::new(format!("no time in {status}")))?.parse()?)
}

/// The logins of a copy: key, user and password.
async fn auths(test: &Scenario, namespace: &str, name: &str) -> Result<Vec<(String, String, String)>> {
    match test.secrets(namespace).get_opt(name).await? {
        Some(secret) => auths_of(&secret),
        None => Ok(Vec::new()),
    }
}

fn auths_of(secret: &Secret) -> Result<Vec<(String, String, String)>> {
    let data = secret.data.as_ref().and_then(|data| data.get(".dockerconfigjson"));
    let data = data.ok_or_else(|| Error::new(format!("no docker config in {}", secret.name_any())))?;
    let file: Value = serde_json::from_slice(&data.0)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let login =
        |(key, entry): (&String, &Value)| (key.clone(), text(&entry["username"]), text(&entry["password"]));
    Ok(file["auths"].as_object().into_iter().flatten().map(login).collect())
}
