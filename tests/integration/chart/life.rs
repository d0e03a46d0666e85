//! The whole life of a credential, with the operator under the chart's ServiceAccount; and from the audit log,
//! that its rights are the ones it needs.

use std::time::Duration;

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::ServiceAccount, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::{
    member, rbac,
    release::{FULL_NAME, NAMESPACE, Release},
};
use crate::{
    scenario::Scenario,
    scraper::{Scraper, scrape},
    support::{
        ControlPlane, Error, Operator, Result, pki::Authority, reference_types::GROUPS, wait::DEADLINE,
        wait_for,
    },
};

/// Short times, so that a crash costs the test seconds.
const VALUES: [&str; 6] = [
    // With the rights that reviews of tokens need.
    "--set=metrics.authentication.enabled=true",
    // With the rights that adoption needs.
    "--set=adopt.argocd.enabled=true",
    "--set=adopt.argocd.namespace=gitops",
    // A cluster that Argo CD forgets can no longer be reached: it is waited for no longer than this.
    "--set=unreachableGracePeriod=3s",
    "--set-json",
    r#"extraArgs=["--lease-duration=3s","--lease-renew-deadline=2s","--lease-retry-period=500ms"]"#,
];

#[tokio::test]
async fn a_credential_lives_and_dies_under_the_charts_rights() -> Result<()> {
    let control_plane = ControlPlane::builder().audit(true).start().await?;
    // With all types that it is given rights to.
    for group in GROUPS {
        group.install(&control_plane.client().await?).await?;
    }
    let release = Release::install(control_plane, &VALUES).await?;
    let lived = live(&release).await;
    // First: it may be why the rest went wrong.
    rbac::assert_enough(&release)?;
    lived?;
    rbac::assert_minimal(&release).await
}

async fn live(release: &Release) -> Result<()> {
    let leader = release.operator("keys-1").await?;
    let test = Scenario::alone(&release.control_plane).await?;
    test.policy().await?;
    test.source("src", json!({"username": "acme+ci", "password": "first-password"})).await?;

    let token = scraper_token(&test, &leader).await?;
    let targets = fan_out_and_rotation(&test).await?;
    drift(&test, &targets).await?;
    conflict(&test).await?;
    sync_request(&test).await?;
    every_kind(&test).await?;
    default(&test).await?;
    // Held to the end, as it stops when it is dropped.
    let _leader = change_of_leaders(&test, release, leader, &targets, &token).await?;
    orphans(&test, &targets).await?;
    member::comes_and_goes(release, &test).await?;
    held_deletion(&test, &targets).await?;
    events(&test).await
}

/// A Secret that is attached to a ServiceAccount, and taken off.
async fn default(test: &Scenario) -> Result<()> {
    let mut spec = json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}, "default": {"enabled": true}});
    test.credential("own-default", spec.clone()).await?;
    test.wait_told("own-default", "Default", "True", "Attached", &["1 ServiceAccount"]).await?;
    spec["default"]["enabled"] = json!(false);
    test.credential("own-default", spec).await?;
    let accounts = Api::<ServiceAccount>::namespaced(test.client.clone(), &test.home.name);
    wait_for(DEADLINE, "nothing to be attached", async || {
        accounts.get("default").await.is_ok_and(|one| one.image_pull_secrets.unwrap_or_default().is_empty())
    })
    .await?;
    test.credentials().delete("own-default", &DeleteParams::default()).await?;
    Ok(())
}

/// A token by which the metrics may be read.
async fn scraper_token(test: &Scenario, operator: &Operator) -> Result<String> {
    let scraper = Scraper::new(&test.client, &test.home.name, "scraper").await?;
    assert_eq!(operator.get("/metrics").await?.status, 401);
    assert_eq!(scrape(operator, &scraper.token().await?).await?.status, 403);
    scraper.bind(&format!("{FULL_NAME}-metrics-reader")).await?;
    let token = scraper.token().await?;
    assert_eq!(scrape(operator, &token).await?.status, 200);
    Ok(token)
}

