//! TlsCredential: distribution, renewals good and bad, time that passes, cert-manager beside it.

use std::time::Duration;

use claviger::api::{TlsCredential, TlsCredentialStatus};
use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{Pod, Secret},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use serde_json::{Value, json};

use crate::{
    checks::{delete_pod, exact, exact_all, merge, stays_exact, wait_no_secret},
    reached::reached,
    scenario::Scenario,
    support::{self, Error, Result, pki, wait::wait_for},
};

const DEADLINE: Duration = Duration::from_secs(90);

/// A certificate that signs itself, and its key.
struct Pair {
    certificate: String,
    key: String,
}

const DAY: i64 = 24 * 3600;

/// Valid from and to, in seconds from now.
fn pair(name: &str, from: i64, to: i64) -> Result<Pair> {
    let at = |offset: i64| {
        let seconds = u64::try_from(Timestamp::now().as_second() + offset).unwrap_or(0);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    (params.not_before, params.not_after) = (at(from), at(to));
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

pub fn api(test: &Scenario) -> Api<TlsCredential> {
    Api::namespaced(test.client.clone(), &test.home.name)
}

pub async fn credential(test: &Scenario, name: &str, spec: Value) -> Result<TlsCredential> {
    let object = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "TlsCredential", "metadata": {"name": name}, "spec": spec,
    });
    Ok(api(test).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?)
}

pub async fn source(test: &Scenario, certificate: &str, key: &str) -> Result<Secret> {
    test.source("src", json!({"tls.crt": certificate, "tls.key": key})).await
}

async fn status(test: &Scenario, name: &str) -> Result<TlsCredentialStatus> {
    Ok(api(test).get(name).await?.status.unwrap_or_default())
}

fn find<'a>(status: &'a TlsCredentialStatus, type_: &str) -> Option<&'a Condition> {
    status.common.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Waits until a condition reads `Type=Status (Reason)`.
pub async fn wait_told(test: &Scenario, name: &str, wanted: &str) -> Result<TlsCredentialStatus> {
    let what = format!("{name} to tell {wanted}");
    let told = wait_for(DEADLINE, &what, async || {
        let object = api(test).get(name).await.map_err(|error| error.to_string())?;
        let status = object.status.unwrap_or_default();
        let found = status.common.conditions.iter().any(|c| {
            c.observed_generation == object.metadata.generation
                && format!("{}={} ({})", c.type_, c.status, c.reason) == wanted
        });
        if found { Ok(status) } else { Err(serde_json::to_string(&status).unwrap_or_default()) }
    });
    test.home.explain(told.await).await
}

pub async fn wait_ready(test: &Scenario, name: &str, revision: i64) -> Result<TlsCredentialStatus> {
    wait_for(DEADLINE, &format!("{name} to be ready at revision {revision}"), async || {
        let object = api(test).get(name).await.map_err(|error| error.to_string())?;
        let status = object.status.unwrap_or_default();
        let ready = find(&status, "Ready").is_some_and(|condition| condition.status == "True");
        if !ready || status.common.revision != Some(revision) {
            return Err(serde_json::to_string(&status).unwrap_or_default());
        }
        reached(&test.client, &test.home.name, &object.spec.target, &status.common).await.map(|()| status)
    })
    .await
}

/// Whether the copy holds just this.
async fn holds(test: &Scenario, namespace: &str, name: &str, data: &[(&str, &str)]) -> Result<()> {
    let copy = test.secrets(namespace).get(name).await?;
    assert_eq!(copy.type_.as_deref(), Some("kubernetes.io/tls"));
    let wanted: Vec<_> =
        data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
    assert!(copy.data.clone().unwrap_or_default().into_iter().eq(wanted), "the copy in {namespace} differs");
    Ok(())
}

