//! Completion of the plugin's commands, by shells and by kubectl itself.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{error::PluginError, news::News, output::show};

/// The name under which kubectl finds the plugin.
pub(super) const NAME: &str = "kubectl-claviger";
/// Tells cobra, which kubectl is made with, to offer no files (`ShellCompDirectiveNoFileComp`).
const NO_FILES: &str = ":4";
/// And to offer what it would (`ShellCompDirectiveDefault`).
const DEFAULT: &str = ":0";

/// Which shell the script is for.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: CompletionArgs, plugin: Command) -> Result<News, PluginError> {
    let mut command = plugin.bin_name(NAME);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut script);
    show(&String::from_utf8_lossy(&script))?;
    Ok(News::Good)
}

/// Answers kubectl, which calls `kubectl_complete-claviger` with the words that are there, the last of them unfinished.
pub(super) fn answer(plugin: &Command) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let said = show(&candidates(plugin, &words));
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn candidates(plugin: &Command, words: &[String]) -> String {
    let (begun, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let chosen = before.iter().find_map(|word| plugin.find_subcommand(word));
    let mut lines: Vec<(String, String)> = Vec::new();
    if begun.starts_with('-') {
        let flags = plugin.get_arguments().chain(chosen.into_iter().flat_map(Command::get_arguments));
        lines.extend(flags.filter_map(|flag| {
            Some((
                format!("--{}", flag.get_long()?),
                flag.get_help().map(ToString::to_string).unwrap_or_default(),
            ))
        }));
    } else if chosen.is_none() {
        lines.extend(plugin.get_subcommands().map(|subcommand| {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            (subcommand.get_name().to_owned(), about)
        }));
    }
    lines.retain(|(word, _)| word.starts_with(begun));
    let text: String = lines.iter().map(|(word, about)| format!("{word}\t{about}\n")).collect();
    format!("{text}{}\n", if lines.is_empty() { DEFAULT } else { NO_FILES })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::plugin::Plugin;

    #[test]
    fn kubectl_is_told_commands_and_flags() {
        let ask = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            candidates(&Plugin::command(), &words)
        };
        assert!(ask(&["exp"]).starts_with("explain-pull\tShow for each image"));
        assert!(ask(&["exp"]).ends_with("\n:4\n"));
        assert!(ask(&["explain-pull", "--cont"]).starts_with("--context\t"));
        assert_eq!(ask(&["explain-pull", "web"]), ":0\n");
        assert!(ask(&[]).contains("explain-pull"));
    }
}
