//! A credential that cannot be read: its copies rest, its deletion does not hang.

use claviger::api::RegistryCredential;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{LONG, allow, loosen, write};
use crate::{
    checks::{MARKS, delete_pod, exact_all, good_source, spec, wait_no_secret},
    lab::Lab,
    scenario::Scenario,
    support::{Error, Operator, Result, wait_for},
};

const CRD: &str = "registrycredentials.claviger.dev";

struct Stage {
    lab: Lab,
    test: Scenario,
    targets: Vec<String>,
    operator: Operator,
    untyped: Api<DynamicObject>,
}

/// These credentials, each with copies in two namespaces.
async fn stage(names: &[&str]) -> Result<Stage> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    for name in names {
        test.credential(name, spec(&test, "src")).await?;
        test.wait_ready(name, 1).await?;
    }
    let kind = ApiResource::erase::<RegistryCredential>(&());
    let untyped = Api::namespaced_with(test.client.clone(), &test.home.name, &kind);
    Ok(Stage { lab, test, targets, operator, untyped })
}

impl Stage {
    /// Makes one unreadable, and waits until that is told.
    async fn spoil(&self, name: &str, patch: Value) -> Result<()> {
        write(&self.untyped, name, patch).await?;
        self.wait_condition(name, "Stalled", "True", "UnsupportedSpec").await
    }

    async fn wait_condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> Result<()> {
        wait_for(LONG, &format!("{name} to be {type_}={status} ({reason})"), async || {
            let object = self.untyped.get(name).await.map_err(|error| error.to_string())?;
            let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is = |c: &Value| c["type"] == type_ && c["status"] == status && c["reason"] == reason;
            if conditions.iter().any(is) { Ok(()) } else { Err(Value::from(conditions).to_string()) }
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.untyped.delete(name, &Default::default()).await?;
        Ok(())
    }

    async fn wait_gone(&self, name: &str) -> Result<()> {
        wait_for(LONG, &format!("{name} to be gone"), async || match self.untyped.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(left)) => Err(Error::new(left.data["status"]["conditions"].to_string())),
            Err(error) => Err(error.into()),
        })
        .await
    }
}

#[tokio::test]
async fn its_deletion_takes_the_copies_that_are_unused_and_waits_for_the_others() -> Result<()> {
    let stage = stage(&["unused", "used", "orphan", "restarted"]).await?;
    let test = &stage.test;
    allow(test, CRD, "spec/properties/provider/enum", "Future").await?;
    test.pod(&stage.targets[0], "app", "used").await?;
    wait_for(LONG, "the Pod in the status", async || {
        test.status("used").await.is_ok_and(|status| status.references.is_some_and(|r| r.blocking == 1))
    })
    .await?;
    let future = json!({"spec": {"provider": "Future"}});
    for name in ["unused", "used", "restarted"] {
        stage.spoil(name, future.clone()).await?;
    }
    // What can be read is followed.
    let orphan = json!({"spec": {"provider": "Future", "deletionPolicy": "Orphan"}});
    stage.spoil("orphan", orphan).await?;

    for name in ["unused", "used", "orphan"] {
        stage.delete(name).await?;
    }
    stage.wait_gone("unused").await?;
    stage.wait_gone("orphan").await?;
    for namespace in &stage.targets {
        assert!(test.secrets(namespace).get_opt("unused").await?.is_none(), "{namespace}: left behind");
        let left = test.secrets(namespace).get("orphan").await?.metadata;
        let marks: Vec<String> =
            left.labels.into_iter().chain(left.annotations).flatten().map(|m| m.0).collect();
        assert!(MARKS.iter().all(|mark| !marks.iter().any(|found| found == mark)), "{marks:?}");
    }
    stage.wait_condition("used", "DeletionBlocked", "True", "InUse").await?;
    assert_eq!(exact_all(test, &stage.targets, "used").await?.len(), 2, "one was pulled away");
    delete_pod(test, &stage.targets[0], "app").await?;
    stage.wait_gone("used").await?;

    // The same for one that was already being deleted when the operator came.
    assert_eq!(stage.operator.terminate(LONG).await?, 0);
    stage.delete("restarted").await?;
    let _operator = stage.lab.operator()?.start().await?;
    stage.wait_gone("restarted").await?;
    for namespace in &stage.targets {
        wait_no_secret(test, namespace, "restarted").await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_does_not_hold_its_namespace_up() -> Result<()> {
    let stage = stage(&["reg", "shapeless"]).await?;
    let test = &stage.test;
    loosen(test, CRD).await?;
    stage.spoil("reg", json!({"spec": {"provider": "Future"}})).await?;
    stage.spoil("shapeless", json!({"spec": {"target": "everywhere", "deletionPolicy": ["?"]}})).await?;
    test.pod(&stage.targets[0], "app", "reg").await?;
    test.home.delete().await?;
    test.home.wait_gone().await?;
    for name in ["reg", "shapeless"] {
        wait_no_secret(test, &stage.targets[1], name).await?;
    }
    stage.operator.check_running()
}

/// A later version may have written words into the status that this one does not know.
#[tokio::test]
async fn an_unknown_word_in_its_status_is_no_obstacle() -> Result<()> {
    let stage = stage(&["reg", "going"]).await?;
    let test = &stage.test;
    assert_eq!(stage.operator.terminate(LONG).await?, 0);
    let state = "status/properties/clusters/items/properties/state/enum";
    allow(test, CRD, state, "Resting").await?;
    let mut clusters = json!(test.status("reg").await?.clusters);
    clusters[0]["state"] = json!("Resting");
    let patch = Patch::Merge(json!({"status": {"clusters": clusters}}));
    for name in ["reg", "going"] {
        wait_for(LONG, "the API server to take the state", async || {
            stage.untyped.patch_status(name, &PatchParams::default(), &patch).await.map(drop)
        })
        .await?;
    }
    stage.delete("going").await?;

    let _operator = stage.lab.operator()?.start().await?;
    good_source(test, "src", "another-password").await?;
    for namespace in &stage.targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    test.wait_ready("reg", 2).await?;
    stage.wait_gone("going").await?;
    for namespace in &stage.targets {
        wait_no_secret(test, namespace, "going").await?;
    }
    stage.delete("reg").await?;
    stage.wait_gone("reg").await
}