#[tokio::test]
async fn what_cert_manager_issued_reaches_every_namespace_and_is_renewed_in_place() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    let authority = pki::Authority::new("the authority")?;
    let secrets = test.secrets(&test.home.name);
    // As cert-manager writes it, with its field manager, marks and an authority.
    let issue = async || -> Result<pki::Identity> {
        let issued = authority.server(&["shop.example.com", "www.shop.example.com"])?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {
                "name": "shop-tls", "labels": {"controller.cert-manager.io/fao": "true"},
                "annotations": {
                    "cert-manager.io/certificate-name": "shop", "cert-manager.io/issuer-name": "ca",
                    "cert-manager.io/alt-names": "shop.example.com",
                },
            },
            "stringData": {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": authority.pem()},
        });
        let params = PatchParams::apply("cert-manager-certificates-issuing").force();
        secrets.patch("shop-tls", &params, &Patch::Apply(secret)).await?;
        Ok(issued)
    };
    let first = issue().await?;
    let theirs = exact(&test, &test.home.name, "shop-tls").await?;
    credential(&test, "shop", json!({"secretRef": {"name": "shop-tls"}, "target": test.selector()})).await?;
    let before = wait_ready(&test, "shop", 1).await?;
    let told = before.certificate.clone().ok_or_else(|| Error::new("no certificate in the status"))?;
    assert_eq!(told.dns_names, ["shop.example.com", "www.shop.example.com"]);
    assert_eq!((&*told.issuer, &*told.key_algorithm), ("CN=the authority", "ECDSA-P256"));
    assert_eq!(before.common.expiration_time, Some(told.not_after.clone()));
    assert_eq!(find(&before, "CertificateValid").map(|c| &*c.reason), Some("Valid"));
    let mut uids = Vec::new();
    for namespace in &targets {
        let data = [("ca.crt", authority.pem()), ("tls.crt", &*first.certificate), ("tls.key", &*first.key)];
        holds(&test, namespace, "shop", &data).await?;
        let copy = test.secrets(namespace).get("shop").await?;
        assert!(
            copy.annotations().keys().chain(copy.labels().keys()).all(|key| !key.contains("cert-manager"))
        );
        uids.push(copy.uid());
    }
    assert_eq!(exact(&test, &test.home.name, "shop-tls").await?, theirs, "the source is theirs");

    let second = issue().await?;
    let after = wait_ready(&test, "shop", 2).await?;
    assert_ne!(after.certificate.map(|told| told.serial_number), Some(told.serial_number));
    for (namespace, uid) in targets.iter().zip(uids) {
        let data =
            [("ca.crt", authority.pem()), ("tls.crt", &*second.certificate), ("tls.key", &*second.key)];
        holds(&test, namespace, "shop", &data).await?;
        assert_eq!(test.secrets(namespace).get("shop").await?.uid(), uid, "replaced, not updated");
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_renewal_keeps_the_last_good_pair_and_tells() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let good = pair("a.example.com", -DAY, 90 * DAY)?;
    source(&test, &good.certificate, &good.key).await?;
    credential(&test, "web", json!({"secretRef": {"name": "src"}, "target": test.selector()})).await?;
    let before = wait_ready(&test, "web", 1).await?;
    let copies = exact_all(&test, &targets, "web").await?;

    let other = pair("b.example.com", -DAY, 90 * DAY)?;
    let old = pair("a.example.com", -90 * DAY, -DAY)?;
    let early = pair("a.example.com", DAY, 90 * DAY)?;
    let chain = |parts: [&str; 2]| parts.concat();
    for (certificate, key, reason) in [
        (&*other.certificate, &*good.key, "KeyMismatch"),
        ("hunter2", &good.key, "InvalidFormat"),
        (&good.certificate, "", "InvalidFormat"),
        (&chain([&good.certificate, &good.key]), &good.key, "PrivateKeyInCertificate"),
        (&chain([&other.certificate, &good.certificate]), &good.key, "ChainOutOfOrder"),
        (&chain([&good.certificate, &other.certificate]), &good.key, "ChainBroken"),
        (&good.certificate, &good.key.replace("PRIVATE", "ENCRYPTED PRIVATE"), "EncryptedKey"),
        (&old.certificate, &old.key, "Expired"),
        (&early.certificate, &early.key, "NotYetValid"),
    ] {
        source(&test, certificate, key).await?;
        let told = wait_told(&test, "web", &format!("SourceResolved=False ({reason})")).await?;
        let ready = find(&told, "Ready").ok_or_else(|| Error::new("no Ready"))?;
        assert_eq!((&*ready.status, &*ready.reason), ("False", reason));
        assert!(ready.message.contains("key 'tls.") && ready.message.contains("copies stay as they are"));
        assert!(!ready.message.contains("hunter2"), "{}", ready.message);
        // What the workloads have is still good, and so the status says.
        assert_eq!(told.certificate, before.certificate, "{reason}");
        assert_eq!(told.common.expiration_time, before.common.expiration_time, "{reason}");
        assert_eq!(find(&told, "CertificateValid"), find(&before, "CertificateValid"), "{reason}");
        assert_eq!(exact_all(&test, &targets, "web").await?, copies, "{reason}");
    }
    test.secrets(&test.home.name).delete("src", &DeleteParams::default()).await?;
    let told = wait_told(&test, "web", "SourceResolved=False (SecretNotFound)").await?;
    assert_eq!(told.certificate, before.certificate);
    wait_for(DEADLINE, "the Events", async || {
        let events = events(&test, "web").await.map_err(|error| error.to_string())?;
        let told = |reason: &&str| events.iter().any(|event| event == reason);
        if ["KeyMismatch", "ChainBroken", "Expired"].iter().all(told) {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await?;

    source(&test, &other.certificate, &other.key).await?;
    let told = wait_ready(&test, "web", 2).await?;
    assert_eq!(told.certificate.map(|told| told.name).as_deref(), Some("b.example.com"));
    holds(&test, &targets[0], "web", &[("tls.crt", &*other.certificate), ("tls.key", &*other.key)]).await
}

async fn events(test: &Scenario, name: &str) -> Result<Vec<String>> {
    let all = Api::<Event>::namespaced(test.client.clone(), &test.home.name);
    let found = all.list(&ListParams::default()).await?.items.into_iter().filter(|event| {
        event.regarding.as_ref().is_some_and(|about| {
            about.kind.as_deref() == Some("TlsCredential") && about.name.as_deref() == Some(name)
        })
    });
    Ok(found.filter_map(|event| event.reason).collect())
}

#[tokio::test]
async fn time_alone_makes_a_certificate_valid_and_lets_it_expire() -> Result<()> {
    let test = Scenario::shared().await?;
    // Long enough before and after for each step to be seen on a busy machine.
    let short = pair("short.example.com", 8, 22)?;
    source(&test, &short.certificate, &short.key).await?;
    let made = credential(&test, "short", json!({"secretRef": {"name": "src"}})).await?;
    let early = wait_told(&test, "short", "CertificateValid=False (NotYetValid)").await?;
    assert_eq!(find(&early, "Reconciling").map(|c| &*c.status), Some("True"), "it comes by itself");
    assert!(test.secrets(&test.home.name).get_opt("short").await?.is_none(), "sent before its time");

    let there = wait_told(&test, "short", "CertificateValid=True (ExpiringSoon)").await?;
    assert_eq!(there.certificate.as_ref().map(|told| &*told.name), Some("short.example.com"));
    let copy = wait_for(DEADLINE, "the copy", async || exact(&test, &test.home.name, "short").await).await?;

    let over = wait_told(&test, "short", "CertificateValid=False (Expired)").await?;
    assert!(Timestamp::now() > over.common.expiration_time.as_ref().map(|time| time.0).unwrap_or_default());
    assert_eq!(over.certificate, there.certificate);
    let ready = find(&over, "Ready").ok_or_else(|| Error::new("no Ready"))?;
    assert_eq!((&*ready.status, &*ready.reason), ("False", "Expired"));
    assert_eq!(find(&over, "Stalled").map(|c| &*c.status), Some("True"), "somebody must renew it");
    assert_eq!(exact(&test, &test.home.name, "short").await?, copy, "an expired one stays too");
    assert_eq!(api(&test).get("short").await?.metadata.generation, made.metadata.generation);
    let told = wait_for(DEADLINE, "an Event for each step", async || {
        let told = events(&test, "short").await.map_err(|error| error.to_string())?;
        let all = ["NotYetValid", "ExpiringSoon", "Expired"];
        if all.iter().all(|wanted| told.iter().any(|event| event == wanted)) {
            Ok(told)
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await?;
    assert_eq!(told.iter().filter(|event| *event == "ExpiringSoon").count(), 1, "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_table_and_a_metric_tell_when_it_expires() -> Result<()> {
    let test = Scenario::shared().await?;
    let good = pair("table.example.com", -DAY, 90 * DAY)?;
    source(&test, &good.certificate, &good.key).await?;
    credential(&test, "web", json!({"secretRef": {"name": "src"}})).await?;
    let status = wait_ready(&test, "web", 1).await?;
    let expires = status.common.expiration_time.ok_or_else(|| Error::new("no expirationTime"))?.0;
    let own = format!("kind=\"TlsCredential\",namespace=\"{}\",name=\"web\"", test.home.name);
    let operator = &support::environment().await?.operator;
    let valid =
        format!("claviger_credential_condition{{{own},condition=\"CertificateValid\",status=\"true\"}}");
    wait_for(DEADLINE, "both metrics", async || -> Result<()> {
        let gauge =
            operator.metric(&format!("claviger_credential_expiration_timestamp_seconds{{{own}}}")).await?;
        #[allow(clippy::cast_possible_truncation, reason = "seconds in a float")]
        let gauge = gauge.map(|seconds| seconds as i64);
        let valid = operator.metric(&valid).await?;
        if (gauge, valid) == (Some(expires.as_second()), Some(1.0)) {
            return Ok(());
        }
        Err(Error::new(format!("{gauge:?} {valid:?}")))
    })
    .await?;

    // As `kubectl get` asks.
    let path = format!("/apis/claviger.dev/v1alpha1/namespaces/{}/tlscredentials", test.home.name);
    let request = http::Request::get(path)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())?;
    let table: Value = test.client.request(request).await?;
    let columns = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
    let named = |priority: i64| {
        let shown = columns.iter().filter(move |column| column["priority"] == priority);
        shown.map(|column| column["name"].as_str().unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(named(0), ["Name", "Certificate", "Expires", "Ready", "Synced", "Clusters", "In Use", "Age"]);
    assert_eq!(named(1), ["Valid", "Reason", "Message", "Revision", "Secret"]);
    let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
    let row = json!(["web", "table.example.com", expires.to_string(), "True", "1/1", "1/1", 0]);
    assert_eq!(json!(cells[..7]), row);
    assert_eq!(cells[8], "Valid");

    // A certificate for clients has no names; it works, and somebody should look at it.
    let client = pki::Authority::new("authority")?.client("robot", &["team"])?;
    source(&test, &client.certificate, &client.key).await?;
    let status = wait_ready(&test, "web", 2).await?;
    assert_eq!(status.certificate.map(|told| told.name).as_deref(), Some("O=team,CN=robot"));
    wait_for(DEADLINE, "the Event NoAlternativeName", async || {
        events(&test, "web").await.is_ok_and(|told| told.contains(&"NoAlternativeName".to_owned()))
    })
    .await
}

#[tokio::test]
async fn a_pod_that_mounts_it_holds_the_deletion_back() -> Result<()> {
    let test = Scenario::shared().await?;
    let good = pair("a.example.com", -DAY, 90 * DAY)?;
    source(&test, &good.certificate, &good.key).await?;
    credential(&test, "web", json!({"secretRef": {"name": "src"}})).await?;
    wait_ready(&test, "web", 1).await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server"},
        "spec": {
            "containers": [{"name": "app", "image": "registry.example.com/app"}],
            "volumes": [{"name": "tls", "secret": {"secretName": "web"}}],
        },
    });
    let pods: Api<Pod> = test.pods(&test.home.name);
    pods.patch("server", &PatchParams::apply("test"), &Patch::Apply(pod)).await?;
    wait_for(DEADLINE, "the Pod in the status", async || {
        let users = status(&test, "web").await.map_err(|error| error.to_string())?.common.references;
        let items = users.unwrap_or_default().items;
        let known = items.iter().any(|item| item.name == "server" && item.field == "spec.volumes.secret");
        if known { Ok(()) } else { Err(format!("{items:?}")) }
    })
    .await?;
    let copy = exact(&test, &test.home.name, "web").await?;
    api(&test).delete("web", &DeleteParams::default()).await?;
    let held = wait_told(&test, "web", "DeletionBlocked=True (InUse)").await?;
    assert!(held.certificate.is_some() && find(&held, "CertificateValid").is_some(), "it is still in use");
    assert_eq!(exact(&test, &test.home.name, "web").await?, copy);
    delete_pod(&test, &test.home.name, "server").await?;
    wait_no_secret(&test, &test.home.name, "web").await?;
    wait_for(DEADLINE, "the credential to be gone", async || {
        api(&test).get_opt("web").await.is_ok_and(|found| found.is_none())
    })
    .await
}

#[tokio::test]
async fn a_secret_that_cert_manager_keeps_is_never_written_whatever_marks_it_has() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let good = pair("a.example.com", -DAY, 90 * DAY)?;
    source(&test, &good.certificate, &good.key).await?;
    credential(&test, "web", json!({"secretRef": {"name": "src"}, "target": test.selector()})).await?;
    wait_ready(&test, "web", 1).await?;
    // A Certificate with that `secretName` was made: cert-manager takes the copy over, with our marks on it.
    let secrets = test.secrets(&targets[0]);
    let taken = json!({"metadata": {"annotations": {"cert-manager.io/certificate-name": "web"}}, "data": {"tls.key": "eA=="}});
    merge(&secrets, "web", taken).await?;
    let told = wait_told(&test, "web", "Ready=False (PartiallySynced)").await?;
    let failures = &told.common.clusters[0].failures;
    assert_eq!((failures.len(), &*failures[0].reason), (1, "SecretNameConflict"), "{failures:?}");
    let theirs = exact(&test, &targets[0], "web").await?;
    let next = pair("b.example.com", -DAY, 90 * DAY)?;
    source(&test, &next.certificate, &next.key).await?;
    wait_for(DEADLINE, "the renewal in the other namespace", async || {
        let copy = test.secrets(&targets[1]).get("web").await.map_err(|error| error.to_string())?;
        let found = copy.data.unwrap_or_default().remove("tls.crt").unwrap_or_default();
        if found.0 == next.certificate.as_bytes() { Ok(()) } else { Err("the old one".to_owned()) }
    })
    .await?;
    assert_eq!(exact(&test, &targets[0], "web").await?, theirs);
    // Nor is it deleted with the credential; and when its mark goes, it is ours again.
    merge(&secrets, "web", json!({"metadata": {"annotations": {"cert-manager.io/certificate-name": null}}}))
        .await?;
    wait_ready(&test, "web", 2).await?;
    holds(&test, &targets[0], "web", &[("tls.crt", &*next.certificate), ("tls.key", &*next.key)]).await?;
    merge(&secrets, "web", json!({"metadata": {"annotations": {"cert-manager.io/certificate-name": "web"}}}))
        .await?;
    wait_told(&test, "web", "Ready=False (PartiallySynced)").await?;
    let theirs = exact(&test, &targets[0], "web").await?;
    api(&test).delete("web", &DeleteParams::default()).await?;
    wait_no_secret(&test, &targets[1], "web").await?;
    wait_for(DEADLINE, "the credential to be gone", async || {
        api(&test).get_opt("web").await.is_ok_and(|found| found.is_none())
    })
    .await?;
    stays_exact(&test, &targets[0], "web", &theirs).await
}
