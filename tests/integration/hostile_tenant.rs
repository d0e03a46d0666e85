//! A tenant with `edit` in one namespace, who means harm to others or to the operator.

mod memory;
pub mod refused_status;

use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{
    checks::{
        delete, exact, good_source, merge, spec, spec_to, stays_absent, stays_exact, wait_copy,
        wait_no_credential, wait_no_secret,
    },
    scenario::Scenario,
    support::{Result, wait_for},
};

/// A Secret with the marks of a copy and a content of the tenant's.
async fn forge(test: &Scenario, namespace: &str, name: &str, marks: Value) -> Result<()> {
    let copy = wait_copy(test, &test.home.name, "reg").await?;
    let mut annotations = json!(copy.metadata.annotations);
    for (key, value) in marks.as_object().into_iter().flatten() {
        annotations[key] = value.clone();
    }
    let forged = json!({
        "metadata": {"name": name, "labels": copy.metadata.labels, "annotations": annotations},
        "type": copy.type_, "data": {".dockerconfigjson": "eyJhdXRocyI6e319"},
    });
    test.secrets(namespace).create(&PostParams::default(), &serde_json::from_value(forged)?).await?;
    Ok(())
}

/// A credential `reg` that stays at home, and a namespace of a tenant that it may not write to.
async fn start() -> Result<(Scenario, String)> {
    let test = Scenario::shared().await?;
    let tenant = format!("tenant-{}", test.mark);
    test.target(&tenant).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec_to("src", json!({}))).await?;
    test.wait_ready("reg", 1).await?;
    Ok((test, tenant))
}

/// The attack: marks of somebody's credential on a Secret of one's own, and a Pod that uses it, hold up its deletion.
#[tokio::test]
async fn forged_marks_and_a_pod_do_not_hold_a_deletion() -> Result<()> {
    let (test, tenant) = start().await?;
    forge(&test, &tenant, "reg", json!({})).await?;
    forge(&test, &tenant, "another-name", json!({})).await?;
    for name in ["reg", "another-name"] {
        test.pod(&tenant, &format!("uses-{name}"), name).await?;
    }
    // The operator has seen them when it has given up on what is forged and used, or when it says who uses what.
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    wait_no_secret(&test, &test.home.name, "reg").await
}

/// The attack: a quarter of a megabyte, and control characters, as the name of the credential that a copy is of, to be
/// quoted in the status of who wants the name, until no status can be written any more.
#[tokio::test]
async fn a_forged_source_is_not_quoted() -> Result<()> {
    let (test, tenant) = start().await?;
    test.policy().await?;
    let endless = format!("RegistryCredential/platform/{}", "x".repeat(80_000));
    for (name, source) in
        [("endless", endless.as_str()), ("escape", "RegistryCredential/\u{1b}[2J\u{202e}/x")]
    {
        let marks = json!({"claviger.dev/source": source, "claviger.dev/hub": source, "claviger.dev/revision": source});
        forge(&test, &tenant, name, marks).await?;
        // Of another owner, so that it is a conflict.
        let owner = json!({"metadata": {"labels": {"claviger.dev/owner": "a".repeat(24)}}});
        merge(&test.secrets(&tenant), name, owner).await?;
        let target = json!({"secretName": name, "namespaces": {"names": [tenant]}});
        test.credential(name, spec_to("src", target)).await?;
        test.wait_told(name, "Synced", "False", "SecretNameConflict", &[&tenant]).await?;
        let status = serde_json::to_string(&test.status(name).await?)?;
        assert!(status.len() < 8_192, "{} bytes", status.len());
        for foreign in ["xxxxx", "[2J", "\u{202e}", "\\u001b"] {
            assert!(!status.contains(foreign), "{name}: {foreign:?} in {status}");
        }
    }
    Ok(())
}

/// The attack: another revision on one copy has all copies written anew, or the next number overflow.
#[tokio::test]
async fn a_forged_revision_changes_one_copy_only() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let other = exact(&test, &targets[1], "reg").await?;
    for revision in ["2", "900000000", &i64::MAX.to_string(), "99999999999999999999999"] {
        let forged = json!({"metadata": {"annotations": {"claviger.dev/revision": revision}}});
        merge(&test.secrets(&targets[0]), "reg", forged).await?;
        wait_for(crate::checks::SOON, &format!("revision {revision} to be put right"), async || {
            let copy = test.secrets(&targets[0]).get("reg").await.map_err(|error| error.to_string())?;
            let found = copy.metadata.annotations.and_then(|all| all.get("claviger.dev/revision").cloned());
            if found.as_deref() == Some("1") { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await?;
    }
    stays_exact(&test, &targets[1], "reg", &other).await?;
    assert_eq!(test.wait_ready("reg", 1).await?.revision, Some(1));
    good_source(&test, "src", "another-password").await?;
    test.wait_ready("reg", 2).await?;
    Ok(())
}

/// The attack: labels on copies in others' namespaces by which some tool there acts on them.
#[tokio::test]
async fn labels_and_annotations_in_other_namespaces_need_consent() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    good_source(&test, "src", "the-password").await?;
    for (number, (kind, key, value)) in [
        ("labels", "istio/multiCluster", "true"),
        ("labels", "jenkins.io/credentials-type", "usernamePassword"),
        ("labels", "grafana_datasource", "1"),
        ("labels", "grafana_dashboard", "1"),
        ("annotations", "sealedsecrets.bitnami.com/managed", "true"),
        ("annotations", "gateway.networking.x-k8s.io/x", "true"),
        ("annotations", "reflector.v1.k8s.emberstack.com/reflection-allowed", "true"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("reg-{number}");
        let mut target = json!({"namespaces": {"names": [targets[0], test.home.name]}});
        target[kind] = json!({"team": "ours"});
        target[kind][key] = json!(value);
        match test.credential(&name, spec_to("src", target)).await {
            // Some are refused by the definition.
            Err(error) => assert!(error.to_string().contains("ownership markers"), "{error}"),
            Ok(_) => {
                test.wait_told(
                    &name,
                    "Synced",
                    "False",
                    "PartiallySynced",
                    &["MetadataNotPermitted", key, &targets[0]],
                )
                .await?;
                stays_absent(&test, &targets[0], &name).await?;
                // One's own namespace is one's own.
                let own = wait_copy(&test, &test.home.name, &name).await?;
                let metadata = json!(own.metadata);
                assert_eq!(metadata[kind][key], value);
            }
        }
    }
    let mut target = test.selector();
    target["labels"] = json!({"team": "ours", "example.com/tier": "web"});
    test.credential("allowed", spec_to("src", target)).await?;
    let copy = wait_copy(&test, &targets[0], "allowed").await?;
    assert_eq!(copy.metadata.labels.unwrap_or_default().get("team").map(String::as_str), Some("ours"));
    Ok(())
}
