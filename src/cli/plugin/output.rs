//! Tables for people, JSON and YAML for programs.

use std::io;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::error::PluginError;
use crate::cli::yaml::{ManifestError, print, to_yaml};

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct OutputArgs {
    /// Output format [default: a table]
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub(super) output: Option<Format>,
}

/// A format for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl OutputArgs {
    /// Writes the answer on stdout.
    pub fn write(self, answer: &impl Serialize, table: impl FnOnce() -> String) -> Result<(), PluginError> {
        let text = match self.output {
            None => table(),
            Some(Format::Yaml) => to_yaml("the answer", answer)?,
            Some(Format::Json) => {
                let text = serde_json::to_string_pretty(answer)
                    .map_err(|error| ManifestError::io(std::path::Path::new("the answer"))(error.into()))?;
                text + "\n"
            }
        };
        show(&text)
    }
}

/// Writes on stdout.
pub(super) fn show(text: &str) -> Result<(), PluginError> {
    Ok(print(&mut io::stdout().lock(), text)?)
}

/// Rows under a head, in columns, as kubectl has them. A cell is one line.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}

/// Puts a text under what it belongs to.
pub(super) fn indented(text: &str, by: usize) -> String {
    let line = |line: &str| format!("{:by$}{line}\n", "");
    text.lines().map(line).collect()
}

/// How long ago it was, as kubectl writes it: in its largest unit.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (seconds, text) in [(-5, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(age(Timestamp::from_second(1_000_000 - seconds).unwrap(), now), text);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = vec![vec!["é".to_owned(), "1".to_owned()], vec!["abc".to_owned(), String::new()]];
        assert_eq!(table(&["A", "B"], &rows), "A     B\né     1\nabc\n");
        assert_eq!(indented("a\nb\n", 2), "  a\n  b\n");
    }
}
