//! Starting: before the CRDs are there, beside another operator, and with objects of a later version.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use claviger::api::RegistryCredential;

use crate::{
    checks::{
        delete, exact_all, good_source, merge, spec, stays_exact, wait_copy, wait_no_credential,
        wait_no_secret,
    },
    lab::Lab,
    support::{Error, Operator, Result, environment, install_crds, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

async fn wait_ready(operator: &Operator, within: Duration) -> Result<()> {
    wait_for(within, "the operator to be ready", async || {
        let answer = operator.get("/readyz").await?;
        if answer.status == 200 { Ok(()) } else { Err(Error::new(answer.body)) }
    })
    .await
    .map_err(|error| Error::new(format!("{error}\n{}", operator.logs())))
}

async fn remove_crds(lab: &Lab) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.control_plane.client().await?);
    let ours = async || -> Result<Vec<String>> {
        let found = crds.list(&Default::default()).await?;
        Ok(found
            .items
            .into_iter()
            .filter(|crd| crd.spec.group == "claviger.dev")
            .filter_map(|crd| crd.metadata.name)
            .collect())
    };
    for name in ours().await? {
        crds.delete(&name, &DeleteParams::default()).await?;
    }
    wait_for(LONG, "the CRDs to be gone", async || ours().await.is_ok_and(|left| left.is_empty())).await
}

#[tokio::test]
async fn an_operator_that_is_there_before_the_crds_waits_for_them() -> Result<()> {
    let lab = Lab::bare().await?;
    let client = lab.control_plane.client().await?;
    let operator = lab.operator()?.without_waiting().start().await?;
    wait_for(LONG, "both to be missed", async || {
        let logs = operator.logs();
        logs.contains("registrycredentials") && logs.contains("distributionpolicies")
    })
    .await?;
    assert_eq!(operator.readyz().await?, 503);
    // It can be stopped in this state as well, and fast.
    let impatient = lab.operator()?.without_waiting().start().await?;
    assert_eq!(impatient.terminate(Duration::from_secs(5)).await?, 0);

    install_crds(&client).await?;
    wait_ready(&operator, Duration::from_secs(15)).await?;
    let test = lab.scenario().await?;
    good_source(&test, "src", "the-password").await?;
    let plain = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("reg", plain.clone()).await?;
    test.wait_ready("reg", 1).await?;

    // CRDs that go take the credentials with them, in order; and those that come back work.
    remove_crds(&lab).await?;
    wait_no_secret(&test, &test.home.name, "reg").await?;
    install_crds(&client).await?;
    test.credential("reg", plain).await?;
    test.wait_ready("reg", 1).await?;
    operator.check_running()
}

