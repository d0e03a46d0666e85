//! The table of one credential to many namespaces.

use std::time::Duration;

use super::{
    Column, Latency,
    bare::Times,
    round::{Phase, Round},
};
use crate::{
    numbers::Number,
    stats::{mebi, median, millis, percentile, spread, thousands},
};

/// One line: what, the budget, and how a column shows it.
type Line<'a> = (&'a str, &'a str, Box<dyn Fn(&Column) -> String>);

pub fn render(columns: &[Column]) -> String {
    let lines: Vec<Line<'_>> = vec![
        line("bare create loop, s", "", |c| seconds(c.bare.iter().map(|times| times.create))),
        line("Claviger: fan-out, s", "", |c| phases(c, |r| r.fan_out.written)),
        line("fan-out to bare loop", "<= 1.15", |c| spread(&fan_out(c), 2)),
        line("from the last copy to Ready, ms", "", |c| waits(c, |r| &r.fan_out)),
        line("bare update loop, s", "", |c| seconds(c.bare.iter().map(|times| times.update))),
        line("Claviger: rotation, s", "", |c| phases(c, |r| r.rotation.written)),
        line("rotation to bare loop", "<= 1.15", |c| spread(&rotation(c), 2)),
        line("from the last copy to Ready, ms", "", |c| waits(c, |r| &r.rotation)),
        line("Secret writes per namespace: fan-out, rotation", "1, 1", |c| {
            format!("{:.3}, {:.3}", writes(c, |r| &r.fan_out), writes(c, |r| &r.rotation))
        }),
        line("Secret reads: fan-out, rotation", "the source", |c| {
            format!("{}, {}", reads(c, |r| &r.fan_out), reads(c, |r| &r.rotation))
        }),
        line("CPU of the bare loop and its watch: create, update, s", "", |c| {
            let all = |cpu: fn(&Times) -> f64| median(&c.bare.iter().map(cpu).collect::<Vec<_>>());
            format!("{:.2}, {:.2}", all(|t| t.create_cpu), all(|t| t.update_cpu))
        }),
        line("CPU of the operator and the same watch: fan-out, rotation, s", "", |c| {
            cpu(c, |p| p.usage.cpu_seconds + p.watch_cpu)
        }),
        line("CPU of the operator: fan-out, rotation, s", "", |c| cpu(c, |p| p.usage.cpu_seconds)),
        line("new namespace to Secret, p50, ms; the same bare", "", |c| latency(&c.latency, 0.5)),
        line("new namespace to Secret, p99, ms; the same bare", "< 50", |c| latency(&c.latency, 0.99)),
        line("new namespace to attached ServiceAccount, p50, ms; the same bare", "", |c| {
            latency(&c.attached, 0.5)
        }),
        line("new namespace to attached ServiceAccount, p99, ms; the same bare", "< 50", |c| {
            latency(&c.attached, 0.99)
        }),
        line("restart: writes", "0", |c| c.restart.usage.writes().to_string()),
        line("restart until ready, s", "", |c| format!("{:.2}", c.restart.ready.as_secs_f64())),
        line("resident memory after fan-out, MiB", "< 25 / 40", |c| mib(c.rss_bytes)),
        line("its peak, MiB", "", |c| mib(c.peak_bytes)),
        line("its peak with a rotation, MiB", "", |c| mib(peak(c))),
        line("resident memory after restart, MiB", "< 25 / 40", |c| mib(c.restart.rss_bytes)),
        line("its peak, MiB", "", |c| mib(c.restart.peak_bytes)),
        line("idle CPU, % of a core", "< 0.1", |c| format!("{:.3}", c.idle * 100.0)),
    ];
    let mut text = String::from("| what | budget |");
    for column in columns {
        text.push_str(&format!(" {} namespaces |", thousands(column.namespaces)));
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

/// Against the budgets of the design.
pub fn numbers(column: &Column) -> Vec<Number> {
    let at = |what: &str| format!("{what}, {} namespaces", thousands(column.namespaces));
    let bare_loop = (1.15, "of a bare loop");
    let (fan_out, rotation) = (fan_out(column), rotation(column));
    let once = |name: &str, phase: fn(&Round) -> &Phase| {
        let (writes, reads) = (writes(column, phase), reads(column, phase));
        // The source may be read; a read for each namespace would be far more.
        Number::must(
            at(&format!("{name}: writes per namespace, reads in all")),
            "1 write, no reads per namespace",
            writes <= 1.0 && (reads as usize) < column.namespaces.min(10),
            format!("{writes:.3}, {reads}"),
        )
    };
    let memory = match column.namespaces {
        ..=1_000 => Some(25.0),
        1_001..=10_000 => Some(40.0),
        _ => None,
    };
    let rss = mebi(column.rss_bytes.max(column.restart.rss_bytes));
    let p99 = percentile(&column.latency.claviger, 0.99) * 1e3;
    let idle = column.idle * 100.0;
    let restart = &column.restart;
    let mut numbers = vec![
        Number::at_most(at("fan-out"), bare_loop, median(&fan_out), spread(&fan_out, 2)),
        once("fan-out", |round| &round.fan_out),
        Number::shown(
            at("from the last copy of a fan-out to Ready, ms"),
            waits(column, |round| &round.fan_out),
        ),
        Number::at_most(at("rotation"), bare_loop, median(&rotation), spread(&rotation, 2)),
        once("rotation", |round| &round.rotation),
        Number::shown(
            at("from the last copy of a rotation to Ready, ms"),
            waits(column, |round| &round.rotation),
        ),
        Number::below(
            at("new namespace to Secret, p99"),
            (50.0, "ms"),
            p99,
            format!("{} ms bare", latency(&column.latency, 0.99)),
        ),
        Number::below(
            at("new namespace to attached ServiceAccount, p99"),
            (50.0, "ms"),
            percentile(&column.attached.claviger, 0.99) * 1e3,
            format!("{} ms bare", latency(&column.attached, 0.99)),
        ),
        Number::must(
            at("restart with everything in place, an htpasswd file too: writes"),
            "0",
            restart.usage.writes() == 0,
            format!("{}; ready after {:.2} s", restart.usage.writes(), restart.ready.as_secs_f64()),
        ),
    ];
    numbers.push(Number::must(
        at("restart: list requests beyond one paged list per kind"),
        "0",
        restart.relists == 0,
        restart.relists.to_string(),
    ));
    if let Some(limit) = memory {
        let shown = format!("{rss:.1} MiB");
        numbers.push(Number::below(at("resident memory"), (limit, "MiB"), rss, shown));
    }
    numbers.push(Number::below(at("idle CPU"), (0.1, "% of a core"), idle, format!("{idle:.3} %")));
    numbers
}

/// Requests by verb, of the last round and of the restart.
fn requests(column: &Column) -> String {
    let Some(round) = column.rounds.last() else { return String::new() };
    format!(
        "\nRequests at {} namespaces:\n\n- fan-out: {}\n- rotation: {}\n- restart: {}\n",
        thousands(column.namespaces),
        round.fan_out.usage.list(),
        round.rotation.usage.list(),
        column.restart.usage.list(),
    )
}

fn line<'a>(what: &'a str, budget: &'a str, show: impl Fn(&Column) -> String + 'static) -> Line<'a> {
    (what, budget, Box::new(show))
}

