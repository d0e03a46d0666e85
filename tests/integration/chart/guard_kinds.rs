//! The deletion guard for each kind of credential and each kind of object that holds one by default.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PropagationPolicy,
    },
};
use serde_json::{Value, json};

use super::release::installed;
use crate::{
    references::kinds::{ingress, make},
    scenario::Scenario,
    support::{Error, Result, pki, reference_types::GATEWAY_API, stays, wait_for},
};

/// What does not hold is told once in 30 s, and a new type found as often.
const LONG: Duration = Duration::from_secs(120);

/// Kinds of credentials, each with the name of one.
const CREDENTIALS: [(&str, &str); 4] = [
    ("RegistryCredential", "registry"),
    ("BasicAuthCredential", "login"),
    ("TlsCredential", "certificate"),
    ("ObjectStorageCredential", "bucket"),
];

/// Kinds that hold, in the order in which a refusal names them.
const HOLD: [&str; 5] = ["Pod", "Ingress", "Gateway", "ListenerSet", "BackendTLSPolicy"];

fn api(test: &Scenario, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", kind));
    Api::namespaced_with(test.client.clone(), &test.home.name, &resource)
}

/// One credential of each kind, with a copy in one namespace.
async fn declare(test: &Scenario) -> Result<String> {
    test.policy().await?;
    let target = test.targets(1).await?.remove(0);
    test.source("src", json!({"username": "acme+ci", "password": "the-password"})).await?;
    let identity = pki::Authority::new("authority")?.server(&["a.example.com"])?;
    test.source("pair", json!({"tls.crt": identity.certificate, "tls.key": identity.key})).await?;
    for (kind, name) in CREDENTIALS {
        let mut spec = match kind {
            "RegistryCredential" => json!({"provider": "Custom", "server": "registry.example.com"}),
            "BasicAuthCredential" => json!({"format": "BasicAuth"}),
            "ObjectStorageCredential" => json!({
                "bucket": "backups", "endpoint": "https://s3.example.com", "format": "Flux",
                "secretRef": {"accessKeyKey": "username", "secretKeyKey": "password"},
                "verification": {"mode": "Off"},
            }),
            _ => json!({}),
        };
        spec["secretRef"]["name"] = json!(if kind == "TlsCredential" { "pair" } else { "src" });
        spec["target"] = test.selector();
        let object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        api(test, kind).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?;
    }
    Ok(target)
}

/// Objects of each kind but Pods that hold a Secret, named after it.
fn users(secret: &str) -> Vec<Value> {
    let mut users = vec![ingress(secret, secret)];
    for (mut object, _) in GATEWAY_API.objects(secret) {
        if !users.iter().any(|user| user["kind"] == object["kind"]) {
            object["metadata"]["name"] = json!(secret);
            users.push(object);
        }
    }
    users
}

/// Whether a status tells exactly so many users, all of which hold.
async fn wait_users(test: &Scenario, kind: &str, name: &str, count: usize) -> Result<()> {
    wait_for(LONG, &format!("{count} users of {kind} {name}"), async || {
        let found = api(test, kind).get(name).await.map_err(Error::from)?.data;
        let references = &found["status"]["references"];
        let told = [&references["total"], &references["blocking"]];
        if told.iter().all(|told| **told == json!(count)) {
            Ok(())
        } else {
            Err(Error::new(found["status"].to_string()))
        }
    })
    .await
}

async fn wait_gone(test: &Scenario, kind: &str, name: &str) -> Result<()> {
    wait_for(LONG, &format!("{kind} {name} to be gone"), async || {
        api(test, kind).get_opt(name).await.is_ok_and(|left| left.is_none())
    })
    .await
}

async fn has_copy(test: &Scenario, namespace: &str, name: &str) -> Result<bool> {
    Ok(Api::<Secret>::namespaced(test.client.clone(), namespace).get_opt(name).await?.is_some())
}

#[tokio::test]
async fn each_kind_of_user_holds_each_kind_of_credential() -> Result<()> {
    let test = Scenario::alone(&installed().await?.release.control_plane).await?;
    GATEWAY_API.install(&test.client).await?;
    let target = declare(&test).await?;
    for (_, secret) in CREDENTIALS {
        test.pod(&target, secret, secret).await?;
        for user in users(secret) {
            make(&test.client, &target, &user).await?;
        }
    }
    for (kind, name) in CREDENTIALS {
        wait_users(&test, kind, name, HOLD.len()).await?;
        let named: Vec<String> = HOLD.iter().map(|user| format!("{user} {target}/{name}")).collect();
        // As kubectl does it, and as Argo CD prunes.
        for propagation in [PropagationPolicy::Background, PropagationPolicy::Foreground] {
            let params = DeleteParams { propagation_policy: Some(propagation), ..DeleteParams::default() };
            let refused = api(&test, kind).delete(name, &params).await;
            let Err(kube::Error::Api(status)) = refused else {
                return Err(Error::new(format!("{kind} {name} was not refused")));
            };
            assert_eq!(status.code, 403, "{status:?}");
            let home = &test.home.name;
            let told = format!("{kind} {home}/{name} is still in use by {}. ", named.join(", "));
            assert!(status.message.contains(&told), "{}\n{told}", status.message);
        }
    }

    // A forced deletion asks none of them, for each kind.
    let (kind, name) = CREDENTIALS[0];
    let forced = Patch::Merge(json!({"metadata": {"annotations": {"claviger.dev/force-delete": "true"}}}));
    api(&test, kind).patch(name, &PatchParams::default(), &forced).await?;
    api(&test, kind).delete(name, &DeleteParams::default()).await?;
    wait_gone(&test, kind, name).await?;
    assert!(!has_copy(&test, &target, name).await?, "it was to go");

    // The namespace of the others goes, with them; their copies stay until nothing holds them.
    test.home.delete().await?;
    test.home.wait_gone().await?;
    for (_, secret) in &CREDENTIALS[1..] {
        test.phase(&target, secret, "Succeeded").await?;
    }
    stays(Duration::from_secs(2), "copies that are held by more than Pods", async || {
        for (_, secret) in &CREDENTIALS[1..] {
            match has_copy(&test, &target, secret).await {
                Ok(true) => {}
                other => return Err(format!("{secret}: {other:?}")),
            }
        }
        Ok(())
    })
    .await?;
    // So does the namespace that they are used in: none of the users is in its way.
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(test.client.clone());
    namespaces.delete(&target, &DeleteParams::default()).await?;
    wait_for(LONG, "the namespace of the users to go", async || {
        namespaces.get_opt(&target).await.is_ok_and(|left| left.is_none())
    })
    .await
}
