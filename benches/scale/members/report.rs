//! The tables of the members in `docs/benchmark.md`.

use super::{
    Column, Stay,
    faults::{Fault, Sample},
};
use crate::{
    stats::median,
    table::{mebi, spread},
};

pub fn render(alone: &Stay, columns: &[Column], samples: &[Sample]) -> String {
    let mut text = String::from("| what | budget | 0 members |");
    for column in columns {
        text.push_str(&format!(" {} |", plural(column.members)));
    }
    text.push_str(&format!("\n| --- | --- | --- |{}\n", " --- |".repeat(columns.len())));
    let mut line = |what: &str, budget: &str, without: String, show: &dyn Fn(&Column) -> String| {
        let shown: Vec<String> = columns.iter().map(show).collect();
        text.push_str(&format!("| {what} | {budget} | {without} | {} |\n", shown.join(" | ")));
    };
    let nothing = String::new;
    line("start until all are ready, s", "", nothing(), &|c| format!("{:.2}", c.joined.as_secs_f64()));
    line("a new credential in all of them, ms", "", nothing(), &|c| millis(&c.fan_out));
    line("a rotation in all of them, ms", "", nothing(), &|c| millis(&c.rotation));
    line("connections per member", "", nothing(), &|c| whole(&c.stay.sockets));
    line("requests per member and minute, idle", "", nothing(), &|c| whole(&c.stay.requests));
    line("resident memory, MiB", "", mebi(alone.rss_bytes), &|c| mebi(c.stay.rss_bytes));
    line("resident memory per member, MiB", "", nothing(), &|c| {
        format!("{:.2}", (c.stay.rss_bytes as f64 - alone.rss_bytes as f64) / 1_048_576.0 / c.members as f64)
    });
    line("idle CPU, % of a core", "", percent(alone), &|c| percent(&c.stay));
    text.push('\n');
    text.push_str(&isolation(columns.last().map_or(0, |column| column.members), samples));
    text
}

/// How long a rotation takes to reach the others.
fn isolation(members: usize, samples: &[Sample]) -> String {
    let others = members.saturating_sub(1);
    let mut text = format!("| rotation in {others} of {members} members | budget |");
    for fault in Fault::ALL {
        text.push_str(&format!(" the other one {} |", fault.name()));
    }
    text.push_str(&format!("\n| --- | --- |{}\n", " --- |".repeat(Fault::ALL.len())));
    let mut line = |what: &str, budget: &str, show: &dyn Fn(&[&Sample]) -> String| {
        let shown = Fault::ALL
            .map(|fault| show(&samples.iter().filter(|sample| sample.fault == fault).collect::<Vec<_>>()));
        text.push_str(&format!("| {what} | {budget} | {} |\n", shown.join(" | ")));
    };
    let of = |samples: &[&Sample], value: fn(&Sample) -> f64| {
        samples.iter().map(|sample| value(sample)).collect::<Vec<_>>()
    };
    line("all are well, ms", "", &|s| millis(&of(s, |s| s.well)));
    line("first one in trouble, not noticed yet, ms", "", &|s| millis(&of(s, |s| s.unnoticed)));
    line("to well", "<= 1.10", &|s| spread(&of(s, |s| s.unnoticed / s.well)));
    line("known to be unreachable, ms", "", &|s| millis(&of(s, |s| s.noticed)));
    line("to well", "<= 1.10", &|s| spread(&of(s, |s| s.noticed / s.well)));
    line("back until it has what it missed, s", "", &|s| spread(&of(s, |s| s.back)));
    text
}

fn plural(members: usize) -> String {
    if members == 1 { "1 member".to_owned() } else { format!("{members} members") }
}

fn percent(stay: &Stay) -> String {
    format!("{:.3}", stay.idle * 100.0)
}

fn millis(seconds: &[f64]) -> String {
    whole(&seconds.iter().map(|seconds| seconds * 1_000.0).collect::<Vec<_>>())
}

/// The median, with the least and the most.
fn whole(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.0} ({least:.0} to {most:.0})", median(values))
}
