//! From the first attachment to the end of the credential.

use kube::api::DeleteParams;
use serde_json::json;

use super::{Accounts, LONG, default_status, policy, spec, wait_default};
use crate::{
    checks::{delete_pod, good_source, merge},
    lab::Lab,
    scenario::Scenario,
    support::{Result, stays, wait_for},
};

#[tokio::test]
async fn a_service_account_names_the_secret_before_it_is_there_and_pods_get_it() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    let targets = test.targets(2).await?;
    let accounts = Accounts::of(&test);
    // There is no source.
    let mut two = spec(&test, 0);
    two["default"]["serviceAccounts"] = json!(["default", "builder"]);
    test.credential("reg", two).await?;
    for target in &targets {
        accounts.wait_names(target, "default", &["reg"]).await?;
    }
    wait_default(&test, "reg", "True", "Attached").await?;
    let status = default_status(&test, "reg").await?;
    assert_eq!((status.desired, status.attached, status.failed), (2, 2, 0));
    assert!(test.secrets(&targets[0]).get_opt("reg").await?.is_none());
    let (_, mark) = accounts.read(&targets[0], "default").await?.unwrap_or_default();
    assert!(mark.starts_with("reg=") && mark.ends_with(&format!("/{}/reg", test.home.name)), "{mark}");

    // One that comes later, in a namespace that is there and in one that is new.
    accounts.create(&targets[0], "builder").await?;
    accounts.wait_names(&targets[0], "builder", &["reg"]).await?;
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    accounts.wait_names(&late, "default", &["reg"]).await?;

    good_source(&test, "src", "password").await?;
    test.wait_ready("reg", 1).await?;
    let pod = test.pod(&late, "own", "their-own").await?;
    let names = |pod: k8s_openapi::api::core::v1::Pod| {
        let entries = pod.spec.and_then(|spec| spec.image_pull_secrets).unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    assert_eq!(names(pod), ["their-own"], "who chooses is left alone");
    let bare = json!({"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "app", "image": "r.example.com/app"}]}});
    let pod = test.pods(&late).create(&Default::default(), &serde_json::from_value(bare)?).await?;
    assert_eq!(names(pod), ["reg"]);
    Ok(())
}

#[tokio::test]
async fn exactly_what_was_attached_is_taken_off_and_what_others_put_there_stays() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = test.targets(3).await?;
    let accounts = Accounts::of(&test);
    for target in &targets {
        accounts.exists(target).await?;
    }
    accounts.set(&targets[0], &["theirs"]).await?;
    // A person has put the same name there.
    accounts.set(&targets[1], &["reg", "theirs"]).await?;
    test.credential("reg", spec(&test, 0)).await?;
    accounts.wait_names(&targets[0], "default", &["theirs", "reg"]).await?;
    accounts.wait_names(&targets[2], "default", &["reg"]).await?;
    wait_default(&test, "reg", "True", "Attached").await?;
    assert_eq!(default_status(&test, "reg").await?.attached, 3, "theirs serves, too");
    accounts.set(&targets[0], &["theirs", "reg", "more"]).await?;

    // Another name takes the place of the old one.
    let mut renamed = spec(&test, 0);
    renamed["target"]["secretName"] = json!("pull");
    test.credential("reg", renamed.clone()).await?;
    accounts.wait_names(&targets[0], "default", &["theirs", "more", "pull"]).await?;
    accounts.wait_names(&targets[1], "default", &["reg", "theirs", "pull"]).await?;

    renamed["default"]["enabled"] = json!(false);
    test.credential("reg", renamed).await?;
    accounts.wait_names(&targets[0], "default", &["theirs", "more"]).await?;
    accounts.wait_names(&targets[1], "default", &["reg", "theirs"]).await?;
    accounts.wait_names(&targets[2], "default", &[]).await?;
    for target in &targets {
        assert_eq!(accounts.read(target, "default").await?.unwrap_or_default().1, "");
    }
    test.wait_status("reg", "to tell of no default", |status| {
        status.conditions.iter().all(|condition| condition.type_ != "Default")
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_a_pod_holds_detaches_first() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = test.targets(2).await?;
    let accounts = Accounts::of(&test);
    test.credential("reg", spec(&test, 0)).await?;
    test.wait_ready("reg", 1).await?;
    for target in &targets {
        accounts.wait_names(target, "default", &["reg"]).await?;
    }
    test.pod(&targets[0], "app", "reg").await?;
    test.wait_status("reg", "a user", |status| {
        status.references.as_ref().is_some_and(|references| references.blocking == 1)
    })
    .await?;
    test.credentials().delete("reg", &DeleteParams::default()).await?;
    for target in &targets {
        accounts.wait_names(target, "default", &[]).await?;
    }
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    assert!(test.secrets(&targets[1]).get_opt("reg").await?.is_some(), "copies wait for the Pod");
    delete_pod(&test, &targets[0], "app").await?;
    wait_for(LONG, "the credential to be gone", async || {
        test.credentials().get_opt("reg").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    assert!(test.secrets(&targets[0]).get_opt("reg").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_orphaned_secret_stays_attached_and_is_nobodys() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let target = test.targets(1).await?.remove(0);
    let accounts = Accounts::of(&test);
    let mut orphan = spec(&test, 0);
    orphan["deletionPolicy"] = json!("Orphan");
    test.credential("reg", orphan).await?;
    test.wait_ready("reg", 1).await?;
    accounts.wait_names(&target, "default", &["reg"]).await?;
    test.credentials().delete("reg", &DeleteParams::default()).await?;
    wait_for(LONG, "the credential to be gone", async || {
        test.credentials().get_opt("reg").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    assert_eq!(accounts.read(&target, "default").await?, Some((vec!["reg".to_owned()], String::new())));
    assert!(test.secrets(&target).get_opt("reg").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_at_rest_and_after_a_restart_and_what_was_cut_short_goes_on() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = test.targets(40).await?;
    let accounts = Accounts::of(&test);
    let operator = lab.operator()?.start().await?;
    test.credential("reg", spec(&test, 0)).await?;
    test.credential("low", spec(&test, -1)).await?;
    // In the middle of it.
    wait_for(LONG, "the first", async || accounts.naming("reg").await.is_ok_and(|n| n > 0)).await?;
    operator.kill9()?;
    let operator = lab.operator()?.start().await?;
    wait_for(LONG, "all of them", async || accounts.naming("reg").await.is_ok_and(|n| n == targets.len()))
        .await?;
    wait_default(&test, "reg", "True", "Attached").await?;
    wait_default(&test, "low", "False", "Outranked").await?;
    assert_eq!(accounts.naming("low").await?, 0);
    test.wait_ready("reg", 1).await?;
    test.wait_ready("low", 1).await?;
    operator.terminate(LONG).await?;

    let after = lab.requests()?;
    let operator = lab.operator()?.start().await?;
    // One event of a ServiceAccount costs one write, of that one.
    stays(std::time::Duration::from_secs(3), "no writes", async || match lab.writes(after) {
        Ok(writes) if writes.is_empty() => Ok(()),
        Ok(writes) => Err(format!("{} {} {}", writes[0].verb, writes[0].resource, writes[0].name)),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    accounts.set(&targets[7], &["theirs"]).await?;
    accounts.wait_names(&targets[7], "default", &["theirs", "reg"]).await?;
    let writes = lab.writes(after)?;
    let written: Vec<_> = writes.iter().filter(|e| e.resource == "serviceaccounts").collect();
    assert!(written.len() == 1 && written[0].namespace == targets[7], "{} writes", written.len());

    // Those of a credential that went while nobody looked are swept like copies.
    operator.terminate(LONG).await?;
    test.credentials().delete("reg", &DeleteParams::default()).await?;
    merge(&test.credentials(), "reg", json!({"metadata": {"finalizers": null}})).await?;
    let operator = lab.operator()?.env("CLAVIGER_SWEEP_GRACE_PERIOD", "0s").start().await?;
    accounts.wait_names(&targets[7], "default", &["theirs", "low"]).await?;
    wait_for(LONG, "the sweep", async || accounts.naming("reg").await.is_ok_and(|n| n == 0)).await?;
    operator.check_running()
}
