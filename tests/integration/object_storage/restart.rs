//! What was found out holds within its interval, and over a restart.

use std::time::Duration;

use serde_json::json;

use super::{Storage, at, credential, source, status, wait_ready, wait_told};
use crate::{
    checks::SOON,
    lab::Lab,
    support::{Error, Result, stays, wait_for},
};

#[tokio::test]
async fn what_was_verified_within_its_interval_is_not_asked_again() -> Result<()> {
    let storage = Storage::start().await?;
    let stranger = storage.server.user().await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    storage.trust(&test).await?;
    source(&test, "good", &storage.owner).await?;
    source(&test, "wrong", &storage.owner.rotated()).await?;
    source(&test, "stranger", &stranger).await?;
    let operator = lab.operator()?.start().await?;
    let mode = |mode: &str| json!({"verification": {"mode": mode}, "target": test.selector()});
    test.targets(1).await?;
    for (name, spec, told) in [
        ("good", storage.spec("good", mode("Enforce")), "True (Authenticated)"),
        ("wrong", storage.spec("wrong", mode("Warn")), "False (SignatureMismatch)"),
        ("stranger", storage.spec("stranger", mode("Warn")), "False (AccessDenied)"),
        // Nobody is there.
        ("down", at("https://127.0.0.1:1", "good", "Enforce"), "Unknown (EndpointUnreachable)"),
    ] {
        credential(&test, name, spec).await?;
        wait_told(&test, name, &format!("Verified={told}"), &[]).await?;
        wait_ready(&test, name, 1).await?;
    }
    // Not for a further namespace either.
    let tries = storage.server.tries();
    test.target(&format!("{}-more", test.mark)).await?;
    for name in ["good", "wrong", "stranger"] {
        wait_for(SOON, &format!("{name} in both namespaces"), async || {
            let status = status(&test, name).await.map_err(|error| error.to_string())?;
            let synced = status.summary.unwrap_or_default().namespaces;
            if synced == "2/2" { Ok(()) } else { Err(synced) }
        })
        .await?;
    }
    assert_eq!(storage.server.tries(), tries, "{:?}", storage.server.requests());
    assert_eq!(operator.terminate(SOON).await?, 0);

    let statuses = async || {
        let mut all = Vec::new();
        for name in ["good", "wrong", "stranger", "down"] {
            all.push(status(&test, name).await?);
        }
        Ok::<_, Error>(all)
    };
    let before = statuses().await?;
    let _operator = lab.operator()?.start().await?;
    stays(Duration::from_secs(4), "what was found out", async || {
        let now = statuses().await.map_err(|error| error.to_string())?;
        if storage.server.tries() != tries {
            return Err(format!("asked again: {:?}", storage.server.requests()));
        }
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await
}

#[tokio::test]
async fn an_operator_that_asks_nobody_says_so() -> Result<()> {
    let storage = Storage::start().await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    storage.trust(&test).await?;
    source(&test, "wrong", &storage.owner.rotated()).await?;
    let _operator = lab.operator()?.arg("--no-verification").start().await?;
    let enforced = json!({"verification": {"mode": "Enforce"}});
    credential(&test, "photos", storage.spec("wrong", enforced)).await?;
    wait_ready(&test, "photos", 1).await?;
    wait_told(&test, "photos", "Verified=Unknown (Skipped)", &["--no-verification"]).await?;
    assert_eq!(storage.server.tries(), 0, "{:?}", storage.server.requests());
    Ok(())
}