fn quay(test: &Scenario) -> Value {
    json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}, "target": test.selector()})
}

async fn fan_out_and_rotation(test: &Scenario) -> Result<Vec<String>> {
    let mut targets = test.targets(3).await?;
    test.credential("quay", quay(test)).await?;
    let status = test.wait_ready("quay", 1).await?;
    assert_eq!(status.summary.map(|s| s.namespaces).as_deref(), Some("3/3"));
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    test.wait_password(&late, "quay", "first-password").await?;
    targets.push(late);
    test.source("src", json!({"username": "acme+ci", "password": "second-password"})).await?;
    for namespace in &targets {
        test.wait_password(namespace, "quay", "second-password").await?;
    }
    test.wait_ready("quay", 2).await?;
    Ok(targets)
}

async fn drift(test: &Scenario, targets: &[String]) -> Result<()> {
    let copies = test.secrets(&targets[0]);
    let uid = copies.get("quay").await?.metadata.uid;
    // Without labels it is out of our sight: a new one is refused by AlreadyExists, and then it is looked at.
    for patch in [
        json!({"data": {".dockerconfigjson": "e30="}}),
        json!({"metadata": {"labels": null}}),
        json!({"metadata": {"annotations": null}}),
    ] {
        let what = patch.to_string();
        copies.patch("quay", &PatchParams::default(), &Patch::Merge(patch)).await?;
        wait_for(DEADLINE, &format!("a copy healed after {what}"), async || {
            let copy = copies.get("quay").await.map_err(|e| e.to_string())?;
            let (labels, notes) =
                (copy.metadata.labels.unwrap_or_default(), copy.metadata.annotations.unwrap_or_default());
            let healed =
                labels.contains_key("claviger.dev/owner") && notes.contains_key("claviger.dev/source");
            if healed { Ok(()) } else { Err(format!("{labels:?} {notes:?}")) }
        })
        .await?;
        test.wait_password(&targets[0], "quay", "second-password").await?;
    }
    assert_eq!(copies.get("quay").await?.metadata.uid, uid, "it was replaced, not updated");
    copies.delete("quay", &DeleteParams::default()).await?;
    test.wait_password(&targets[0], "quay", "second-password").await
}

async fn conflict(test: &Scenario) -> Result<()> {
    let taken = format!("{}-taken", test.mark);
    let foreign =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "reg"}, "stringData": {"a": "b"}});
    test.target(&taken).await?;
    let secrets = test.secrets(&taken);
    secrets.create(&PostParams::default(), &serde_json::from_value(foreign)?).await?;
    let target = json!({"namespaces": {"names": [taken]}});
    test.credential("reg", json!({"provider": "GitHub", "secretRef": {"name": "src"}, "target": target}))
        .await?;
    test.wait_condition("reg", "Ready", "False", "SecretNameConflict").await?;
    assert_eq!(secrets.get("reg").await?.type_.as_deref(), Some("Opaque"), "it was overwritten");
    secrets.delete("reg", &DeleteParams::default()).await?;
    test.wait_ready("reg", 1).await?;
    // A new name moves the copy; the old one goes.
    let target = json!({"namespaces": {"names": [taken]}, "secretName": "moved"});
    test.credential("reg", json!({"provider": "GitHub", "secretRef": {"name": "src"}, "target": target}))
        .await?;
    wait_for(DEADLINE, "the copy to move", async || {
        secrets.get_opt("moved").await.is_ok_and(|new| new.is_some())
            && secrets.get_opt("reg").await.is_ok_and(|old| old.is_none())
    })
    .await
}

async fn sync_request(test: &Scenario) -> Result<()> {
    test.annotate("quay", "claviger.dev/sync-requested-at", "now").await?;
    let sync = wait_for(DEADLINE, "the sync that was asked for", async || {
        let sync = test.status("quay").await?.sync.unwrap_or_default();
        if sync.last_handled_request == "now" { Ok(sync) } else { Err(Error::new(format!("{sync:?}"))) }
    })
    .await?;
    assert_eq!((sync.attempted, sync.succeeded, sync.failed), (5, 5, 0));
    Ok(())
}

