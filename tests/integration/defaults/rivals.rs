//! Two defaults for one registry.

use serde_json::json;

use super::{Accounts, policy, spec, wait_default};
use crate::{
    checks::{good_source, label_namespace},
    scenario::Scenario,
    support::Result,
};

#[tokio::test]
async fn the_higher_priority_wins_a_tie_changes_nothing_and_is_over_when_one_gives_in() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let target = test.targets(1).await?.remove(0);
    let accounts = Accounts::of(&test);
    test.credential("one", spec(&test, 0)).await?;
    accounts.wait_names(&target, "default", &["one"]).await?;

    // For another registry there is room beside it.
    let mut other = spec(&test, 0);
    other["server"] = json!("other.example.com");
    test.credential("other", other).await?;
    accounts.wait_names(&target, "default", &["one", "other"]).await?;

    test.credential("two", spec(&test, 0)).await?;
    for name in ["one", "two"] {
        wait_default(&test, name, "False", "DefaultConflict").await?;
        test.wait_condition(name, "Ready", "False", "DefaultConflict").await?;
    }
    accounts.stays_names(&target, &["one", "other"]).await?;

    test.credential("two", spec(&test, 5)).await?;
    accounts.wait_names(&target, "default", &["other", "two"]).await?;
    wait_default(&test, "two", "True", "Attached").await?;
    wait_default(&test, "one", "False", "Outranked").await?;
    test.wait_condition("one", "Ready", "True", "AllTargetsSynced").await?;

    let mut off = spec(&test, 5);
    off["default"]["enabled"] = json!(false);
    test.credential("two", off).await?;
    accounts.wait_names(&target, "default", &["other", "one"]).await?;
    wait_default(&test, "one", "True", "Attached").await
}

#[tokio::test]
async fn a_namespace_that_a_rival_comes_to_select_changes_hands_alone() -> Result<()> {
    let test = Scenario::shared().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = test.targets(2).await?;
    let accounts = Accounts::of(&test);
    test.credential("all", spec(&test, 0)).await?;
    let mut some = spec(&test, 1);
    some["target"]["namespaces"]["selector"]["matchLabels"]["special"] = json!("yes");
    test.credential("some", some).await?;
    for target in &targets {
        accounts.wait_names(target, "default", &["all"]).await?;
    }
    label_namespace(&test, &targets[0], json!({"special": "yes"})).await?;
    accounts.wait_names(&targets[0], "default", &["some"]).await?;
    accounts.stays_names(&targets[1], &["all"]).await?;
    label_namespace(&test, &targets[0], json!({"special": null})).await?;
    accounts.wait_names(&targets[0], "default", &["all"]).await
}
