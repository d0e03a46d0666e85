//! Liveness and readiness.

use std::time::{Duration, Instant};

use super::freshness::Freshness;
use crate::{domain::selection::LOCAL, lock::Lock};

/// What `/healthz` and `/readyz` answer.
#[derive(Debug)]
pub struct Health {
    freshness: Freshness,
    limit: Duration,
    ready: Lock<Result<(), &'static str>>,
}

impl Health {
    /// Not ready yet ("starting"). `limit` is how old the last good answer of a watch of cluster
    /// `local` may grow before the process should be restarted; those of what a cluster may lack do not count. A member cluster that does not answer is
    /// shown in the state of that member only.
    #[must_use]
    pub fn new(freshness: Freshness, limit: Duration) -> Self {
        Self { freshness, limit, ready: Lock::new(Err("starting")) }
    }

    /// Says whether the process can do its work, and why not. A standby that
    /// waits to lead is ready: it would otherwise hold up every rollout.
    pub fn set_ready(&self, ready: Result<(), &'static str>) {
        *self.ready.write() = ready;
    }

    /// Whether the process should live on, as of `now`.
    ///
    /// # Errors
    /// One line per stale watch of cluster `local`: which, and how old its last good answer is.
    pub fn liveness(&self, now: Instant) -> Result<(), String> {
        let stale = self.freshness.stale(LOCAL, self.limit, now).into_iter();
        let stale = stale.filter(|watch| watch.is_vital).map(|watch| {
            let age = watch.age.as_secs();
            let what = if watch.answered {
                format!("last good answer {age} s ago")
            } else {
                format!("no good answer since it started {age} s ago")
            };
            format!("watch of {} in cluster {}: {what}\n", watch.kind, watch.cluster)
        });
        let lines: String = stale.collect();
        if lines.is_empty() { Ok(()) } else { Err(lines) }
    }

    /// Whether the process can do its work.
    ///
    /// # Errors
    /// The reason that [`Health::set_ready`] was given, as a line.
    pub fn readiness(&self) -> Result<(), String> {
        self.ready.read().map_err(|why| format!("{why}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_stale_watches_of_the_local_cluster_only() {
        let freshness = Freshness::default();
        let health = Health::new(freshness.clone(), Duration::from_secs(90));
        assert_eq!(health.liveness(Instant::now()), Ok(()));
        let start = Instant::now();
        freshness.register_at("east", "pods", true, start);
        freshness.register_at("local", "secrets", true, start);
        freshness.register_at("local", "gateways", false, start);
        freshness.register("local", "pods", true).mark();
        assert_eq!(health.liveness(start + Duration::from_secs(80)), Ok(()));
        let late = start + Duration::from_millis(95_900);
        let text = health.liveness(late).unwrap_err();
        assert_eq!(
            text,
            "watch of pods in cluster local: last good answer 95 s ago\n\
             watch of secrets in cluster local: no good answer since it started 95 s ago\n"
        );
    }

    #[test]
    fn starts_unready_and_says_why() {
        let health = Health::new(Freshness::default(), Duration::from_secs(1));
        assert_eq!(health.readiness(), Err("starting\n".to_owned()));
        health.set_ready(Ok(()));
        assert_eq!(health.readiness(), Ok(()));
        health.set_ready(Err("listing secrets of cluster local"));
        assert_eq!(health.readiness(), Err("listing secrets of cluster local\n".to_owned()));
    }
}
