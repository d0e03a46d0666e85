//! A DistributionPolicy that cannot be read: nothing is withdrawn for lack of consent, everything else goes on.

use claviger::api::DistributionPolicy;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::{Value, json};

use super::{LONG, allow, loosen, write};
use crate::{
    checks::{exact, good_source, spec, spec_to, wait_copy, wait_no_secret},
    lab::Lab,
    scenario::Scenario,
    support::{Error, Operator, Result, wait_for},
};

const CRD: &str = "distributionpolicies.claviger.dev";

/// A credential by a policy that stays readable, and one by a policy that does not.
struct Stage {
    lab: Lab,
    test: Scenario,
    targets: Vec<String>,
    /// The namespace that only the second policy allows.
    other: String,
    policies: Api<DynamicObject>,
}

impl Stage {
    async fn new() -> Result<Self> {
        let lab = Lab::start().await?;
        let test = lab.scenario().await?;
        test.policy().await?;
        let targets = test.targets(2).await?;
        let other = format!("{}-other", test.home.name);
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(test.client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": other}}))?;
        namespaces.create(&Default::default(), &namespace).await?;
        let policy = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "later"},
            "spec": readable(&test, &other),
        });
        test.apply_cluster("DistributionPolicy", "later", policy).await?;
        let policies = Api::all_with(test.client.clone(), &ApiResource::erase::<DistributionPolicy>(&()));
        good_source(&test, "src", "the-password").await?;
        test.credential("reg", spec(&test, "src")).await?;
        test.credential("other", spec_to("src", json!({"namespaces": {"names": [other]}}))).await?;
        Ok(Self { lab, test, targets, other, policies })
    }

    /// One that takes back at once what has no consent.
    async fn operator(&self) -> Result<Operator> {
        self.lab.operator()?.env("CLAVIGER_CONSENT_GRACE_PERIOD", "0s").start().await
    }

    /// Waits until it is told that the policy cannot be read.
    async fn wait_told(&self, operator: &Operator) -> Result<()> {
        let metric = r#"claviger_unreadable_objects{kind="DistributionPolicy"}"#;
        wait_for(LONG, "the metric", async || {
            let found = operator.metric(metric).await.map_err(|error| error.to_string())?;
            if found == Some(1.0) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await?;
        let events: Api<Event> = Api::namespaced(self.test.client.clone(), "default");
        wait_for(LONG, "the Event about the policy", async || {
            let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let found = list.items.iter().find(|event| {
                let about = event.regarding.clone().unwrap_or_default();
                event.reason.as_deref() == Some("UnsupportedSpec")
                    && event.type_.as_deref() == Some("Warning")
                    && (about.kind.as_deref(), about.name.as_deref())
                        == (Some("DistributionPolicy"), Some("later"))
            });
            found.map(drop).ok_or_else(|| format!("{} others", list.items.len()))
        })
        .await
    }

    /// A rotation and a new namespace: credentials that have consent lose nothing.
    async fn goes_on(&self, round: usize) -> Result<()> {
        let (test, password) = (&self.test, format!("password-{round}"));
        good_source(test, "src", &password).await?;
        let late = format!("{}-late-{round}", test.mark);
        test.target(&late).await?;
        for namespace in self.targets.iter().chain([&late]) {
            test.wait_password(namespace, "reg", &password).await?;
        }
        Ok(())
    }
}

/// Consent for one namespace.
fn readable(test: &Scenario, other: &str) -> Value {
    json!({"from": {"namespaces": {"names": [test.home.name]}}, "to": {"namespaces": {"names": [other]}}})
}

#[tokio::test]
async fn a_policy_with_a_value_of_a_later_version_stops_nobody_at_a_restart() -> Result<()> {
    let stage = Stage::new().await?;
    let test = &stage.test;
    let operator = stage.operator().await?;
    test.wait_ready("reg", 1).await?;
    test.wait_ready("other", 1).await?;
    let copy = exact(test, &stage.other, "other").await?;
    assert_eq!(operator.terminate(LONG).await?, 0);

    allow(test, CRD, "spec/properties/kinds/items/enum", "Future").await?;
    let kinds = json!({"spec": {"kinds": ["RegistryCredential", "Future"]}});
    write(&stage.policies, "later", kinds).await?;
    let operator = stage.operator().await?;
    stage.goes_on(1).await?;
    stage.wait_told(&operator).await?;
    assert_eq!((operator.healthz().await?, operator.readyz().await?), (200, 200));
    wait_copy(test, &stage.other, "other").await?;
    assert_eq!(exact(test, &stage.other, "other").await?.0, copy.0, "it was withdrawn");

    // A policy that can be read goes, and nothing is taken back for it: the other one may allow the same.
    let readable_one = format!("policy-{}", test.mark);
    stage.policies.delete(&readable_one, &Default::default()).await?;
    let marker = format!("{}-marker", test.mark);
    test.target(&marker).await?;
    let policy = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "marker"},
        "spec": readable(test, &marker),
    });
    test.apply_cluster("DistributionPolicy", "marker", policy).await?;
    wait_copy(test, &marker, "reg").await?;
    for namespace in &stage.targets {
        wait_copy(test, namespace, "reg").await?;
    }
    // When all can be read again, all of it counts.
    write(&stage.policies, "later", json!({"spec": {"kinds": null}})).await?;
    for namespace in &stage.targets {
        wait_no_secret(test, namespace, "reg").await?;
    }
    test.wait_password(&stage.other, "other", "password-1").await?;
    assert_eq!(exact(test, &stage.other, "other").await?.0, copy.0, "it was withdrawn");
    wait_for(LONG, "the metric", async || {
        let metric = r#"claviger_unreadable_objects{kind="DistributionPolicy"}"#;
        operator.metric(metric).await.is_ok_and(|found| found.unwrap_or(0.0) == 0.0)
    })
    .await
}

#[tokio::test]
async fn a_policy_of_another_shape_takes_nothing_away_while_the_operator_runs() -> Result<()> {
    let stage = Stage::new().await?;
    let test = &stage.test;
    let operator = stage.operator().await?;
    test.wait_ready("reg", 1).await?;
    test.wait_ready("other", 1).await?;
    let copy = exact(test, &stage.other, "other").await?;
    loosen(test, CRD).await?;
    write(&stage.policies, "later", json!({"spec": {"from": "everybody", "to": ["everywhere"]}})).await?;
    stage.wait_told(&operator).await?;
    stage.goes_on(1).await?;
    assert_eq!(exact(test, &stage.other, "other").await?.0, copy.0, "it was withdrawn");
    operator.check_running()?;

    // One that is deleted needs not be read: what it allowed has no consent any more.
    stage.policies.delete("later", &Default::default()).await?;
    wait_no_secret(test, &stage.other, "other").await?;
    let metric = r#"claviger_unreadable_objects{kind="DistributionPolicy"}"#;
    wait_for(LONG, "the metric", async || match operator.metric(metric).await {
        Ok(found) if found.unwrap_or(0.0) == 0.0 => Ok(()),
        other => Err(Error::new(format!("{other:?}"))),
    })
    .await
}
