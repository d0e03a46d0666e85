//! TlsCredential from the API server's side: what is distributed, what is not, and how time passes.

use std::{collections::BTreeMap, time::Duration};

use claviger::api::{TlsCredential, TlsCredentialStatus};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{self, Error, Result, pki::Authority, wait::DEADLINE, wait_for},
};

/// A self-signed pair that is valid from one second from now to another.
fn pair(name: &str, from: i64, to: i64) -> Result<Value> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    let now = std::time::SystemTime::now();
    let at = |seconds: i64| {
        let shift = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { now - shift } else { now + shift }
    };
    params.not_before = at(from).into();
    params.not_after = at(to).into();
    let key = KeyPair::generate()?;
    Ok(json!({"tls.crt": params.self_signed(&key)?.pem(), "tls.key": key.serialize_pem()}))
}

const DAY: i64 = 24 * 3600;

fn api(test: &Scenario) -> Api<TlsCredential> {
    Api::namespaced(test.client.clone(), &test.home.name)
}

async fn credential(test: &Scenario, name: &str, spec: Value) -> Result<()> {
    let object = json!({"apiVersion": "claviger.dev/v1alpha1", "kind": "TlsCredential", "metadata": {"name": name}, "spec": spec});
    api(test).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?;
    Ok(())
}

/// Waits until a condition has a status and a reason.
async fn wait_told(
    test: &Scenario,
    name: &str,
    type_: &str,
    status: &str,
    reason: &str,
) -> Result<TlsCredentialStatus> {
    let what = format!("{name} to be {type_}={status} ({reason})");
    wait_for(DEADLINE, &what, async || {
        let told = api(test).get(name).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        let found = told
            .common
            .conditions
            .iter()
            .any(|c| c.type_ == type_ && c.status == status && c.reason == reason);
        if found { Ok(told) } else { Err(format!("{:?}", told.common.conditions)) }
    })
    .await
}

/// The data of a produced Secret, as text.
async fn data(test: &Scenario, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let secret: Secret = test.secrets(namespace).get(name).await?;
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    let data = secret.data.unwrap_or_default().into_iter();
    Ok(data.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect())
}

#[tokio::test]
async fn a_certificate_is_distributed_described_and_renewed_in_place() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    let authority = Authority::new("test CA")?;
    let first = authority.server(&["a.example.com", "b.example.com"])?;
    let source = json!({"tls.crt": first.certificate, "tls.key": first.key, "ca.crt": authority.pem()});
    test.source("pair", source).await?;
    credential(&test, "web", json!({"secretRef": {"name": "pair"}, "target": test.selector()})).await?;
    let status = wait_told(&test, "web", "Ready", "True", "AllTargetsSynced").await?;
    let described = status.certificate.ok_or_else(|| Error::new("no status.certificate"))?;
    assert_eq!(described.dns_names, ["a.example.com", "b.example.com"]);
    assert!(described.issuer.contains("test CA"), "{}", described.issuer);
    assert!(status.common.expiration_time.is_some());
    let mut uids = Vec::new();
    for namespace in &targets {
        let data = data(&test, namespace, "web").await?;
        assert_eq!(data.get("tls.crt").map(String::as_str), Some(first.certificate.as_str()));
        assert_eq!(data.get("tls.key").map(String::as_str), Some(first.key.as_str()));
        assert_eq!(data.get("ca.crt").map(String::as_str), Some(authority.pem()));
        uids.push(test.secrets(namespace).get("web").await?.metadata.uid);
    }
    let second = authority.server(&["a.example.com"])?;
    test.source(
        "pair",
        json!({"tls.crt": second.certificate, "tls.key": second.key, "ca.crt": authority.pem()}),
    )
    .await?;
    for (namespace, uid) in targets.iter().zip(uids) {
        wait_for(DEADLINE, "the renewed certificate", async || {
            let data = data(&test, namespace, "web").await.map_err(|e| e.to_string())?;
            if data.get("tls.crt") == Some(&second.certificate) {
                Ok(())
            } else {
                Err("the old one".to_owned())
            }
        })
        .await?;
        assert_eq!(test.secrets(namespace).get("web").await?.metadata.uid, uid, "replaced, not updated");
    }
    let metrics = support::environment().await?.operator.metrics().await?;
    let gauge = format!("namespace=\"{}\",name=\"web\"", test.home.name);
    let told = metrics.lines().any(|line| {
        line.starts_with("claviger_credential_expiration_timestamp_seconds") && line.contains(&gauge)
    });
    assert!(told, "no gauge of the expiry");
    Ok(())
}

