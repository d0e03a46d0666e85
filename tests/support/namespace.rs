//! A namespace of its own for each test.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::{
    dump::dump,
    error::{Error, Result},
    wait::{DEADLINE, wait_for},
};

/// On every namespace that a test has made, so that a selector can pick them out.
pub const TEST_LABEL: &str = "test.claviger.dev/namespace";

/// `prefix-` and ten random characters: fits every Kubernetes name and never meets another one.
pub fn random_name(prefix: &str) -> String {
    format!("{prefix}-{:010x}", rand::random::<u64>() & 0xff_ffff_ffff)
}

/// Goes with its control plane: a drop cannot wait for a request, and a test's runtime ends with the test.
/// [`delete`](Self::delete) it where the teardown itself matters.
pub struct TestNamespace {
    pub client: Client,
    pub name: String,
}

impl TestNamespace {
    pub async fn new(client: Client, prefix: &str) -> Result<Self> {
        Self::with_labels(client, prefix, &[]).await
    }

    /// Back when the default ServiceAccount is there, so that Pods can be made at once.
    pub async fn with_labels(client: Client, prefix: &str, labels: &[(&str, &str)]) -> Result<Self> {
        Self::named(client, random_name(prefix), prefix, labels).await
    }

    /// One of a given name, as after a restore.
    pub async fn named(client: Client, name: String, prefix: &str, labels: &[(&str, &str)]) -> Result<Self> {
        let mut namespace: Namespace = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {TEST_LABEL: prefix}},
        }))?;
        for &(key, value) in labels {
            namespace.labels_mut().insert(key.to_owned(), value.to_owned());
        }
        let namespaces = Api::<Namespace>::all(client.clone());
        namespaces.create(&PostParams::default(), &namespace).await?;
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &name);
        wait_for(DEADLINE, &format!("the default ServiceAccount of {name}"), async || {
            accounts.get("default").await
        })
        .await?;
        Ok(Self { client, name })
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Asks for its deletion; controllers take about six seconds to finish it.
    pub async fn delete(&self) -> Result<()> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub async fn wait_gone(&self) -> Result<()> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        wait_for(DEADLINE, &format!("namespace {} to be gone", self.name), async || {
            match namespaces.get_opt(&self.name).await? {
                None => Ok(()),
                Some(left) => Err(Error::new(serde_json::to_string(&left.status)?)),
            }
        })
        .await
    }

    /// Hands the result through; when it is an error, first shows what is in the namespace.
    pub async fn explain<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            dump(&self.client, &self.name).await;
        }
        result
    }
}

impl std::fmt::Display for TestNamespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}
