//! The table of `docs/benchmark.md`.

use std::time::Duration;

use crate::{
    bare::Times,
    claviger_run::{Phase, Round},
    scale::Column,
    stats::{median, percentile},
};

const MIB: f64 = 1_048_576.0;

/// One line: what, the budget, and how a column shows it.
type Line<'a> = (&'a str, &'a str, Box<dyn Fn(&Column) -> String>);

pub fn render(columns: &[Column]) -> String {
    let lines: Vec<Line<'_>> = vec![
        line("bare create loop, s", "", |c| seconds(c.bare.iter().map(|times| times.create))),
        line("Claviger: fan-out, s", "", |c| phases(c, |r| r.fan_out.written)),
        line("fan-out to bare loop", "<= 1.15", |c| ratios(c, |t| t.create, |r| r.fan_out.written)),
        line("fan-out until Ready, s", "", |c| phases(c, |r| r.fan_out.ready)),
        line("bare update loop, s", "", |c| seconds(c.bare.iter().map(|times| times.update))),
        line("Claviger: rotation, s", "", |c| phases(c, |r| r.rotation.written)),
        line("rotation to bare loop", "<= 1.15", |c| ratios(c, |t| t.update, |r| r.rotation.written)),
        line("rotation until Ready, s", "", |c| phases(c, |r| r.rotation.ready)),
        line("Secret writes per namespace: fan-out, rotation", "1, 1", |c| {
            let each = |phase: fn(&Round) -> &Phase| {
                let all =
                    c.rounds.iter().map(|r| phase(r).usage.secret_writes() as f64 / c.namespaces as f64);
                format!("{:.3}", median(&all.collect::<Vec<_>>()))
            };
            format!("{}, {}", each(|r| &r.fan_out), each(|r| &r.rotation))
        }),
        line("Secret reads: fan-out, rotation", "the source", |c| {
            let all = |phase: fn(&Round) -> &Phase| {
                c.rounds.iter().map(|r| phase(r).usage.secret_reads()).max().unwrap_or_default()
            };
            format!("{}, {}", all(|r| &r.fan_out), all(|r| &r.rotation))
        }),
        line("CPU of the bare loop: create, update, s", "", |c| {
            let all = |cpu: fn(&Times) -> f64| median(&c.bare.iter().map(cpu).collect::<Vec<_>>());
            format!("{:.2}, {:.2}", all(|t| t.create_cpu), all(|t| t.update_cpu))
        }),
        line("CPU of the operator: fan-out, rotation, s", "", |c| cpu(c, |p| p.usage.cpu_seconds)),
        line("CPU of the watch of the benchmark beside it, s", "", |c| cpu(c, |p| p.watch_cpu)),
        line("new namespace to Secret, p50, ms", "", |c| millis(percentile(&c.latency, 0.5))),
        line("new namespace to Secret, p99, ms", "< 50", |c| millis(percentile(&c.latency, 0.99))),
        line("restart: writes", "0", |c| c.restart.usage.writes().to_string()),
        line("restart until ready, s", "", |c| format!("{:.2}", c.restart.ready.as_secs_f64())),
        line("resident memory after fan-out, MiB", "< 25 / 40", |c| mebi(c.rss_bytes)),
        line("its peak, MiB", "", |c| mebi(c.peak_bytes)),
        line("its peak with a rotation, MiB", "", |c| {
            mebi(c.rounds.iter().map(|round| round.peak_bytes).max().unwrap_or_default())
        }),
        line("resident memory after restart, MiB", "< 25 / 40", |c| mebi(c.restart.rss_bytes)),
        line("its peak, MiB", "", |c| mebi(c.restart.peak_bytes)),
        line("idle CPU, % of a core", "< 0.1", |c| format!("{:.3}", c.idle * 100.0)),
    ];
    let mut text = String::from("| what | budget |");
    for column in columns {
        text.push_str(&format!(" {} namespaces |", column.namespaces));
    }
    text.push_str(&format!("\n| --- | --- |{}\n", " --- |".repeat(columns.len())));
    for (what, budget, show) in lines {
        let shown: Vec<String> = columns.iter().map(show).collect();
        text.push_str(&format!("| {what} | {budget} | {} |\n", shown.join(" | ")));
    }
    for column in columns {
        text.push_str(&requests(column));
    }
    text
}

/// Requests by verb, of the last round and of the restart.
fn requests(column: &Column) -> String {
    let Some(round) = column.rounds.last() else { return String::new() };
    format!(
        "\nRequests at {} namespaces:\n\n- fan-out: {}\n- rotation: {}\n- restart: {}\n",
        column.namespaces,
        round.fan_out.usage.list(),
        round.rotation.usage.list(),
        column.restart.usage.list(),
    )
}

fn line<'a>(what: &'a str, budget: &'a str, show: impl Fn(&Column) -> String + 'static) -> Line<'a> {
    (what, budget, Box::new(show))
}

fn cpu(column: &Column, of: impl Fn(&Phase) -> f64) -> String {
    let all = |phase: fn(&Round) -> &Phase| {
        median(&column.rounds.iter().map(|round| of(phase(round))).collect::<Vec<_>>())
    };
    format!("{:.2}, {:.2}", all(|r| &r.fan_out), all(|r| &r.rotation))
}

fn phases(column: &Column, time: impl Fn(&Round) -> Duration) -> String {
    seconds(column.rounds.iter().map(time))
}

fn seconds(times: impl Iterator<Item = Duration>) -> String {
    spread(&times.map(|time| time.as_secs_f64()).collect::<Vec<_>>())
}

/// Each round against the mean of the bare loops before and after it.
fn ratios(column: &Column, bare: impl Fn(&Times) -> Duration, ours: impl Fn(&Round) -> Duration) -> String {
    let ratios: Vec<f64> = column
        .bare
        .windows(2)
        .zip(&column.rounds)
        .map(|(around, round)| {
            let mean = around.iter().map(|times| bare(times).as_secs_f64()).sum::<f64>() / 2.0;
            ours(round).as_secs_f64() / mean
        })
        .collect();
    spread(&ratios)
}

/// The median, with the least and the most.
pub fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({least:.2} to {most:.2})", median(values))
}

fn millis(seconds: f64) -> String {
    format!("{:.1}", seconds * 1_000.0)
}

pub fn mebi(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MIB)
}
