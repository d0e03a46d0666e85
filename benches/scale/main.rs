//! The numbers of `docs/benchmark.md`: Claviger beside a bare loop of the same writes, on a real control plane.
//!
//! `cargo bench --bench scale -- [N ...]`, `cargo bench --bench scale -- --memory`, `cargo bench --bench scale -- --members 50`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark speaks")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod bare;
mod claviger_run;
mod latency;
mod members;
mod memory;
mod observer;
mod operator;
mod scale;
mod stats;
mod table;
mod world;

use support::{Error, Result};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &[String]) -> Result<()> {
    let mut sizes = Vec::new();
    let mut rounds = None;
    let mut at_memory = None;
    let mut members = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo gives it to every benchmark.
            "--bench" => {}
            "--memory" => at_memory = Some(memory::Size::default()),
            "--namespaces" => {
                let size = at_memory.get_or_insert_default();
                size.namespaces = number(arguments.next())?;
            }
            "--members" => members = Some(number(arguments.next())?),
            "--rounds" => rounds = Some(number(arguments.next())?),
            text => sizes.push(number(Some(&text.to_owned()))?),
        }
    }
    if let Some(size) = at_memory {
        return memory::run(size).await;
    }
    if let Some(count) = members {
        return members::run(count, rounds).await;
    }
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000];
    }
    let mut columns = Vec::new();
    for size in sizes {
        columns.push(scale::run(size, rounds).await?);
    }
    print!("{}", table::render(&columns));
    Ok(())
}

fn number(text: Option<&String>) -> Result<usize> {
    let text = text.map_or("", String::as_str);
    text.replace([',', '_'], "").parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        Error::new(format!("usage: scale [N ...] [--rounds R] | --members N [--rounds R] | --memory [--namespaces N]; not {text:?}"))
    })
}
