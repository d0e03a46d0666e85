//! Never somebody else's Secret; and what others put on ours stays.

use claviger::api::CredentialStatus;
use kube::{
    ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    checks::{
        MARKS, SOON, delete, exact, foreign, good_source, merge, spec, spec_to, stays_exact, wait_copy,
        wait_no_credential,
    },
    scenario::Scenario,
    support::{Result, wait_for},
};

#[tokio::test]
async fn a_foreign_secret_is_never_touched_and_its_name_is_taken_when_free() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    foreign(&test, &targets[0], "reg").await?;
    let theirs = exact(&test, &targets[0], "reg").await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    let words = ["2 of 3", "SecretNameConflict", &targets[0]];
    test.wait_told("reg", "Synced", "False", "PartiallySynced", &words).await?;
    let failures = test.status("reg").await?.clusters[0].failures.clone();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(
        (failures[0].namespace.as_str(), failures[0].reason.as_str()),
        (&*targets[0], "SecretNameConflict")
    );
    assert!(
        failures[0].message.contains("'reg'") && failures[0].message.contains("somebody else"),
        "{failures:?}"
    );
    for namespace in &targets[1..] {
        wait_copy(&test, namespace, "reg").await?;
    }
    // Neither a rotation nor a deletion touches it.
    good_source(&test, "src", "another-password").await?;
    test.wait_password(&targets[1], "reg", "another-password").await?;
    stays_exact(&test, &targets[0], "reg", &theirs).await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"stringData": {"theirs": "changed"}})).await?;
    let edited = exact(&test, &targets[0], "reg").await?;
    stays_exact(&test, &targets[0], "reg", &edited).await?;
    test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;

    let freed = std::time::Instant::now();
    test.secrets(&targets[0]).delete("reg", &DeleteParams::default()).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    assert!(freed.elapsed() < std::time::Duration::from_secs(10), "it took {:?}", freed.elapsed());
    test.wait_ready("reg", 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_foreign_secret_of_a_type_that_is_never_a_source_is_seen_to_go() -> Result<()> {
    let test = Scenario::shared().await?;
    let secrets = test.secrets(&test.home.name);
    let token = json!({
        "metadata": {"name": "reg", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    });
    secrets.create(&PostParams::default(), &serde_json::from_value(token)?).await?;
    good_source(&test, "src", "the-password").await?;
    let plain = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("reg", plain).await?;
    test.wait_condition("reg", "Ready", "False", "SecretNameConflict").await?;
    secrets.delete("reg", &DeleteParams::default()).await?;
    test.wait_password(&test.home.name, "reg", "the-password").await?;
    Ok(())
}

#[tokio::test]
async fn deleting_a_credential_leaves_the_foreign_secret() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    foreign(&test, &targets[0], "reg").await?;
    let theirs = exact(&test, &targets[0], "reg").await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "False", "SecretNameConflict").await?;
    test.wait_condition("reg", "Stalled", "True", "SecretNameConflict").await?;
    // A Pod that uses their Secret is no user of ours.
    test.pod(&targets[0], "app", "reg").await?;
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    assert_eq!(exact(&test, &targets[0], "reg").await?, theirs);
    Ok(())
}

#[tokio::test]
async fn of_two_credentials_the_first_keeps_the_name() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "first-src", "the-first").await?;
    good_source(&test, "second-src", "the-second").await?;
    let target = json!({"secretName": "shared", "namespaces": test.selector()["namespaces"]});
    test.credential("first", spec_to("first-src", target.clone())).await?;
    test.wait_ready("first", 1).await?;
    let copies = crate::checks::exact_all(&test, &targets, "shared").await?;
    test.credential("second", spec_to("second-src", target)).await?;
    test.wait_condition("second", "Ready", "False", "SecretNameConflict").await?;
    let owner = format!("RegistryCredential/{}/first", test.home.name);
    let both = |status: &CredentialStatus| status.clusters.iter().any(|row| row.failures.len() == 2);
    let failures = test.wait_status("second", "two failures", both).await?.clusters[0].failures.clone();
    assert!(failures.iter().all(|failure| failure.message.contains(&owner)), "{failures:?}");
    assert_eq!(crate::checks::exact_all(&test, &targets, "shared").await?, copies);
    delete(&test, "first").await?;
    for namespace in &targets {
        test.wait_password(namespace, "shared", "the-second").await?;
    }
    test.wait_ready("second", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_copy_without_any_of_our_marks_is_foreign() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    let secrets = test.secrets(&targets[0]);
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    merge(&secrets, "reg", json!({"metadata": {"labels": null, "annotations": null}})).await?;
    let bare = exact(&test, &targets[0], "reg").await?;
    test.wait_condition("reg", "Ready", "False", "SecretNameConflict").await?;
    good_source(&test, "src", "another-password").await?;
    // The new source is known when another namespace has it.
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    test.wait_password(&late, "reg", "another-password").await?;
    stays_exact(&test, &targets[0], "reg", &bare).await?;
    secrets.delete("reg", &DeleteParams::default()).await?;
    test.wait_password(&targets[0], "reg", "another-password").await?;
    Ok(())
}

