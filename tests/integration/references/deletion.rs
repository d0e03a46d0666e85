//! A long deletion, and Pods that appear in the middle of it.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::{LONG, Stage};
use crate::{
    checks::{delete, delete_pod, wait_no_credential},
    support::{Result, wait_for},
};

const NAMESPACES: usize = 120;
const PODS: usize = 20;

/// Deletions in flight at one time.
const CONCURRENCY: usize = 2;

/// Many times what one deletion takes.
const REST: Duration = Duration::from_secs(1);

#[tokio::test]
async fn pods_that_appear_in_the_middle_of_a_deletion_keep_their_copies() -> Result<()> {
    let stage = Stage::new(NAMESPACES, &[&format!("--concurrency={CONCURRENCY}")]).await?;
    let test = &stage.test;
    stage.proxy.delay(Duration::from_millis(50));
    delete(test, "reg").await?;
    stage.begun().await?;
    let names = async || -> Result<Vec<String>> {
        Ok(stage.copies().await?.items.into_iter().filter_map(|copy| copy.metadata.namespace).collect())
    };
    let left = names().await?;
    assert!(left.len() > 3 * PODS, "it was too late: {} are left", left.len());
    // From all over the range, whatever the order of the deletions is.
    let chosen: Vec<&String> = left.iter().step_by(left.len() / PODS).take(PODS).collect();
    let made: Vec<Result<_>> = futures::stream::iter(&chosen)
        .map(async |namespace| test.pod(namespace, "app", "reg").await)
        .buffer_unordered(16)
        .collect()
        .await;
    made.into_iter().collect::<Result<Vec<_>>>()?;
    let there = names().await?;
    let users: Vec<&String> = chosen.iter().copied().filter(|namespace| there.contains(namespace)).collect();
    assert!(users.len() > PODS / 2, "only {} of {PODS} Pods came in time", users.len());

    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    let mut seen = (0, Instant::now());
    wait_for(LONG, "the deletions to come to rest", async || {
        let left = names().await.map_err(|error| error.to_string())?.len();
        if left != seen.0 {
            seen = (left, Instant::now());
        }
        if seen.1.elapsed() > REST { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await?;
    let kept = names().await?;
    let lost: Vec<_> = users.iter().filter(|namespace| !kept.contains(namespace)).collect();
    // These may have been on their way when the Pods came.
    assert!(lost.len() <= CONCURRENCY, "of {} copies in use these were deleted: {lost:?}", users.len());
    stage.proxy.delay(Duration::ZERO);
    for namespace in chosen {
        delete_pod(test, namespace, "app").await?;
    }
    wait_no_credential(test, "reg").await?;
    assert!(names().await?.is_empty(), "some were left behind");
    Ok(())
}
