//! Somebody's admission webhook denies writes in one namespace: that is the trouble of this namespace alone,
//! whatever status code it chooses to say so.

use std::time::Duration;

use claviger::api::ClusterState;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::json;

use crate::{
    canary::{Canary, assert_absent, places},
    checks::{good_source, label_namespace, spec, spec_to},
    lab::Lab,
    support::{
        Error, Result, apply_yaml, wait_for,
        webhook::{DENIAL, Webhook},
    },
};

/// Back-off of a namespace that refuses its copy included.
const LONG: Duration = Duration::from_secs(90);

/// For what has nothing to wait for.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Denials of one code that others are measured beside, as the waits of whoever takes them for the cluster's grow.
const DENIALS: usize = 3;

#[tokio::test]
async fn a_denial_by_a_webhook_fails_its_namespace_and_nothing_else() -> Result<()> {
    let lab = Lab::start().await?;
    let webhook = Webhook::start(&lab.control_plane).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    label_namespace(&test, &targets[0], json!({"deny": "yes"})).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "password-1").await?;
    good_source(&test, "other", "other-1").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.credential("other", spec_to("other", json!({"namespaces": {"names": [targets[2]]}}))).await?;
    test.wait_ready("reg", 1).await?;
    test.wait_ready("other", 1).await?;
    let configuration = webhook.configuration("somebody", ("deny", "yes"));
    apply_yaml(&test.client, &configuration.to_string()).await?;
    webhook.deny(403);
    wait_for(LONG, "the webhook to be asked", async || {
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "tried"}}))?;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match test.secrets(&targets[0]).create(&dry, &secret).await {
            Err(kube::Error::Api(status)) if status.message.contains(DENIAL) => Ok(()),
            other => Err(Error::new(format!("{other:?}"))),
        }
    })
    .await?;

    let mut rotations = 1;
    for (number, code) in [401, 429, 500, 503].into_iter().enumerate() {
        let (revision, password) = (number + 2, format!("password-{}", number + 2));
        webhook.deny(code);
        good_source(&test, "src", &password).await?;
        for namespace in &targets[1..] {
            test.wait_password(namespace, "reg", &password).await?;
        }
        let row = wait_for(LONG, &format!("code {code} to be told of the namespace"), async || {
            let status = test.status("reg").await.map_err(|error| error.to_string())?;
            let row = status.clusters.first().cloned().ok_or("no row")?;
            let counts = row.namespaces;
            if (counts.desired, counts.synced, counts.failed) == (3, 2, 1) {
                Ok(row)
            } else {
                Err(format!("{row:?}"))
            }
        })
        .await?;
        assert_eq!(row.state, ClusterState::Error, "{code}: {row:?}");
        let failures: Vec<_> =
            row.failures.iter().map(|f| (f.namespace.as_str(), f.reason.as_str())).collect();
        assert_eq!(failures, [(targets[0].as_str(), "AdmissionDenied")], "{code}");
        assert!(row.failures[0].message.contains(DENIAL), "{code}: {}", row.failures[0].message);

        for _ in 0..DENIALS {
            let before = webhook.denied();
            wait_for(LONG, "the next denial", async || webhook.denied() > before).await?;
            rotations += 1;
            let password = format!("other-{rotations}");
            good_source(&test, "other", &password).await?;
            let what = format!("code {code}: another credential's rotation");
            wait_for(AT_ONCE, &what, async || {
                test.login(&targets[2], "other")
                    .await
                    .is_ok_and(|login| login.is_some_and(|l| l.1 == password))
            })
            .await?;
        }
        webhook.allow();
        wait_for(LONG, &format!("the copy, after code {code}"), async || {
            test.login(&targets[0], "reg").await.is_ok_and(|login| login.is_some_and(|l| l.1 == password))
        })
        .await?;
        test.wait_ready("reg", i64::try_from(revision).unwrap_or_default()).await?;
    }
    operator.check_running()
}

/// Attack, or an accident: a webhook quotes the values that it forbids to write, and those that were there before.
#[tokio::test]
async fn a_webhook_that_quotes_values_is_named_and_they_are_not_told() -> Result<()> {
    let lab = Lab::start().await?;
    let webhook = Webhook::start(&lab.control_plane).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let target = test.targets(1).await?.remove(0);
    label_namespace(&test, &target, json!({"deny": "yes"})).await?;
    let canaries = ["canary-first-Zt7wQ", "canary-second-Lp4Xk", "canary-third-Rm9Vd"];
    good_source(&test, "src", canaries[0]).await?;
    let mut operator = lab.operator()?.start().await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    apply_yaml(&test.client, &webhook.configuration("somebody", ("deny", "yes")).to_string()).await?;
    webhook.quote();
    webhook.deny(403);
    wait_for(LONG, "the webhook to be asked", async || {
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "tried"}}))?;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match test.secrets(&target).create(&dry, &secret).await {
            Err(kube::Error::Api(status)) if status.message.contains(DENIAL) => Ok(()),
            other => Err(Error::new(format!("{other:?}"))),
        }
    })
    .await?;
    for canary in &canaries[1..] {
        let denied = webhook.denied();
        good_source(&test, "src", canary).await?;
        wait_for(LONG, "the rotation to be denied", async || webhook.denied() > denied).await?;
        let message = wait_for(LONG, "the denial to be told", async || {
            let status = test.status("reg").await.map_err(|error| error.to_string())?;
            let failures: Vec<_> = status.clusters.iter().flat_map(|row| &row.failures).collect();
            let failure = failures.iter().find(|failure| failure.reason == "AdmissionDenied");
            failure.map(|failure| failure.message.clone()).ok_or_else(|| format!("{:?}", status.clusters))
        })
        .await?;
        assert!(message.contains("somebody.example.com"), "{message}");
        let namespaces = [test.home.name.clone(), target.clone()];
        let places = places(&test.client, &operator, &namespaces).await?;
        let values: Vec<Canary> = canaries.iter().map(|canary| Canary::new("a password", *canary)).collect();
        assert_absent(&places, &values)?;
        for (place, text) in &places {
            for part in ["canary-f", "canary-s", "canary-t", "eyJhdXRo"] {
                assert!(!text.contains(part), "{place} has {part}");
            }
        }
        operator.check_running()?;
        // The next one does not know what was written before it.
        operator.kill9()?;
        operator = lab.operator()?.start().await?;
    }
    Ok(())
}
