//! Copies of a type that their credential does not produce any more.

use claviger::api::{BasicAuthCredential, BasicAuthCredentialStatus};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    basic_auth::{apply, wait_condition, wait_ready},
    checks::SOON,
    scenario::Scenario,
    support::{Result, wait_for},
};

/// The API server changes no Secret's type. Copies of another one are left where a credential was deleted while a cluster
/// was away, or by force.
#[tokio::test]
async fn copies_of_another_format_are_replaced_when_nothing_uses_them() -> Result<()> {
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    test.policy().await?;
    let targets = test.targets(2).await?;
    test.source("one", json!({"username": "alice", "password": "alice-password"})).await?;
    let target = json!({"namespaces": {"names": targets}});
    let spec = |format: &str| json!({"format": format, "secretRef": {"name": "one"}, "target": target});
    apply(client, home, "web", spec("BasicAuth")).await?;
    wait_ready(client, home, "web", 1).await?;
    test.pod(&targets[0], "app", "web").await?;

    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), home);
    api.delete("web", &DeleteParams::default()).await?;
    wait_condition(client, home, "web", |_, condition| condition == "DeletionBlocked=True (InUse)").await?;
    let without = json!({"metadata": {"finalizers": null}});
    api.patch("web", &PatchParams::default(), &Patch::Merge(without)).await?;
    wait_for(SOON, "the credential to be gone", async || matches!(api.get_opt("web").await, Ok(None)))
        .await?;
    apply(client, home, "web", spec("Htpasswd")).await?;

    let type_of = async |namespace: &str| {
        let copy = test.secrets(namespace).get_opt("web").await.map_err(|error| error.to_string())?;
        Ok::<_, String>(copy.and_then(|copy| copy.type_).unwrap_or_default())
    };
    let wait_type = async |namespace: &str, type_: &str| {
        wait_for(SOON, &format!("a copy of type {type_} in {namespace}"), async || {
            let found = type_of(namespace).await?;
            if found == type_ { Ok(()) } else { Err(found) }
        })
        .await
    };
    wait_type(&targets[1], "Opaque").await?;
    let status = wait_condition(client, home, "web", |status, condition| {
        condition == "Ready=False (PartiallySynced)"
            && status.common.clusters.iter().any(|row| row.failures.len() == 1)
    })
    .await?;
    let failure = &status.common.clusters[0].failures[0];
    assert_eq!((&*failure.namespace, &*failure.reason), (&*targets[0], "SecretTypeMismatch"));
    assert!(failure.message.contains("is replaced when nothing uses it"), "{}", failure.message);
    assert_eq!(type_of(&targets[0]).await.as_deref(), Ok("kubernetes.io/basic-auth"));

    test.pods(&targets[0]).delete("app", &DeleteParams::default().grace_period(0)).await?;
    wait_type(&targets[0], "Opaque").await?;
    let again = |_: &BasicAuthCredentialStatus, condition: &str| condition == "Ready=True (AllTargetsSynced)";
    wait_condition(client, home, "web", again).await?;
    Ok(())
}
