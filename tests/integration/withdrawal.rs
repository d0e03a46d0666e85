//! Withdrawal is slow, delivery is fast: what merely is not there any more takes nothing away at once.

mod policies;
mod restart;

use std::time::Duration;

use claviger::api::DistributionPolicy;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    checks::{good_source, spec, spec_to, wait_copy},
    lab::Lab,
    scenario::Scenario,
    support::{Operator, Result},
};

const LONG: Duration = Duration::from_secs(60);

/// A credential `reg` that goes to three namespaces, each by a policy of its own, and a credential `witness` whose
/// copy shows when a quiet period is over.
struct Stage {
    lab: Lab,
    test: Scenario,
    targets: Vec<String>,
}

impl Stage {
    async fn new() -> Result<Self> {
        let lab = Lab::start().await?;
        let test = lab.scenario().await?;
        let targets = test.targets(3).await?;
        let stage = Self { lab, test, targets };
        for (n, target) in stage.targets.iter().enumerate() {
            stage.policy(&format!("allow-{n}"), json!({"names": [target]})).await?;
        }
        good_source(&stage.test, "src", "the-password").await?;
        stage.test.credential("reg", spec(&stage.test, "src")).await?;
        Ok(stage)
    }

    /// Back when `reg` is in place.
    async fn operator(&self, grace: Duration) -> Result<Operator> {
        let operator = self.start(grace).await?;
        self.test.wait_ready("reg", 1).await?;
        Ok(operator)
    }

    async fn start(&self, grace: Duration) -> Result<Operator> {
        let grace = format!("{}s", grace.as_secs());
        self.lab.operator()?.env("CLAVIGER_CONSENT_GRACE_PERIOD", grace).start().await
    }

    fn policies(&self) -> Api<DistributionPolicy> {
        Api::all(self.test.client.clone())
    }

    /// Lets the home namespace push into these.
    async fn policy(&self, name: &str, to: Value) -> Result<()> {
        let object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": name},
            "spec": {"from": {"namespaces": {"names": [self.test.home.name]}}, "to": {"namespaces": to}},
        });
        self.policies().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    async fn remove(&self, policy: &str) -> Result<()> {
        self.policies().delete(policy, &DeleteParams::default()).await?;
        Ok(())
    }

    async fn remove_all(&self) -> Result<()> {
        for n in 0..self.targets.len() {
            self.remove(&format!("allow-{n}")).await?;
        }
        Ok(())
    }

    /// Waits until the operator knows all changes of policies that were made so far: one more policy comes by the
    /// same watch, and brings `reg` into one more namespace. Returns that namespace.
    async fn seen(&self) -> Result<String> {
        let marker = format!("{}-marker", self.test.mark);
        self.test.target(&marker).await?;
        self.policy("marker", json!({"names": [marker]})).await?;
        wait_copy(&self.test, &marker, "reg").await?;
        Ok(marker)
    }

    /// The namespace of the witness.
    fn witness(&self) -> String {
        format!("{}-witness", self.test.home.name)
    }

    /// A credential by a policy of its own into a namespace that `reg` does not want.
    async fn add_witness(&self) -> Result<()> {
        let namespace = self.witness();
        let object = json!({"metadata": {"name": namespace}});
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.test.client.clone());
        namespaces.create(&Default::default(), &serde_json::from_value(object)?).await?;
        self.policy("witness", json!({"names": [namespace]})).await?;
        let target = json!({"namespaces": {"names": [namespace]}});
        self.test.credential("witness", spec_to("src", target)).await?;
        wait_copy(&self.test, &namespace, "witness").await.map(drop)
    }

    /// Which of the targets have no copy.
    async fn bare(&self) -> Result<Vec<&String>> {
        let mut bare = Vec::new();
        for namespace in &self.targets {
            if self.test.secrets(namespace).get_opt("reg").await?.is_none() {
                bare.push(namespace);
            }
        }
        Ok(bare)
    }
}
