//! The processor time that one event costs the operator.

use std::time::{Duration, Instant};

use super::bare_watch::BareWatch;
use crate::{
    operator::Measured,
    stats::{median, millis, scaled},
    support::Result,
};

/// Events of a first, uncounted look at how much each takes. An even number, as events may come in pairs.
const FIRST: usize = 4;
/// After each of these.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// How much longer than its work the pause after an event is: events that come while the operator works could be handled
/// together, and one would look cheaper than it is.
const REST_TO_WORK: f64 = 4.0;
/// A little more than the least time between two writes of a status.
const STATUS: Duration = Duration::from_millis(1_200);
/// How long an idle operator is watched, so that what it does anyway can be taken off.
const IDLE: Duration = Duration::from_secs(3);

/// How often an event is repeated.
#[derive(Clone, Copy)]
pub struct Repeats {
    /// Each gives one value.
    pub windows: usize,
    /// In each window. An even number, as events may come in pairs.
    pub events: usize,
    /// After each event, at least.
    pub pause: Duration,
    /// After the last event of a window, for what the operator puts off.
    pub tail: Duration,
}

impl Repeats {
    /// For events that change nothing that a status tells.
    pub fn new(windows: usize, events: usize) -> Self {
        Self { windows, events, pause: Duration::from_millis(25), tail: Duration::from_millis(300) }
    }

    /// For events that a status tells, which is written about once a second.
    pub fn told(self) -> Self {
        Self { tail: STATUS, ..self }
    }

    /// So many, each of which has a status of its own.
    pub fn told_one_by_one(self, events: usize) -> Self {
        Self { events, pause: STATUS, tail: Duration::ZERO, ..self }
    }
}

/// What one event costs: one value for each window.
pub struct Cost {
    /// Seconds of the operator's processor time.
    pub operator: Vec<f64>,
    /// Of a bare watch that has seen the same events.
    pub bare: Vec<f64>,
}

impl Cost {
    pub fn seconds(&self) -> f64 {
        median(&self.operator)
    }

    /// To the bare watch, in the same windows.
    pub fn to_bare(&self) -> f64 {
        self.seconds() / median(&self.bare)
    }

    /// How many times as much as another one, and the same of the bare watch, whose difference is that of the machine.
    pub fn to(&self, other: &Self) -> (f64, f64) {
        (self.seconds() / other.seconds(), median(&self.bare) / median(&other.bare))
    }

    /// As milliseconds.
    pub fn show(&self) -> String {
        format!("{}; bare watch {:.3}", millis(&self.operator, 3), median(&self.bare) * 1e3)
    }

    /// For each of so many parts.
    pub fn divided(&self, parts: usize) -> Self {
        let share = 1.0 / parts as f64;
        Self { operator: scaled(&self.operator, share), bare: scaled(&self.bare, share) }
    }
}

/// Measures one operator.
pub struct Meter<'a> {
    operator: &'a Measured,
    bare: &'a BareWatch,
    /// The share of a core that each uses while nothing happens.
    idle: (f64, f64),
}

impl<'a> Meter<'a> {
    /// Waits for the operator to be at rest.
    pub async fn start(operator: &'a Measured, bare: &'a BareWatch) -> Result<Self> {
        operator.settle().await?;
        let (before, bare_before) = (operator.cpu_seconds()?, bare.cpu_seconds()?);
        tokio::time::sleep(IDLE).await;
        let share = |seconds: f64| seconds / IDLE.as_secs_f64();
        let idle = (share(operator.cpu_seconds()? - before), share(bare.cpu_seconds()? - bare_before));
        Ok(Self { operator, bare, idle })
    }

    /// Repeats an event, which is given the number of the repetition. An event ends when its effect was seen, or at once
    /// if it has none.
    pub async fn cost(
        &self,
        what: &str,
        repeats: Repeats,
        mut event: impl AsyncFnMut(usize) -> Result<()>,
    ) -> Result<Cost> {
        let mut number = 0;
        let before = self.operator.cpu_seconds()?;
        for _ in 0..FIRST {
            event(number).await?;
            number += 1;
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        tokio::time::sleep(repeats.tail).await;
        let first = (self.operator.cpu_seconds()? - before) / FIRST as f64;
        let pause = repeats.pause.max(Duration::from_secs_f64(first * REST_TO_WORK));
        let mut cost = Cost { operator: Vec::new(), bare: Vec::new() };
        for _ in 0..repeats.windows {
            let began = Instant::now();
            let (before, bare_before) = (self.operator.cpu_seconds()?, self.bare.cpu_seconds()?);
            for _ in 0..repeats.events {
                event(number).await?;
                number += 1;
                tokio::time::sleep(pause).await;
            }
            tokio::time::sleep(repeats.tail).await;
            let elapsed = began.elapsed().as_secs_f64();
            let each = |used: f64, idle: f64| (used - idle * elapsed) / repeats.events as f64;
            cost.operator.push(each(self.operator.cpu_seconds()? - before, self.idle.0));
            cost.bare.push(each(self.bare.cpu_seconds()? - bare_before, self.idle.1));
        }
        eprintln!("{what}: {} ms", cost.show());
        Ok(cost)
    }
}
