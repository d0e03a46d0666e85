//! The command line, as the program itself describes it.

use clap::{Arg, ArgAction, Command, CommandFactory};
use claviger::cli::Cli;

use super::{assert_generated, cell};
use crate::support::Result;

/// What a command takes, one row each.
fn rows(command: &Command) -> String {
    let shown = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version");
    shown.map(row).collect()
}

fn row(arg: &Arg) -> String {
    let values = arg
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let name = match (arg.get_long(), arg.get_short()) {
        (Some(long), Some(short)) => format!("-{short}, --{long}"),
        (Some(long), None) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => String::new(),
    };
    let name = match (name.is_empty(), takes) {
        (true, _) => values,
        (false, true) => format!("{name} {values}"),
        (false, false) => name,
    };
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let env = arg.get_env().map(|env| format!("`{}`", env.to_string_lossy())).unwrap_or_default();
    let defaults =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
    let default = if defaults.is_empty() || !takes { String::new() } else { format!("`{defaults}`") };
    format!("| `{}` | {env} | {default} | {} |\n", name.trim(), sentences(&help))
}

/// The paragraphs of a help text as one line; clap takes the full stop off the first.
fn sentences(help: &str) -> String {
    let paragraphs: Vec<_> = help.split("\n\n").map(cell).filter(|text| !text.is_empty()).collect();
    let ends = |text: &str| text.ends_with(['.', '!', '?', ':']);
    let last = paragraphs.len().saturating_sub(1);
    let ended = paragraphs.iter().enumerate();
    let ended =
        ended.map(|(n, text)| if n == last || ends(text) { text.clone() } else { format!("{text}.") });
    ended.collect::<Vec<_>>().join(" ")
}

/// A command and those below it.
fn section(path: &str, command: &Command, page: &mut String) {
    let about =
        command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("\n## {path}\n\n{}\n", sentences(&about)));
    let rows = rows(command);
    if !rows.is_empty() {
        page.push_str(&format!(
            "\n| argument | environment | default | meaning |\n| --- | --- | --- | --- |\n{rows}"
        ));
    }
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        section(&format!("{path} {}", sub.get_name()), sub, page);
    }
}

#[test]
fn each_command_and_flag_is_told() -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut page = "# Command line\n\nGenerated from the program; `claviger COMMAND --help` prints the same. The operator is `claviger run`. Under the name\n\
                    `kubectl-claviger` the same program is the [plugin of kubectl](../kubectl-claviger.md).\n"
        .to_owned();
    section("claviger", &command, &mut page);
    assert!(page.contains("| `--watch-timeout ") && page.contains("\n## claviger run\n"), "{page}");
    assert_generated("command-line.md", &page)
}
