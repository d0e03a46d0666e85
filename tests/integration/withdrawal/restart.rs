//! A policy that went while no operator was there.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{LONG, Stage};
use crate::{
    checks::{exact, wait_copy},
    support::{Result, wait_for},
};

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_operator_that_starts_waits_for_the_grace_period_before_it_takes_anything_back() -> Result<()> {
    let stage = Stage::new().await?;
    let test = &stage.test;
    let operator = stage.operator(GRACE).await?;
    let kept = exact(test, &stage.targets[0], "reg").await?;
    assert_eq!(operator.terminate(LONG).await?, 0);
    stage.remove_all().await?;

    let began = Instant::now();
    let _operator = stage.start(GRACE).await?;
    // It works, and knows the policies: one more namespace gets its copy. One of those that went comes back in time.
    stage.seen().await?;
    stage.policy("restored", json!({"names": [stage.targets[0]]})).await?;
    wait_for(LONG, "copies to go", async || stage.bare().await.is_ok_and(|bare| bare.len() == 2)).await?;
    assert!(began.elapsed() >= GRACE, "they went after {:?}", began.elapsed());
    assert_eq!(exact(test, &stage.targets[0], "reg").await?, kept);
    wait_copy(test, &format!("{}-marker", test.mark), "reg").await?;
    Ok(())
}
