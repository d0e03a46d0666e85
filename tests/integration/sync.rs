//! A sync that was asked for, and what people are told: transitions, never single copies.

use kube::{Api, api::DeleteParams};
use serde_json::json;

use claviger::api::SyncStatus;

use crate::{
    checks::{
        SOON, count_events, delete, delete_pod, events, exact_all, good_source, merge, spec, spec_to,
        wait_copy, wait_events, wait_known, wait_no_credential,
    },
    lab::many_targets,
    scenario::Scenario,
    support::{Result, wait_for},
};

const ANNOTATION: &str = "claviger.dev/sync-requested-at";

/// Asks for a sync and waits for the answer to this very request.
async fn sync(test: &Scenario, name: &str, request: &str) -> Result<SyncStatus> {
    test.annotate(name, ANNOTATION, request).await?;
    wait_for(SOON, &format!("the answer to sync {request}"), async || {
        let status = test.status(name).await.map_err(|error| error.to_string())?;
        match status.sync {
            Some(sync) if sync.last_handled_request == request => Ok(sync),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

fn answer(request: &str, attempted: i64, succeeded: i64, failed: i64) -> SyncStatus {
    SyncStatus { last_handled_request: request.to_owned(), attempted, succeeded, failed }
}

#[tokio::test]
async fn a_sync_that_was_asked_for_is_answered_with_numbers() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(test.status("reg").await?.sync, None);
    let copies = exact_all(&test, &targets, "reg").await?;
    assert_eq!(sync(&test, "reg", "2026-01-01T00:00:00Z").await?, answer("2026-01-01T00:00:00Z", 3, 3, 0));
    assert_eq!(exact_all(&test, &targets, "reg").await?, copies, "a sync of what is in place writes nothing");
    // Any new value asks again, it need not be a time.
    assert_eq!(sync(&test, "reg", "again").await?, answer("again", 3, 3, 0));

    // What cannot be repaired is counted.
    let late = format!("{}-late", test.mark);
    crate::support::environment().await?;
    let secrets = test.secrets(&targets[0]);
    merge(&secrets, "reg", json!({"metadata": {"labels": null, "annotations": null}})).await?;
    test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;
    test.target(&late).await?;
    wait_copy(&test, &late, "reg").await?;
    assert_eq!(sync(&test, "reg", "third").await?, answer("third", 4, 3, 1));
    secrets.delete("reg", &DeleteParams::default()).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(sync(&test, "reg", "fourth").await?, answer("fourth", 4, 4, 0));
    Ok(())
}

#[tokio::test]
async fn a_sync_without_a_source_is_answered_when_there_is_one() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    test.targets(2).await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "False", "SecretNotFound").await?;
    // The answer is about the namespaces that are known by then.
    test.wait_status("reg", "two namespaces", |status| {
        status.clusters.iter().any(|row| row.namespaces.desired == 2)
    })
    .await?;
    test.annotate("reg", ANNOTATION, "early").await?;
    good_source(&test, "src", "the-password").await?;
    wait_for(SOON, "the answer", async || {
        let sync = test.status("reg").await.map_err(|error| error.to_string())?.sync;
        if sync == Some(answer("early", 2, 2, 0)) { Ok(()) } else { Err(format!("{sync:?}")) }
    })
    .await
}

#[tokio::test]
async fn people_are_told_once_per_transition() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = many_targets(&test, 50).await?;
    good_source(&test, "src", "the-password").await?;
    wait_known(&test, "src").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    wait_events(&test, "reg", "Synced", 1).await?;
    good_source(&test, "src", "another-password").await?;
    test.wait_ready("reg", 2).await?;
    wait_events(&test, "reg", "Rotated", 1).await?;
    for namespace in &targets[..10] {
        test.secrets(namespace).delete("reg", &DeleteParams::default()).await?;
    }
    for namespace in &targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    let told = events(&test, "reg").await?;
    // Drift of many copies at once may be seen as a step back and forth, but never as one per copy.
    assert!(told.len() <= 4, "{told:#?}");

    test.pod(&targets[0], "app", "reg").await?;
    wait_for(SOON, "the user", async || {
        test.status("reg").await.is_ok_and(|status| status.references.is_some_and(|r| r.total == 1))
    })
    .await?;
    delete(&test, "reg").await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    delete_pod(&test, &targets[0], "app").await?;
    wait_no_credential(&test, "reg").await?;
    wait_events(&test, "reg", "Deleted", 1).await?;
    assert_eq!(count_events(&test, "reg", "DeletionBlocked").await?, 1);
    assert!(events(&test, "reg").await?.len() <= 7, "{:#?}", events(&test, "reg").await?);
    Ok(())
}

#[tokio::test]
async fn a_weak_password_is_told_once_and_used() -> Result<()> {
    let test = Scenario::shared().await?;
    good_source(&test, "src", "short").await?;
    let plain = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("reg", plain).await?;
    test.wait_ready("reg", 1).await?;
    wait_events(&test, "reg", "WeakPassword", 1).await?;
    sync(&test, "reg", "now").await?;
    assert_eq!(count_events(&test, "reg", "WeakPassword").await?, 1);
    assert!(events(&test, "reg").await?.iter().all(|(_, note)| !note.contains("short")));
    Ok(())
}

#[tokio::test]
async fn a_flapping_source_is_told_and_told_back() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    let secrets: Api<_> = test.secrets(&test.home.name);
    wait_known(&test, "src").await?;
    test.credential("reg", spec_to("src", test.selector())).await?;
    test.wait_ready("reg", 1).await?;
    secrets.delete("src", &DeleteParams::default()).await?;
    test.wait_condition("reg", "Ready", "False", "SecretNotFound").await?;
    wait_events(&test, "reg", "SecretNotFound", 1).await?;
    good_source(&test, "src", "the-password").await?;
    test.wait_ready("reg", 1).await?;
    wait_events(&test, "reg", "SourceResolved", 1).await
}
