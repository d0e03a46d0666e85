//! Lets tenants and fate loose, waits until it is quiet, and compares.

use std::{
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use tokio::time::sleep;

use super::{
    check::{Check, Mismatch, Promises},
    choice::Chooser,
    coverage::Coverage,
    dice::Dice,
    fate::{self, Runner},
    history::History,
    observation::Observation,
    operation::{Fate, Operation, Outcome},
    report,
    state::State,
    users,
    world::World,
};
use crate::support::{Error, Result, error::Context};

const TENANTS: usize = 4;

/// How much a tenant does between two checks.
const FIRST_BURST: usize = 25;
const BURSTS: [usize; 4] = [6, 12, 24, 40];

/// How long it may take until everything is as it must be: some waits of the operator grow to a minute.
const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks. Two that agree, and find nothing wrong, are the end.
const INTERVAL: Duration = Duration::from_millis(400);

pub struct Storm {
    pub world: World,
    pub runner: Runner,
    pub shared: Mutex<Shared>,
    seed: u64,
    tenants: Vec<Dice>,
    fate: Dice,
    promises: Promises,
}

/// What all tenants know.
#[derive(Default)]
pub struct Shared {
    pub state: State,
    pub history: History,
}

impl Shared {
    pub fn commit(&mut self, by: &str, operation: &Operation, outcome: &Outcome) {
        self.history.commit(&mut self.state, by, operation, outcome);
    }
}

impl Storm {
    pub async fn start(seed: u64) -> Result<Self> {
        let world = World::start().await?;
        let state = world.initial_state().await?;
        let runner = Runner::start(&world).await?;
        let help = Command::new(&world.binary).args(["run", "--help"]).output()?;
        let second_edition = String::from_utf8_lossy(&help.stdout).contains("--consent-grace-period");
        let stream = |number: usize| u64::try_from(number).unwrap_or_default();
        Ok(Self {
            world,
            runner,
            shared: Mutex::new(Shared { state, history: History::default() }),
            seed,
            tenants: (0..TENANTS).map(|tenant| Dice::new(seed, stream(tenant))).collect(),
            fate: Dice::new(seed, stream(TENANTS)),
            promises: Promises { second_edition },
        })
    }

    /// So many operations, with a check now and then.
    pub async fn rage(&mut self, operations: usize) -> Result<()> {
        let (mut left, mut coverage) = (operations, Coverage::default());
        // The first check is of a world that is there.
        let mut burst = FIRST_BURST;
        while left > 0 {
            burst = burst.min(left.div_ceil(TENANTS));
            left = left.saturating_sub(burst * TENANTS);
            self.round(burst, left == 0).await?;
            let began = Instant::now();
            let seen = self.settle().await?;
            let took = began.elapsed().as_secs_f64();
            let shared = self.shared();
            let now = Coverage::of(&shared.state, &shared.history, &seen);
            println!("{:>6} operations; quiet after {took:.1} s: {now}", shared.history.journal.len());
            coverage.add(&now);
            drop(shared);
            burst = self.fate.one_of(BURSTS);
        }
        println!("all checks together: {coverage}");
        self.users_are_told().await
    }

    async fn round(&mut self, burst: usize, last: bool) -> Result<()> {
        let Self { world, runner, shared, tenants, fate, promises, .. } = self;
        let (world, shared, promises) = (&*world, &*shared, *promises);
        let tenants = try_join_all(tenants.iter_mut().enumerate().map(async |(tenant, dice)| {
            for _ in 0..burst {
                act(world, shared, promises, tenant, dice).await?;
            }
            Ok::<(), Error>(())
        }));
        let fates = async {
            for _ in 0..1 + fate.below(3) {
                sleep(Duration::from_millis(100 * u64::try_from(fate.below(8)).unwrap_or(1))).await;
                let next = fate::choose(fate, &lock(shared).state.member);
                suffer(world, runner, shared, next).await?;
            }
            Ok::<(), Error>(())
        };
        tokio::try_join!(tenants, fates)?;
        let mut ends = fate::choose_end(fate, &lock(shared).state.member);
        if last {
            ends = vec![Fate::RejoinMember, Fate::PauseMember { paused: false }];
        }
        for end in ends {
            suffer(world, runner, shared, end).await?;
        }
        Ok(())
    }

    /// Waits until everything is as it must be, and stays so.
    pub async fn settle(&mut self) -> Result<Observation> {
        let end = Instant::now() + DEADLINE;
        let mut quiet: Option<Observation> = None;
        loop {
            if let Err(ended) = self.runner.operator().check_running() {
                self.give_up(&[], &format!("the operator ended: {ended}")).await;
            }
            let seen = self.observe().await?;
            let wrong = self.check(&seen);
            if wrong.is_empty() {
                if quiet.as_ref().is_some_and(|before| before.versions() == seen.versions()) {
                    let Shared { state, history } = &mut *self.shared();
                    history.settle(state, &seen);
                    return Ok(seen);
                }
                quiet = Some(seen);
            } else {
                quiet = None;
            }
            if Instant::now() > end {
                let why = if wrong.is_empty() { "something is written again and again" } else { "" };
                self.give_up(&wrong, why).await;
            }
            sleep(INTERVAL).await;
        }
    }

    /// Waits until every status tells exactly who uses its copies: what does not hold may be told late.
    async fn users_are_told(&self) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        loop {
            let seen = self.observe().await?;
            let wrong = {
                let Shared { state, history } = &*self.shared();
                users::wrong(state, history, &seen)
            };
            if wrong.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                self.give_up(&wrong, "users are not told").await;
            }
            sleep(INTERVAL).await;
        }
    }

    pub async fn observe(&self) -> Result<Observation> {
        Observation::read(&self.world.hub, &self.world.member.admin).await
    }

    pub fn check(&self, seen: &Observation) -> Vec<Mismatch> {
        let Shared { state, history } = &*self.shared();
        Check { state, history, seen, promises: self.promises, hub: &self.world.hub_id }.run()
    }

    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Says what is wrong and how to see it again. A panic keeps logs and data where they are.
    async fn give_up(&self, wrong: &[Mismatch], why: &str) -> ! {
        let saved = self.runner.save_log();
        let journal = self.shared().history.journal.clone();
        let objects = report::objects(&self.world, wrong).await;
        let report = format!(
            "the storm of CLAVIGER_STORM_SEED={} after {} operations: {why}\n{}\n{objects}",
            self.seed,
            journal.len(),
            report::mismatches(wrong, &journal),
        );
        let logs = self.runner.logs();
        let written = logs.write("journal.txt", journal.join("\n")).and(logs.write("report.txt", &report));
        panic!(
            "{report}\njournal, report and logs of operators: {} ({:?} {:?})",
            logs.path().display(),
            saved.err(),
            written.err(),
        );
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One operation of a tenant.
async fn act(
    world: &World,
    shared: &Mutex<Shared>,
    promises: Promises,
    tenant: usize,
    dice: &mut Dice,
) -> Result<()> {
    let operation = Chooser { dice, state: &lock(shared).state, tenant, promises }.choose();
    let outcome = world.carry_out(&operation).await.context(format!("{operation:?}"))?;
    lock(shared).commit(&format!("tenant {tenant}"), &operation, &outcome);
    // People are not always hasty.
    if dice.percent(30) {
        sleep(Duration::from_millis(u64::try_from(dice.below(200)).unwrap_or_default())).await;
    }
    Ok(())
}

/// What fate does counts from the moment that it begins.
async fn suffer(world: &World, runner: &mut Runner, shared: &Mutex<Shared>, next: Fate) -> Result<()> {
    lock(shared).commit("fate", &Operation::Fate(next), &Outcome::Done);
    runner.carry_out(world, next).await.context(format!("{next:?}"))
}
