//! What a DistributionPolicy tells of itself.

use std::time::{Duration, Instant};

use claviger::api::{DistributionPolicy, DistributionPolicyStatus};
use futures::StreamExt;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use crate::{
    checks::{label_namespace, merge},
    lab::Lab,
    scenario::Scenario,
    support::{Error, Result, stays, wait::DEADLINE, wait_for},
};

/// A policy of a test, and what its status says.
pub struct Told {
    policies: Api<DistributionPolicy>,
    name: String,
}

impl Told {
    pub async fn by(test: &Scenario) -> Result<Self> {
        test.policy().await?;
        Ok(Self { policies: Api::all(test.client.clone()), name: format!("policy-{}", test.mark) })
    }

    async fn wait(&self, what: &str, is: impl Fn(&DistributionPolicyStatus) -> bool) -> Result<()> {
        wait_for(DEADLINE, what, async || {
            let policy = self.policies.get(&self.name).await?;
            let (generation, status) = (policy.metadata.generation, policy.status.unwrap_or_default());
            if status.observed_generation == generation && is(&status) {
                return Ok(());
            }
            Err(Error::new(format!("generation {generation:?}: {status:?}")))
        })
        .await
    }

    pub async fn wait_count(&self, count: i64) -> Result<()> {
        self.wait(&format!("{count} credentials"), |status| status.credentials == Some(count)).await
    }
}

#[tokio::test]
async fn a_policy_tells_whom_it_is_about_and_how_many_credentials_that_is() -> Result<()> {
    let test = Scenario::shared().await?;
    let told = Told::by(&test).await?;
    let (home, by_label) = (Some(test.home.name.clone()), Some("by label".to_owned()));
    let is_named = |status: &DistributionPolicyStatus| {
        (&status.from, &status.to, status.clusters.as_deref()) == (&home, &by_label, Some("local"))
    };
    told.wait("the words", is_named).await?;
    told.wait_count(0).await?;

    let spec = json!({"provider": "GitHub", "secretRef": {"name": "nowhere"}});
    for name in ["one", "two"] {
        test.credential(name, spec.clone()).await?;
    }
    told.wait_count(2).await?;
    test.credentials().delete("one", &DeleteParams::default()).await?;
    told.wait_count(1).await?;

    // Of another kind there is none.
    merge(&told.policies, &told.name, json!({"spec": {"kinds": ["TlsCredential"]}})).await?;
    told.wait_count(0).await?;
    // By a label that the namespace gets, and loses.
    let selector = json!({"matchLabels": {"platform": test.mark}});
    let from = json!({"namespaces": {"names": null, "selector": selector}});
    merge(&told.policies, &told.name, json!({"spec": {"kinds": null, "from": from}})).await?;
    told.wait("the words", |status| status.from == by_label && status.credentials == Some(0)).await?;
    label_namespace(&test, &test.home.name, json!({"platform": test.mark})).await?;
    told.wait_count(1).await?;
    label_namespace(&test, &test.home.name, json!({"platform": null})).await?;
    told.wait_count(0).await
}

#[tokio::test]
async fn many_credentials_at_once_make_few_writes_and_a_restart_makes_none() -> Result<()> {
    let lab = Lab::start().await?;
    let test = Scenario::alone(&lab.control_plane).await?;
    let operator = lab.operator()?.start().await?;
    let told = Told::by(&test).await?;
    told.wait_count(0).await?;
    let (after, began) = (lab.requests()?, Instant::now());
    let spec = json!({"provider": "GitHub", "secretRef": {"name": "nowhere"}});
    let made = futures::stream::iter(0..60).map(|n| {
        let (test, spec) = (&test, spec.clone());
        async move { test.credential(&format!("reg-{n}"), spec).await.map(drop) }
    });
    made.buffer_unordered(8).collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<()>>>()?;
    told.wait_count(60).await?;
    let writes = |after: usize| -> Result<usize> {
        let all = lab.writes(after)?;
        Ok(all.iter().filter(|write| write.resource == "distributionpolicies").count())
    };
    let most = 2 + usize::try_from(began.elapsed().as_secs())?;
    let made = writes(after)?;
    assert!(made <= most, "{made} writes in {:?}", began.elapsed());

    assert_eq!(operator.terminate(DEADLINE).await?, 0);
    let after = lab.requests()?;
    let operator = lab.operator()?.start().await?;
    stays(Duration::from_secs(3), "no write", async || {
        let made = writes(after).map_err(|error| error.to_string())?;
        if made == 0 { Ok(()) } else { Err(made.to_string()) }
    })
    .await?;
    operator.check_running()
}