#[tokio::test]
async fn a_bad_renewal_keeps_the_last_good_certificate() -> Result<()> {
    let test = Scenario::shared().await?;
    let good = pair("good.example.com", -DAY, 300 * DAY)?;
    test.source("pair", good.clone()).await?;
    credential(&test, "web", json!({"secretRef": {"name": "pair"}})).await?;
    wait_told(&test, "web", "Ready", "True", "AllTargetsSynced").await?;
    let before = data(&test, &test.home.name, "web").await?;
    let other = pair("other.example.com", -DAY, 300 * DAY)?;
    let expired = pair("good.example.com", -20 * DAY, -DAY)?;
    let early = pair("good.example.com", DAY, 300 * DAY)?;
    for (bad, reason) in [
        (json!({"tls.crt": good["tls.crt"], "tls.key": other["tls.key"]}), "KeyMismatch"),
        (json!({"tls.crt": "garbage", "tls.key": good["tls.key"]}), "InvalidFormat"),
        (expired, "Expired"),
        (early, "NotYetValid"),
    ] {
        test.source("pair", bad).await?;
        wait_told(&test, "web", "SourceResolved", "False", reason).await?;
        assert_eq!(data(&test, &test.home.name, "web").await?, before, "{reason} was distributed");
    }
    test.source("pair", good).await?;
    wait_told(&test, "web", "Ready", "True", "AllTargetsSynced").await?;
    Ok(())
}

#[tokio::test]
async fn time_passes_without_anybody_doing_anything() -> Result<()> {
    let test = Scenario::shared().await?;
    test.source("short-src", pair("short.example.com", -DAY, 5)?).await?;
    credential(&test, "short", json!({"secretRef": {"name": "short-src"}})).await?;
    wait_told(&test, "short", "CertificateValid", "True", "ExpiringSoon").await?;
    let generation = api(&test).get("short").await?.metadata.generation;
    wait_told(&test, "short", "CertificateValid", "False", "Expired").await?;
    assert_eq!(api(&test).get("short").await?.metadata.generation, generation);
    assert!(test.secrets(&test.home.name).get_opt("short").await?.is_some(), "the copy stays");

    test.source("early-src", pair("early.example.com", 9, 300 * DAY)?).await?;
    credential(&test, "early", json!({"secretRef": {"name": "early-src"}})).await?;
    wait_told(&test, "early", "CertificateValid", "False", "NotYetValid").await?;
    assert!(test.secrets(&test.home.name).get_opt("early").await?.is_none(), "nothing before its time");
    wait_told(&test, "early", "Ready", "True", "AllTargetsSynced").await?;
    Ok(())
}

#[tokio::test]
async fn cert_managers_secret_is_a_source_and_never_a_target() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    let good = pair("cm.example.com", -DAY, 300 * DAY)?;
    let made = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name, "annotations": {"cert-manager.io/certificate-name": name}, "labels": {"controller.cert-manager.io/fao": "true"}},
            "stringData": good,
        })
    };
    for (namespace, name) in [(&test.home.name, "issued"), (&targets[0], "web")] {
        let params = PatchParams::apply("cert-manager").force();
        test.secrets(namespace).patch(name, &params, &Patch::Apply(made(name))).await?;
    }
    let before = test.secrets(&targets[0]).get("web").await?.metadata.resource_version;
    credential(&test, "web", json!({"secretRef": {"name": "issued"}, "target": test.selector()})).await?;
    wait_told(&test, "web", "Synced", "False", "SecretNameConflict").await?;
    assert_eq!(test.secrets(&targets[0]).get("web").await?.metadata.resource_version, before);
    let mut target = test.selector();
    target["secretName"] = json!("web-copy");
    credential(&test, "web", json!({"secretRef": {"name": "issued"}, "target": target})).await?;
    wait_told(&test, "web", "Ready", "True", "AllTargetsSynced").await?;
    let copy = test.secrets(&targets[0]).get("web-copy").await?.metadata;
    assert!(!copy.annotations.unwrap_or_default().keys().any(|key| key.contains("cert-manager")));
    Ok(())
}

#[tokio::test]
async fn a_volume_holds_the_deletion() -> Result<()> {
    let test = Scenario::shared().await?;
    test.source("pair", pair("a.example.com", -DAY, 300 * DAY)?).await?;
    credential(&test, "web", json!({"secretRef": {"name": "pair"}})).await?;
    wait_told(&test, "web", "Ready", "True", "AllTargetsSynced").await?;
    let pods = test.pods(&test.home.name);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server"},
        "spec": {
            "containers": [{"name": "app", "image": "registry.example.com/app"}],
            "volumes": [{"name": "tls", "secret": {"secretName": "web"}}],
        },
    });
    pods.patch("server", &PatchParams::apply("test").force(), &Patch::Apply(pod)).await?;
    test.phase(&test.home.name, "server", "Running").await?;
    wait_for(DEADLINE, "the user to be known", async || {
        let status = api(&test).get("web").await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        let items = status.common.references.unwrap_or_default().items;
        if items.iter().any(|item| item.field == "spec.volumes.secret") {
            Ok(())
        } else {
            Err(format!("{items:?}"))
        }
    })
    .await?;
    api(&test).delete("web", &Default::default()).await?;
    wait_told(&test, "web", "DeletionBlocked", "True", "InUse").await?;
    test.phase(&test.home.name, "server", "Succeeded").await?;
    wait_for(DEADLINE, "the credential and its Secret to go", async || {
        let credential = api(&test).get_opt("web").await.map_err(|e| e.to_string())?;
        let secret = test.secrets(&test.home.name).get_opt("web").await.map_err(|e| e.to_string())?;
        if credential.is_none() && secret.is_none() { Ok(()) } else { Err("still there".to_owned()) }
    })
    .await
}
