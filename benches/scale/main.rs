//! The numbers of the design, measured: Claviger on a real control plane, beside a bare loop of the same work.
//!
//! `cargo bench --bench scale` prints all of them in some minutes, `-- --long` at full size. See `docs/benchmark.md`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark speaks")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod cpu;
mod events;
mod fan_out;
mod hostile;
mod logins;
mod members;
mod memory;
mod numbers;
mod observer;
mod operator;
mod options;
mod readiness;
mod stats;
mod world;

use std::time::Instant;

use numbers::Number;
use options::{Options, Part};
use support::Result;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    let mut numbers = Vec::new();
    let mut failed = Vec::new();
    for part in Part::ALL.into_iter().filter(|part| options.includes(*part)) {
        // One part that fails does not take the others with it.
        match measure(part, options).await {
            Ok(measured) => numbers.extend(measured),
            Err(error) => {
                eprintln!("{part:?}: {error}");
                failed.push(error.context(format!("{part:?}")));
            }
        }
    }
    if options.is_whole() && !options.long {
        numbers.push(Number::skipped("a rotation in the other members, beside one in trouble", "<= 1.1"));
    }
    println!("\n## Numbers\n\n{}", numbers::render(&numbers));
    println!("Measured in {:.0} s{}.", began.elapsed().as_secs_f64(), options.pick(", short run", ""));
    failed.into_iter().next().map_or(Ok(()), Err)
}

async fn measure(part: Part, options: &Options) -> Result<Vec<Number>> {
    match part {
        Part::FanOut => fan_out::run(options).await,
        Part::Events => events::run(options).await,
        Part::Members => members::events::run(options).await,
        Part::Copies => members::copies::run(options).await,
        Part::Memory => memory::run(options).await,
        Part::References => members::references::run(options).await,
        Part::Hostile => hostile::run(options).await,
        Part::Logins => logins::run(options).await,
        Part::Isolation => members::run(options).await,
    }
}