#[tokio::test]
async fn an_immutable_copy_is_told_and_comes_back_after_its_deletion() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let secrets = test.secrets(&targets[0]);
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    merge(&secrets, "reg", json!({"immutable": true})).await?;
    // Labels of an immutable Secret can still be put right.
    merge(&secrets, "reg", json!({"metadata": {"labels": {"claviger.dev/owner": null}}})).await?;
    wait_for(SOON, "the label to be back", async || {
        let copy = secrets.get("reg").await.map_err(|error| error.to_string())?;
        if copy.labels().contains_key("claviger.dev/owner") {
            Ok(())
        } else {
            Err(format!("{:?}", copy.labels()))
        }
    })
    .await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(secrets.get("reg").await?.immutable, Some(true));

    good_source(&test, "src", "another-password").await?;
    test.wait_password(&targets[1], "reg", "another-password").await?;
    test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;
    let failed = |status: &CredentialStatus| status.clusters.iter().any(|row| row.failures.len() == 1);
    let failure = test.wait_status("reg", "one failure", failed).await?.clusters[0].failures[0].clone();
    assert_eq!((failure.namespace.as_str(), failure.reason.as_str()), (&*targets[0], "SecretImmutable"));
    assert_eq!(test.login(&targets[0], "reg").await?.map(|login| login.1), Some("the-password".into()));
    // A person has to act, but for one namespace only.
    test.wait_condition("reg", "Ready", "False", "PartiallySynced").await?;
    test.wait_status("reg", "not stalled as a whole", |status| {
        status.conditions.iter().any(|c| c.type_ == "Stalled" && c.status == "False")
    })
    .await?;
    secrets.delete("reg", &DeleteParams::default()).await?;
    test.wait_password(&targets[0], "reg", "another-password").await?;
    test.wait_ready("reg", 2).await?;
    Ok(())
}

#[tokio::test]
async fn what_others_put_on_a_copy_survives_a_rotation() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    // One with a finalizer, which is read before it is written, and one without.
    let theirs =
        json!({"metadata": {"labels": {"audited": "yes"}, "annotations": {"example.com/note": "theirs"}}});
    for namespace in &targets {
        merge(&test.secrets(namespace), "reg", theirs.clone()).await?;
    }
    merge(&test.secrets(&targets[0]), "reg", json!({"metadata": {"finalizers": ["example.com/wait"]}}))
        .await?;
    good_source(&test, "src", "another-password").await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", "another-password").await?;
        let copy = test.secrets(namespace).get("reg").await?;
        assert_eq!(copy.labels().get("audited").map(String::as_str), Some("yes"), "{namespace}");
        assert_eq!(
            copy.annotations().get("example.com/note").map(String::as_str),
            Some("theirs"),
            "{namespace}"
        );
        assert_eq!(copy.annotations().get("claviger.dev/revision").map(String::as_str), Some("2"));
    }
    assert_eq!(test.secrets(&targets[0]).get("reg").await?.finalizers(), ["example.com/wait"]);
    test.wait_ready("reg", 2).await?;

    // Deleted by hand, it waits for the finalizer of others, and then comes back.
    let secrets = test.secrets(&targets[0]);
    let uid = secrets.get("reg").await?.uid();
    secrets.delete("reg", &DeleteParams::default()).await?;
    test.wait_condition("reg", "Ready", "False", "Progressing").await?;
    merge(&secrets, "reg", json!({"metadata": {"finalizers": null}})).await?;
    wait_for(SOON, "a new copy", async || secrets.get("reg").await.is_ok_and(|copy| copy.uid() != uid))
        .await?;
    test.wait_ready("reg", 2).await?;
    Ok(())
}

#[tokio::test]
async fn labels_that_the_spec_gave_are_taken_back_and_others_not() -> Result<()> {
    let test = Scenario::shared().await?;
    good_source(&test, "src", "the-password").await?;
    let spec = |labels: serde_json::Value| json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}, "target": {"labels": labels}});
    test.credential("reg", spec(json!({"team": "a", "tier": "gold"}))).await?;
    test.wait_ready("reg", 1).await?;
    let secrets = test.secrets(&test.home.name);
    merge(&secrets, "reg", json!({"metadata": {"labels": {"audited": "yes"}}})).await?;
    test.credential("reg", spec(json!({"team": "b"}))).await?;
    wait_for(SOON, "the labels of the new spec", async || {
        let labels = secrets.get("reg").await.map_err(|error| error.to_string())?.labels().clone();
        let right = labels.get("team").is_some_and(|team| team == "b")
            && !labels.contains_key("tier")
            && labels.contains_key("audited");
        if right { Ok(()) } else { Err(format!("{labels:?}")) }
    })
    .await?;
    // Labels are no content.
    test.wait_ready("reg", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_copy_that_kubectl_has_applied_is_kept_in_line() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    let secrets = test.secrets(&targets[0]);
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let uid = secrets.get("reg").await?.uid();
    let note = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{}}"}}});
    let noted = merge(&secrets, "reg", note).await?;
    good_source(&test, "src", "another-password").await?;
    test.wait_password(&targets[0], "reg", "another-password").await?;
    test.wait_ready("reg", 2).await?;
    let copy = secrets.get("reg").await?;
    assert_eq!(copy.uid(), uid);
    assert_ne!(copy.resource_version(), noted.resource_version());
    assert!(
        MARKS.iter().all(|mark| copy.labels().contains_key(*mark) || copy.annotations().contains_key(*mark))
    );
    Ok(())
}

#[tokio::test]
async fn a_copy_that_others_copied_elsewhere_is_neither_swept_nor_counted() -> Result<()> {
    let test = Scenario::shared().await?;
    let targets = test.targets(1).await?;
    good_source(&test, "src", "the-password").await?;
    let plain = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("reg", plain).await?;
    test.wait_ready("reg", 1).await?;
    // As tools do that copy Secrets around without their marks.
    let copy = test.secrets(&test.home.name).get("reg").await?;
    let mut stray = copy.clone();
    stray.metadata = kube::api::ObjectMeta { name: Some("reg".into()), ..Default::default() };
    test.secrets(&targets[0]).create(&PostParams::default(), &stray).await?;
    let stray = exact(&test, &targets[0], "reg").await?;
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;
    stays_exact(&test, &targets[0], "reg", &stray).await
}