#[tokio::test]
async fn an_operator_that_starts_while_crds_are_being_installed_gets_ready() -> Result<()> {
    let lab = Lab::bare().await?;
    let client = lab.control_plane.client().await?;
    for round in 0..6 {
        let operator = if round % 2 == 0 {
            // At the same moment.
            let start = lab.operator()?.without_waiting();
            let (operator, installed) = tokio::join!(start.start(), install_crds(&client));
            installed?;
            operator?
        } else {
            // Right after they are established.
            install_crds(&client).await?;
            lab.operator()?.without_waiting().start().await?
        };
        let began = Instant::now();
        wait_ready(&operator, Duration::from_secs(15))
            .await
            .map_err(|error| error.context(format!("round {round}")))?;
        let took = began.elapsed();
        let test = lab.scenario().await?;
        good_source(&test, "src", "the-password").await?;
        let plain = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
        test.credential("reg", plain).await?;
        test.wait_ready("reg", 1)
            .await
            .map_err(|error| error.context(format!("round {round}, ready after {took:?}")))?;
        remove_crds(&lab).await?;
        operator.terminate(Duration::from_secs(5)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_standby_takes_over_after_a_kill_and_after_a_release() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let leads =
        async |operator: &Operator| operator.metric("claviger_leader").await.is_ok_and(|n| n == Some(1.0));
    let first = lab.candidate()?.start().await?;
    wait_for(LONG, "the first to lead", async || leads(&first).await).await?;
    let second = lab.candidate()?.start().await?;
    assert!(!leads(&second).await, "two lead");
    assert_eq!(second.readyz().await?, 200, "a standby is ready, or a rollout would never end");
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    assert!(!leads(&second).await, "two lead");
    let copies = exact_all(&test, &targets, "reg").await?;

    first.kill9()?;
    let began = Instant::now();
    test.secrets(&targets[0]).delete("reg", &DeleteParams::default()).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    // The lease is valid for 3 s; the rest is for filling caches.
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    assert!(leads(&second).await);
    stays_exact(&test, &targets[1], "reg", &copies[1]).await?;

    let third = lab.candidate()?.start().await?;
    assert!(!leads(&third).await, "two lead");
    assert_eq!(second.terminate(Duration::from_secs(10)).await?, 0);
    let began = Instant::now();
    wait_for(LONG, "the third to lead", async || leads(&third).await).await?;
    assert!(began.elapsed() < Duration::from_secs(2), "the lease was not handed over: {:?}", began.elapsed());
    test.secrets(&targets[0]).delete("reg", &DeleteParams::default()).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    stays_exact(&test, &targets[1], "reg", &copies[1]).await
}

/// Lets the API server take a provider that this version does not know, as a later version's CRD would.
async fn allow_future_provider(lab: &Lab) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(lab.control_plane.client().await?);
    let patch = json!([{
        "op": "add",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/provider/enum/-",
        "value": "Future",
    }]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    crds.patch("registrycredentials.claviger.dev", &PatchParams::default(), &patch).await?;
    Ok(())
}

#[tokio::test]
async fn a_credential_of_a_later_version_is_left_as_it_is() -> Result<()> {
    let lab = Lab::start().await?;
    allow_future_provider(&lab).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("later", spec(&test, "src")).await?;
    test.credential("now", spec(&test, "src")).await?;
    test.wait_ready("later", 1).await?;
    test.wait_ready("now", 1).await?;
    let copies = exact_all(&test, &targets, "later").await?;

    let kind = ApiResource::erase::<RegistryCredential>(&());
    let untyped: Api<DynamicObject> = Api::namespaced_with(test.client.clone(), &test.home.name, &kind);
    wait_for(LONG, "the API server to take the provider", async || {
        merge(&untyped, "later", json!({"spec": {"provider": "Future"}})).await
    })
    .await?;
    let stalled = async || {
        wait_for(LONG, "the condition", async || {
            let object = untyped.get("later").await.map_err(|error| error.to_string())?;
            let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is = |type_: &str, status: &str, reason: &str| {
                conditions
                    .iter()
                    .any(|c| c["type"] == type_ && c["status"] == status && c["reason"] == reason)
            };
            let told = is("Stalled", "True", "UnsupportedSpec")
                && is("Ready", "False", "UnsupportedSpec")
                && is("Reconciling", "False", "Stalled");
            let current = object.data["status"]["observedGeneration"] == json!(object.metadata.generation);
            if told && current { Ok(conditions) } else { Err(Value::from(conditions).to_string()) }
        })
        .await
    };
    let conditions = stalled().await?;
    assert!(
        conditions.iter().any(|c| c["message"].as_str().is_some_and(|m| m.contains("Future"))),
        "{conditions:?}"
    );

    // The others go on, its own copies rest, also over a restart and its sweep.
    good_source(&test, "src", "another-password").await?;
    test.wait_password(&targets[0], "now", "another-password").await?;
    test.wait_password(&targets[1], "now", "another-password").await?;
    assert_eq!(exact_all(&test, &targets, "later").await?, copies);
    test.credential("gone", spec(&test, "src")).await?;
    test.wait_ready("gone", 1).await?;
    operator.terminate(Duration::from_secs(10)).await?;
    // This one goes while nobody looks: when its copies are gone too, there was a sweep.
    merge(&test.credentials(), "gone", json!({"metadata": {"finalizers": null}})).await?;
    delete(&test, "gone").await?;
    wait_no_credential(&test, "gone").await?;
    let _operator =
        lab.operator()?.arg("--sweep-interval=1s").env("CLAVIGER_SWEEP_GRACE_PERIOD", "0s").start().await?;
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    wait_copy(&test, &late, "now").await?;
    wait_no_secret(&test, &targets[0], "gone").await?;
    assert_eq!(exact_all(&test, &targets, "later").await?, copies);
    stalled().await?;

    merge(&untyped, "later", json!({"spec": {"provider": "Custom"}})).await?;
    for namespace in targets.iter().chain([&late]) {
        test.wait_password(namespace, "later", "another-password").await?;
    }
    test.wait_ready("later", 2).await?;
    Ok(())
}

#[tokio::test]
async fn an_operator_that_cannot_reach_anything_still_ends_when_told() -> Result<()> {
    let lab = Lab::bare().await?;
    environment::prepare(&lab.control_plane.client().await?).await?;
    lab.control_plane.stop_apiserver()?;
    for builder in [lab.operator()?, lab.candidate()?] {
        let operator = builder.without_waiting().start().await?;
        assert_eq!(operator.terminate(Duration::from_secs(10)).await?, 0);
    }
    Ok(())
}
