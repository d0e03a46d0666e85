//! A thousand namespaces: what a default costs in requests.

use std::time::Duration;

use serde_json::json;

use super::{Accounts, default_status, policy, spec, wait_default};
use crate::{
    checks::good_source,
    lab::{Lab, many_targets, wait_accounts},
    support::{Result, stays, wait_for},
};

const NAMESPACES: usize = 1_000;

/// How long a thousand writes may take, beside other tests.
const LONG: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_thousand_service_accounts_take_one_write_each_and_none_after_a_restart() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    policy(&test, true).await?;
    good_source(&test, "src", "password").await?;
    let targets = many_targets(&test, NAMESPACES).await?;
    wait_accounts(&test, &targets).await?;
    let accounts = Accounts::of(&test);
    let operator = lab.operator()?.start().await?;
    let mut wanted = spec(&test, 0);
    wanted["default"]["enabled"] = json!(false);
    test.credential("reg", wanted.clone()).await?;
    test.wait_ready("reg", 1).await?;

    let naming = async |count: usize| {
        wait_for(LONG, &format!("{count} ServiceAccounts to name it"), async || {
            let found = accounts.naming("reg").await.map_err(|error| error.to_string())?;
            if found == count { Ok(()) } else { Err(found.to_string()) }
        })
        .await
    };
    let written = |after: usize| -> Result<(usize, usize)> {
        let requests = lab.control_plane.audit_events()?;
        let of = requests.iter().skip(after).filter(|event| event.resource == "serviceaccounts");
        let ours: Vec<_> = of.filter(|event| event.user == lab.user()).collect();
        let writes = ours.iter().filter(|event| event.is_write()).count();
        Ok((writes, ours.len() - writes))
    };
    let before = lab.requests()?;
    wanted["default"]["enabled"] = json!(true);
    test.credential("reg", wanted.clone()).await?;
    naming(NAMESPACES).await?;
    wait_default(&test, "reg", "True", "Attached").await?;
    assert_eq!(default_status(&test, "reg").await?.attached, NAMESPACES as i64);
    let (writes, reads) = written(before)?;
    // They are listed once the name is asked for, in pages, and watched from there on.
    assert!(writes == NAMESPACES && reads <= 8, "{writes} writes, {reads} reads");

    operator.terminate(LONG).await?;
    let before = lab.requests()?;
    let operator = lab.operator()?.start().await?;
    stays(Duration::from_secs(3), "no writes after a restart", async || match lab.writes(before) {
        Ok(writes) if writes.is_empty() => Ok(()),
        Ok(writes) => Err(format!("{} {} {}", writes[0].verb, writes[0].resource, writes[0].name)),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    let before = lab.requests()?;
    wanted["default"]["enabled"] = json!(false);
    test.credential("reg", wanted).await?;
    naming(0).await?;
    assert_eq!(written(before)?.0, NAMESPACES);
    operator.check_running()
}
