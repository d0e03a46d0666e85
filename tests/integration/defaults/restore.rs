//! etcd is restored from a backup while the operator runs, and ServiceAccounts are as they were then.

use std::time::Duration;

use serde_json::json;

use super::{Accounts, LONG, default_status, policy, spec, wait_default};
use crate::{
    checks::good_source,
    fleet::world::{Member, World},
    lab::Lab,
    support::{Result, stays},
    watches::restore::grow,
};

#[tokio::test]
async fn a_hub_that_was_restored_gets_back_what_was_attached_and_nobody_is_blamed() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = test.targets(3).await?;
    let accounts = Accounts::of(&test);
    for target in &targets {
        accounts.exists(target).await?;
    }
    let operator = lab.operator()?.arg("--watch-timeout=5s").arg("--request-timeout=2s").start().await?;
    let mut off = spec(&test, 0);
    off["default"]["enabled"] = json!(false);
    test.credential("reg", off).await?;
    test.wait_ready("reg", 1).await?;
    accounts.set(&targets[1], &["theirs"]).await?;
    let backup = lab.control_plane.backup().await?;

    grow(&test.client).await?;
    test.credential("reg", spec(&test, 0)).await?;
    accounts.wait_names(&targets[0], "default", &["reg"]).await?;
    accounts.wait_names(&targets[1], "default", &["theirs", "reg"]).await?;
    wait_default(&test, "reg", "True", "Attached").await?;
    lab.control_plane.restore(&backup).await?;

    // The credential is no default either, as it was then.
    for (target, expected) in [(0, &[][..]), (1, &["theirs"])] {
        accounts.wait_names(&targets[target], "default", expected).await?;
    }
    test.credential("reg", spec(&test, 0)).await?;
    for (target, expected) in [(0, &["reg"][..]), (1, &["theirs", "reg"]), (2, &["reg"])] {
        accounts.wait_names(&targets[target], "default", expected).await?;
    }
    wait_default(&test, "reg", "True", "Attached").await?;
    assert_eq!(default_status(&test, "reg").await?.failed, 0);
    operator.check_running()
}

/// The hub says that it is attached, and the member is as it was before.
#[tokio::test]
async fn a_member_that_was_restored_is_attached_to_again_each_time() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    policy(test, true).await?;
    east.namespaces(test, &["web", "db"]).await?;
    let there = Accounts(east.admin.clone());
    for namespace in ["web", "db"] {
        there.exists(namespace).await?;
    }
    there.set("db", &["theirs"]).await?;
    let backup = east.control_plane.backup().await?;
    world.join(&east, json!({})).await?;
    let mut wanted = world.spec(json!({"selector": {}}));
    wanted["default"] = json!({"enabled": true});
    test.credential("reg", wanted).await?;
    // More often than somebody may take it off before that is told.
    for _ in 0..3 {
        there.wait_names("web", "default", &["reg"]).await?;
        there.wait_names("db", "default", &["theirs", "reg"]).await?;
        grow(&east.admin).await?;
        east.control_plane.restore(&backup).await?;
    }
    there.wait_names("web", "default", &["reg"]).await?;
    there.wait_names("db", "default", &["theirs", "reg"]).await?;
    wait_default(test, "reg", "True", "Attached").await?;
    east.wait_copy("web", "reg", "1").await?;
    world.operator.check_running()
}

/// Lists that begin anew all the time, and writes in the middle of them.
#[tokio::test]
async fn lists_begun_anew_in_the_middle_of_writes_are_no_reverts() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = test.targets(60).await?;
    let accounts = Accounts::of(&test);
    let operator = lab.operator()?.start().await?;
    // Each asks for one name more, so that ServiceAccounts are listed again.
    for n in 0..4 {
        let mut wanted = spec(&test, n);
        wanted["server"] = json!(format!("r{n}.example.com"));
        wanted["default"]["serviceAccounts"] = json!(["default", format!("robot-{n}")]);
        test.credential(&format!("reg-{n}"), wanted).await?;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    for n in 0..4 {
        let name = format!("reg-{n}");
        crate::support::wait_for(LONG, &format!("{name} everywhere"), async || {
            accounts.naming(&name).await.is_ok_and(|count| count == targets.len())
        })
        .await?;
        wait_default(&test, &name, "True", "Attached").await?;
    }
    stays(Duration::from_secs(1), "no reverts", async || {
        let found = default_status(&test, "reg-3").await;
        found.is_ok_and(|status| status.failed == 0 && status.attached == status.desired)
    })
    .await?;
    operator.check_running()
}