fn fan_out(column: &Column) -> Vec<f64> {
    ratios(column, |times| times.create, |round| round.fan_out.written)
}

fn rotation(column: &Column) -> Vec<f64> {
    ratios(column, |times| times.update, |round| round.rotation.written)
}

/// Each round against the mean of the bare loops before and after it.
fn ratios(column: &Column, bare: fn(&Times) -> Duration, ours: fn(&Round) -> Duration) -> Vec<f64> {
    column
        .bare
        .windows(2)
        .zip(&column.rounds)
        .map(|(around, round)| {
            let mean = around.iter().map(|times| bare(times).as_secs_f64()).sum::<f64>() / 2.0;
            ours(round).as_secs_f64() / mean
        })
        .collect()
}

fn writes(column: &Column, phase: fn(&Round) -> &Phase) -> f64 {
    let writes = |round| phase(round).usage.secret_writes() as f64 / column.namespaces as f64;
    median(&column.rounds.iter().map(writes).collect::<Vec<_>>())
}

fn reads(column: &Column, phase: fn(&Round) -> &Phase) -> u64 {
    column.rounds.iter().map(|round| phase(round).usage.secret_reads()).max().unwrap_or_default()
}

fn waits(column: &Column, phase: fn(&Round) -> &Phase) -> String {
    millis(&column.rounds.iter().map(|round| phase(round).wait()).collect::<Vec<_>>(), 0)
}

fn peak(column: &Column) -> u64 {
    column.rounds.iter().map(|round| round.peak_bytes).max().unwrap_or_default()
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
    spread(&times.map(|time| time.as_secs_f64()).collect::<Vec<_>>(), 2)
}

fn latency(latency: &Latency, share: f64) -> String {
    let shown = |seconds: &[f64]| format!("{:.1}", percentile(seconds, share) * 1e3);
    format!("{}; {}", shown(&latency.claviger), shown(&latency.bare))
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", mebi(bytes))
}
