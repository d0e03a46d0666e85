//! Others write the same list: people, controllers, and tools that put it back again and again.

use std::time::Duration;

use futures::future::try_join_all;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Accounts, LONG, default_status, policy, spec, wait_default};
use crate::{
    checks::{events, good_source},
    scenario::Scenario,
    support::{Error, Result, wait_for},
};

/// Adds an entry as a good neighbour does, and tries again when it was not alone.
async fn add(accounts: &Accounts, namespace: &str, entry: &str) -> Result<()> {
    let api = accounts.api(namespace);
    for _ in 0..500 {
        let mut account = api.get("default").await?;
        let mut names = account.image_pull_secrets.take().unwrap_or_default();
        names.push(k8s_openapi::api::core::v1::LocalObjectReference { name: entry.to_owned() });
        account.image_pull_secrets = Some(names);
        match api.replace("default", &Default::default(), &account).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => return Ok(other.map(drop)?),
        }
    }
    Err(Error::new("never alone"))
}

#[tokio::test]
async fn of_many_writers_nobodys_entry_is_lost() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let target = test.targets(1).await?.remove(0);
    let accounts = Accounts::of(&test);
    accounts.exists(&target).await?;
    // Several credentials for registries of their own, all at once, and people beside them.
    let names: Vec<String> = (0..6).map(|n| format!("reg-{n}")).collect();
    let credentials = try_join_all(names.iter().map(|name| {
        let mut wanted = spec(&test, 0);
        wanted["server"] = json!(format!("{name}.example.com"));
        let test = &test;
        async move { test.credential(name, wanted).await }
    }));
    let people: Vec<String> = (0..12).map(|n| format!("person-{n}")).collect();
    let writers = try_join_all(people.iter().map(|name| add(&accounts, &target, name)));
    tokio::try_join!(credentials, writers)?;
    let all = async || -> Result<Vec<String>> {
        let mut found = accounts.read(&target, "default").await?.unwrap_or_default().0;
        found.sort();
        Ok(found)
    };
    let mut expected: Vec<String> = names.iter().chain(&people).cloned().collect();
    expected.sort();
    wait_for(LONG, "all entries", async || all().await.is_ok_and(|found| found == expected)).await?;

    // They go while more people write.
    let more: Vec<String> = (0..12).map(|n| format!("late-{n}")).collect();
    let writers = try_join_all(more.iter().map(|name| add(&accounts, &target, name)));
    let gone = try_join_all(names.iter().map(|name| {
        let api = test.credentials();
        async move { api.delete(name, &Default::default()).await.map_err(Error::from) }
    }));
    tokio::try_join!(writers, gone)?;
    let mut expected: Vec<String> = people.iter().chain(&more).cloned().collect();
    expected.sort();
    wait_for(LONG, "those of people", async || all().await.is_ok_and(|found| found == expected)).await
}

#[tokio::test]
async fn a_tool_that_takes_it_off_again_and_again_is_told_and_not_fought_for_ever() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let target = test.targets(1).await?.remove(0);
    let accounts = Accounts::of(&test);
    test.credential("reg", spec(&test, 0)).await?;
    accounts.wait_names(&target, "default", &["reg"]).await?;
    // As Argo CD does with a manifest that lists them: the annotation is not its own.
    let git = Patch::Merge(json!({"imagePullSecrets": [{"name": "git"}]}));
    let mut reverts = 0;
    let told = async || {
        let status = test.status("reg").await.unwrap_or_default();
        status.conditions.iter().any(|c| c.type_ == "Default" && c.reason == "Reverted")
    };
    while !told().await {
        accounts.api(&target).patch("default", &PatchParams::default(), &git).await?;
        reverts += 1;
        assert!(reverts < 100, "it is not told");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let reverted = default_status(&test, "reg").await?;
    assert_eq!(reverted.failures[0].reason, "Reverted");
    wait_default(&test, "reg", "False", "Reverted").await?;
    test.wait_condition("reg", "Synced", "True", "AllTargetsSynced").await?;
    accounts.stays_names(&target, &["git"]).await?;
    // It comes back by itself, later, and the condition stays until it has been left alone for long.
    wait_for(Duration::from_secs(60), "another try", async || {
        let found = accounts.read(&target, "default").await;
        found.is_ok_and(|found| found.is_some_and(|(names, _)| names == ["git", "reg"]))
    })
    .await?;
    wait_default(&test, "reg", "False", "Reverted").await?;
    let told = events(&test, "reg").await?;
    assert_eq!(told.iter().filter(|(reason, _)| reason == "Reverted").count(), 1, "{told:?}");
    Ok(())
}
