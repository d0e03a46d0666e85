//! A tenant with a namespace of its own, and the few things that most tests do with it.

use std::{collections::BTreeMap, time::Duration};

use claviger::api::{CredentialStatus, DistributionPolicy, RegistryCredential};
use k8s_openapi::{
    api::core::v1::{Namespace, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    reached::reached,
    support::{self, ControlPlane, Result, TestNamespace, wait::wait_for},
};

/// The namespaces and objects of one test.
pub struct Scenario {
    pub client: Client,
    /// The namespace of the credential.
    pub home: TestNamespace,
    /// A label value that only this test's namespaces carry.
    pub mark: String,
}

impl Scenario {
    /// In the environment that tests share.
    pub async fn shared() -> Result<Self> {
        let client = support::environment().await?.client().await?;
        Self::on(client).await
    }

    /// On a control plane of the test's own.
    pub async fn alone(control_plane: &ControlPlane) -> Result<Self> {
        Self::on(control_plane.client().await?).await
    }

    /// The same tenant on a control plane that was built anew.
    pub async fn again(control_plane: &ControlPlane, home: &str, mark: &str) -> Result<Self> {
        let client = control_plane.client().await?;
        let home = TestNamespace::named(client.clone(), home.to_owned(), "home", &[]).await?;
        Ok(Self { client, home, mark: mark.to_owned() })
    }

    async fn on(client: Client) -> Result<Self> {
        let mark = support::random_name("mark");
        let home = TestNamespace::new(client.clone(), "home").await?;
        Ok(Self { client, home, mark })
    }

    /// A source Secret in the home namespace; replaced when it exists.
    pub async fn source(&self, name: &str, data: Value) -> Result<Secret> {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        self.apply(&self.secrets(&self.home.name), name, secret).await
    }

    /// A RegistryCredential in the home namespace.
    pub async fn credential(&self, name: &str, spec: Value) -> Result<RegistryCredential> {
        let object = json!({"apiVersion": "claviger.dev/v1alpha1", "kind": "RegistryCredential", "metadata": {"name": name}, "spec": spec});
        self.apply(&self.credentials(), name, object).await
    }

    /// Consent for the home namespace to push into all namespaces of this test.
    pub async fn policy(&self) -> Result<DistributionPolicy> {
        let name = format!("policy-{}", self.mark);
        let object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": name},
            "spec": {
                "from": {"namespaces": {"names": [self.home.name]}},
                "to": {
                    "namespaces": {"selector": {"matchLabels": {"test": self.mark}}},
                    "allowedMetadata": ["team", "note", "example.com/"],
                },
            },
        });
        self.apply(&Api::all(self.client.clone()), &name, object).await
    }

    /// Namespaces that carry this test's label.
    pub async fn targets(&self, count: usize) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for n in 0..count {
            let name = format!("{}-{n}", self.mark);
            self.target(&name).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// One namespace that carries this test's label.
    pub async fn target(&self, name: &str) -> Result<Namespace> {
        self.target_with(name, &[]).await
    }

    /// One that has further labels from the beginning.
    pub async fn target_with(&self, name: &str, labels: &[(&str, &str)]) -> Result<Namespace> {
        let labels: BTreeMap<_, _> = labels.iter().copied().chain([("test", self.mark.as_str())]).collect();
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
        Ok(Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await?)
    }

    /// The part of a spec that selects this test's namespaces.
    pub fn selector(&self) -> Value {
        json!({"namespaces": {"selector": {"matchLabels": {"test": self.mark}}}})
    }

    pub fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn credentials(&self) -> Api<RegistryCredential> {
        Api::namespaced(self.client.clone(), &self.home.name)
    }

    pub async fn status(&self, name: &str) -> Result<CredentialStatus> {
        Ok(self.credentials().get(name).await?.status.map(|status| status.common).unwrap_or_default())
    }

    /// Waits until a condition has a status and reason.
    pub async fn wait_condition(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<Condition> {
        self.wait_told(name, type_, status, reason, &[]).await
    }

    /// Waits until a condition has a status, a reason and these words in its message: the first message may have
    /// been written when not all was known.
    pub async fn wait_told(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
        words: &[&str],
    ) -> Result<Condition> {
        let what = format!("{name} to be {type_}={status} ({reason}), with {words:?}");
        self.home
            .explain(
                wait_for(Duration::from_secs(20), &what, async || {
                    let object = self.credentials().get(name).await.map_err(|e| e.to_string())?;
                    let generation = object.metadata.generation;
                    let conditions = object.status.map(|status| status.common.conditions).unwrap_or_default();
                    let told: Vec<_> = conditions
                        .iter()
                        .map(|c| format!("{}={} ({}): {}", c.type_, c.status, c.reason, c.message))
                        .collect();
                    conditions
                        .into_iter()
                        .find(|c| {
                            c.type_ == type_
                                && c.status == status
                                && c.reason == reason
                                && c.observed_generation == generation
                                && words.iter().all(|word| c.message.contains(word))
                        })
                        .ok_or_else(|| told.join("\n"))
                })
                .await,
            )
            .await
    }

    /// Waits until the status is as it should be.
    pub async fn wait_status(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&CredentialStatus) -> bool,
    ) -> Result<CredentialStatus> {
        let what = format!("the status of {name}: {what}");
        let waited = wait_for(Duration::from_secs(20), &what, async || {
            let status = self.status(name).await.map_err(|e| e.to_string())?;
            if is(&status) { Ok(status) } else { Err(format!("{status:?}")) }
        });
        self.home.explain(waited.await).await
    }

    /// Waits until the credential is ready, at a revision, in every namespace that it means by now.
    pub async fn wait_ready(&self, name: &str, revision: i64) -> Result<CredentialStatus> {
        self.wait_condition(name, "Ready", "True", "AllTargetsSynced").await?;
        wait_for(Duration::from_secs(20), &format!("{name} at revision {revision}"), async || {
            let object = self.credentials().get(name).await.map_err(|e| e.to_string())?;
            let status = object.status.map(|status| status.common).unwrap_or_default();
            let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            if !ready || status.revision != Some(revision) {
                return Err(format!("{status:?}"));
            }
            reached(&self.client, &self.home.name, &object.spec.target, &status).await.map(|()| status)
        })
        .await
    }

    /// The one login in a produced Secret, as user and password.
    pub async fn login(&self, namespace: &str, secret: &str) -> Result<Option<(String, String)>> {
        let Some(secret) = self.secrets(namespace).get_opt(secret).await? else { return Ok(None) };
        let data = secret.data.unwrap_or_default();
        let Some(file) = data.get(".dockerconfigjson") else { return Ok(None) };
        let file: Value = serde_json::from_slice(&file.0)?;
        let entry =
            file["auths"].as_object().and_then(|auths| auths.values().next()).cloned().unwrap_or_default();
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        Ok(Some((text("username"), text("password"))))
    }

    /// Waits until a copy has a password.
    pub async fn wait_password(&self, namespace: &str, secret: &str, password: &str) -> Result<()> {
        wait_for(Duration::from_secs(20), &format!("the password in {namespace}/{secret}"), async || {
            let login = self.login(namespace, secret).await.map_err(|e| e.to_string())?;
            if login.as_ref().is_some_and(|(_, found)| found == password) {
                Ok(())
            } else {
                Err(format!("{:?}", login.map(|l| l.1.len())))
            }
        })
        .await
    }

    /// A Pod that uses a Secret and is said to run. No kubelet is there to run it.
    pub async fn pod(&self, namespace: &str, name: &str, secret: &str) -> Result<Pod> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "app", "image": "registry.example.com/app"}], "imagePullSecrets": [{"name": secret}]},
        });
        let pod = self.apply(&self.pods(namespace), name, pod).await?;
        self.phase(namespace, name, "Running").await?;
        Ok(pod)
    }

    pub async fn phase(&self, namespace: &str, name: &str, phase: &str) -> Result<()> {
        let status = json!({"status": {"phase": phase}});
        self.pods(namespace).patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    pub async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": BTreeMap::from([(key, value)])}});
        self.credentials().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// A cluster-scoped object of ours.
    pub async fn apply_cluster(&self, kind: &str, name: &str, object: Value) -> Result<()> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", kind));
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        self.apply(&api, name, object).await.map(drop)
    }

    async fn apply<K>(&self, api: &Api<K>, name: &str, object: Value) -> Result<K>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        Ok(api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?)
    }
}
