//! The tables of many members.

use super::{
    Column, Stay,
    isolation::{Fault, Sample},
};
use crate::{
    numbers::Number,
    stats::{counted, mebi, median, millis, spread},
};

pub fn render(alone: &Stay, columns: &[Column], samples: &[Sample]) -> String {
    let mut text = String::from("| what | budget | 0 members |");
    for column in columns {
        text.push_str(&format!(" {} |", counted(column.members, "member")));
    }
    text.push_str(&format!("\n| --- | --- | --- |{}\n", " --- |".repeat(columns.len())));
    let mut line = |what: &str, budget: &str, without: String, show: &dyn Fn(&Column) -> String| {
        let shown: Vec<String> = columns.iter().map(show).collect();
        text.push_str(&format!("| {what} | {budget} | {without} | {} |\n", shown.join(" | ")));
    };
    let nothing = String::new;
    line("start until all are ready, s", "", nothing(), &|c| format!("{:.2}", c.joined.as_secs_f64()));
    line("a new credential in all of them, ms", "", nothing(), &|c| millis(&c.fan_out, 0));
    line("a rotation in all of them, ms", "", nothing(), &|c| millis(&c.rotation, 0));
    line("from the last copy to Ready, ms", "", nothing(), &|c| millis(&c.told, 0));
    line("connections per member", "", nothing(), &|c| spread(&c.stay.sockets, 0));
    line("requests per member and minute, idle", "", nothing(), &|c| spread(&c.stay.requests, 0));
    line("resident memory, MiB", "", mib(alone.rss_bytes), &|c| mib(c.stay.rss_bytes));
    line("resident memory per member, MiB", "", nothing(), &|c| {
        format!("{:.2}", (mebi(c.stay.rss_bytes) - mebi(alone.rss_bytes)) / c.members as f64)
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
    line("they alone, ms", "", &|s| millis(&of(s, |s| s.alone), 0));
    line("beside one in trouble, not noticed yet, ms", "", &|s| millis(&of(s, |s| s.unnoticed), 0));
    line("to alone", "<= 1.10", &|s| spread(&of(s, |s| s.unnoticed / s.alone), 2));
    line("beside one known to be unreachable, ms", "", &|s| millis(&of(s, |s| s.noticed), 0));
    line("to alone", "<= 1.10", &|s| spread(&of(s, |s| s.noticed / s.alone), 2));
    line("back until it has what it missed, s", "", &|s| spread(&of(s, |s| s.back), 2));
    text
}

/// Against the budget: the worst fault.
pub fn numbers(samples: &[Sample], members: usize) -> Vec<Number> {
    let worst = |what: &str, ratio: fn(&Sample) -> f64| {
        let ratios = Fault::ALL.map(|fault| {
            let ratios: Vec<f64> = samples.iter().filter(|sample| sample.fault == fault).map(ratio).collect();
            (median(&ratios), format!("{}: {}", fault.name(), spread(&ratios, 2)))
        });
        let value = ratios.iter().map(|(ratio, _)| *ratio).fold(f64::NEG_INFINITY, f64::max);
        let shown = ratios.map(|(_, shown)| shown).join("; ");
        let others = members.saturating_sub(1);
        let what = format!("a rotation in the {others} other members, beside one in trouble {what}");
        Number::at_most(what, (1.1, "of the same alone"), value, shown)
    };
    vec![
        worst("that is not noticed yet", |sample| sample.unnoticed / sample.alone),
        worst("that is known", |sample| sample.noticed / sample.alone),
    ]
}

fn of(samples: &[&Sample], value: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(|sample| value(sample)).collect()
}

fn percent(stay: &Stay) -> String {
    format!("{:.3}", stay.idle * 100.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", mebi(bytes))
}
