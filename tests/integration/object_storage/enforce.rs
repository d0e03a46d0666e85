//! With `Enforce`, a key that the server refuses goes nowhere.

use std::time::Duration;

use serde_json::json;

use super::{Storage, credential, secret_in, source, status, sync, wait_ready, wait_secret, wait_told, with};
use crate::{
    checks::{SOON, stays_absent},
    lab::Lab,
    scenario::Scenario,
    support::{FaultProxy, Result, stays},
};

#[tokio::test]
async fn the_copies_keep_the_last_key_that_was_not_refused_also_over_a_restart() -> Result<()> {
    let storage = Storage::start().await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    storage.trust(&test).await?;
    let (good, wrong) = (&storage.owner, storage.owner.rotated());
    source(&test, "src", &wrong).await?;
    let operator = lab.operator()?.start().await?;
    let enforced = json!({"verification": {"mode": "Enforce"}, "target": test.selector()});
    credential(&test, "photos", storage.spec("src", enforced)).await?;
    // The first key is refused: nothing is written at all.
    for refused in ["Verified=False", "Ready=False", "Stalled=True"] {
        wait_told(&test, "photos", &format!("{refused} (SignatureMismatch)"), &[]).await?;
    }
    stays_absent(&test, &targets[0], "photos").await?;
    source(&test, "src", good).await?;
    wait_ready(&test, "photos", 1).await?;
    wait_told(&test, "photos", "Verified=True (Authenticated)", &[]).await?;

    let keeps = async || {
        wait_told(&test, "photos", "Ready=False (SignatureMismatch)", &[]).await?;
        stays(Duration::from_secs(2), "the last good key", async || {
            for namespace in &targets {
                let found = secret_in(&test, namespace, "photos").await.map_err(|error| error.to_string())?;
                if found.as_ref() != Some(&good.secret) {
                    return Err(format!("another one in {namespace}"));
                }
            }
            Ok(())
        })
        .await
    };
    source(&test, "src", &wrong).await?;
    keeps().await?;
    // A copy that is deleted meanwhile comes back as it was.
    test.secrets(&targets[1]).delete("photos", &Default::default()).await?;
    wait_secret(&test, &targets[1], "photos", good).await?;
    assert_eq!(operator.terminate(SOON).await?, 0);
    let _operator = lab.operator()?.start().await?;
    keeps().await?;
    assert_eq!(status(&test, "photos").await?.revision, Some(1));

    // A rotation: at the server, then in the source.
    let next = good.rotated();
    storage.server.set_secret(&next).await?;
    source(&test, "src", &next).await?;
    for namespace in &targets {
        wait_secret(&test, namespace, "photos", &next).await?;
    }
    wait_ready(&test, "photos", 2).await?;
    wait_told(&test, "photos", "Verified=True (Authenticated)", &[]).await?;
    Ok(())
}

/// A user without rights is refused like a wrong key, until it has them.
#[tokio::test]
async fn a_key_that_may_not_list_is_held_back() -> Result<()> {
    let storage = Storage::start().await?;
    let stranger = storage.server.user().await?;
    let test = Scenario::shared().await?;
    storage.trust(&test).await?;
    source(&test, "src", &stranger).await?;
    let enforced = json!({"verification": {"mode": "Enforce"}});
    credential(&test, "photos", storage.spec("src", enforced.clone())).await?;
    wait_told(&test, "photos", "Ready=False (AccessDenied)", &[]).await?;
    stays_absent(&test, &test.home.name, "photos").await?;
    let own = storage.server.bucket(&stranger).await?;
    credential(&test, "photos", storage.spec("src", with(enforced, json!({"bucket": own})))).await?;
    wait_ready(&test, "photos", 1).await?;
    wait_told(&test, "photos", "Verified=True (Authenticated)", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_or_slow_holds_nothing_back() -> Result<()> {
    let storage = Storage::start().await?;
    let proxy = FaultProxy::start(storage.server.address()).await?;
    let test = Scenario::shared().await?;
    storage.trust(&test).await?;
    source(&test, "src", &storage.owner).await?;
    let home = &test.home.name;
    let enforced = json!({"endpoint": proxy.url(), "verification": {"mode": "Enforce"}});
    credential(&test, "photos", storage.spec("src", enforced)).await?;
    wait_ready(&test, "photos", 1).await?;
    wait_told(&test, "photos", "Verified=True (Authenticated)", &[]).await?;
    // Nobody answers any more; a new key is not known to be wrong.
    proxy.freeze();
    let wrong = storage.owner.rotated();
    source(&test, "src", &wrong).await?;
    wait_secret(&test, home, "photos", &wrong).await?;
    wait_told(&test, "photos", "Verified=Unknown (EndpointUnreachable)", &[]).await?;
    wait_ready(&test, "photos", 2).await?;
    // It is back, and refuses what is distributed: that stays, as there is nothing better, and is told.
    proxy.thaw();
    sync(&test, "photos").await?;
    wait_told(&test, "photos", "Ready=False (SignatureMismatch)", &[]).await?;
    wait_secret(&test, home, "photos", &wrong).await
}
