//! Who may be a default where.

use serde_json::json;

use super::{Accounts, LONG, MARK, default_status, policy, spec, wait_default};
use crate::{
    checks::{good_source, merge},
    scenario::Scenario,
    support::{Result, wait_for},
};

#[tokio::test]
async fn a_default_needs_consent_of_its_own_and_loses_it_with_that() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, false).await?;
    good_source(&test, "src", "password").await?;
    let target = test.targets(1).await?.remove(0);
    let accounts = Accounts::of(&test);
    accounts.exists(&target).await?;
    test.credential("reg", spec(&test, 0)).await?;
    wait_default(&test, "reg", "False", "DefaultNotPermitted").await?;
    test.wait_condition("reg", "Synced", "True", "AllTargetsSynced").await?;
    test.wait_condition("reg", "Ready", "False", "DefaultNotPermitted").await?;
    let status = default_status(&test, "reg").await?;
    assert_eq!((status.desired, status.attached, status.failed), (1, 0, 1));
    let [failure] = &status.failures[..] else { panic!("{status:?}") };
    assert_eq!((&*failure.namespace, &*failure.service_account), (&*target, "default"));
    assert!(failure.message.contains("allowDefault"), "{}", failure.message);
    accounts.stays_names(&target, &[]).await?;

    policy(&test, true).await?;
    accounts.wait_names(&target, "default", &["reg"]).await?;
    wait_default(&test, "reg", "True", "Attached").await?;
    test.wait_condition("reg", "Ready", "True", "AllTargetsSynced").await?;

    policy(&test, false).await?;
    accounts.wait_names(&target, "default", &[]).await?;
    wait_default(&test, "reg", "False", "DefaultNotPermitted").await?;
    assert!(test.secrets(&target).get_opt("reg").await?.is_some(), "the copy has consent");
    Ok(())
}

#[tokio::test]
async fn in_its_own_namespace_no_consent_is_needed_and_elsewhere_nothing_is_told() -> Result<()> {
    let test = Scenario::shared().await?;
    good_source(&test, "src", "password").await?;
    let target = test.targets(1).await?.remove(0);
    let accounts = Accounts::of(&test);
    accounts.exists(&target).await?;
    let mut own = spec(&test, 0);
    own.as_object_mut().unwrap().remove("target");
    test.credential("own", own).await?;
    accounts.wait_names(&test.home.name, "default", &["own"]).await?;
    wait_default(&test, "own", "True", "Attached").await?;

    // The same asks for everything, and may write nowhere else.
    test.credential("greedy", spec(&test, 100)).await?;
    let told = test.wait_condition("greedy", "Default", "False", "DefaultNotPermitted").await?;
    assert!(!told.message.contains(&target), "{}", told.message);
    assert!(default_status(&test, "greedy").await?.failures.is_empty());
    accounts.stays_names(&target, &[]).await
}

/// A tenant may write what it likes on its own ServiceAccounts; that takes nothing from others, and holds nothing up.
#[tokio::test]
async fn forged_marks_take_nothing_from_anybody_else() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = test.targets(2).await?;
    let accounts = Accounts::of(&test);
    test.credential("reg", spec(&test, 0)).await?;
    for target in &targets {
        accounts.wait_names(target, "default", &["reg"]).await?;
    }
    let (_, mark) = accounts.read(&targets[0], "default").await?.unwrap_or_default();
    let hub = mark.split(['=', '/']).nth(1).unwrap_or_default().to_owned();
    // Of a credential that wants nothing there, of one that does not exist, of another hub, and noise.
    let forged = format!("theirs={hub}/{0}/none,other=elsewhere/{0}/reg,=,x=y,reg=/{0}/reg", test.home.name);
    merge(
        &accounts.api(&targets[0]),
        "default",
        json!({"metadata": {"annotations": {MARK: forged}}, "imagePullSecrets": [{"name": "theirs"}, {"name": "other"}, {"name": "reg"}]}),
    )
    .await?;
    // What is said to be of this hub is swept, what is another's stays.
    accounts.wait_names(&targets[0], "default", &["other", "reg"]).await?;
    accounts.stays_names(&targets[1], &["reg"]).await?;
    test.credentials().delete("reg", &Default::default()).await?;
    accounts.wait_names(&targets[0], "default", &["other"]).await?;
    accounts.wait_names(&targets[1], "default", &[]).await?;
    wait_for(LONG, "the credential to be gone", async || {
        test.credentials().get_opt("reg").await.is_ok_and(|left| left.is_none())
    })
    .await
}
