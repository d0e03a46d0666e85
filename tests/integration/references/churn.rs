//! Pods that come and go all the time: what matters is told at once, the rest now and then.

use std::time::{Duration, Instant};

use super::{LONG, Stage};
use crate::{
    checks::delete_pod,
    support::{Result, wait_for},
};

/// What `at once` may take, with the watch of Pods and the write of the status, beside other tests.
const AT_ONCE: Duration = Duration::from_secs(3);

/// How long Pods come and go.
const CHURN: Duration = Duration::from_secs(6);

impl Stage {
    async fn wait_blocking(&self, is: impl Fn(i64) -> bool, what: &str) -> Result<()> {
        wait_for(LONG, what, async || {
            let status = self.test.status("reg").await.map_err(|error| error.to_string())?;
            let blocking = status.references.map_or(0, |references| references.blocking);
            if is(blocking) { Ok(()) } else { Err(format!("{blocking}")) }
        })
        .await
    }

    fn status_writes(&self, after: usize) -> Result<usize> {
        let writes = self.lab.writes(after)?;
        Ok(writes.iter().filter(|e| e.subresource == "status" && e.name == "reg").count())
    }
}

#[tokio::test]
async fn the_first_user_and_the_last_one_are_told_at_once_and_those_between_are_not() -> Result<()> {
    let stage = Stage::new(3, &[]).await?;
    let test = &stage.test;
    for round in 0..2 {
        let began = Instant::now();
        test.pod(&stage.targets[0], "first", "reg").await?;
        stage.wait_blocking(|blocking| blocking > 0, "the first user").await?;
        assert!(began.elapsed() < AT_ONCE, "round {round}: the first user after {:?}", began.elapsed());

        let (after, began) = (stage.lab.requests()?, Instant::now());
        for namespace in stage.targets.iter().cycle().take_while(|_| began.elapsed() < CHURN) {
            test.pod(namespace, "other", "reg").await?;
            delete_pod(test, namespace, "other").await?;
        }
        let took = began.elapsed();
        let writes = stage.status_writes(after)?;
        let bound = 2 + usize::try_from(took.as_secs() / 30)?;
        assert!(writes <= bound, "round {round}: {writes} statuses in {took:?}");

        // Told last, a moment ago or half a minute ago: that nobody is left is told now.
        test.pod(&stage.targets[1], "other", "reg").await?;
        let began = Instant::now();
        delete_pod(test, &stage.targets[1], "other").await?;
        delete_pod(test, &stage.targets[0], "first").await?;
        stage.wait_blocking(|blocking| blocking == 0, "nobody left").await?;
        assert!(began.elapsed() < AT_ONCE, "round {round}: nobody left after {:?}", began.elapsed());
    }
    stage.operator.check_running()
}

/// Users that come and go as a whole, so that the number becomes zero again and again.
#[tokio::test]
async fn a_user_that_comes_and_goes_is_told_each_time_but_not_in_a_storm() -> Result<()> {
    let stage = Stage::new(1, &[]).await?;
    let test = &stage.test;
    let after = stage.lab.requests()?;
    let began = Instant::now();
    test.pod(&stage.targets[0], "app", "reg").await?;
    stage.wait_blocking(|blocking| blocking > 0, "a user").await?;
    while began.elapsed() < CHURN {
        delete_pod(test, &stage.targets[0], "app").await?;
        test.pod(&stage.targets[0], "app", "reg").await?;
    }
    delete_pod(test, &stage.targets[0], "app").await?;
    let ended = Instant::now();
    stage.wait_blocking(|blocking| blocking == 0, "nobody").await?;
    assert!(ended.elapsed() < AT_ONCE, "nobody left after {:?}", ended.elapsed());
    let (took, writes) = (began.elapsed(), stage.status_writes(after)?);
    // About one a second at most, whatever happens; one more at each end.
    let bound = usize::try_from(took.as_secs())? + 3;
    assert!(writes <= bound, "{writes} statuses in {took:?}");
    Ok(())
}