/// Each kind: the field by which a later version could differ, and specs that bring all types of Secrets.
fn kinds() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    let basic = |format: &str| json!({"format": format, "username": "ci", "secretRef": {"name": "src"}});
    vec![
        ("RegistryCredential", "provider", vec![json!({"provider": "GitHub", "secretRef": {"name": "src"}})]),
        (
            "BasicAuthCredential",
            "format",
            ["BasicAuth", "Htpasswd", "HtpasswdMap", "NginxOrg", "EnvoyGateway"].map(basic).to_vec(),
        ),
        ("TlsCredential", "deletionPolicy", vec![json!({"secretRef": {"name": "tls-src"}})]),
        (
            "ObjectStorageCredential",
            "format",
            vec![json!({
                "bucket": "backups", "endpoint": "https://s3.example.com", "format": "Env",
                "secretRef": {"name": "src", "accessKeyKey": "username", "secretKeyKey": "password"},
                "verification": {"mode": "Off"},
            })],
        ),
    ]
}

/// Every kind works, and says so when it is of a later version, as after a downgrade of the operator alone.
async fn every_kind(test: &Scenario) -> Result<()> {
    let known = kinds();
    let pair = Authority::new("authority")?.server(&["a.example.com"])?;
    test.source("tls-src", json!({"tls.crt": pair.certificate, "tls.key": pair.key})).await?;
    for crd in claviger::api::crds().iter().filter(|crd| crd.spec.scope == "Namespaced") {
        let kind = &crd.spec.names.kind;
        let found = known.iter().find(|(name, ..)| name == kind);
        let (_, field, specs) =
            found.ok_or_else(|| Error::new(format!("say in kinds() what a {kind} is")))?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", kind));
        // Our own types cannot hold what is of a later version.
        let api: Api<DynamicObject> = Api::namespaced_with(test.client.clone(), &test.home.name, &resource);
        let create = async |name: &str, spec: &Value| {
            let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
            api.create(&PostParams::default(), &object).await
        };
        let wait_told = async |name: &str, word: &str| {
            wait_for(DEADLINE, &format!("{kind} {name} to be {word}"), async || {
                let status = api.get(name).await?.data["status"].to_string();
                if status.contains(word) { Ok(()) } else { Err(Error::new(status)) }
            })
            .await
        };
        for (n, spec) in specs.iter().enumerate() {
            let name = format!("kind-{}-{n}", kind.to_lowercase());
            create(&name, spec).await?;
            wait_told(&name, "AllTargetsSynced").await?;
            api.delete(&name, &DeleteParams::default()).await?;
        }

        let path =
            format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}/enum/-");
        let patch = json!([{"op": "add", "path": path, "value": "Future"}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
        let crds = Api::<CustomResourceDefinition>::all(test.client.clone());
        let crd_name = crd.metadata.name.as_deref().unwrap_or_default();
        crds.patch(crd_name, &PatchParams::default(), &patch).await?;
        let mut future = specs[0].clone();
        future[*field] = json!("Future");
        wait_for(DEADLINE, "the later definition to be served", async || create("future", &future).await)
            .await?;
        wait_told("future", "UnsupportedSpec").await?;
        api.delete("future", &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn change_of_leaders(
    test: &Scenario,
    release: &Release,
    leader: Operator,
    targets: &[String],
    token: &str,
) -> Result<Operator> {
    let leases = Api::<Lease>::namespaced(test.client.clone(), NAMESPACE);
    let wait_holder = async |pod: &str| {
        wait_for(DEADLINE, &format!("{pod} to lead"), async || {
            let holder = leases.get("claviger").await?.spec.and_then(|spec| spec.holder_identity);
            if holder.as_deref() == Some(pod) { Ok(()) } else { Err(Error::new(format!("{holder:?}"))) }
        })
        .await
    };
    wait_holder("keys-1").await?;
    let standby = release.operator("keys-2").await?;
    let metrics = scrape(&standby, token).await?;
    assert!(metrics.body.contains("\nclaviger_leader 0\n"), "{metrics:?}");
    assert_eq!(leader.terminate(Duration::from_secs(15)).await?, 0);
    wait_holder("keys-2").await?;
    standby.kill9()?;
    let next = release.operator("keys-3").await?;
    wait_holder("keys-3").await?;
    let copies = test.secrets(&targets[0]);
    copies.delete("quay", &DeleteParams::default()).await?;
    test.wait_password(&targets[0], "quay", "second-password").await?;
    Ok(next)
}

async fn orphans(test: &Scenario, targets: &[String]) -> Result<()> {
    let mut spec = quay(test);
    spec["deletionPolicy"] = json!("Orphan");
    test.credential("left", spec).await?;
    test.wait_ready("left", 1).await?;
    test.credentials().delete("left", &DeleteParams::default()).await?;
    wait_gone(test, "left").await?;
    for namespace in targets {
        let left = test.secrets(namespace).get("left").await?.metadata;
        let (labels, annotations) = (left.labels.unwrap_or_default(), left.annotations.unwrap_or_default());
        let annotations: Vec<_> = annotations.keys().map(String::as_str).collect();
        assert_eq!((labels.len(), annotations), (0, vec!["claviger.dev/released-from"]));
    }
    Ok(())
}

async fn held_deletion(test: &Scenario, targets: &[String]) -> Result<()> {
    test.pod(&targets[1], "app", "quay").await?;
    wait_for(DEADLINE, "the Pod in the status", async || {
        let references = test.status("quay").await?.references.unwrap_or_default();
        if references.blocking == 1 { Ok(()) } else { Err(Error::new(format!("{references:?}"))) }
    })
    .await?;
    // The guard sees what the status says, which lags a moment behind a new Pod. Such a moment is made here:
    // then it is the finalizer that protects.
    let behind = Patch::Merge(json!({"status": {"references": {"total": 0, "blocking": 0, "items": null}}}));
    wait_for(DEADLINE, "a deletion before the status is put right", async || {
        test.credentials().patch_status("quay", &PatchParams::default(), &behind).await?;
        test.credentials().delete("quay", &DeleteParams::default()).await
    })
    .await?;
    let held = test.wait_condition("quay", "DeletionBlocked", "True", "InUse").await?;
    assert!(held.message.contains("app"), "{}", held.message);
    for namespace in targets {
        assert!(test.secrets(namespace).get_opt("quay").await?.is_some(), "pulled away in {namespace}");
    }
    test.phase(&targets[1], "app", "Succeeded").await?;
    wait_gone(test, "quay").await?;
    for namespace in targets {
        assert!(test.secrets(namespace).get_opt("quay").await?.is_none(), "left behind in {namespace}");
    }
    Ok(())
}

async fn wait_gone(test: &Scenario, name: &str) -> Result<()> {
    wait_for(DEADLINE, &format!("{name} to be gone"), async || {
        test.credentials().get_opt(name).await.is_ok_and(|left| left.is_none())
    })
    .await
}

async fn events(test: &Scenario) -> Result<()> {
    let events = Api::<Event>::namespaced(test.client.clone(), &test.home.name);
    let expected = [
        "Synced",
        "Rotated",
        "SecretNameConflict",
        "UnsupportedSpec",
        "Orphaned",
        "DeletionBlocked",
        "Deleted",
    ];
    wait_for(DEADLINE, "an Event for each step", async || {
        let told: Vec<_> = events
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter_map(|event| event.reason)
            .collect();
        let missing: Vec<_> =
            expected.iter().filter(|reason| !told.iter().any(|seen| seen == *reason)).collect();
        if missing.is_empty() { Ok(()) } else { Err(Error::new(format!("no {missing:?} in {told:?}"))) }
    })
    .await
}
